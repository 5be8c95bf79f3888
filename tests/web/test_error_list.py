"""The Notification Error List: what a row says, tabs, filters in the address, pages, and the lists that are empty."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection as database
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries import ledger
from deliveries.enums import Channel, Kind
from deliveries.models import Connection
from deliveries.web.filterbar import query_without
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db

ERRORS = "/t/acme/errors/"


@pytest.fixture
def source(acme):
    return connect(acme, "ses")


@pytest.fixture
def record(acme, source):
    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


@pytest.fixture
def admin(acme, member, client_as):
    return client_as(member("admin", acme))


def failed(title: str, minutes: float = 0, kind: Kind = Kind.BOUNCED, **values):
    """A failed notice of its own, known by its title."""
    return event(kind, minutes, **{"title": title, "provider_message_id": f"id-of-{title}", **values})


def page(client, query: str = "", **headers) -> str:
    return client.get(f"{ERRORS}?{query}", **headers).content.decode()


def titles(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"data-row-link href=\"[^\"]*\">([^<]*)<", html)]


def cells(html: str, name: str) -> list[str]:
    """The text of one column of the table, tags taken out."""
    found = re.findall(rf'<t[dh] role="(?:cell|rowheader)"[^>]*class="{name}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    return [text_of(cell) for cell in found]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def link(html: str, element_id: str) -> str:
    """The address of the link with that id; empty where there is none."""
    found = re.search(rf'id="{element_id}"[^>]*href="([^"]*)"', html)
    return unescape(found[1]) if found else ""


def parameters(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def test_rows_are_newest_first_and_begin_with_the_notices_title(admin, record):
    record(failed("Timetable", 0), failed("Invoice", 5), failed("Survey", 2))
    assert titles(page(admin)) == ["Invoice", "Survey", "Timetable"]


def test_a_row_tells_the_recipient_the_state_in_a_word_and_the_tries(admin, record):
    record(failed("Invoice", 0, Kind.DEFERRED), failed("Invoice", 9, Kind.DEFERRED), failed("Invoice", 20))
    html = page(admin)
    assert cells(html, "notice-cell") == ["Invoice taro @example.co.jp"]
    assert cells(html, "state-cell") == ["Bounced Permanent"]
    assert cells(html, "tries-cell") == ["Tries: 3"]


def test_a_notice_that_was_dropped_was_never_tried(admin, record):
    record(failed("Invoice", kind=Kind.DROPPED, verdict="dropped/bounced address"))
    assert cells(page(admin), "tries-cell") == ["Tries: 0"]


def test_a_notice_without_a_title_is_known_by_the_end_of_its_message_id(admin, record):
    record(event(title="", provider_message_id="0123456789abcdefghij"))
    assert titles(page(admin)) == ["(no title) …89abcdefghij"]


def test_a_deferred_row_says_until_when_the_provider_tries(admin, record):
    until = timezone.now() + timedelta(hours=5, minutes=1)
    record(failed("Invoice", kind=Kind.DEFERRED, deferred_until=until))
    assert "5 hours left" in text_of(page(admin))


def test_a_title_is_text_whatever_it_contains(admin, record):
    record(failed("<script>alert(1)</script>"))
    html = page(admin)
    assert titles(html) == ["<script>alert(1)</script>"]
    assert "<script>alert" not in html


def test_tabs_count_their_channel_and_keep_the_filter(admin, record):
    record(failed("Invoice"), failed("Survey"))
    record(failed("Alarm", kind=Kind.UNDELIVERED, recipient="+819012345678"), channel=Channel.SMS)
    html = page(admin, "channel=email&q=taro&cursor=&size=50")
    tabs = re.findall(r'id="tab-(\w+)".*?<span class="count">(\d+)</span>', html, re.DOTALL)
    assert tabs == [("email", "2"), ("lineworks", "0"), ("sms", "1")]
    assert parameters(link(html, "tab-sms")) == {"channel": ["sms"], "q": ["taro"]}


def test_without_a_channel_the_first_one_that_has_such_errors_is_shown(admin, record):
    record(failed("Invoice"))
    record(failed("Alarm", kind=Kind.UNDELIVERED, recipient="+819012345678"), channel=Channel.SMS)
    assert titles(page(admin)) == ["Invoice"]
    assert titles(page(admin, "state=undelivered")) == ["Alarm"]


def test_several_states_can_be_chosen_and_each_filter_is_a_chip_that_takes_it_away(admin, record):
    record(failed("Invoice"), failed("Survey", kind=Kind.DROPPED), failed("Timetable", kind=Kind.BLOCKED))
    html = page(admin, "channel=email&state=bounced&state=dropped&q=taro")
    assert sorted(titles(html)) == ["Invoice", "Survey"]
    chips = re.findall(r'<a class="chip" href="([^"]*)">(.*?)</a>', html)
    assert [text_of(text) for _url, text in chips] == [
        "Search: taro Remove this filter",
        "State: Bounced, Dropped Remove this filter",
    ]
    assert [parameters(unescape(url)) for url, _text in chips] == [
        {"channel": ["email"], "state": ["bounced", "dropped"]},
        {"channel": ["email"], "q": ["taro"]},
    ]


def test_days_are_those_of_the_tenants_time_zone(sakura, member, client_as):
    source = connect(sakura, "ses")
    early, late = failed("Before midnight in Tokyo", 5.5 * 60), failed("After midnight in Tokyo", 6.5 * 60)
    with tenant_scope(sakura.id):
        ledger.record(sakura.id, reported(late, early, connection=source))
    client = client_as(member("viewer", sakura))
    html = client.get("/t/sakura/errors/?from=2026-11-21&to=2026-11-21").content.decode()
    assert titles(html) == ["After midnight in Tokyo"]
    assert 'datetime="2026-11-21T00:30:00+09:00"' in html


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("state=eaten", "State"),
        ("from=yesterday", "From"),
        ("from=2026-11-21&to=2026-11-20", "To"),
        ("channel=fax", "Channel"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_with_the_field_named(admin, record, query, label):
    record(failed("Invoice"))
    answer = admin.get(f"{ERRORS}?{query}")
    html = answer.content.decode()
    assert answer.status_code == 422
    assert re.findall(r"<li><strong>([^<]*):</strong>", html) == [label]
    assert titles(html) == []


def test_a_damaged_page_address_is_refused_and_leads_to_the_first_page(admin, record):
    record(failed("Invoice"))
    answer = admin.get(f"{ERRORS}?channel=email&q=taro&cursor=damaged")
    html = answer.content.decode()
    assert answer.status_code == 422
    assert f'href="{ERRORS}?channel=email&amp;q=taro"' in html


def test_older_and_newer_pages_lead_back_to_the_same_rows(admin, record):
    record(*(failed(f"Notice {number:02}", number) for number in range(60)))
    first = page(admin, "size=25")
    second = admin.get(link(first, "page-next")).content.decode()
    third = admin.get(link(second, "page-next")).content.decode()
    assert [len(titles(html)) for html in (first, second, third)] == [25, 25, 10]
    assert titles(first)[0] == "Notice 59"
    assert titles(third)[-1] == "Notice 00"
    assert titles(admin.get(link(third, "page-previous")).content.decode()) == titles(second)
    assert (link(first, "page-previous"), link(third, "page-next")) == ("", "")


def test_htmx_gets_the_list_alone_and_the_whole_page_when_it_restores_history(admin, record):
    record(failed("Invoice"))
    fragment = admin.get(ERRORS, headers={"HX-Request": "true"})
    restored = admin.get(ERRORS, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert [b"<html" in fragment.content, b"<html" in restored.content] == [False, True]
    assert titles(fragment.content.decode()) == titles(restored.content.decode()) == ["Invoice"]
    assert "HX-Request" in fragment["Vary"]


def test_what_is_wrong_with_a_filter_reaches_htmx_too(admin, source):
    answer = admin.get(f"{ERRORS}?state=eaten", headers={"HX-Request": "true"})
    assert answer.status_code == 422
    assert "There is no state “eaten”" in answer.content.decode()


def test_a_list_without_any_source_says_that_it_says_nothing(acme, admin, member, client_as):
    viewer = client_as(member("viewer", acme, "viewer@example.test"))
    assert "No source is connected yet" in page(admin)
    assert ["Connect a provider" in page(client) for client in (admin, viewer)] == [True, False]


def test_an_empty_list_tells_silence_from_health(acme, admin, source):
    assert "No event has been received yet, from any source." in page(admin)
    with tenant_scope(acme.id):
        Connection.objects.update(last_event_at=timezone.now() - timedelta(minutes=2, seconds=5))
    assert "Last event received 2 minutes ago from ses." in text_of(page(admin))


def test_a_filter_without_a_match_offers_to_clear_it(admin, record):
    record(failed("Invoice"))
    html = page(admin, "channel=email&q=nobody")
    assert "No error matches the filter" in html
    assert f'<a class="button" href="{ERRORS}?channel=email">Clear all filters</a>' in html


def test_the_downloads_carry_the_filter_and_are_offered_to_those_who_may(acme, admin, record, member, client_as):
    record(failed("Invoice"))
    html = page(admin, "channel=email&state=bounced&size=50")
    downloads = [parameters(unescape(url)) for url in re.findall(r'href="(/t/acme/errors/export[^"]*)"', html)]
    kept = {"channel": ["email"], "state": ["bounced"]}
    assert downloads == [
        {**kept, "format": ["csv"]},
        {**kept, "format": ["csv"], "encoding": ["cp932"]},
        {**kept, "format": ["tsv"]},
    ]
    viewer = client_as(member("viewer", acme, "viewer@example.test"))
    assert "errors/export" not in page(viewer)


def test_a_row_leads_to_its_delivery_and_back_to_the_same_list(admin, record):
    record(failed("Invoice"))
    html = page(admin, "channel=email&q=taro")
    url = unescape(re.search(r'data-row-link href="([^"]*)"', html)[1])
    assert parameters(url) == {"back": ["channel=email&q=taro"]}
    assert admin.get(url).status_code == 200


def test_twenty_rows_take_as_many_queries_as_one(admin, record):
    record(failed("Invoice"))
    with CaptureQueriesContext(database) as one:
        page(admin)
    record(*(failed(f"Notice {number}", number) for number in range(20)))
    with CaptureQueriesContext(database) as many:
        page(admin)
    assert len(many) == len(one)


def test_another_tenants_errors_are_not_shown(sakura, admin, record):
    record(failed("Ours"))
    other = connect(sakura, "ses")
    with tenant_scope(sakura.id):
        ledger.record(sakura.id, reported(failed("Theirs"), connection=other))
    assert titles(page(admin)) == ["Ours"]


def test_a_query_without_a_parameter_keeps_the_others_and_loses_the_empty_ones():
    data = QueryDict("state=bounced&state=dropped&q=&cursor=abc&channel=email")
    assert query_without(data, "cursor", channel="sms") == "state=bounced&state=dropped&channel=sms"
