"""Tries temporary failures again by itself, by a policy that each tenant can see and change."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Final, NamedTuple

from django.db import connection as database
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries.accounts import sending_accounts
from deliveries.classify import Verdict
from deliveries.codes import CODES
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Persistence, Retry
from deliveries.models import Attempt, Delivery, RetryPolicy
from notifyguard.accounts import audit
from notifyguard.accounts.models import Tenant

# What a policy may say: enough for a long weekend, and never a hammer.
MOST_TRIES = 10
SHORTEST_WAIT_S, LONGEST_WAIT_S = 60, 7 * 86_400
MOST_FACTOR = 10.0


class PolicyInputError(ValueError):
    """A policy's value is outside its limits; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Policy:
    """How failures with a code are tried again. ``retry`` is when, by the table of codes: not for tenants to change."""

    code: str
    retry: Retry
    enabled: bool
    tries: int
    first_wait_s: int
    factor: float
    longest_wait_s: int
    is_default: bool = True


class Failure(NamedTuple):
    """A failure that was just recorded, with the verdict on it."""

    event_id: uuid.UUID
    match_key: uuid.UUID
    verdict: Verdict
    occurred_at: datetime


_TRIED_AGAIN: Final = (Retry.NOW, Retry.LATER, Retry.NEXT_DAY)


def _default(code: str, retry: Retry, first_wait_s: int, longest_wait_s: int) -> Policy:
    return Policy(
        code=code,
        retry=retry,
        enabled=True,
        tries=3,
        first_wait_s=first_wait_s,
        factor=2.0,
        longest_wait_s=longest_wait_s,
    )


# By when the table of codes says that another try is worth it: first wait and longest wait in seconds.
_WAITS: Final[Mapping[Retry, tuple[int, int]]] = {
    Retry.NOW: (300, 3600),
    Retry.LATER: (3600, 86_400),
    Retry.NEXT_DAY: (7200, 28_800),  # counted from the next midnight
}
DEFAULTS: Final[Mapping[str, Policy]] = {
    name: _default(name, code.retry, *_WAITS[code.retry])
    for name, code in CODES.items()
    if code.retry in _TRIED_AGAIN and code.persistence == Persistence.SOFT
}


def policies() -> dict[str, Policy]:
    """Return the scope's policy for each code that is ever tried again."""
    own = {row.code: row for row in RetryPolicy.objects.all()}
    general = own.get("")
    return {code: _applied(default, own.get(code) or general) for code, default in DEFAULTS.items()}


def policy_of(delivery: Delivery) -> Policy | None:
    """Return the policy that a delivery's failure comes under; None if such failures are not tried again."""
    return policies().get(delivery.code or "") if delivery.persistence == Persistence.SOFT else None


def _applied(default: Policy, row: RetryPolicy | None) -> Policy:
    if row is None:
        return default
    return replace(
        default,
        enabled=row.enabled,
        tries=row.tries,
        first_wait_s=row.first_wait_s,
        factor=row.factor,
        longest_wait_s=row.longest_wait_s,
        is_default=False,
    )


def set_policy(wanted: Policy, *, actor: audit.Actor) -> None:
    """Keep a tenant's own policy for a code, from the next failure on. Raises ``PolicyInputError``."""
    _check(wanted)
    before = policies()[wanted.code]
    values = _values(wanted)
    if _values(before) == values:
        return
    with transaction.atomic():
        RetryPolicy.objects.update_or_create(code=wanted.code, defaults=values)
        old = {name: value for name, value in _values(before).items() if value != values[name]}
        new = {name: values[name] for name in old}
        audit.record(actor, "retry.changed", object_type="retry_policy", object_id=wanted.code, before=old, after=new)


def _values(policy: Policy) -> dict[str, Any]:
    return {
        "enabled": policy.enabled,
        "tries": policy.tries,
        "first_wait_s": policy.first_wait_s,
        "factor": policy.factor,
        "longest_wait_s": policy.longest_wait_s,
    }


def _check(policy: Policy) -> None:
    if not 1 <= policy.tries <= MOST_TRIES:
        raise PolicyInputError("tries", _("Choose from 1 to %(most)d tries.") % {"most": MOST_TRIES})
    if not 1.0 <= policy.factor <= MOST_FACTOR:
        raise PolicyInputError("factor", _("Choose a factor from 1 to %(most)d.") % {"most": MOST_FACTOR})
    if not SHORTEST_WAIT_S <= policy.first_wait_s <= LONGEST_WAIT_S:
        raise PolicyInputError("first_wait_s", _("Choose a first wait from one minute to seven days."))
    if not policy.first_wait_s <= policy.longest_wait_s <= LONGEST_WAIT_S:
        raise PolicyInputError("longest_wait_s", _("Choose a longest wait from the first wait to seven days."))


class _Candidate(NamedTuple):
    """A delivery whose deciding event has just failed, ours to send again, with what was tried already."""

    delivery_id: uuid.UUID
    event_id: uuid.UUID
    connection_id: uuid.UUID
    channel: str
    use_by: datetime | None
    tried: int


