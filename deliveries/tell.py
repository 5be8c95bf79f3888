"""Tells the workers that a tenant's inbox has something. Losing the message loses nothing: the sweep looks too."""

from __future__ import annotations

import time
import uuid

import structlog
from celery import current_app
from django.core.cache import cache

log = structlog.get_logger(__name__)

QUIET_S = 10.0
_quiet_until = 0.0


def tell_workers(tenant_id: uuid.UUID) -> None:
    """Enqueue one task for the tenant unless one is waiting already; a broker that is away is left alone a while."""
    global _quiet_until  # noqa: PLW0603 -- one breaker a process
    if time.monotonic() < _quiet_until:
        return
    try:
        if cache.add(_told(tenant_id), 1, timeout=30):
            # By name: the tasks themselves tell workers too.
            current_app.send_task("deliveries.process_inbox", [str(tenant_id)], retry=False)
    except Exception:  # noqa: BLE001 -- whatever the broker's client raises, the webhook is committed
        _quiet_until = time.monotonic() + QUIET_S
        log.warning("inbox.broker_away", quiet_s=QUIET_S)


def forget_told(tenant_id: uuid.UUID) -> None:
    """Called before a worker claims: what is stored from now on must be told again."""
    cache.delete(_told(tenant_id))


def _told(tenant_id: uuid.UUID) -> str:
    return f"inbox-told:{tenant_id}"
