"""Resend plans: what is frozen, what the preview says of each row, who may move a plan on, and that it all adds up."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from deliveries import contacts, plan_rows, plans, suppress
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Kind, Outcome, PlanStatus
from deliveries.models import Attempt, Delivery, Notice, ResendHook
from deliveries.notices import NewRecipient
from deliveries.plan_results import results
from deliveries.sms_parts import parts_of
from notifyguard.accounts.audit import COMMAND_LINE, Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.failures import bounced, report, sends, sent

pytestmark = pytest.mark.django_db

HANAKO = Actor("hanako@example.test", 7)


@pytest.fixture
def source(acme):
    return sends(acme)


@pytest.fixture
def prepared(acme, source):
    """``prepared(selection, **options)`` starts a plan and lets a worker prepare it."""

    def make(selection="", **options):
        with tenant_scope(acme.id):
            plan = plans.start(selection, tenant=acme, actor=HANAKO, **options)
        plans.prepare(acme.id, plan.id)
        with tenant_scope(acme.id):
            return plans.find(plan.id)

    return make


def preview_of(acme, plan) -> dict[str, int]:
    with tenant_scope(acme.id):
        return dict(plans.preview(plan, acme).outcomes)


def outcomes(acme, plan) -> dict[str, str]:
    """What each row's attempt says, by recipient."""
    with tenant_scope(acme.id):
        rows = Attempt.objects.filter(plan_id=plan.id).select_related("delivery")
        return {row.delivery.recipient: row.outcome for row in rows}


def test_a_plan_freezes_what_the_filter_shows_and_sends_nothing(acme, prepared):
    bounced(acme, "a@example.com", "b@example.com")
    bounced(acme, "c@example.net")
    plan = prepared("channel=email&domain=example.com&cursor=&size=50")
    bounced(acme, "late@example.com")
    assert plan.status == PlanStatus.READY
    assert outcomes(acme, plan) == {"a@example.com": "ready", "b@example.com": "ready"}
    with tenant_scope(acme.id):
        assert set(Attempt.objects.filter(plan_id=plan.id).values_list("status", "why")) == {("queued", "resend")}
        shown = plans.preview(plan, acme)
    assert (shown.total, shown.going, shown.outcomes) == (2, 2, [(Outcome.READY, 2)])
    assert [(speed.account.name, speed.calls) for speed in shown.speeds] == [("sendgrid", 1)]


def test_preparing_twice_changes_nothing(acme, prepared):
    bounced(acme, "a@example.com", "b@example.com")
    plan = prepared()
    with tenant_scope(acme.id):
        type(plan).objects.filter(id=plan.id).update(status=PlanStatus.PREPARING)
    plans.prepare(acme.id, plan.id)
    assert preview_of(acme, plan) == {"ready": 2}
    assert len(outcomes(acme, plan)) == 2


def test_small_batches_freeze_every_row_once_and_number_them_down_the_list(acme, prepared, monkeypatch):
    monkeypatch.setattr(plan_rows, "BATCH", 2)
    bounced(acme, *(f"p{number}@example.com" for number in range(5)))
    plan = prepared("channel=email")
    assert preview_of(acme, plan) == {"ready": 5}
    with tenant_scope(acme.id):
        rows = Attempt.objects.filter(plan_id=plan.id).select_related("delivery").order_by("id")
        order = [(row.delivery.failed_at, row.delivery_id) for row in rows]
    assert order == sorted(order, reverse=True)


def test_each_row_is_previewed_as_it_will_be_looked_at_when_it_goes(acme, source, prepared):
    late = timezone.now() + timedelta(hours=1)
    rows = bounced(acme, "ready@example.com", "listed@example.com", "again@example.com", "arrived@example.com")
    (stale,) = bounced(acme, "stale@example.com", use_by=late)
    (textless,) = bounced(acme, "textless@example.com")
    bounced(acme, "no address")
    with tenant_scope(acme.id):
        suppress.add_by_hand(channel="email", recipient="listed@example.com", note="asked by phone", actor=HANAKO)
        Notice.objects.filter(id=stale.notice_id).update(use_by=timezone.now() - timedelta(hours=1))
        Notice.objects.filter(id=textless.notice_id).update(body_sealed=None)
        Attempt(delivery=rows[2], why=AttemptWhy.RESEND, channel="email", connection_id=source.id).save()
    report(acme, rows[3], Kind.DELIVERED)
    with tenant_scope(acme.id):
        ids = list(Delivery.objects.values_list("id", flat=True))
    plan = prepared(ids)
    assert outcomes(acme, plan) == {
        "ready@example.com": "ready",
        "listed@example.com": "suppressed",
        "again@example.com": "under_way",
        "arrived@example.com": "delivered",
        "stale@example.com": "stale",
        "textless@example.com": "no_body",
        "no address": "invalid",
    }
    assert preview_of(acme, plan) == dict(Counter(outcomes(acme, plan).values()))


