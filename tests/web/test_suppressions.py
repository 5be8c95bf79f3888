"""The pages of the suppression list: the list and its filter, one entry, its removal, adding by hand."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from deliveries import ledger, suppress
from deliveries.enums import Channel, Kind, ProviderState
from deliveries.models import Suppression
from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.deliveries.test_suppress import notables
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

LIST = "/t/acme/suppressions/"
TARO = "taro@example.co.jp"


@pytest.fixture
def source(acme):
    return connect(acme, "ses")


@pytest.fixture
def report(acme, source):
    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))
            suppress.note(acme.id, notables(events, source, channel))

    return write


@pytest.fixture
def support(acme, member, client_as):
    return client_as(member("support", acme, email="support@example.test"))


@pytest.fixture
def admin(acme, member, client_as):
    return client_as(member("admin", acme))


def bounce(recipient=TARO, minutes=0, **values):
    return event(minutes=minutes, recipient=recipient, provider_message_id=f"id-{recipient}", **values)


def only_entry(acme) -> Suppression:
    with tenant_scope(acme.id):
        return Suppression.objects.get()


def page(client, where: str, **headers) -> str:
    return client.get(where, **headers).content.decode()


def words(html: str) -> str:
    """The page's text, tags and repeated spaces taken out."""
    body = html.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", body)))


def recipients(html: str) -> list[str]:
    found = re.findall(r"data-row-link href=\"[^\"]*\">(.*?)</a>", html)
    return [unescape(text.replace("<wbr>", "")) for text in found]


# ---------------------------------------------------------------- the list


def test_the_list_shows_who_is_not_sent_to_newest_first(report, admin):
    report(bounce("old@example.test"), bounce("new@example.test", 5))
    assert recipients(page(admin, LIST)) == ["new@example.test", "old@example.test"]


def test_each_channel_has_its_tab_and_the_first_with_entries_is_shown(acme, report, admin):
    report(bounce("+819012345678", verdict="", reply=""), channel=Channel.SMS)
    with tenant_scope(acme.id):
        suppress.add_by_hand(channel="sms", recipient="090-1234-5678", note="", actor=Actor("A"), region="JP")
    html = page(admin, LIST)
    assert recipients(html) == ["+819012345678"]
    assert re.findall(r"tab=(\w+)\"( aria-current=\"page\")?", html)[:4] == [
        ("email", ""),
        ("lineworks", ""),
        ("sms", ' aria-current="page"'),
        ("removed", ""),
    ]


def test_search_goes_by_the_beginning_and_the_reason_narrows(report, admin):
    report(bounce("taro@example.test"), bounce("hanako@example.test"))
    report(event(Kind.SPAM_REPORT, 5, recipient="tadashi@example.test", provider_message_id="m9"))
    assert recipients(page(admin, f"{LIST}?q=TA")) == ["tadashi@example.test", "taro@example.test"]
    assert recipients(page(admin, f"{LIST}?q=ta&reason=spam_report")) == ["tadashi@example.test"]


def test_what_matches_nothing_says_so_and_an_empty_list_says_what_brings_people_here(admin, acme):
    assert "Nobody is on the list" in page(admin, LIST)
    assert "No entry matches the filter" in page(admin, f"{LIST}?q=x")
    assert "Nothing was removed yet" in page(admin, f"{LIST}?tab=removed")


@pytest.mark.parametrize("query", ["tab=fax", "reason=whim", "cursor=damaged"])
def test_an_address_that_makes_no_sense_is_refused(admin, acme, query):
    response = admin.get(f"{LIST}?{query}")
    assert response.status_code == 422
    assert 'role="alert"' in response.content.decode()


def test_pages_follow_each_other_without_losing_or_repeating_a_row(report, admin, monkeypatch):
    monkeypatch.setattr("deliveries.web.suppressions.PAGE_SIZE", 2)
    report(*(bounce(f"r{n}@example.test", n) for n in range(5)))
    seen, where = [], LIST
    while where:
        html = page(admin, where)
        seen += recipients(html)
        older = re.search(r'rel="next" href="([^"]*)"', html)
        where = unescape(older[1]) if older else ""
    assert seen == [f"r{n}@example.test" for n in (4, 3, 2, 1, 0)]


