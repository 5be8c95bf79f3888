"""Resends many at once, honestly: a selection is frozen, previewed, approved, and can be paused and stopped."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection as database
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries import pace, plan_counts, queries
from deliveries.accounts import SendingAccount, sending_accounts
from deliveries.enums import AttemptStatus, Channel, Outcome, PlanStatus
from deliveries.filters import PRIVATE_PARAMETERS, DeliveryFilter
from deliveries.models import Attempt, PlanCount, ResendPlan
from deliveries.plan_counts import Phase
from deliveries.plan_rows import IDS, prepare, short
from deliveries.tell import tell_plan
from notifyguard.accounts import audit
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope

__all__ = [
    "PlanError",
    "PlanStateError",
    "approve",
    "cancel",
    "clear_cancelled",
    "count",
    "finish_if_done",
    "go_on",
    "pause",
    "prepare",
    "preview",
    "progress",
    "start",
]

MOST_IDS = 100  # more are chosen by a filter
MOST_PER_MINUTE = 1_000_000
CLEARED_AT_ONCE = 10_000
_LONGEST_SELECTION = 4000
# What a list's address holds beside its filter.
_BESIDE_THE_FILTER = ("cursor", "size", "back")
_GOES = frozenset({Outcome.READY, Outcome.ASK})


class PlanError(ValueError):
    """The selection can't be resent as it is; the message says why."""


class PlanStateError(ValueError):
    """The plan is no longer where the act expects it: somebody was first, or it has ended."""


# ---------------------------------------------------------------- the life of a plan


def start(
    selection: str | Sequence[uuid.UUID],
    *,
    tenant: Tenant,
    actor: audit.Actor,
    other_way: str = "",
    newest_of_kind: bool = False,
    include_stale: bool = False,
    per_minute: int | None = None,
) -> ResendPlan:
    """Begin a plan for what a filter of the error list finds, or for the deliveries with these ids.

    ``selection`` is the filter as in the list's address. A worker freezes and previews it; nothing is sent before
    ``approve``. Raises ``PlanError``.
    """
    text = _filter_text(selection, tenant) if isinstance(selection, str) else _ids_text(selection)
    if other_way and other_way not in set(Channel):
        raise PlanError(_("There is no such channel to send through."))
    if per_minute is not None and not 1 <= per_minute <= MOST_PER_MINUTE:
        raise PlanError(_("Choose from 1 to %(most)d a minute.") % {"most": MOST_PER_MINUTE})
    plan = ResendPlan(
        selection=text,
        other_way=other_way,
        newest_of_kind=newest_of_kind,
        include_stale=include_stale,
        per_minute=per_minute,
        created_by=actor.name[:254],
    )
    with transaction.atomic():
        plan.save(force_insert=True)
        _record(actor, "plan.started", plan, {"filter": _recorded(text), "other_way": other_way})
        _enqueue("deliveries.prepare_plan", plan)
    return plan


def approve(plan: ResendPlan, *, actor: audit.Actor) -> None:
    """Let a previewed plan go. Raises ``PlanStateError``."""
    now = timezone.now()
    changes = {"status": PlanStatus.RUNNING, "approved_by": actor.name[:254], "approved_at": now}
    with transaction.atomic():
        _move(plan, [PlanStatus.READY], changes)
        after = {name: int(n) for name, n in plan_counts.read(plan.id)[Phase.PREVIEW].items() if n}
        _record(actor, "plan.approved", plan, after)
        _enqueue("deliveries.run_plan", plan)


def pause(plan: ResendPlan, *, actor: audit.Actor) -> None:
    """Send nothing more for now; what is under way ends by itself. Raises ``PlanStateError``."""
    with transaction.atomic():
        _move(plan, [PlanStatus.RUNNING], {"status": PlanStatus.PAUSED})
        _record(actor, "plan.paused", plan)


def go_on(plan: ResendPlan, *, actor: audit.Actor) -> None:
    """Go on with a paused plan. Raises ``PlanStateError``."""
    with transaction.atomic():
        _move(plan, [PlanStatus.PAUSED], {"status": PlanStatus.RUNNING})
        _record(actor, "plan.continued", plan)
        _enqueue("deliveries.run_plan", plan)


def cancel(plan: ResendPlan, *, actor: audit.Actor) -> None:
    """Stop a plan, or discard one that was not approved: no row leaves after this commits but those under way.

    Raises ``PlanStateError``.
    """
    stoppable = [PlanStatus.PREPARING, PlanStatus.READY, PlanStatus.RUNNING, PlanStatus.PAUSED]
    with transaction.atomic():
        _move(plan, stoppable, {"status": PlanStatus.CANCELLED})
        _record(actor, "plan.cancelled", plan)
        _enqueue("deliveries.clear_plan", plan)


