"""A bulk resend is honest, whatever is killed when: nothing goes twice, and nothing looks sent that was not."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from django.utils import timezone

from deliveries import ledger, notices, plan_rows, plans
from deliveries.accounts import set_sending
from deliveries.enums import AttemptStatus, Channel, Kind, PlanStatus
from deliveries.gather import Origin, Reported
from deliveries.models import Attempt, Delivery, ResendPlan
from deliveries.notices import NewNotice, NewRecipient
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from providers.base import Event
from providers.sandbox.sendgrid import make_keys
from providers.sandbox.server import Sandbox
from tests.factories import connect
from tests.running import Product

ROWS = 240
FINAL = set(AttemptStatus) - {AttemptStatus.QUEUED, AttemptStatus.SENDING}


@pytest.fixture
def sandbox():
    with Sandbox({"delay_s": 0}) as running:
        running.add_fault(provider="sendgrid", answer={"slow_s": 0.2}, times=10_000, taken=True)
        yield running


@pytest.fixture
def product(committed_db, sandbox, tmp_path):
    running = Product(tmp_path)
    running.environment |= {
        "NOTIFYGUARD_PROVIDER_URLS": f"sendgrid={sandbox.url}",
        "NOTIFYGUARD_SEND_TIMEOUT_S": "5",
        "NOTIFYGUARD_SEND_LEASE_S": "3",
    }
    yield running
    running.close()


def fail(tenant, source) -> None:
    """Notices with a text of their own each, so each takes a call; all were blocked."""
    reports = []
    with tenant_scope(tenant.id):
        for number in range(ROWS):
            who = NewRecipient(recipient=f"person{number}@example.co.jp")
            new = NewNotice(channel=Channel.EMAIL, recipients=(who,), title=f"Bill {number}", text="Pay.", send=False)
            (row,) = notices.register(new, tenant=tenant, created_by="test").deliveries
            event = Event(
                kind=Kind.BLOCKED,
                recipient=row.recipient,
                occurred_at=timezone.now(),
                attempt_ref=row.id.hex,
                verdict="blocked/reputation",
                reply="554 5.7.1 Service unavailable; client host blocked",
            )
            origin = Origin(
                connection_id=source.id,
                provider="sendgrid",
                channel=Channel.EMAIL,
                raw_id=uuid7(),
                received_at=timezone.now(),
            )
            reports.append(Reported(event, origin, 0))
        ledger.record(tenant.id, reports)


def start_plan(tenant) -> ResendPlan:
    with tenant_scope(tenant.id):
        plan = plans.start("channel=email", tenant=tenant, actor=COMMAND_LINE)
    plan_rows.prepare(tenant.id, plan.id)
    with tenant_scope(tenant.id):
        plan.refresh_from_db()
        plans.approve(plan, actor=COMMAND_LINE)
    return plan


def statuses(tenant) -> Counter:
    with tenant_scope(tenant.id):
        return Counter(Attempt.objects.values_list("status", flat=True))


def test_a_killed_sender_sends_nothing_twice_and_a_cancelled_resend_stops(product, sandbox, acme):
    source = connect(acme, public_key=make_keys().public_key)
    with tenant_scope(acme.id):
        set_sending(source, {"api_key": "SG.test", "sender": "notices@acme.example"}, actor=COMMAND_LINE)
    fail(acme, source)
    plan = start_plan(acme)
    assert statuses(acme) == {"queued": ROWS}

    product.start("sender", "worker", "beat")
    product.wait_until(lambda: sandbox.counts()["notices"] >= ROWS // 6, "the resend is under way")
    product.kill("sender")
    assert statuses(acme)["sending"] > 0
    product.start("sender")
    product.wait_until(lambda: sandbox.counts()["notices"] >= ROWS // 2, "it goes on")

    with tenant_scope(acme.id):
        plan.refresh_from_db()
        plans.cancel(plan, actor=COMMAND_LINE)
    cancelled_at = time.monotonic()

    def is_over() -> bool:
        with tenant_scope(acme.id):
            plan.refresh_from_db()
        return plan.finished_at is not None and set(statuses(acme)) <= FINAL

    product.wait_until(is_over, "the cancelled resend has ended")
    assert time.monotonic() - cancelled_at < 5
    taken = sandbox.counts()
    time.sleep(1)
    assert sandbox.counts()["calls"] == taken["calls"]  # nothing left after it had ended

    assert taken["twice"] == []
    with tenant_scope(acme.id):
        ended = {row.id.hex: row for row in Attempt.objects.all()}
        outcomes = plans.progress(ResendPlan.objects.get(id=plan.id)).outcomes
    sent = {row["attempt_ref"] for row in sandbox.sent()}
    accepted = {ref for ref, row in ended.items() if row.status == AttemptStatus.ACCEPTED}
    unknown = {ref for ref, row in ended.items() if row.status == AttemptStatus.UNKNOWN}
    cancelled = {ref for ref, row in ended.items() if row.status == AttemptStatus.CANCELLED}
    assert accepted <= sent  # nothing looks sent that was not
    assert sent <= accepted | unknown  # nothing that was sent looks as if it had not been
    assert (accepted | unknown | cancelled, len(ended)) == (set(ended), ROWS)
    assert unknown  # who was killed was at something
    assert dict(outcomes) == dict(Counter(row.outcome for row in ended.values()))
    assert plan.status == PlanStatus.CANCELLED
    with tenant_scope(acme.id):
        assert Delivery.objects.filter(error_state__isnull=True).count() == 0  # accepted is not delivered