def test_twenty_rows_take_as_many_queries_as_one(report, admin):
    def queries() -> int:
        with CaptureQueriesContext(database) as taken:
            page(admin, f"{LIST}?tab=email")
        return len(taken)

    report(bounce("first@example.test"))
    one = queries()
    report(*(bounce(f"r{n}@example.test") for n in range(19)))
    assert queries() == one


def test_htmx_gets_the_list_alone(report, admin):
    report(bounce())
    html = page(admin, LIST, headers={"HX-Request": "true"})
    assert "<main" not in html
    assert recipients(html) == [TARO]


# ---------------------------------------------------------------- one entry


def test_an_entry_says_why_what_happens_and_where_it_came_from(report, acme, admin):
    report(bounce(title="Payslip"))
    html = page(admin, f"{LIST}{only_entry(acme).id}/")
    said = words(html)
    assert f"A notice to {TARO} could not be delivered, so no more are sent there." in said
    assert "Every notice to this recipient is stopped before it leaves" in said
    assert "Removing does not send anything again, and it may bounce again." in said
    assert "Is the message in the recipient's spam folder?" in said
    assert re.search(r'<a href="/t/acme/deliveries/[0-9a-f-]+/">Payslip</a>', html)
    assert "/t/acme/errors/?channel=email&amp;recipient=taro%40example.co.jp" in html


def test_who_may_not_remove_sees_whom_to_ask_and_a_request_to_copy(report, acme, admin, member):
    member("support", acme, email="desk@example.test")
    report(bounce())
    entry = only_entry(acme)
    html = page(admin, f"{LIST}{entry.id}/")
    assert "Only Support may remove entries. Ask: desk@example.test." in words(html)
    assert (
        f"Please remove {TARO} from the suppression list: http://testserver/t/acme/suppressions/{entry.id}/"
        in words(html)
    )
    assert re.search(r"<button[^>]*disabled[^>]*>Remove from the list", html)
    assert "<form class" not in html.partition("<main")[2]
    assert admin.post(f"{LIST}{entry.id}/remove", {"reason": "x"}).status_code == 403


def test_without_anybody_of_support_the_page_says_what_an_admin_can_do(report, acme, admin):
    report(bounce())
    assert "nobody in this organisation has that role" in words(page(admin, f"{LIST}{only_entry(acme).id}/"))


def test_support_removes_an_entry_and_sees_how_it_goes_on(report, acme, support):
    report(bounce())
    entry = only_entry(acme)
    answer = support.post(f"{LIST}{entry.id}/remove", {"reason": "Mailbox is back"}, follow=True)
    said = words(answer.content.decode())
    assert f"{TARO} is off the list. Nothing is sent again by itself." in said
    assert "Amazon SES is being told…" in said
    assert "See what did not reach this recipient" in said
    removed = only_entry(acme)
    assert (removed.removed_by, removed.removal_reason) == ("support@example.test", "Mailbox is back")
    assert removed.provider_state == ProviderState.REMOVING
    with tenant_scope(acme.id):
        assert AuditEntry.objects.filter(action="suppression.removed", object_id=str(entry.id)).count() == 1
    assert recipients(page(support, f"{LIST}?tab=removed")) == [TARO]


def test_a_removal_without_a_reason_stays_on_the_page(report, acme, support):
    report(bounce())
    answer = support.post(f"{LIST}{only_entry(acme).id}/remove", {"reason": ""})
    assert answer.status_code == 422
    assert only_entry(acme).removed_at is None


