"""Celery's entry points: thin, safe to run twice; they call a verb and record."""

from __future__ import annotations

import time
import uuid

import structlog
from celery import shared_task
from django.db import connection

from deliveries import inbox, partitions, retention, subscriptions, tallies
from deliveries.tell import forget_told, tell_workers

log = structlog.get_logger(__name__)

SLICE_S = 5.0  # how long one tenant keeps a worker before the others have their turn


@shared_task(name="deliveries.process_inbox", ignore_result=True)
def process_inbox(tenant_id: str) -> None:
    """Work a tenant's pending webhooks for up to ``SLICE_S``, then queue behind the other tenants."""
    tenant = uuid.UUID(tenant_id)
    _forget(tenant)
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


def _forget(tenant_id: uuid.UUID) -> None:
    try:
        forget_told(tenant_id)
    except Exception:  # noqa: BLE001 -- without the cache everything is told, which is harmless
        log.warning("inbox.cache_away")