def clear_cancelled(tenant_id: uuid.UUID, plan_id: uuid.UUID) -> None:
    """Give the rows of a cancelled plan that are still queued their outcome. Not inside a scope; safe twice."""
    while True:
        with tenant_scope(tenant_id):
            if not ResendPlan.objects.filter(id=plan_id, status=PlanStatus.CANCELLED).exists():
                return
            cleared = _clear_batch(plan_id)
            if not cleared:
                _finish(plan_id, PlanStatus.CANCELLED, PlanStatus.CANCELLED)
                return


def finish_if_done(plan_id: uuid.UUID) -> bool:
    """End a running plan none of whose rows waits or is under way; returns whether it has ended. Inside the scope."""
    return _finish(plan_id, PlanStatus.RUNNING, PlanStatus.DONE)


def count(plan_id: uuid.UUID, outcomes: Counter[str]) -> None:
    """Count rows that have ended, in the transaction that ends them."""
    plan_counts.add_ended(plan_id, outcomes)


def with_work() -> list[ResendPlan]:
    """Return the scope's plans that a worker has something to do for."""
    busy = Q(status__in=[PlanStatus.PREPARING, PlanStatus.RUNNING])
    left = Q(status=PlanStatus.CANCELLED, finished_at__isnull=True)
    return list(ResendPlan.objects.filter(busy | left).order_by("id"))


def _move(plan: ResendPlan, expected: Sequence[PlanStatus], changes: Mapping[str, Any]) -> None:
    """Change a plan's state if it is still where we think it is."""
    if not ResendPlan.objects.filter(id=plan.id, status__in=expected).update(**changes):
        raise PlanStateError(_("This is no longer possible: the resend has moved on. Look at where it stands now."))
    for name, value in changes.items():
        setattr(plan, name, value)


def _clear_batch(plan_id: uuid.UUID) -> int:
    with database.cursor() as cursor:
        cursor.execute(
            _CLEAR,
            {
                "tenant": current_tenant_id(),
                "plan": plan_id,
                "queued": AttemptStatus.QUEUED,
                "cancelled": AttemptStatus.CANCELLED,
                "outcome": Outcome.CANCELLED,
                "limit": CLEARED_AT_ONCE,
            },
        )
        cleared: int = cursor.rowcount
    count(plan_id, Counter({Outcome.CANCELLED: cleared}))
    return cleared


_CLEAR = """
UPDATE deliveries_attempt SET status = %(cancelled)s, outcome = %(outcome)s, answered_at = now()
WHERE tenant_id = %(tenant)s AND id IN (
    SELECT id FROM deliveries_attempt WHERE tenant_id = %(tenant)s AND plan_id = %(plan)s AND status = %(queued)s
    LIMIT %(limit)s FOR UPDATE)
"""


def _finish(plan_id: uuid.UUID, expected: PlanStatus, status: PlanStatus) -> bool:
    under_way = Attempt.objects.filter(plan_id=plan_id)
    if under_way.filter(status=AttemptStatus.QUEUED).exists():
        return False
    if under_way.filter(status=AttemptStatus.SENDING).exists():
        return False
    rows = ResendPlan.objects.filter(id=plan_id, status=expected, finished_at__isnull=True)
    ended = bool(rows.update(status=status, finished_at=timezone.now()))
    if ended:
        PlanCount.objects.filter(plan_id=plan_id, phase=Phase.MINUTE).delete()
    return ended


def _enqueue(task: str, plan: ResendPlan) -> None:
    """Tell a worker once this is committed. Losing the message loses nothing: the sweep looks as well."""
    tenant_id = current_tenant_id()
    transaction.on_commit(lambda: tell_plan(task, tenant_id, plan.id))


def _record(actor: audit.Actor, action: str, plan: ResendPlan, after: dict[str, Any] | None = None) -> None:
    audit.record(actor, action, object_type="plan", object_id=plan.id, after=after)


# ---------------------------------------------------------------- what is selected


def _filter_text(query: str, tenant: Tenant) -> str:
    data = QueryDict(query, mutable=True)
    for name in _BESIDE_THE_FILTER:
        data.pop(name, None)
    kept = data.copy()
    for name in data:
        kept.setlist(name, [value for value in data.getlist(name) if value])
    # A parameter that the filter does not know would select everything.
    if unknown := sorted({name for name in kept if kept.getlist(name)} - set(DeliveryFilter.base_filters)):
        raise PlanError(_("The filter holds something unknown: %(names)s.") % {"names": ", ".join(unknown)[:200]})
    chosen = DeliveryFilter(kept, queries.error_list(tenant.id), tenant=tenant)
    if not chosen.is_valid():
        raise PlanError(" ".join(message for messages in chosen.errors.values() for message in messages))
    text = kept.urlencode()
    if len(text) > _LONGEST_SELECTION:
        raise PlanError(_("The filter is too long: choose fewer values."))
    return text