def schedule(tenant_id: uuid.UUID, failures: Sequence[Failure]) -> int:
    """Queue the next automatic attempt for the failures that a policy covers; returns for how many.

    In the transaction that recorded them. A handful of statements, however many failures. Safe to repeat: a delivery
    whose attempt waits or is under way gets no other.
    """
    found = {one.event_id: one for one in failures if one.verdict.code in DEFAULTS}
    candidates = _candidates(tenant_id, found.values())
    if not candidates:
        return 0
    own, now = policies(), timezone.now()
    zone = Tenant.objects.get(id=tenant_id).zone
    usual = {one.connection_id: one for one in sending_accounts()}
    default = {one.channel: one.connection_id for one in reversed(usual.values())}
    attempts = []
    for one in candidates:
        verdict = found[one.event_id].verdict
        policy = own[verdict.code]
        due_at = _due_at(policy, one, verdict.retry, now, zone) if policy.enabled else None
        way = one.connection_id if one.connection_id in usual else default.get(Channel(one.channel))
        if due_at and way and one.tried < policy.tries:
            attempts.append(_attempt(tenant_id, one, way, due_at))
    Attempt.objects.bulk_create(attempts, batch_size=1000)
    return len(attempts)


def _attempt(tenant_id: uuid.UUID, one: _Candidate, way: uuid.UUID, due_at: datetime) -> Attempt:
    return Attempt(
        tenant_id=tenant_id,
        delivery_id=one.delivery_id,
        why=AttemptWhy.AUTOMATIC,
        channel=one.channel,
        connection_id=way,
        due_at=due_at,
    )


def longest_wait(policy: Policy, tried: int) -> timedelta:
    """Return the most that is waited before a try, after so many."""
    return timedelta(seconds=min(policy.longest_wait_s, policy.first_wait_s * policy.factor**tried))


def _due_at(policy: Policy, one: _Candidate, retry: Retry, now: datetime, zone: tzinfo) -> datetime | None:
    """Return when to try next, with full jitter; None if that would be of no use to anybody any more."""
    earliest = _next_midnight(now, zone) if retry == Retry.NEXT_DAY else now
    latest = earliest + longest_wait(policy, one.tried)
    if one.use_by:
        latest = min(latest, one.use_by)
    if latest <= earliest:
        return None
    return earliest + (latest - earliest) * random.random()  # noqa: S311 -- jitter


def _next_midnight(now: datetime, zone: tzinfo) -> datetime:
    return datetime.combine(now.astimezone(zone).date() + timedelta(days=1), time.min, tzinfo=zone)


def _candidates(tenant_id: uuid.UUID, failures: Iterable[Failure]) -> list[_Candidate]:
    keys = {str(one.match_key): str(one.event_id) for one in failures}
    if not keys:
        return []
    with database.cursor() as cursor:
        cursor.execute(
            _CANDIDATES,
            {
                "tenant": tenant_id,
                "keys": list(keys),
                "events": list(keys.values()),
                "automatic": AttemptWhy.AUTOMATIC,
                "cancelled": AttemptStatus.CANCELLED,
            },
        )
        return [_Candidate(*row) for row in cursor.fetchall()]


_CANDIDATES = """
WITH told AS MATERIALIZED (
    SELECT match_key, event_id FROM unnest(%(keys)s::uuid[], %(events)s::uuid[]) t (match_key, event_id)
), found AS MATERIALIZED (
    SELECT d.id FROM told JOIN deliveries_delivery d
        ON d.tenant_id = %(tenant)s AND d.match_key = told.match_key AND d.event_id = told.event_id
    UNION
    SELECT d.id FROM told
    JOIN deliveries_deliverylink l ON l.tenant_id = %(tenant)s AND l.match_key = told.match_key
    JOIN deliveries_delivery d ON d.tenant_id = %(tenant)s AND d.id = l.delivery_id AND d.event_id = told.event_id
)
SELECT d.id, d.event_id, d.connection_id, d.channel, n.use_by, (
    SELECT count(*) FROM deliveries_attempt a WHERE a.tenant_id = d.tenant_id AND a.delivery_id = d.id
        AND a.why = %(automatic)s AND a.status <> %(cancelled)s)
FROM found
JOIN deliveries_delivery d ON d.tenant_id = %(tenant)s AND d.id = found.id
JOIN deliveries_notice n ON n.tenant_id = d.tenant_id AND n.id = d.notice_id
WHERE d.error_state IS NOT NULL AND d.state <> 'deferred' AND d.persistence = 'soft'
    AND n.body_sealed IS NOT NULL AND (n.body_until IS NULL OR n.body_until > now())
    AND NOT EXISTS (
        SELECT FROM deliveries_attempt a
        LEFT JOIN deliveries_resendplan p ON p.tenant_id = a.tenant_id AND p.id = a.plan_id
        WHERE a.tenant_id = d.tenant_id AND a.delivery_id = d.id AND (a.status = 'sending'
            OR a.status = 'queued' AND (a.plan_id IS NULL OR p.status IN ('running', 'paused'))
            OR a.status IN ('accepted', 'asked', 'unknown') AND a.number > d.attempt))
"""


class Automatic(NamedTuple):
    """What the policy does with a delivery: tries made by itself out of how many, and whether that is all."""

    tried: int
    tries: int
    next_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.tried >= self.tries and self.next_at is None


def automatic(delivery: Delivery, attempts: Sequence[Attempt]) -> Automatic | None:
    """Return what the policy does with an open delivery; None where no policy is on or has done anything."""
    own = [one for one in attempts if one.why == AttemptWhy.AUTOMATIC and one.status != AttemptStatus.CANCELLED]
    policy = policy_of(delivery)
    if not own or not delivery.is_open or policy is None:
        return None
    waiting = [one.due_at for one in own if one.status == AttemptStatus.QUEUED]
    return Automatic(len(own) - len(waiting), policy.tries, min(waiting, default=None))
