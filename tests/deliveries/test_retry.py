"""Automatic retry: which failures are tried again, when, how often, and what a tenant may change of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from django.utils import timezone

from deliveries import retry
from deliveries.attempts import attempts_of
from deliveries.classify import Report, classify
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Kind, Retry
from deliveries.models import Attempt, Delivery
from deliveries.retry import DEFAULTS, Failure, PolicyInputError
from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.failures import report, sends, sent

pytestmark = pytest.mark.django_db

HANAKO = Actor("hanako@example.test", 7)
FULL = {"verdict": "bounce/mailbox", "reply": "452 4.2.2 Mailbox full", "smtp_code": "452", "enhanced_code": "4.2.2"}


@pytest.fixture
def source(acme):
    return sends(acme)


@pytest.fixture
def fail(acme, source):
    """Let an attempt at a delivery fail, and the policy look at it; returns how many tries it queued."""

    def act(row, kind=Kind.BOUNCED, **said):
        row = report(acme, row, kind, **({**FULL, **said} if kind == Kind.BOUNCED else said))
        with tenant_scope(acme.id):
            return retry.schedule(acme.id, [failure(row)])

    return act


def failure(row: Delivery) -> Failure:
    verdict = classify(
        Report(
            channel=Channel(row.channel),
            provider=row.provider,
            kind=Kind(row.kind),
            verdict=row.verdict,
            smtp_code=row.smtp_code,
            enhanced_code=row.enhanced_code,
            reply=row.reply,
        )
    )
    return Failure(row.event_id, row.match_key, verdict, row.occurred_at)


def waiting(acme) -> list[Attempt]:
    with tenant_scope(acme.id):
        return list(Attempt.objects.filter(why=AttemptWhy.AUTOMATIC, status=AttemptStatus.QUEUED))


def test_a_full_mailbox_is_tried_again_within_the_first_wait(acme, source, fail):
    (row,) = sent(acme, "taro@example.com")
    assert fail(row) == 1
    (attempt,) = waiting(acme)
    assert (attempt.delivery_id, attempt.connection_id, attempt.channel) == (row.id, source.id, "email")
    assert timezone.now() <= attempt.due_at <= timezone.now() + timedelta(hours=1)


def test_the_same_failure_told_twice_is_tried_again_once(acme, source, fail):
    (row,) = sent(acme, "taro@example.com")
    assert [fail(row), fail(row)] == [1, 0]


@pytest.mark.parametrize(
    "case",
    [
        {"verdict": "bounce/invalid", "reply": "550 5.1.1 User unknown", "smtp_code": "550", "enhanced_code": "5.1.1"},
        {"kind": Kind.DEFERRED},
        {"kind": Kind.DELIVERED},
    ],
    ids=["permanent", "still tried by the provider", "arrived"],
)
def test_only_temporary_failures_that_the_provider_gave_up_are_tried_again(acme, source, fail, case):
    (row,) = sent(acme, "taro@example.com")
    assert fail(row, case.pop("kind", Kind.BOUNCED), **case) == 0


def test_what_your_own_product_sends_is_not_tried_again(acme, source, fail):
    (row,) = sent(acme, "taro@example.com", send=False, text="")
    with tenant_scope(acme.id):
        Delivery.objects.filter(id=row.id).update(notice_id=None)
    assert fail(row) == 0


def test_tries_end_and_the_page_can_say_so(acme, source, fail):
    (row,) = sent(acme, "taro@example.com")
    tries = DEFAULTS["BOUNCE_TRANSIENT_MBX_FULL"].tries
    counts = []
    for minute in range(tries + 1):
        counts.append(fail(row, occurred_at=timezone.now() + timedelta(minutes=minute + 1)))
        with tenant_scope(acme.id):
            Attempt.objects.filter(status=AttemptStatus.QUEUED).update(status=AttemptStatus.REFUSED)
    assert counts == [1] * tries + [0]
    with tenant_scope(acme.id):
        row = Delivery.objects.get(id=row.id)
        told = retry.automatic(row, attempts_of(row))
    assert (told.tried, told.is_over, told.next_at) == (tries, True, None)


def test_no_try_comes_after_the_use_by_time(acme, source, fail):
    use_by = timezone.now() + timedelta(minutes=2)
    (row,) = sent(acme, "taro@example.com", use_by=use_by)
    assert fail(row) == 1
    assert waiting(acme)[0].due_at <= use_by
    (late,) = sent(acme, "late@example.com", use_by=timezone.now() - timedelta(minutes=1))
    assert fail(late) == 0


def test_a_days_limit_waits_for_the_next_day_where_the_tenant_is(sakura):
    sends(sakura)
    (row,) = sent(sakura, "taro@example.com")
    row = report(sakura, row, Kind.BOUNCED, **FULL)
    told = failure(row)
    told = told._replace(verdict=msgspec.structs.replace(told.verdict, retry=Retry.NEXT_DAY))
    with tenant_scope(sakura.id):
        assert retry.schedule(sakura.id, [told]) == 1
    tomorrow = timezone.now().astimezone(sakura.zone).date() + timedelta(days=1)
    assert waiting(sakura)[0].due_at.astimezone(sakura.zone).date() == tomorrow


def test_a_tenants_own_policy_counts_and_its_change_is_audited(acme, source, fail):
    code = "BOUNCE_TRANSIENT_MBX_FULL"
    with tenant_scope(acme.id):
        retry.set_policy(replace(retry.policies()[code], enabled=False), actor=HANAKO)
        entry = AuditEntry.objects.latest("id")
        assert (entry.action, entry.object_id, entry.before, entry.after) == (
            "retry.changed",
            code,
            {"enabled": True},
            {"enabled": False},
        )
        assert (retry.policies()[code].enabled, retry.policies()[code].is_default) == (False, False)
    (row,) = sent(acme, "taro@example.com")
    assert fail(row) == 0


@pytest.mark.parametrize(
    ("field", "value"), [("tries", 0), ("tries", 11), ("factor", 0.5), ("first_wait_s", 1), ("longest_wait_s", 60)]
)
def test_a_policy_that_hammers_or_never_ends_is_refused(acme, field, value):
    with tenant_scope(acme.id), pytest.raises(PolicyInputError) as caught:
        retry.set_policy(replace(retry.policies()["BOUNCE_TRANSIENT_MBX_FULL"], **{field: value}), actor=HANAKO)
    assert caught.value.field == field


def test_waits_grow_by_the_factor_up_to_the_longest():
    policy = replace(DEFAULTS["BOUNCE_TRANSIENT_MBX_FULL"], first_wait_s=60, factor=3.0, longest_wait_s=600)
    assert [int(retry.longest_wait(policy, tried).total_seconds()) for tried in range(4)] == [60, 180, 540, 600]


def test_many_failures_take_as_many_queries_as_one(acme, source, django_assert_max_num_queries):
    rows = [report(acme, row, Kind.BOUNCED, **FULL) for row in sent(acme, *(f"p{n}@example.com" for n in range(30)))]
    with tenant_scope(acme.id), django_assert_max_num_queries(8):
        assert retry.schedule(acme.id, [failure(row) for row in rows]) == 30