def test_stale_notices_go_when_somebody_says_so(acme, prepared):
    (row,) = bounced(acme, "a@example.com", use_by=timezone.now() + timedelta(hours=1))
    with tenant_scope(acme.id):
        Notice.objects.filter(id=row.notice_id).update(use_by=timezone.now() - timedelta(hours=1))
    assert preview_of(acme, prepared(include_stale=True)) == {"ready": 1}


def test_the_product_is_asked_for_what_is_not_held_here(acme, prepared):
    (row,) = bounced(acme, "a@example.com")
    with tenant_scope(acme.id):
        Notice.objects.filter(id=row.notice_id).update(body_sealed=None)
        ResendHook(url="https://product.example.com/resend", secret_sealed=b"x").save()
    assert preview_of(acme, prepared()) == {"ask": 1}


def test_a_corrected_address_is_what_counts(acme, source, prepared):
    with tenant_scope(acme.id):
        person = contacts.create({"external_id": "7", "name": "Sato", "email": "old@example.com"}, actor=HANAKO)
    bounced(acme, NewRecipient(contact="7"))
    with tenant_scope(acme.id):
        suppress.add_by_hand(channel="email", recipient="old@example.com", note="gone", actor=HANAKO)
    assert preview_of(acme, prepared()) == {"suppressed": 1}
    with tenant_scope(acme.id):
        contacts.correct(person, "email", "new@example.com", HANAKO)
    assert preview_of(acme, prepared()) == {"ready": 1}


def test_a_newer_notice_of_the_same_kind_goes_instead(acme, source, prepared):
    (older,) = bounced(acme, "a@example.com", kind="invoice", title="October")
    bounced(acme, "a@example.com", kind="invoice", title="November")
    bounced(acme, "a@example.com", kind="survey")
    bounced(acme, "b@example.com", kind="invoice")
    plan = prepared(newest_of_kind=True)
    assert preview_of(acme, plan) == {"ready": 3, "replaced": 1}
    with tenant_scope(acme.id):
        (row,) = Attempt.objects.filter(plan_id=plan.id, outcome=Outcome.REPLACED)
        assert (row.delivery_id, row.status) == (older.id, AttemptStatus.SKIPPED)
        assert plans.progress(plan).done == 1


def test_another_way_goes_to_the_contacts_other_address_and_leaves_out_who_has_none(acme, source, prepared):
    phone = sends(acme, "twilio")
    with tenant_scope(acme.id):
        contacts.create({"external_id": "7", "email": "a@example.com", "phone": "+819012345678"}, actor=HANAKO)
        contacts.create({"external_id": "8", "email": "b@example.com"}, actor=HANAKO)
    bounced(acme, NewRecipient(contact="7"), NewRecipient(contact="8"), "c@example.com")
    plan = prepared("channel=email", other_way="sms")
    assert outcomes(acme, plan) == {"a@example.com": "ready", "b@example.com": "no_way", "c@example.com": "no_way"}
    with tenant_scope(acme.id):
        row = Attempt.objects.get(plan_id=plan.id, outcome="ready")
    assert (row.channel, row.recipient, row.connection_id, row.why) == (
        "sms",
        "+819012345678",
        phone.id,
        "other_way",
    )


def test_sms_are_counted_in_parts_and_priced(acme, prepared):
    sends(acme, "twilio")
    acme.sms_price, acme.sms_currency = Decimal("8.5"), "JPY"
    bounced(acme, "+819012345678", "+819012345679", channel=Channel.SMS, text="あ" * 71)
    plan = prepared("channel=sms")
    with tenant_scope(acme.id):
        shown = plans.preview(plan, acme)
    assert (shown.going, shown.sms_parts, shown.cost, shown.currency) == (2, 4, Decimal("34.0"), "JPY")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("あ" * 70, 1),
        ("あ" * 71, 2),
        ("😀" * 35, 1),
    ],
)
def test_a_text_takes_as_many_parts_as_carriers_charge_for(text, parts):
    assert parts_of(text) == parts


@pytest.mark.parametrize("selection", ["status_=bounced", "channel=fax", "from=yesterday", []])
def test_a_selection_that_cannot_be_read_selects_nothing(acme, source, selection):
    with tenant_scope(acme.id), pytest.raises(plans.PlanError):
        plans.start(selection, tenant=acme, actor=HANAKO)


