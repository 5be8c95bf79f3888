"""GET /api/v1/deliveries/ and /unparsed/: the fields that scripts rely on, the pages, the languages."""

from __future__ import annotations

import uuid
from urllib.parse import parse_qs, urlsplit

import pytest

from deliveries import ledger
from deliveries.enums import Channel, Kind
from deliveries.models import Delivery, UnparsedItem
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import AT, connect, reported

pytestmark = pytest.mark.django_db

DELIVERIES = "/api/v1/deliveries/"


@pytest.fixture
def get(api, acme):
    client = api(acme)

    def fetch(path, status=200, **headers):
        response = client.get(path, headers=headers)
        assert response.status_code == status, response.content
        return response.json()

    return fetch


def is_japanese(text):
    """Whether there is a kana or a character that Japanese shares with Chinese."""
    return any("ぁ" <= character <= "鿿" for character in text)


def recipients(body):
    return [row["recipient"] for row in body["results"]]


def test_a_bounce_is_told_with_everything_that_scripts_rely_on(record, to, get, acme, source):
    record(to("taro@example.test", title="Payslip", sender="hr@acme.example"))
    with tenant_scope(acme.id):
        row = Delivery.objects.get()
    result = get(f"{DELIVERIES}?open=true")["results"][0]
    texts = [result.pop(name) for name in ("explanation", "action", "reason_label", "state_label")]
    assert all(texts)
    assert result == {
        "id": str(row.id),
        "channel": "email",
        "provider": "ses",
        "connection": str(source.id),
        "provider_message_id": "id-taro@example.test",
        "recipient": "taro@example.test",
        "name": "",
        "domain": "example.test",
        "sender": "hr@acme.example",
        "title": "Payslip",
        "state": "bounced",
        "open": True,
        "code": "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE",
        "reason": "userunknown",
        "persistence": "hard",
        "actionable": "no",
        "stage": "after",
        "rule": row.rule,
        "rules_version": row.rules_version,
        "reply": "550 5.1.1 User unknown",
        "smtp_code": "550",
        "enhanced_code": "5.1.1",
        "tries": 1,
        "deferred_until": None,
        "attempt": 1,
        "first_at": "2026-11-20T09:00:00Z",
        "failed_at": "2026-11-20T09:00:00Z",
        "occurred_at": "2026-11-20T09:00:00Z",
        "received_at": "2026-11-20T09:01:00Z",
    }


def test_what_arrived_has_no_code_and_is_not_open(record, to, get):
    record(to("taro@example.test", Kind.DELIVERED))
    result = get(DELIVERIES)["results"][0]
    names = ["code", "reason", "reason_label", "persistence", "actionable", "stage", "explanation", "action", "rule"]
    assert {name: result[name] for name in names} == dict.fromkeys(names)
    assert (result["state"], result["open"], result["failed_at"]) == ("delivered", False, None)


def test_open_is_the_error_list_newest_failure_first(record, to, get):
    record(to("first@x.example", Kind.ACCEPTED), to("second@x.example", Kind.ACCEPTED, 1))
    record(to("first@x.example", Kind.BOUNCED, 9), to("second@x.example", Kind.DEFERRED, 5))
    record(to("fine@x.example", Kind.DELIVERED, 7))
    assert recipients(get(f"{DELIVERIES}?open=true")) == ["first@x.example", "second@x.example"]
    assert recipients(get(f"{DELIVERIES}?open=false")) == ["fine@x.example"]
    assert recipients(get(DELIVERIES)) == ["fine@x.example", "second@x.example", "first@x.example"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("recipient=A@x.example", ["a@x.example"]),
        ("provider_message_id=id-b@x.example", ["b@x.example"]),
        ("channel=sms", ["+819012345678"]),
        ("state=delivered", ["ok@x.example"]),
        ("state=bounced&state=delivered&q=a", ["a@x.example"]),
        ("open=True&channel=email", ["b@x.example", "a@x.example"]),
    ],
)
def test_the_filters_of_the_pages_work_here_too(record, to, get, query, found):
    record(to("a@x.example"), to("b@x.example", Kind.BOUNCED, 1), to("ok@x.example", Kind.DELIVERED))
    record(to("+819012345678", Kind.UNDELIVERED, verdict="UNDELIV/1"), channel=Channel.SMS)
    assert recipients(get(f"{DELIVERIES}?{query}")) == found


