"""Notices leave through the real senders to a sandbox, and each attempt ends as it should."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from deliveries import handover, ledger, pace, plans, suppress
from deliveries.accounts import account_for, set_sending
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Kind, Outcome, State
from deliveries.gather import Origin, Reported
from deliveries.models import Attempt, Pace, ResendPlan, Suppression
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from providers.base import Event
from tests.sending import BOUNCE, attempt, delivery, register, resend, sends, tell, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def sending(acme, sandbox):
    """ACME can send email; returns the connection."""
    return sends(acme, "sendgrid")


def test_a_notice_leaves_and_the_providers_answer_is_kept(acme, sending, sandbox):
    (row,) = register(acme, "taro@example.co.jp")
    assert row.state == State.QUEUED
    assert work(acme) == 1
    made = attempt(acme, row)
    assert (made.status, made.outcome, made.answer) == ("accepted", "accepted", "202 Accepted")
    found = delivery(acme, row)
    assert (found.state, found.is_open, found.provider_message_id) == (State.ACCEPTED, False, made.provider_message_id)
    assert [one["attempt_ref"] for one in sandbox.sent()] == [made.id.hex]


def test_recipients_of_one_notice_share_calls(acme, sending, sandbox):
    register(acme, *(f"person{number}@example.co.jp" for number in range(25)))
    work(acme)
    counts = sandbox.counts()
    assert (counts["notices"], counts["calls"], counts["twice"]) == (25, 1, [])


def test_who_is_on_the_suppression_list_is_not_sent_to(acme, sending, sandbox):
    with tenant_scope(acme.id):
        suppress.add_by_hand(
            channel=Channel.EMAIL, recipient="Taro@example.co.jp", note="asked by phone", actor=COMMAND_LINE
        )
    (row,) = register(acme, "taro@example.co.jp")
    work(acme)
    found = delivery(acme, row)
    assert (found.state, found.code, attempt(acme, row).outcome) == (State.DROPPED, "SUPPRESSED", Outcome.SUPPRESSED)
    assert sandbox.counts()["calls"] == 0


@pytest.mark.parametrize(
    ("recipient", "values", "code"),
    [
        ("taro@", {}, "INVALID_EMAIL_ADDRESS"),
        ("taro@example.co.jp", {"text": " "}, "BODY_BLANK"),
    ],
)
def test_what_fails_a_check_never_leaves_and_says_why(acme, sending, sandbox, recipient, values, code):
    (row,) = register(acme, recipient, **values)
    work(acme)
    found = delivery(acme, row)
    assert (found.state, found.code, attempt(acme, row).status) == (State.FAILED, code, AttemptStatus.DROPPED)
    assert sandbox.counts()["calls"] == 0


def test_an_incomplete_mobile_number_never_leaves(acme, sandbox):
    sends(acme, "twilio")
    (row,) = register(acme, "090-1234-567", channel=Channel.SMS)
    work(acme)
    assert (delivery(acme, row).code, delivery(acme, row).reason) == ("INVALID_MOBILE_NUMBER", "SMS_NUMBER_INCOMPLETE")


def test_a_provider_in_trouble_is_asked_again_later_and_in_the_end_given_up(acme, sending, sandbox):
    (row,) = register(acme, "error500@example.co.jp")
    for _ in range(handover.MOST_TRIES):
        assert delivery(acme, row).state == State.QUEUED
        work(acme)
        with tenant_scope(acme.id):
            Attempt.objects.filter(status=AttemptStatus.QUEUED).update(due_at=timezone.now())
    found = delivery(acme, row)
    with tenant_scope(acme.id):
        made = Attempt.objects.get(id=row.id)
    assert (found.state, found.code, made.outcome, made.status) == ("failed", "HANDOVER_ERROR", "gave_up", "refused")
    assert sandbox.counts()["calls"] == handover.MOST_TRIES


def test_a_refusal_for_speed_holds_the_whole_account(acme, sending, sandbox):
    sandbox.add_fault(provider="sendgrid", answer=429, times=1)
    register(acme, "a@example.co.jp")
    work(acme)
    register(acme, "b@example.co.jp", title="Another")
    assert work(acme) == 0
    Pace.objects.update(paused_until=None, budget_resets_at=None, ready=10)
    with tenant_scope(acme.id):
        Attempt.objects.update(due_at=timezone.now())
    assert work(acme) == 2
    assert sandbox.counts()["twice"] == []


def test_a_call_without_an_answer_is_unknown_and_never_repeated(acme, sending, sandbox):
    (row,) = register(acme, "hang@example.co.jp")
    work(acme)
    found, made = delivery(acme, row), attempt(acme, row)
    assert (made.status, found.state, found.is_open) == (AttemptStatus.UNKNOWN, State.FAILED, True)
    assert (found.code, found.reason) == ("HANDOVER_ERROR", "NO_ANSWER")
    assert work(acme) == 0


def test_a_report_clears_up_what_became_of_an_unanswered_call(acme, sending, sandbox):
    (row,) = register(acme, "hang@example.co.jp")
    work(acme)
    tell(acme, sending, attempt(acme, row), Kind.DELIVERED)
    assert (delivery(acme, row).state, attempt(acme, row).status) == (State.DELIVERED, AttemptStatus.ACCEPTED)


def test_a_plan_counts_what_a_report_clears_up_as_accepted(acme, sending, sandbox):
    rows = [*register(acme, "hang@example.co.jp"), *register(acme, "hang+2@example.co.jp", title="Another")]
    work(acme)
    with tenant_scope(acme.id):
        plan = ResendPlan(created_by="test")
        plan.save()
        Attempt.objects.update(plan=plan)
        plans.count(plan.id, Counter({Outcome.UNKNOWN: 2}))
    for row in rows:
        tell(acme, sending, attempt(acme, row), Kind.DELIVERED)
    with tenant_scope(acme.id):
        assert [(name, n) for name, n in plans.progress(plan).outcomes if n] == [(Outcome.ACCEPTED, 2)]


def test_what_a_dead_worker_was_sending_is_unknown(acme, sending, sandbox, settings):
    (row,) = register(acme, "taro@example.co.jp")
    with tenant_scope(acme.id):
        Attempt.objects.update(status=AttemptStatus.SENDING, sent_at=timezone.now(), number=1)
    assert handover.recover(acme.id) == 0  # it may still be at it
    settings.SEND_LEASE_S = 0
    assert handover.recover(acme.id) == 1
    assert (attempt(acme, row).status, delivery(acme, row).state) == (AttemptStatus.UNKNOWN, State.FAILED)
    assert (work(acme), sandbox.counts()["calls"]) == (0, 0)


def test_what_a_dead_worker_had_sent_is_known_by_its_reports(acme, sending, sandbox, settings):
    (row,) = register(acme, "taro@example.co.jp")
    with tenant_scope(acme.id):
        Attempt.objects.update(
            status=AttemptStatus.SENDING, sent_at=timezone.now(), number=1, recipient="taro@example.co.jp"
        )
    tell(acme, sending, attempt(acme, row), Kind.ACCEPTED)
    settings.SEND_LEASE_S = 0
    handover.recover(acme.id)
    assert (attempt(acme, row).status, delivery(acme, row).state) == (AttemptStatus.ACCEPTED, State.ACCEPTED)


@pytest.fixture
def bounced(acme, sending, sandbox):
    """A notice that was sent and bounced."""
    (row,) = register(acme, "jiro@example.co.jp")
    work(acme)
    tell(acme, sending, attempt(acme, row), Kind.BOUNCED, **BOUNCE)
    assert delivery(acme, row).state == State.BOUNCED
    return row


def test_a_bounce_suppresses_the_address_and_the_corrected_one_starts_clean(acme, sending, sandbox, bounced):
    with tenant_scope(acme.id):
        assert [entry.recipient_key for entry in Suppression.objects.all()] == ["jiro@example.co.jp"]
    resend(acme, bounced, recipient="jiro@example.com", why=AttemptWhy.CORRECTED)
    work(acme)
    assert attempt(acme, bounced).status == AttemptStatus.ACCEPTED


def test_a_resent_notice_stays_on_the_list_until_it_is_delivered(acme, sending, sandbox, bounced):
    resend(acme, bounced, recipient="jiro@example.com")
    work(acme)
    tell(acme, sending, attempt(acme, bounced), Kind.ACCEPTED)
    assert (delivery(acme, bounced).is_open, delivery(acme, bounced).state) == (True, State.BOUNCED)
    tell(acme, sending, attempt(acme, bounced), Kind.DELIVERED)
    found = delivery(acme, bounced)
    assert (found.is_open, found.state, found.recipient, found.attempt) == (
        False,
        State.DELIVERED,
        "jiro@example.com",
        2,
    )


def test_a_second_failure_brings_the_notice_back_with_its_new_reason(acme, sending, sandbox, bounced):
    resend(acme, bounced, recipient="jiro@example.com")
    work(acme)
    full = {
        "verdict": "blocked/mailbox",
        "reply": "452 4.2.2 Mailbox full",
        "smtp_code": "452",
        "enhanced_code": "4.2.2",
    }
    tell(acme, sending, attempt(acme, bounced), Kind.BOUNCED, **full)
    found = delivery(acme, bounced)
    assert (found.is_open, found.code, found.recipient) == (True, "BOUNCE_TRANSIENT_MBX_FULL", "jiro@example.com")


def test_a_late_word_on_the_first_attempt_changes_nothing_after_the_second_arrived(acme, sending, sandbox, bounced):
    first = attempt(acme, bounced)
    resend(acme, bounced, recipient="jiro@example.com")
    work(acme)
    tell(acme, sending, attempt(acme, bounced), Kind.DELIVERED)
    tell(acme, sending, first, Kind.BOUNCED, **{**BOUNCE, "reply": "550 5.1.1 User unknown, again"})
    assert delivery(acme, bounced).state == State.DELIVERED


def test_a_notice_under_way_is_not_sent_a_second_time(acme, sending, sandbox, bounced):
    resend(acme, bounced, recipient="jiro@example.com")
    work(acme)
    with tenant_scope(acme.id):
        Attempt(delivery_id=bounced.id, why=AttemptWhy.AUTOMATIC, channel="email", connection_id=sending.id).save()
    work(acme)
    assert (attempt(acme, bounced).status, attempt(acme, bounced).outcome) == ("skipped", Outcome.UNDER_WAY)
    assert sandbox.counts()["notices"] == 2


def test_a_notice_past_its_use_by_is_not_sent(acme, sending, sandbox):
    (row,) = register(acme, "taro@example.co.jp", use_by=timezone.now() - timedelta(minutes=1))
    work(acme)
    assert (attempt(acme, row).outcome, sandbox.counts()["calls"]) == (Outcome.STALE, 0)


def test_reports_under_the_message_id_alone_find_the_attempt(acme, sandbox):
    source = sends(acme, "twilio")
    (row,) = register(acme, "+819012345678", channel=Channel.SMS)
    work(acme)
    made = attempt(acme, row)
    event = Event(
        kind=Kind.UNDELIVERED,
        recipient="+819012345678",
        occurred_at=timezone.now(),
        provider_message_id=made.provider_message_id,
        verdict="undelivered/30003",
    )
    origin = Origin(
        connection_id=source.id, provider="twilio", channel=Channel.SMS, raw_id=uuid7(), received_at=timezone.now()
    )
    with tenant_scope(acme.id):
        ledger.record(acme.id, [Reported(event, origin, 0)])
    assert delivery(acme).state == State.UNDELIVERED


def test_a_connection_that_sends_no_more_ends_what_waits_for_it(acme, sending, sandbox):
    (row,) = register(acme, "taro@example.co.jp")
    with tenant_scope(acme.id):
        set_sending(sending, {}, actor=COMMAND_LINE)
    assert work(acme) == 0
    assert (attempt(acme, row).status, attempt(acme, row).outcome) == (AttemptStatus.SKIPPED, Outcome.NO_WAY)


def test_the_pace_of_an_account_is_shared_by_all_that_use_it(acme, sending, sandbox):
    with tenant_scope(acme.id):
        account = account_for(Channel.EMAIL)
    assert pace.take(account.pace_key, 10, ceiling=60).calls == 5
    assert pace.take(account.pace_key, 10, ceiling=60).calls == 0