def test_a_plan_goes_its_way_once_and_each_step_is_audited(acme, source, prepared):
    bounced(acme, "a@example.com", "b@example.com")
    plan = prepared("q=a")
    with tenant_scope(acme.id):
        plans.approve(plan, actor=HANAKO)
        with pytest.raises(plans.PlanStateError):
            plans.approve(plan, actor=HANAKO)
        plans.pause(plan, actor=HANAKO)
        plans.go_on(plan, actor=HANAKO)
        plans.cancel(plan, actor=HANAKO)
        with pytest.raises(plans.PlanStateError):
            plans.go_on(plan, actor=HANAKO)
        actions = AuditEntry.objects.filter(object_id=str(plan.id)).order_by("id").values_list("action", "after")
        assert [action for action, _ in actions] == [
            "plan.started",
            "plan.approved",
            "plan.paused",
            "plan.continued",
            "plan.cancelled",
        ]
        assert actions[0][1] == {"filter": {"q": "…"}, "other_way": ""}


def test_cancelling_gives_every_row_that_waits_one_outcome(acme, source, prepared, monkeypatch):
    monkeypatch.setattr(plans, "CLEARED_AT_ONCE", 2)
    bounced(acme, *(f"p{number}@example.com" for number in range(5)))
    plan = prepared()
    with tenant_scope(acme.id):
        plans.approve(plan, actor=HANAKO)
        first = Attempt.objects.filter(plan_id=plan.id).first()
        Attempt.objects.filter(id=first.id).update(status=AttemptStatus.ACCEPTED, outcome=Outcome.ACCEPTED)
        plans.count(plan.id, Counter({Outcome.ACCEPTED: 1}))
        plans.cancel(plan, actor=HANAKO)
    plans.clear_cancelled(acme.id, plan.id)
    plans.clear_cancelled(acme.id, plan.id)
    with tenant_scope(acme.id):
        plan = plans.find(plan.id)
        assert plans.progress(plan).outcomes == [(Outcome.ACCEPTED, 1), (Outcome.CANCELLED, 4)]
        assert plans.with_work() == []
    assert plan.finished_at is not None
    assert Counter(outcomes(acme, plan).values()) == {"accepted": 1, "cancelled": 4}


def test_a_plan_is_done_when_no_row_waits_or_is_under_way(acme, source, prepared):
    bounced(acme, "a@example.com")
    plan = prepared()
    with tenant_scope(acme.id):
        plans.approve(plan, actor=HANAKO)
        rows = Attempt.objects.filter(plan_id=plan.id)
        ended = []
        for status in (AttemptStatus.QUEUED, AttemptStatus.SENDING, AttemptStatus.ACCEPTED):
            rows.update(status=status)
            ended.append(plans.finish_if_done(plan.id))
        assert ended == [False, False, True]
        assert plans.find(plan.id).status == PlanStatus.DONE


def test_progress_tells_the_rate_of_the_last_minutes_and_the_time_left(acme, source, prepared):
    bounced(acme, *(f"p{number}@example.com" for number in range(4)))
    plan = prepared()
    with tenant_scope(acme.id):
        plans.approve(plan, actor=HANAKO)
        plan.approved_at = timezone.now() - timedelta(minutes=1)
        plans.count(plan.id, Counter({Outcome.ACCEPTED: 1, Outcome.REFUSED: 1}))
        now = plans.progress(plan)
    assert (now.done, now.total, now.percent) == (2, 4, 50)
    assert now.per_minute == pytest.approx(2, rel=0.1)
    assert now.left.total_seconds() == pytest.approx(60, rel=0.1)


def test_the_result_has_one_line_a_row_and_no_formula(acme, source, prepared, monkeypatch):
    monkeypatch.setattr("deliveries.plan_results.BATCH", 1)
    bounced(acme, "a@example.com", title="=1+1")
    bounced(acme, "b@example.com")
    plan = prepared()
    text = b"".join(results(plan, acme, "en")).decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [(line["Title"], line["Recipient"], line["Outcome"], line["What it means"]) for line in lines] == [
        ("'=1+1", "a@example.com", "ready", "Will be sent"),
        ("Invoice", "b@example.com", "ready", "Will be sent"),
    ]


def test_another_tenants_failures_are_never_selected(acme, sakura, source, prepared):
    sends(sakura)
    (theirs,) = bounced(sakura, "a@example.com")
    assert outcomes(acme, prepared()) == {}
    assert outcomes(acme, prepared([theirs.id])) == {}


def test_what_was_sent_without_a_failure_is_left_alone(acme, source, prepared):
    rows = sent(acme, "a@example.com")
    assert outcomes(acme, prepared([rows[0].id])) == {"a@example.com": "under_way"}


def test_the_command_line_can_start_a_plan_too(acme, source):
    with tenant_scope(acme.id):
        assert plans.start("", tenant=acme, actor=COMMAND_LINE).created_by == "command line"


def test_a_slower_pace_is_kept_and_counts_for_the_duration(acme, prepared):
    bounced(acme, *(f"p{number}@example.com" for number in range(4)))
    plan = prepared(per_minute=2)
    with tenant_scope(acme.id):
        assert plans.preview(plan, acme).duration == timedelta(minutes=2)
        with pytest.raises(plans.PlanError):
            plans.start("", tenant=acme, actor=HANAKO, per_minute=0)
