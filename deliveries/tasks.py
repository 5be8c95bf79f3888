"""Celery's entry points: thin, safe to run twice; they call a verb and record."""

from __future__ import annotations

import time
import uuid

import structlog
from celery import shared_task
from django.db import connection
from django.utils import timezone

from deliveries import (
    contact_import,
    handover,
    inbox,
    partitions,
    plan_rows,
    plans,
    retention,
    subscriptions,
    tallies,
    unlist,
)
from deliveries.accounts import SendingAccount
from deliveries.enums import PlanStatus
from deliveries.tell import forget_told, tell, tell_plan, tell_workers
from notifyguard.accounts.tenancy import tenant_scope

log = structlog.get_logger(__name__)

SLICE_S = 5.0  # how long one tenant keeps a worker before the others have their turn


@shared_task(name="deliveries.process_inbox", ignore_result=True)
def process_inbox(tenant_id: str) -> None:
    """Work a tenant's pending webhooks for up to ``SLICE_S``, then queue behind the other tenants."""
    tenant = uuid.UUID(tenant_id)
    forget_told("deliveries.process_inbox", tenant_id)
    stop_at = time.monotonic() + SLICE_S
    while time.monotonic() < stop_at:
        worked = _work_through_deadlocks(tenant)
        if worked.confirmations:
            subscriptions.confirm_requested(tenant)
        if not worked.raws:
            return
    tell_workers(tenant)


@shared_task(name="deliveries.sweep", ignore_result=True)
def sweep() -> None:
    """Find the webhooks that nobody was told of: the broker was away, or a worker was killed."""
    for tenant_id in tenants_with("inbox"):
        process_inbox(str(tenant_id))
    for tenant_id in tenants_with("subscription"):
        subscriptions.confirm_requested(tenant_id)


@shared_task(name="deliveries.fold_tallies", ignore_result=True)
def fold_tallies() -> None:
    for tenant_id in tenants_with("tally"):
        tallies.fold(tenant_id)


@shared_task(name="deliveries.prepare_partitions", ignore_result=True)
def prepare_partitions() -> None:
    partitions.prepare()


@shared_task(name="deliveries.apply_retention", ignore_result=True)
def apply_retention() -> None:
    retention.apply()


@shared_task(name="deliveries.read_contact_import", ignore_result=True)
def read_contact_import(tenant_id: str, import_id: str) -> None:
    forget_told("deliveries.read_contact_import", tenant_id, import_id)
    contact_import.read(uuid.UUID(tenant_id), uuid.UUID(import_id))


@shared_task(name="deliveries.apply_contact_import", ignore_result=True)
def apply_contact_import(tenant_id: str, import_id: str) -> None:
    forget_told("deliveries.apply_contact_import", tenant_id, import_id)
    contact_import.apply(uuid.UUID(tenant_id), uuid.UUID(import_id))


def tenants_with(work: str) -> list[uuid.UUID]:
    """Return the tenants that have such work waiting: their ids are all that this look across tenants gives."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id FROM tenants_with_work(%s)", [work])
        return [row[0] for row in cursor.fetchall()]


def _work_through_deadlocks(tenant_id: uuid.UUID) -> inbox.Worked:
    """Two workers may meet in the same deliveries; PostgreSQL ends one of them, which simply begins again."""
    for pause_s in (0.05, 0.2, 0.5):
        try:
            return inbox.work(tenant_id)
        except inbox.TRANSIENT:
            log.warning("inbox.batch_repeated", tenant_id=str(tenant_id))
            connection.close_if_unusable_or_obsolete()
            time.sleep(pause_s)
    return inbox.work(tenant_id)


# ---------------------------------------------------------------- sending


@shared_task(name="deliveries.send_queued", ignore_result=True)
def send_queued(tenant_id: str) -> None:
    """Hand over a tenant's single attempts for up to ``SLICE_S``, then queue behind the other tenants."""
    forget_told("deliveries.send_queued", tenant_id)
    if _send(uuid.UUID(tenant_id), None):
        tell("deliveries.send_queued", tenant_id)


@shared_task(name="deliveries.run_plan", ignore_result=True)
def run_plan(tenant_id: str, plan_id: str, lane: str = "1") -> None:
    """Hand over a running plan's attempts, likewise. ``lane`` lets two workers be at one plan."""
    forget_told("deliveries.run_plan", tenant_id, plan_id, lane)
    tenant, plan = uuid.UUID(tenant_id), uuid.UUID(plan_id)
    if _send(tenant, plan):
        tell("deliveries.run_plan", tenant_id, plan_id, lane)
    else:
        with tenant_scope(tenant):
            plans.finish_if_done(plan)


@shared_task(name="deliveries.prepare_plan", ignore_result=True)
def prepare_plan(tenant_id: str, plan_id: str) -> None:
    forget_told("deliveries.prepare_plan", tenant_id, plan_id)
    plan_rows.prepare(uuid.UUID(tenant_id), uuid.UUID(plan_id))


@shared_task(name="deliveries.clear_plan", ignore_result=True)
def clear_plan(tenant_id: str, plan_id: str) -> None:
    forget_told("deliveries.clear_plan", tenant_id, plan_id)
    plans.clear_cancelled(uuid.UUID(tenant_id), uuid.UUID(plan_id))


@shared_task(name="deliveries.take_off_lists", ignore_result=True)
def take_off_lists(tenant_id: str) -> None:
    forget_told("deliveries.take_off_lists", tenant_id)
    unlist.take_off(uuid.UUID(tenant_id))


@shared_task(name="deliveries.sweep_sending", ignore_result=True)
def sweep_sending() -> None:
    """Find what is due, and what nobody is at any more: waits live in the database, not in the broker."""
    for tenant_id in tenants_with("lost"):
        handover.recover(tenant_id)
    for tenant_id in tenants_with("sending"):
        tell("deliveries.send_queued", str(tenant_id))
    for tenant_id in tenants_with("plan"):
        with tenant_scope(tenant_id):
            waiting = plans.with_work()
        for plan in waiting:
            tell_plan(_PLAN_TASKS[PlanStatus(plan.status)], tenant_id, plan.id)
    for tenant_id in tenants_with("unlisting"):
        tell("deliveries.take_off_lists", str(tenant_id))


_PLAN_TASKS = {
    PlanStatus.PREPARING: "deliveries.prepare_plan",
    PlanStatus.RUNNING: "deliveries.run_plan",
    PlanStatus.CANCELLED: "deliveries.clear_plan",
}


def _send(tenant_id: uuid.UUID, plan_id: uuid.UUID | None) -> bool:
    """Work for a slice of time; returns whether more is due right now."""
    stop_at = time.monotonic() + SLICE_S
    while time.monotonic() < stop_at:
        rounds = [handover.hand_over(tenant_id, account, plan_id) for account in _accounts(tenant_id, plan_id)]
        if any(one.attempts for one in rounds):
            continue
        waits = [(one.again_at - timezone.now()).total_seconds() for one in rounds if one.again_at]
        if not waits or time.monotonic() + min(waits) > stop_at:
            return False  # nothing is due, or the sweep comes back for it
        time.sleep(max(0.05, min(waits)))
    return True


def _accounts(tenant_id: uuid.UUID, plan_id: uuid.UUID | None) -> list[SendingAccount]:
    return handover.accounts_with_due(tenant_id, plan_id)
