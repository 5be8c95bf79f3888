"""The acts of a delivery's page: resend, correct the contact, another way; and what the list says meanwhile."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries import contacts, suppress
from deliveries.accounts import sending_accounts
from deliveries.enums import AttemptStatus, Channel, Kind, Outcome
from deliveries.gather import attempt_key
from deliveries.ledger import Link, link
from deliveries.models import Attempt, Contact, Delivery, Notice, Pace
from deliveries.notices import NewRecipient
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from tests.failures import bounced, report, sends

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(acme):
    return sends(acme, name="Main mail")


@pytest.fixture
def manager(acme, member, client_as):
    return client_as(member("manager", acme, "hanako@example.test"))


def show(client, row, tenant="acme") -> str:
    return client.get(f"/t/{tenant}/deliveries/{row.id}/").content.decode()


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def act(client, row, name, **fields):
    return client.post(f"/t/acme/deliveries/{row.id}/{name}", fields, follow=True).content.decode()


def queued(acme):
    """What waits to be sent, oldest first: why, recipient as asked for, channel."""
    with tenant_scope(acme.id):
        rows = Attempt.objects.filter(status=AttemptStatus.QUEUED).order_by("id")
        return [(row.why, row.recipient, row.channel) for row in rows]


def hand_over(acme, row) -> Attempt:
    """What a worker does with the queued attempt of a delivery, as far as the page can tell."""
    with tenant_scope(acme.id):
        attempt = Attempt.objects.get(delivery_id=row.id, status=AttemptStatus.QUEUED)
        attempt.status, attempt.outcome, attempt.number = AttemptStatus.ACCEPTED, Outcome.ACCEPTED, 2
        attempt.recipient, attempt.sent_at, attempt.answer = "new@example.com", attempt.due_at, "202 Accepted"
        attempt.save()
        return attempt


def test_the_page_says_what_a_resend_will_do_and_does_it_once(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    assert "It goes to taro@example.com through SendGrid · Main mail." in text_of(show(manager, row))
    assert "It is on its way again" in act(manager, row, "resend")
    assert "It is being sent again already." in act(manager, row, "resend")
    assert queued(acme) == [("resend", "", "email")]


def test_a_page_that_waits_for_a_verdict_looks_again_by_itself_and_stops_when_it_has_one(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    assert "hx-trigger" not in show(manager, row)
    act(manager, row, "resend")
    assert 'id="live" hx-get' in show(manager, row)
    attempt = hand_over(acme, row)
    assert "to new@example.com, no verdict yet." in text_of(show(manager, row))
    with tenant_scope(acme.id):
        link(acme.id, [Link(attempt_key(source.id, attempt.id.hex, "new@example.com"), row.id, 2)])
    report(acme, row, Kind.DELIVERED, attempt.id, recipient="new@example.com")
    html = show(manager, row)
    assert "“Invoice” was delivered to new@example.com." in text_of(html)
    assert "hx-trigger" not in html
    assert 'id="acts-title"' not in html


def test_the_error_list_says_that_a_notice_is_on_its_way_again_until_there_is_a_verdict(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    act(manager, row, "resend")
    hand_over(acme, row)
    assert "to new@example.com, no verdict yet." in text_of(manager.get("/t/acme/errors/").content.decode())


def test_correcting_an_address_without_a_contact_makes_one_and_sends_to_it(acme, source, manager):
    (row,) = bounced(acme, "taro@gmial.com")
    html = show(manager, row)
    assert "Was taro@gmail.com meant?" in text_of(html)
    act(manager, row, "correct", value="taro@gmail.com", then="this")
    with tenant_scope(acme.id):
        person = Contact.objects.get()
        assert (person.email, Delivery.objects.get(id=row.id).contact_id) == ("taro@gmail.com", person.id)
    assert queued(acme) == [("corrected", "", "email")]


def test_only_saving_sends_nothing_and_the_page_then_says_where_it_would_go(acme, source, manager):
    (row,) = bounced(acme, "old@example.com")
    act(manager, row, "correct", value="new@example.com", then="nothing")
    assert queued(acme) == []
    assert "It goes to new@example.com" in text_of(show(manager, row))


def test_a_wrong_address_is_refused_with_the_reason(acme, source, manager):
    (row,) = bounced(acme, "old@example.com")
    with tenant_scope(acme.id):
        contacts.create({"name": "Sato", "email": "old@example.com"}, actor=COMMAND_LINE)
    act(manager, row, "correct", value="", then="this")
    assert queued(acme) == []
    with tenant_scope(acme.id):
        assert Contact.objects.get().email == "old@example.com"


def test_one_save_sends_all_open_notices_of_the_person_or_the_newest_of_each_kind(acme, source, manager):
    with tenant_scope(acme.id):
        contacts.create({"external_id": "7", "name": "Sato Taro", "email": "old@example.com"}, actor=COMMAND_LINE)
    person = NewRecipient(contact="7")
    rows = [*bounced(acme, person, kind="invoice"), *bounced(acme, person, kind="invoice"), *bounced(acme, person)]
    assert "2 other open failures of Sato Taro" in text_of(show(manager, rows[0]))
    act(manager, rows[0], "correct", value="new@example.com", then="newest")
    assert len(queued(acme)) == 2
    html = act(manager, rows[0], "correct", value="new@example.com", then="all")
    assert len(queued(acme)) == 3
    assert "1 notice is on its way again." in text_of(html)
    assert "2 notices were not sent: It is being sent again already." in text_of(html)


def test_another_way_is_offered_with_the_address_it_goes_to(acme, source, manager):
    phone = sends(acme, "twilio", "Texts")
    with tenant_scope(acme.id):
        contacts.create({"external_id": "7", "email": "a@example.com", "phone": "+819012345678"}, actor=COMMAND_LINE)
    (row,) = bounced(acme, NewRecipient(contact="7"))
    assert "By SMS to +819012345678, through Twilio · Texts" in text_of(show(manager, row))
    act(manager, row, "resend", connection=str(phone.id))
    assert queued(acme) == [("other_way", "+819012345678", "sms")]


def test_an_address_on_the_suppression_list_is_not_sent_to_and_the_page_says_so(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        suppress.add_by_hand(channel="email", recipient="taro@example.com", note="by phone", actor=COMMAND_LINE)
    html = show(manager, row)
    assert "Not now: taro@example.com is on the suppression list" in text_of(html)
    assert 'id="resend"' not in html


def test_a_notice_whose_text_is_not_held_says_who_can_send_it(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        Notice.objects.update(body_sealed=None)
    assert "Send it again from the program that sent it." in text_of(show(manager, row))


def test_what_may_have_been_sent_goes_again_only_if_a_person_insists(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        Attempt(delivery=row, why="resend", channel="email", connection_id=source.id, status="unknown", number=2).save()
    assert "may have been sent although no answer came" in act(manager, row, "resend")
    assert "It is on its way again" in act(manager, row, "resend", insist="on")


def test_a_viewer_sees_why_and_who_can_send(acme, source, member, client_as):
    (row,) = bounced(acme, "taro@example.com")
    viewer = client_as(member("viewer", acme))
    html = show(viewer, row)
    assert "Your role may look, not send." in text_of(html)
    assert viewer.post(f"/t/acme/deliveries/{row.id}/resend").status_code == 403
    assert viewer.post(f"/t/acme/deliveries/{row.id}/correct", {"value": "x@example.com"}).status_code == 403


def test_a_connection_of_another_tenant_is_no_way(acme, sakura, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    theirs = sends(sakura)
    for connection_id in (theirs.id, uuid7(), "nonsense"):
        assert manager.post(f"/t/acme/deliveries/{row.id}/resend", {"connection": connection_id}).status_code == 404
    assert queued(acme) == []


def test_attempts_stand_in_the_timeline_with_who_made_them(acme, source, manager):
    (row,) = bounced(acme, "taro@example.com")
    act(manager, row, "resend")
    timeline = text_of(show(manager, row).partition('<ol class="timeline"')[2].partition("</ol>")[0])
    assert "Sent again" in timeline
    assert "By: hanako@example.test" in timeline


def test_when_an_attempt_goes_is_told_in_the_tenants_zone_wherever_the_page_says_it(acme, source, manager):
    with tenant_scope(acme.id):
        Tenant.objects.filter(id=acme.id).update(timezone="Asia/Tokyo")
    (row,) = bounced(acme, "taro@example.com")
    act(manager, row, "resend")
    with tenant_scope(acme.id):
        due_at = timezone.now() + timedelta(hours=3)
        Attempt.objects.filter(status=AttemptStatus.QUEUED).update(due_at=due_at)
    page = text_of(show(manager, row))
    told = re.findall(r"It waits until\D+\d+\W+\w+\W+(\d\d:\d\d)", page)
    assert set(told) == {f"{due_at.astimezone(ZoneInfo('Asia/Tokyo')):%H:%M}"}
    assert len(told) > 1


def test_twenty_rows_with_attempts_take_as_many_queries_as_one(acme, source, manager):
    def page():
        manager.get("/t/acme/errors/")

    for row in bounced(acme, "a@example.com"):
        act(manager, row, "resend")
    with CaptureQueriesContext(database) as one:
        page()
    for row in bounced(acme, *(f"p{number}@example.com" for number in range(20))):
        with tenant_scope(acme.id):
            Attempt(delivery=row, why="resend", channel=Channel.EMAIL, connection_id=source.id).save()
    with CaptureQueriesContext(database) as many:
        page()
    assert len(many) == len(one)


def test_a_budget_that_others_use_up_is_said_where_it_is_sent_through(acme, manager):
    source = sends(acme, "lineworks", "Works")
    with tenant_scope(acme.id):
        key = sending_accounts()[0].pace_key
    later = timezone.now() + timedelta(minutes=1)
    Pace(key=key, per_minute=120, budget_limit=240, budget_remaining=20, budget_resets_at=later, own_calls=30).save()
    (row,) = bounced(acme, "taro@works.example", channel=Channel.LINEWORKS)
    for path in (f"connections/{source.id}/", f"deliveries/{row.id}/"):
        text = text_of(manager.get(f"/t/acme/{path}").content.decode())
        assert "Of 240 calls, 20 are left" in text
        assert "other applications of the account used 190" in text


def test_what_waits_behind_a_slow_account_says_by_when_it_will_have_gone(acme, source, manager):
    with tenant_scope(acme.id):
        key = sending_accounts()[0].pace_key
    Pace(key=key, per_minute=60, paused_until=timezone.now() + timedelta(minutes=30)).save()
    (row,) = bounced(acme, "taro@example.com")
    act(manager, row, "resend")
    assert re.search(r"will have gone by \d+ \w+ \d\d:\d\d", text_of(show(manager, row)))


def test_what_is_left_open_of_the_person_can_be_sent_when_the_first_has_arrived(acme, source, manager):
    with tenant_scope(acme.id):
        contacts.create({"external_id": "7", "name": "Sato Taro", "email": "old@example.com"}, actor=COMMAND_LINE)
    first, second = bounced(acme, NewRecipient(contact="7"))[0], bounced(acme, NewRecipient(contact="7"))[0]
    report(acme, first, Kind.DELIVERED, occurred_at=timezone.now() + timedelta(minutes=1))
    assert "1 other open failure of Sato Taro" in text_of(show(manager, first))
    act(manager, first, "resend-others", then="all")
    with tenant_scope(acme.id):
        assert list(Attempt.objects.filter(status=AttemptStatus.QUEUED).values_list("delivery_id", flat=True)) == [
            second.id
        ]