@pytest.mark.parametrize("kind", [Kind.SPAM_REPORT, Kind.UNSUBSCRIBED])
def test_the_recipients_wish_is_only_undone_with_consent(report, acme, support, kind):
    report(event(kind, recipient=TARO))
    where = f"{LIST}{only_entry(acme).id}/"
    html = page(support, where)
    assert "Only the recipient can change that" in html
    assert "Is the message in the recipient&#x27;s spam folder?" not in html

    refused = support.post(f"{where}remove", {"reason": "Asked for it"})
    assert refused.status_code == 422
    assert "the entry stays on the list" in words(refused.content.decode())
    assert support.post(f"{where}remove", {"reason": "Asked for it", "consent": "on"}).status_code == 302
    assert only_entry(acme).removed_at is not None


def test_the_state_at_the_provider_is_asked_for_until_it_is_final(report, acme, support):
    report(bounce())
    entry = only_entry(acme)
    support.post(f"{LIST}{entry.id}/remove", {"reason": "x"})
    part = f"{LIST}{entry.id}/provider"
    assert 'hx-trigger="every 3s"' in page(support, part)
    assert support.get(f"{part}?known=").status_code == 204

    say(acme, provider_answer="no_answer: No answer came in time.")
    assert "No answer came in time. It is tried again for a day." in page(support, part)
    say(acme, provider_state="removed", provider_answer="taken_off: BOUNCE")
    final = page(support, part)
    assert "hx-trigger" not in final
    assert "Amazon SES no longer lists the recipient" in final
    assert "The provider confirmed that the recipient is off its lists: BOUNCE." in final


def test_a_removal_that_failed_at_the_provider_says_what_to_do(report, acme, support):
    report(bounce())
    entry = only_entry(acme)
    support.post(f"{LIST}{entry.id}/remove", {"reason": "x"})
    say(acme, provider_state="failed", provider_answer="no_account")
    said = words(page(support, f"{LIST}{entry.id}/"))
    assert "Amazon SES may still stop notices to the recipient" in said
    assert "in the provider's own console" in said


def say(acme, **values):
    with tenant_scope(acme.id):
        Suppression.objects.update(**values)


def test_a_removed_entry_leads_to_the_one_that_came_after_it(report, acme, support):
    report(bounce())
    first = only_entry(acme)
    support.post(f"{LIST}{first.id}/remove", {"reason": "x"})
    say(acme, removed_at=AT + timedelta(minutes=1))
    report(bounce(minutes=9, smtp_code="551"))
    with tenant_scope(acme.id):
        again = Suppression.objects.get(removed_at=None)
    html = page(support, f"{LIST}{first.id}/")
    assert f'href="/t/acme/suppressions/{again.id}/">See that entry' in html


def test_an_unsubscription_that_was_lifted_says_so(report, acme, admin):
    report(event(Kind.UNSUBSCRIBED, recipient=TARO), event(Kind.RESUBSCRIBED, 5, recipient=TARO, reply=""))
    assert f"{TARO} subscribed again" in words(page(admin, f"{LIST}{only_entry(acme).id}/"))


# ---------------------------------------------------------------- by hand


def test_a_recipient_is_added_by_hand_once(acme, admin):
    given = {"channel": "email", "recipient": "Left@Example.test", "note": "Left the company"}
    for _time in range(2):
        answer = admin.post(f"{LIST}add", given)
        assert answer.headers["Location"] == f"{LIST}{only_entry(acme).id}/"
    said = words(page(admin, answer.headers["Location"]))
    assert "left@example.test is on the list already." in said.lower()
    assert "Left the company" in said


def test_a_recipient_that_can_not_be_one_is_not_added(acme, admin):
    answer = admin.post(f"{LIST}add", {"channel": "sms", "recipient": "hello", "note": ""})
    assert answer.status_code == 422
    assert "This is no recipient of that channel" in answer.content.decode()
    with tenant_scope(acme.id):
        assert Suppression.objects.count() == 0


def test_a_viewer_reads_and_adds_nothing(acme, member, client_as, report):
    report(bounce())
    viewer = client_as(member("viewer", acme))
    assert "Add a recipient" not in page(viewer, LIST)
    assert viewer.post(f"{LIST}add", {"channel": "email", "recipient": "x@example.test"}).status_code == 403
