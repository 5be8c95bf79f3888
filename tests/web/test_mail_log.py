"""The mail log: what a row says, what is found, the AND/OR filter without script, the deferred clock."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries import ledger
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Kind
from deliveries.models import Attempt, Contact, Delivery
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

LOG = "/t/acme/mail-log/"


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
def change(acme):
    """``change("Invoice", name="Taro")`` sets columns of the delivery with that title."""

    def write(title, **values):
        with tenant_scope(acme.id):
            Delivery.objects.filter(title=title).update(**values)

    return write


@pytest.fixture
def attempt(acme):
    """A hand-over of the delivery with that title."""

    def make(title, **values):
        with tenant_scope(acme.id):
            row = Delivery.objects.get(title=title)
            Attempt(
                delivery=row,
                channel=row.channel,
                connection_id=row.connection_id,
                **{"why": AttemptWhy.FIRST, **values},
            ).save()

    return make


@pytest.fixture
def viewer(acme, member, client_as):
    return client_as(member("viewer", acme))


@pytest.fixture
def admin(acme, member, client_as):
    return client_as(member("admin", acme))


def sent(title: str, kind: Kind = Kind.ACCEPTED, minutes: float = 0, **values):
    """A notice of its own, known by its title."""
    return event(kind, minutes, **{"title": title, "provider_message_id": f"id-of-{title}", **values})


def page(client, query: str = "") -> str:
    return client.get(f"{LOG}?{query}").content.decode()


def titles(html: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"data-row-link href=\"[^\"]*\">([^<]*)<", html)]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def part(html: str, opening: str, closing: str) -> str:
    return html.partition(opening)[2].partition(closing)[0]


def cells(html: str, name: str) -> list[str]:
    found = re.findall(rf'<t[dh] role="(?:cell|rowheader)"[^>]*class="{name}[^"]*">(.*?)</t[dh]>', html, re.DOTALL)
    return [text_of(cell) for cell in found]


def test_every_state_is_listed_the_one_handed_over_last_first(viewer, record):
    record(sent("Survey", Kind.DELIVERED, 2), sent("Invoice", Kind.BOUNCED, 1), sent("Alarm", minutes=3))
    assert titles(page(viewer)) == ["Alarm", "Survey", "Invoice"]


def test_a_row_has_the_providers_answer_and_what_came_later(viewer, record, attempt):
    record(sent("Invoice"), sent("Invoice", Kind.BOUNCED, 4))
    attempt("Invoice", status=AttemptStatus.REFUSED, answer="429 Too Many Requests")
    attempt("Invoice", status=AttemptStatus.ACCEPTED, answer="202 Accepted", answered_at=AT)
    html = page(viewer)
    assert cells(html, "answer-cell") == ["Provider's answer: 202 Accepted 20 Nov 09:00"]
    assert cells(html, "cause-cell") == ["What came later: Bounced 20 Nov 09:04"]


def test_a_report_of_an_earlier_hand_over_is_told_apart_from_the_last_one(viewer, record, attempt):
    record(sent("Invoice", Kind.BOUNCED))
    attempt("Invoice", why=AttemptWhy.RESEND, number=2, status=AttemptStatus.ACCEPTED, answer="202 Accepted")
    html = page(viewer)
    assert cells(html, "answer-cell") == ["Provider's answer: 202 Accepted"]
    assert cells(html, "cause-cell") == [
        "What came later: nothing yet: no verdict Before that: Bounced 20 Nov 09:00",
    ]


def test_accepted_is_not_delivered(viewer, record, attempt):
    record(sent("Invoice"))
    attempt("Invoice", status=AttemptStatus.ACCEPTED, answer="202 Accepted")
    html = page(viewer)
    assert "“Accepted” is not “delivered”" in html
    assert cells(html, "cause-cell") == ["What came later: nothing yet: no verdict"]


def test_a_notice_that_the_product_sends_shows_its_last_event(viewer, record):
    record(sent("Invoice", Kind.DELIVERED))
    html = page(viewer)
    assert cells(html, "answer-cell") == ["Provider's answer: handed over by your product"]
    assert cells(html, "cause-cell") == ["What came later: Delivered 20 Nov 09:00"]


def test_a_notice_that_waits_says_so(viewer, record, attempt, change):
    record(sent("Invoice"))
    change("Invoice", state="queued", kind="")
    attempt("Invoice")
    html = page(viewer)
    assert cells(html, "answer-cell") == ["Provider's answer: Waiting to be handed over"]
    assert cells(html, "cause-cell") == ["What came later: nothing: it was not handed over yet"]


def test_the_deferred_clock_tells_the_hours_left_and_what_happens_at_the_end(viewer, record, change):
    record(sent("Invoice", Kind.DEFERRED))
    change("Invoice", provider="sendgrid", first_deferred_at=timezone.now() - timedelta(hours=29, minutes=30))
    html = page(viewer)
    assert "42 h left of 72" in text_of(html)
    assert "the provider gives up: it then counts as undelivered." in text_of(html)


def test_a_clock_that_ran_out_is_not_negative(viewer, record, change):
    record(sent("Invoice", Kind.DEFERRED))
    change("Invoice", provider="sendgrid", first_deferred_at=timezone.now() - timedelta(hours=80))
    assert "its last word is still to come" in text_of(page(viewer))


@pytest.mark.parametrize(
    "text",
    ["taro", "TARO@EXAMPLE", "inv", "id-of-Inv", "Taro%20Y", "yamada", "customer-7", "0198c2a4", "0198c2a4-5f7e-7d31"],
)
def test_a_notice_is_found_by_person_address_subject_message_and_notice_id(viewer, acme, record, change, text):
    record(sent("Invoice"), sent("Survey", recipient="hanako@other.example", minutes=1))
    with tenant_scope(acme.id):
        person = Contact(external_id="customer-7", name="Yamada Taro", name_key="yamada taro")
        person.save()
    change("Invoice", name="Taro Yamada", notice_id="0198c2a4-5f7e-7d31-9c55-0c8b0f6d2b11", contact_id=person.id)
    assert titles(page(viewer, f"q={text}")) == ["Invoice"]


def test_a_person_is_found_by_a_notice_that_was_never_linked_to_them(viewer, acme, record):
    record(sent("Invoice"), sent("Survey", recipient="hanako@other.example", minutes=1))
    with tenant_scope(acme.id):
        Contact(name="Suzuki Hanako", name_key="suzuki hanako", email_key="hanako@other.example").save()
    assert titles(page(viewer, "q=Suzuki")) == ["Survey"]


def test_a_delivery_is_found_by_its_own_id(viewer, acme, record):
    record(sent("Invoice"), sent("Survey", recipient="hanako@other.example", minutes=1))
    with tenant_scope(acme.id):
        row = Delivery.objects.get(title="Invoice")
    assert titles(page(viewer, f"q={row.id}")) == ["Invoice"]


def test_status_channel_connection_and_days_narrow_it_down(viewer, record, source):
    record(sent("Invoice", Kind.BOUNCED), sent("Survey", Kind.DELIVERED, 60 * 24))
    record(sent("Alarm", recipient="+819012345678"), channel=Channel.SMS)
    assert titles(page(viewer, "state=bounced&state=accepted")) == ["Alarm", "Invoice"]
    assert titles(page(viewer, "channel=sms")) == ["Alarm"]
    assert titles(page(viewer, f"connection={source.id}&from=2026-11-21")) == ["Survey"]
    assert titles(page(viewer, f"connection={uuid7()}")) == []


def test_conditions_in_the_address_filter_and_are_said(viewer, record):
    record(sent("Invoice", Kind.BOUNCED), sent("Survey", Kind.DELIVERED), sent("Alarm"))
    html = page(viewer, "c=1.state.is.bounced&c=1.title.starts.Inv&c=2.title.is.alarm")
    assert sorted(titles(html)) == ["Alarm", "Invoice"]
    assert "(State is Bounced and Title begins with Inv) or (Title is alarm)" in text_of(html)


def test_a_wrong_condition_is_explained(viewer):
    answer = viewer.get(f"{LOG}?c=1.state.is.lost")
    assert answer.status_code == 422
    assert "“state” is never “lost”: use one of queued, accepted," in unescape(answer.content.decode())


def submit(client, **fields) -> dict[str, list[str]]:
    """Send the builder's form; returns the query of the address that it leads to."""
    answer = client.get(LOG, {name.replace("_", "-"): value for name, value in fields.items()})
    assert answer.status_code == 302
    return parse_qs(urlsplit(answer["Location"]).query)


