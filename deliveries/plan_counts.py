"""How many rows of a resend plan come to what: kept as they change, so that a progress bar scans nothing."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import connection as database
from django.utils import timezone

from deliveries.models import PlanCount
from notifyguard.accounts.tenancy import current_tenant_id

_MINUTE = "%Y%m%d%H%M"
RATE_OVER = timedelta(minutes=3)


class Phase(StrEnum):
    """What a count is about; the words in ``PlanCount.outcome`` are each phase's own."""

    PREVIEW = "preview"
    OUTCOME = "outcome"
    MINUTE = "minute"  # rows that ended in that minute (UTC)
    CALLS = "calls"  # calls that it will take, by connection
    SMS = "sms"  # parts of the messages


def add(plan_id: uuid.UUID, phase: Phase, counts: Mapping[str, int]) -> None:
    """Add to a plan's counts, in one statement."""
    found = {str(name): n for name, n in counts.items() if n}
    if not found:
        return
    with database.cursor() as cursor:
        cursor.execute(
            _ADD,
            {
                "tenant": current_tenant_id(),
                "plan": plan_id,
                "phase": str(phase),
                "names": list(found),
                "numbers": list(found.values()),
            },
        )


# In order, so that two workers that count for the same plan wait for each other instead of deadlocking.
_ADD = """
INSERT INTO deliveries_plancount AS c (tenant_id, id, plan_id, phase, outcome, n)
SELECT %(tenant)s, gen_random_uuid(), %(plan)s, %(phase)s, name, n
FROM unnest(%(names)s::text[], %(numbers)s::bigint[]) counted (name, n) ORDER BY name
ON CONFLICT (tenant_id, plan_id, phase, outcome) DO UPDATE SET n = c.n + excluded.n
"""


def add_ended(plan_id: uuid.UUID, outcomes: Mapping[str, int]) -> None:
    """Count rows that have ended, and when."""
    add(plan_id, Phase.OUTCOME, outcomes)
    add(plan_id, Phase.MINUTE, {timezone.now().strftime(_MINUTE): sum(outcomes.values())})


def replace(plan_id: uuid.UUID, phase: Phase, counts: Mapping[str, int]) -> None:
    PlanCount.objects.filter(plan_id=plan_id, phase=phase).delete()
    add(plan_id, phase, counts)


def read(plan_id: uuid.UUID) -> dict[Phase, Counter[str]]:
    """Return all of a plan's counts by phase; every phase is there."""
    found: dict[Phase, Counter[str]] = {phase: Counter() for phase in Phase}
    for phase, name, n in PlanCount.objects.filter(plan_id=plan_id).values_list("phase", "outcome", "n"):
        found[Phase(phase)][name] = n
    return found


def per_minute(minutes: Mapping[str, int], since: datetime | None) -> float:
    """Return how many rows a minute ended of late; ``since`` is when the plan began."""
    now = timezone.now()
    first = (now - RATE_OVER).replace(second=0, microsecond=0)
    recent = sum(n for name, n in minutes.items() if name >= first.strftime(_MINUTE))
    elapsed = (now - max(first, since or first)).total_seconds()
    return recent * 60 / max(elapsed, 1.0)
