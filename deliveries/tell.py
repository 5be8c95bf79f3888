"""Tells the workers that there is something to do. Losing the message loses nothing: the sweeps look too."""

from __future__ import annotations

import time
import uuid

import structlog
from celery import current_app
from django.core.cache import cache

log = structlog.get_logger(__name__)

QUIET_S = 10.0
PLAN_LANES = [("1",), ("2",)]
_quiet_until = 0.0


def tell_workers(tenant_id: uuid.UUID) -> None:
    """Tell that a tenant's inbox has something."""
    tell("deliveries.process_inbox", str(tenant_id))


def tell_plan(task: str, tenant_id: uuid.UUID, plan_id: uuid.UUID) -> None:
    """Tell of work at a resend plan; as many workers as there are lanes hand it over at once."""
    for lane in PLAN_LANES if task == "deliveries.run_plan" else [()]:
        tell(task, str(tenant_id), str(plan_id), *lane)


def tell(task: str, *arguments: str) -> None:
    """Enqueue a task unless the same one is waiting already; a broker that is away is left alone a while."""
    global _quiet_until  # noqa: PLW0603 -- one breaker a process
    if time.monotonic() < _quiet_until:
        return
    try:
        if cache.add(_told(task, *arguments), 1, timeout=30):
            # By name: the tasks themselves tell workers too.
            current_app.send_task(task, arguments, retry=False)
    except Exception:  # noqa: BLE001 -- whatever the broker's client raises, the work is committed
        _quiet_until = time.monotonic() + QUIET_S
        log.warning("tell.broker_away", quiet_s=QUIET_S)


def forget_told(task: str, *arguments: str) -> None:
    """Called when a task begins: what comes from now on must be told again. A cache that is away is harmless."""
    try:
        cache.delete(_told(task, *arguments))
    except Exception:  # noqa: BLE001 -- then everything is told
        log.warning("tell.cache_away")


def _told(task: str, *arguments: str) -> str:
    return ":".join(["told", task, *arguments])