def test_a_row_is_added_without_script_and_waits_for_its_value(viewer):
    query = submit(viewer, q="taro", b_do="add-1", **{"b-add-1": "state"})
    assert query == {"q": ["taro"], "draft": ["1.state.is"]}
    html = page(viewer, "q=taro&draft=1.state.is")
    assert re.findall(r'name="b-field" value="(\w+)"', html) == ["state"]
    assert '<option value="bounced">Bounced</option>' in html


def test_a_filled_row_becomes_a_condition_and_the_rest_of_the_filter_stays(viewer):
    rows = {"b-group": ["1", "1"], "b-field": ["state", "title"], "b-op": ["not", "starts"], "b-value": ["bounced", ""]}
    assert submit(viewer, channel="email", b_do="apply", **rows) == {
        "channel": ["email"],
        "c": ["1.state.not.bounced"],
        "draft": ["1.title.starts"],
    }


def test_a_row_is_removed_by_its_button(viewer):
    rows = {"b-group": ["1", "2"], "b-field": ["state", "title"], "b-op": ["is", "is"], "b-value": ["bounced", "x"]}
    assert submit(viewer, b_do="remove-0", **rows) == {"c": ["2.title.is.x"]}


def test_the_address_comes_back_as_rows(viewer):
    html = page(viewer, "c=2.first_at.after.2026-11-01&c=1.state.is.bounced")
    assert re.findall(r'name="b-(group|field)" value="(\w+)"', html) == [
        ("group", "1"),
        ("field", "state"),
        ("group", "2"),
        ("field", "first_at"),
    ]
    assert '<option value="bounced" selected>' in html
    assert 'type="date" id="b-value-1" name="b-value" value="2026-11-01"' in html