@pytest.mark.parametrize("query", ["", "open=true&state=bounced&"])
def test_following_next_shows_everything_once_and_previous_leads_back(record, to, get, query):
    record(*(to(f"p{number}@x.example", minutes=number // 2) for number in range(7)))
    pages = [get(f"{DELIVERIES}?{query}limit=3")]
    while pages[-1]["next"]:
        pages.append(get(pages[-1]["next"]))
    assert [len(page["results"]) for page in pages] == [3, 3, 1]
    assert sorted(name for page in pages for name in recipients(page)) == [f"p{n}@x.example" for n in range(7)]
    assert recipients(get(pages[2]["previous"])) == recipients(pages[1])
    assert pages[0]["previous"] is None


def test_next_keeps_the_filter_and_its_cursor_can_be_taken_alone(record, to, get):
    record(*(to(f"p{number}@x.example", minutes=number) for number in range(3)))
    following = get(f"{DELIVERIES}?open=true&state=bounced&state=dropped&limit=2")["next"]
    parameters = parse_qs(urlsplit(following).query)
    cursor = parameters.pop("cursor")[0]
    assert parameters == {"open": ["true"], "state": ["bounced", "dropped"], "limit": ["2"]}
    assert recipients(get(f"{DELIVERIES}?open=true&cursor={cursor}")) == ["p0@x.example"]


def test_a_page_has_fifty_rows_unless_told_otherwise(record, to, get):
    record(*(to(f"p{number}@x.example") for number in range(60)))
    assert len(get(DELIVERIES)["results"]) == 50
    assert len(get(f"{DELIVERIES}?limit=200")["results"]) == 60


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("query", ["", "open=true"])
def test_a_page_takes_the_same_queries_for_one_row_as_for_twenty(
    record, to, api, acme, rows, query, django_assert_num_queries
):
    record(*(to(f"p{number}@x.example") for number in range(rows)))
    client = api(acme)
    client.get(DELIVERIES)  # notes the token's use
    # Two scopes, each a savepoint, a tenant set and taken back; between them the token and the page.
    with django_assert_num_queries(10):
        assert len(client.get(f"{DELIVERIES}?{query}").json()["results"]) == rows


def test_texts_are_in_the_language_that_is_accepted(record, to, get):
    record(to("taro@example.test"))
    english = get(DELIVERIES, **{"Accept-Language": "en"})["results"][0]
    japanese = get(DELIVERIES, **{"Accept-Language": "ja, en;q=0.5"})["results"][0]
    for name in ("explanation", "action", "reason_label"):
        assert not is_japanese(english[name])
        assert is_japanese(japanese[name])


def test_without_a_wish_texts_are_in_the_tenants_language(api, sakura, to):
    with tenant_scope(sakura.id):
        ledger.record(sakura.id, reported(to("a@x.example"), connection=connect(sakura, "ses")))
    response = api(sakura).get(DELIVERIES)
    assert response["Content-Language"] == "ja"
    assert is_japanese(response.json()["results"][0]["explanation"])


def test_one_delivery_comes_with_its_timeline(record, to, get):
    record(to("a@x.example", Kind.ACCEPTED, verdict="Send"), to("a@x.example", Kind.BOUNCED, 2))
    row = get(DELIVERIES)["results"][0]
    detail = get(f"{DELIVERIES}{row['id']}/")
    events = detail.pop("events")
    assert detail == row
    assert [(event["kind"], event["code"], event["persistence"], event["rules_version"]) for event in events] == [
        ("accepted", None, None, None),
        ("bounced", "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", "hard", row["rules_version"]),
    ]
    assert events[1]["reply"] == "550 5.1.1 User unknown"
    assert events[0]["occurred_at"] == "2026-11-20T09:00:00Z"


def test_a_deferral_says_how_often_and_until_when_it_is_tried(api, acme, to):
    with tenant_scope(acme.id):
        until = AT.replace(day=22)
        deferrals = [to("a@x.example", Kind.DEFERRED, minutes, deferred_until=until) for minutes in range(3)]
        ledger.record(acme.id, reported(*deferrals, connection=connect(acme, "ses")))
    row = api(acme).get(DELIVERIES).json()["results"][0]
    assert (row["state"], row["tries"], row["deferred_until"]) == ("deferred", 3, "2026-11-22T09:00:00Z")


def test_another_tenants_rows_are_not_there(record, to, api, acme, sakura):
    record(to("a@x.example"))
    assert recipients(api(acme).get(DELIVERIES).json()) == ["a@x.example"]
    assert api(sakura).get(DELIVERIES).json()["results"] == []


def test_another_tenants_delivery_is_not_found(record, to, get, api, sakura):
    record(to("a@x.example"))
    path = f"{DELIVERIES}{get(DELIVERIES)['results'][0]['id']}/"
    missing = f"{DELIVERIES}{uuid.uuid4()}/"
    theirs, none = (api(sakura).get(address) for address in (path, missing))
    assert (theirs.status_code, theirs.json()) == (404, none.json())


def test_what_could_not_be_read_is_told_with_the_reason(get, acme, source):
    with tenant_scope(acme.id):
        for index in range(3):
            UnparsedItem(
                id=uuid.UUID(int=index),
                connection_id=source.id,
                raw_id=uuid.UUID(int=9),
                item_index=index,
                received_at=AT,
                reason="It has no event field.",
                raw='{"a": 1}',
            ).save(force_insert=True)
    page = get("/api/v1/unparsed/?limit=2")
    assert page["results"][0] == {
        "id": str(uuid.UUID(int=2)),
        "connection": str(source.id),
        "webhook": str(uuid.UUID(int=9)),
        "item": 2,
        "received_at": "2026-11-20T09:00:00Z",
        "reason": "It has no event field.",
        "raw": '{"a": 1}',
    }
    assert [row["item"] for row in get(page["next"])["results"]] == [0]
