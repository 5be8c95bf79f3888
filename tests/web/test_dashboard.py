"""The dashboard: the number that is a link, the chart and its table, what fails most, and silent sources."""

from __future__ import annotations

import re
from datetime import date, timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from deliveries import ledger
from deliveries.enums import Channel, Kind, State
from deliveries.models import Connection
from deliveries.web.dashboard import CHART_HEIGHT, chart_of
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(acme):
    return connect(acme, "ses", "Billing mail")


@pytest.fixture
def record(acme, source):
    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


@pytest.fixture
def viewer(acme, member, client_as):
    return client_as(member("viewer", acme))


def failed(number: int, kind: Kind = Kind.BOUNCED, days_ago: int = 0, **values):
    """A failure of its own, some days ago."""
    at = timezone.now() - timedelta(days=days_ago, minutes=1)
    made = event(kind, provider_message_id=f"message-{number}", **values)
    return type(made)(**{name: getattr(made, name) for name in made.__struct_fields__} | {"occurred_at": at})


def show(client) -> str:
    return client.get("/t/acme/").content.decode()


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(unescape(url)).query)


def set_source(tenant, **values) -> None:
    with tenant_scope(tenant.id):
        Connection.objects.update(**values)


def test_the_number_counts_what_failed_and_leads_to_those_rows(viewer, record):
    record(failed(1), failed(2, Kind.DROPPED), failed(3, Kind.DEFERRED), failed(4, days_ago=40))
    number = re.search(r'<a class="headline-number" href="([^"]*)">(\d+)<', show(viewer))
    assert number[2] == "2"
    listed = viewer.get(unescape(number[1])).content.decode()
    assert len(re.findall("data-row-link", listed)) == 2


def test_the_number_is_split_by_channel_since_the_list_is(viewer, record):
    record(failed(1), failed(2))
    record(failed(3, Kind.UNDELIVERED, recipient="+819012345678"), channel=Channel.SMS)
    html = show(viewer)
    assert re.search(r'class="headline-number" href="[^"]*">(\d+)<', html)[1] == "3"
    parts = re.findall(r'<li><a href="([^"]*)"><svg[^>]*>.*?</svg> (\w+) (\d+)</a>', html)
    assert [(label, n) for _url, label, n in parts] == [("Email", "2"), ("SMS", "1")]
    assert [query_of(url)["channel"] for url, *_rest in parts] == [["email"], ["sms"]]


def test_without_failures_the_number_is_neither_a_link_nor_an_alarm(viewer, source):
    html = show(viewer)
    assert re.findall(r'<(\w+) class="headline-number"', html) == ["span"]
    assert "a silent one reports no failures either" in html


def test_the_table_has_the_chart_s_numbers(viewer, record):
    record(failed(1), failed(2), failed(3, Kind.DEFERRED), failed(4, days_ago=3))
    table = re.search(r"<caption>Failures per day.*?</table>", show(viewer), re.DOTALL)[0]
    rows = [text_of(row).split() for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
    assert rows[0] == ["Day", "Bounced", "Deferred", "Total"]
    assert [row[-3:] for row in rows[1:5]] == [["2", "1", "3"], ["0", "0", "0"], ["0", "0", "0"], ["1", "0", "1"]]
    assert len(rows) == 31


def test_the_tallest_day_fills_the_chart_and_segments_stand_on_each_other(acme):
    numbers = [(date(2026, 11, 19), {State.BOUNCED: 2}), (date(2026, 11, 20), {State.BOUNCED: 3, State.DEFERRED: 1})]
    chart = chart_of(acme, numbers)
    low, high = (bar.segments for bar in chart.bars)
    assert [(segment.state, segment.y, segment.height) for segment in high] == [
        (State.BOUNCED, CHART_HEIGHT / 4, CHART_HEIGHT * 3 / 4),
        (State.DEFERRED, 0.0, CHART_HEIGHT / 4),
    ]
    assert [(segment.y, segment.height) for segment in low] == [(CHART_HEIGHT / 2, CHART_HEIGHT / 2)]


def test_the_most_frequent_causes_and_domains_lead_to_their_rows(viewer, record):
    record(failed(1), failed(2, recipient="a@example.org"), failed(3, recipient="b@example.org"))
    html = show(viewer)
    tops = re.findall(r'<a href="([^"]*)">([^<]*)</a><svg.*?<span class="number">(\d+)</span>', html)
    assert [(label, n) for _url, label, n in tops] == [
        ("Address does not exist", "3"),
        ("example.org", "2"),
        ("example.co.jp", "1"),
    ]
    assert query_of(tops[0][0])["code"] == ["BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE"]
    listed = viewer.get(unescape(tops[1][0])).content.decode()
    assert len(re.findall("data-row-link", listed)) == 2


@pytest.mark.parametrize(
    ("hours", "said"), [(1, "Healthy"), (25, "Silent Nothing for more than 24 hours: silence is not health.")]
)
def test_a_source_that_is_silent_for_a_day_is_pointed_out(acme, viewer, source, hours, said):
    set_source(acme, last_event_at=timezone.now() - timedelta(hours=hours))
    row = re.search(r'<th scope="row" class="strong">Billing mail</th>.*?</tr>', show(viewer), re.DOTALL)[0]
    assert text_of(row).endswith(said)


def test_a_source_that_was_never_heard_is_waiting(viewer, source):
    assert "Billing mail Last event: never Waiting for the first event" in text_of(show(viewer))


def test_what_a_provider_says_of_the_account_stands_on_top(acme, viewer, source):
    set_source(acme, account_status="Sending paused", account_status_at=timezone.now())
    note = re.search(r'<div class="note danger">.*?</div></div>', show(viewer), re.DOTALL)[0]
    assert text_of(note) == "The provider has limited the account of Billing mail. Sending paused See the source"


def test_a_tenant_without_sources_is_led_to_connect_one_if_they_may(acme, viewer, member, client_as):
    admin = client_as(member("admin", acme, "admin@example.test"))
    assert ["Connect a provider" in show(client) for client in (viewer, admin)] == [False, True]