def test_the_search_form_keeps_the_conditions(viewer):
    html = page(viewer, "c=1.state.is.bounced")
    assert '<input type="hidden" name="c" value="1.state.is.bounced">' in part(html, 'role="search"', "</form>")


def test_twenty_rows_take_as_many_queries_as_one(viewer, record, attempt):
    taken = []
    for numbers in (range(1), range(1, 20)):
        record(*(sent(f"Notice {number}", Kind.DEFERRED, number) for number in numbers))
        for number in numbers:
            attempt(f"Notice {number}", answer="202 Accepted")
        with CaptureQueriesContext(database) as queries:
            html = page(viewer, "q=n")
        taken.append(len(queries))
    assert len(titles(html)) == 20
    assert taken[0] == taken[1]


def test_pages_follow_one_another(viewer, record):
    record(*(sent(f"Notice {number:02}", minutes=number) for number in range(27)))
    html = page(viewer)
    older = unescape(re.search(r'id="page-next"[^>]*href="([^"]*)"', html)[1])
    assert titles(html)[-1] == "Notice 02"
    assert titles(viewer.get(older).content.decode()) == ["Notice 01", "Notice 00"]


def test_a_viewer_may_look_but_not_download(viewer):
    assert viewer.get(f"{LOG}export").status_code == 403


def test_a_delivery_opened_from_the_log_leads_back_to_it_with_its_filter(viewer, record):
    record(sent("Invoice"))
    url = unescape(re.search(r'data-row-link href="([^"]*)"', page(viewer, "q=inv"))[1])
    crumb = re.search(r'class="crumb" href="([^"]*)">.*?</svg>([^<]*)<', viewer.get(url).content.decode())
    assert (unescape(crumb[1]), crumb[2]) == (f"{LOG}?q=inv", "Mail log")
