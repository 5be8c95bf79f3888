"""The undelivered notifications report: the number, statuses, days, and what mends a row."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from deliveries import ledger
from deliveries.enums import Channel, Kind
from deliveries.models import Delivery
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

REPORT = "/t/acme/undelivered/"
NOW = AT + timedelta(days=10)


@pytest.fixture
def record(acme):
    source = connect(acme, "ses")

    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


@pytest.fixture
def manager(acme, member, client_as):
    return client_as(member("manager", acme))


@pytest.fixture
def every_failure(record):
    """One of each status and one that is still tried, each titled by what it should be listed under."""
    full = {"verdict": "Transient/MailboxFull", "reply": "452 4.2.2 Mailbox full", "smtp_code": "452"}
    bare = {"verdict": "", "reply": "", "smtp_code": "", "enhanced_code": ""}
    record(
        failed("Invalid"),
        failed("Bounced", **{**full, "enhanced_code": "4.2.2"}),
        failed("Blocked", Kind.BLOCKED, reply="550 5.7.1 Blocked"),
        failed("Given up", Kind.EXPIRED),
        failed("Spammed", Kind.SPAM_REPORT),
        failed("Dropped", Kind.DROPPED, reply="Bounced Address"),
        failed("Not sent", Kind.FAILED, reply="401 Unauthorized"),
        failed("Still tried", Kind.DEFERRED),
        failed("Arrived", Kind.DELIVERED),
    )
    number = {"recipient": "+819012345678", **bare}
    record(
        failed("No carrier", Kind.UNDELIVERED, **number),
        failed("Refused", Kind.REJECTED, **number),
        failed("Too late", Kind.EXPIRED, **number),
        channel=Channel.SMS,
    )


def failed(title: str, kind: Kind = Kind.BOUNCED, minutes: float = 0, **values):
    return event(kind, minutes, **{"title": title, "provider_message_id": f"id-of-{title}", **values})


def page(client, query: str = "", address: str = REPORT) -> str:
    with freeze_time(NOW):
        return client.get(f"{address}?{query}").content.decode()


def titles(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"data-row-link href=\"[^\"]*\">([^<]*)<", html)]


def number(html: str) -> str:
    return re.search(r'class="headline-number"[^>]*>([\d,]+)<', html)[1]


@pytest.mark.parametrize(
    ("status", "listed"),
    [
        ("bounced", {"Bounced", "Blocked", "Given up"}),
        ("invalid", {"Invalid"}),
        ("spam_report", {"Spammed"}),
        ("dropped", {"Dropped"}),
        ("undelivered", {"No carrier"}),
        ("rejected", {"Refused"}),
        ("expired", {"Too late"}),
        ("failed", {"Not sent"}),
    ],
)
def test_each_status_has_its_failures(manager, every_failure, status, listed):
    assert set(titles(page(manager, f"undelivered={status}"))) == listed


def test_the_number_counts_what_all_statuses_list(manager, every_failure):
    html = page(manager)
    assert (number(html), len(titles(html))) == ("10", 10)


def test_every_failure_is_in_exactly_one_status(manager, every_failure):
    listed = [
        title
        for status in ("bounced", "invalid", "spam_report", "dropped", "undelivered", "rejected", "expired", "failed")
        for title in titles(page(manager, f"undelivered={status}"))
    ]
    assert sorted(listed) == sorted(titles(page(manager)))


def test_an_unknown_status_is_explained(manager):
    answer = manager.get(f"{REPORT}?undelivered=lost")
    assert answer.status_code == 422
    assert "There is no status “lost”: use any, bounced, invalid," in unescape(answer.content.decode())


def test_older_rows_fall_off_by_themselves_and_are_found_by_date_range(manager, record):
    record(failed("New"), failed("First day", minutes=-60 * 24 * 19), failed("Old", minutes=-60 * 24 * 20))
    html = page(manager)
    assert (number(html), titles(html)) == ("2", ["New", "First day"])
    assert titles(page(manager, "to=2026-10-31")) == ["Old"]


def test_tabs_keep_the_filter(manager, record):
    html = page(manager, "undelivered=bounced&q=taro&from=2026-11-01&size=50&cursor=")
    address = unescape(re.search(r'id="status-dropped" href="([^"]*)"', html)[1])
    assert parse_qs(urlsplit(address).query) == {"undelivered": ["dropped"], "q": ["taro"], "from": ["2026-11-01"]}


def test_a_row_tells_person_notice_reason_and_next_step(manager, acme, record):
    record(failed("Invoice"))
    with tenant_scope(acme.id):
        Delivery.objects.update(name="Taro Yamada")
    row = page(manager).partition('<tbody role="rowgroup">')[2].partition("</tbody>")[0]
    said = " ".join(unescape(re.sub(r"<[^>]+>", " ", row)).split())
    assert said.startswith("Taro Yamada Invoice taro @example.co.jp Bounced Permanent Address does not exist")


def test_what_is_delivered_after_all_is_gone(manager, record):
    record(failed("Invoice"))
    assert number(page(manager)) == "1"
    record(failed("Invoice", Kind.DELIVERED, 5))
    html = page(manager)
    assert (number(html), titles(html)) == ("0", [])


def test_a_row_that_is_opened_leads_back_to_the_report(manager, record):
    record(failed("Invoice"))
    url = re.search(r'data-row-link href="([^"]*)"', page(manager, "undelivered=invalid"))[1]
    assert parse_qs(urlsplit(unescape(url)).query) == {"list": ["undelivered"], "back": ["undelivered=invalid"]}


def test_twenty_rows_take_as_many_queries_as_one(manager, acme, record):
    taken = []
    for numbers in (range(1), range(1, 20)):
        record(*(failed(f"Notice {index}", minutes=index) for index in numbers))
        with tenant_scope(acme.id):
            Delivery.objects.update(contact_id=uuid7())
        with CaptureQueriesContext(database) as queries:
            html = page(manager)
        taken.append(len(queries))
    assert len(titles(html)) == 20
    assert taken[0] == taken[1]


def test_the_dashboards_number_leads_here(manager, record):
    record(failed("Invoice"))
    html = page(manager, address="/t/acme/")
    assert re.search(r'class="headline-number" href="([^"]*)"', html)[1] == REPORT