def _ids_text(ids: Sequence[uuid.UUID]) -> str:
    chosen = list(dict.fromkeys(ids))
    if not chosen:
        raise PlanError(_("Choose at least one notice to send again."))
    if len(chosen) > MOST_IDS:
        raise PlanError(_("Choose at most %(most)d notices, or all that a filter shows.") % {"most": MOST_IDS})
    return IDS + ",".join(one.hex for one in chosen)


def _recorded(text: str) -> dict[str, Any]:
    """The selection as the audit log keeps it: that a person was searched for, not whom."""
    if text.startswith(IDS):
        return {"deliveries": text.count(",") + 1}
    return {name: "…" if name in PRIVATE_PARAMETERS | {"c"} else values for name, values in QueryDict(text).lists()}


# ---------------------------------------------------------------- what people see of it


class Speed(NamedTuple):
    """How an account that a plan sends through stands. ``calls`` are those that the plan still needs of it."""

    account: SendingAccount
    calls: int
    per_minute: float
    standing: pace.Standing | None

    @property
    def minutes(self) -> float:
        return self.calls / max(self.per_minute, pace.SLOWEST_PER_MINUTE)


class Preview(NamedTuple):
    """What a plan would do if it were approved now. ``cost`` is None where no price is set or no SMS goes."""

    total: int
    going: int
    outcomes: list[tuple[Outcome, int]]
    speeds: list[Speed]
    sms_parts: int
    cost: Decimal | None
    currency: str
    per_minute: int | None

    @property
    def duration(self) -> timedelta:
        asked_for = self.going / self.per_minute if self.per_minute else 0.0
        return timedelta(minutes=max([asked_for, *(one.minutes for one in self.speeds)]))


class Progress(NamedTuple):
    """How far a plan is. ``left`` is the time that the rest takes at the rate of the last minutes, if there is one."""

    done: int
    total: int
    outcomes: list[tuple[Outcome, int]]
    per_minute: float
    left: timedelta | None

    @property
    def percent(self) -> int:
        return self.done * 100 // self.total if self.total else 100


def preview(plan: ResendPlan, tenant: Tenant) -> Preview:
    """Return the preview of a plan; a few small queries, whatever its size."""
    counts = plan_counts.read(plan.id)
    outcomes, parts = counts[Phase.PREVIEW], counts[Phase.SMS]["parts"]
    priced = tenant.sms_price is not None and parts > 0
    return Preview(
        total=outcomes.total(),
        going=sum(outcomes[name] for name in _GOES),
        outcomes=_in_order(outcomes),
        speeds=_speeds(counts[Phase.CALLS]),
        sms_parts=parts,
        cost=tenant.sms_price * parts if priced and tenant.sms_price is not None else None,
        currency=tenant.sms_currency,
        per_minute=plan.per_minute,
    )


def previewed(plan: ResendPlan) -> list[tuple[Outcome, int]]:
    """Return what the rows would have come to when they were frozen."""
    return _in_order(plan_counts.read(plan.id)[Phase.PREVIEW])


def progress(plan: ResendPlan) -> Progress:
    """Return how far a plan is; one query, whatever its size."""
    counts = plan_counts.read(plan.id)
    total, done = counts[Phase.PREVIEW].total(), counts[Phase.OUTCOME].total()
    rate = plan_counts.per_minute(counts[Phase.MINUTE], plan.approved_at) if plan.status == PlanStatus.RUNNING else 0.0
    left = timedelta(minutes=(total - done) / rate) if rate and total > done else None
    return Progress(min(done, total), total, _in_order(counts[Phase.OUTCOME]), rate, left)


def plans() -> QuerySet[ResendPlan]:
    """The scope's plans, newest first; ``received_at`` is the paging's word for when one was made."""
    found: QuerySet[ResendPlan] = ResendPlan.objects.annotate(received_at=F("created_at"))
    return found.order_by("-created_at", "-id")


def find(plan_id: uuid.UUID) -> ResendPlan | None:
    found: ResendPlan | None = ResendPlan.objects.filter(id=plan_id).first()
    return found


def rows(plan: ResendPlan, outcome: str = "") -> QuerySet[Attempt]:
    """A plan's attempts, newest delivery first; of a plan that has not ended also what they would come to."""
    found: QuerySet[Attempt] = Attempt.objects.filter(plan_id=plan.id).order_by("-delivery_id")
    return found.filter(outcome=outcome) if outcome else found


def _in_order(counts: Mapping[str, int]) -> list[tuple[Outcome, int]]:
    return [(outcome, counts[outcome]) for outcome in Outcome if counts.get(outcome)]


def _speeds(calls: Mapping[str, int]) -> list[Speed]:
    found = []
    for account in sending_accounts():
        needed = calls.get(short(account.connection_id), 0)
        if needed:
            stands = pace.standing(account.pace_key)
            per_minute = stands.per_minute if stands else float(account.per_minute)
            found.append(Speed(account, needed, per_minute, stands))
    return found
