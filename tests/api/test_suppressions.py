"""The suppression list over the API."""

from __future__ import annotations

import uuid

import pytest

from deliveries import suppress
from deliveries.enums import Channel, Kind
from deliveries.models import Suppression
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.deliveries.test_suppress import notables

pytestmark = pytest.mark.django_db

LIST = "/api/v1/suppressions/"
TARO = "taro@example.test"
JSON = "application/json"


@pytest.fixture
def listed(acme, source, record, to):
    """Put a recipient on the list by an event; returns the entry."""

    def make(recipient=TARO, kind=Kind.BOUNCED, minutes=0, **values):
        failure = to(recipient, kind, minutes, **values)
        record(failure)
        with tenant_scope(acme.id):
            suppress.note(acme.id, notables([failure], source, Channel.EMAIL))
            return Suppression.objects.get(recipient=recipient, removed_at=None)

    return make


def test_an_entry_is_told_with_everything_that_scripts_rely_on(api, acme, listed):
    entry = listed()
    body = api(acme).get(LIST).json()
    assert body == {
        "results": [
            {
                "id": str(entry.id),
                "channel": "email",
                "recipient": TARO,
                "reason": "bounce",
                "code": "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE",
                "since": "2026-11-20T09:00:00Z",
                "event": str(entry.event_id),
                "note": "",
                "created_by": None,
                "removed_at": None,
                "removed_by": None,
                "removal_reason": "",
                "provider_state": None,
                "provider_answer": "",
            }
        ],
        "next": None,
        "previous": None,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("recipient=TARO@example.test", [TARO]),
        ("recipient=tar", []),
        ("channel=sms", []),
        ("reason=spam_report", ["spam@example.test"]),
        ("removed=true", []),
        ("limit=1", ["spam@example.test"]),
    ],
)
def test_the_list_is_narrowed_down(api, acme, listed, query, found):
    listed()
    listed("spam@example.test", Kind.SPAM_REPORT, 5)
    body = api(acme).get(f"{LIST}?{query}").json()
    assert [row["recipient"] for row in body["results"]] == found


def test_pages_lead_on(api, acme, listed):
    listed("old@example.test")
    listed("new@example.test", minutes=5)
    client = api(acme)
    first = client.get(f"{LIST}?limit=1").json()
    second = client.get(first["next"]).json()
    assert [row["recipient"] for row in first["results"] + second["results"]] == [
        "new@example.test",
        "old@example.test",
    ]


@pytest.mark.parametrize("query", ["channel=fax", "reason=whim", "removed=maybe", "cursor=x", "recipeint=a"])
def test_a_parameter_that_makes_no_sense_is_named(api, acme, query):
    answer = api(acme).get(f"{LIST}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_a_recipient_is_added_once(api, acme):
    client = api(acme, "manager")
    given = {"channel": "sms", "recipient": "090-1234-5678", "note": "Asked by phone"}
    answers = [client.post(LIST, given, content_type=JSON) for _time in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    assert (answers[0].json()["recipient"], answers[0].json()["created_by"]) == ("+819012345678", "API token script")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recipient": TARO}, "channel"),
        ({"channel": "email", "recipient": "nobody"}, "recipient"),
        ({"channel": "email", "recipient": TARO, "note": "x" * 501}, "note"),
    ],
)
def test_what_can_not_be_added_is_named(api, acme, body, field):
    answer = api(acme, "manager").post(LIST, body, content_type=JSON)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_an_entry_is_removed_with_a_reason_by_who_may(api, acme, listed):
    entry = listed()
    where = f"{LIST}{entry.id}/"
    assert api(acme, "admin").delete(where, {"reason": "Works again"}, content_type=JSON).status_code == 403

    support = api(acme, "support")
    without = support.delete(where, {}, content_type=JSON)
    assert (without.status_code, list(without.json()["errors"])) == (400, ["reason"])

    removed = support.delete(where, {"reason": "Works again"}, content_type=JSON).json()
    assert (removed["removed_by"], removed["removal_reason"]) == ("API token script", "Works again")
    assert removed["provider_state"] == "removing"
    assert support.get(where).json() == removed
    assert [row["id"] for row in support.get(f"{LIST}?removed=true").json()["results"]] == [str(entry.id)]
    with tenant_scope(acme.id):
        assert AuditEntry.objects.get(action="suppression.removed").actor == "API token script"


def test_a_complaint_needs_consent(api, acme, listed):
    where = f"{LIST}{listed(kind=Kind.SPAM_REPORT).id}/"
    support = api(acme, "support")
    refused = support.delete(where, {"reason": "x"}, content_type=JSON)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["consent"])
    assert support.delete(where, {"reason": "x", "consent": True}, content_type=JSON).status_code == 200


def test_a_viewer_may_not_add(api, acme):
    assert api(acme).post(LIST, {"channel": "email", "recipient": TARO}, content_type=JSON).status_code == 403


def test_an_entry_of_nobody_or_of_another_tenant_is_not_there(api, acme, sakura, listed):
    entry = listed()
    assert api(acme, "support").get(f"{LIST}{uuid.uuid4()}/").status_code == 404
    foreign = api(sakura, "support")
    assert foreign.get(f"{LIST}{entry.id}/").status_code == 404
    assert foreign.delete(f"{LIST}{entry.id}/", {"reason": "x"}, content_type=JSON).status_code == 404


def test_another_method_is_refused_with_those_that_are_answered(api, acme):
    answer = api(acme).put(LIST, {}, content_type=JSON)
    assert answer.status_code == 405
    assert "POST" in answer.json()["detail"]
