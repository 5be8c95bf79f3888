"""How fast a provider account may be called: one bucket for all workers, connections and tenants that share it.

The bucket fills at ``per_minute``. A refusal for speed halves that, each clean minute raises it again. Where the
provider tells what is left of its budget (LINE WORKS), what other applications use of it counts as well, and calls
stop before theirs and ours together would be refused.
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from deliveries.models import Pace
from providers.sending import Budget

# How many seconds' worth of calls may be made at once after a silence.
BURST_S = 5.0
SLOWEST_PER_MINUTE = 1.0
RAISE, RAISE_EVERY = 0.05, timedelta(minutes=1)
# A budget of which less than this is left slows us down; of the last few calls we leave all to others.
SCARCE, RESERVE = 0.10, 0.02
PAUSE_S, JITTER_S = 60.0, 5.0
SAME_WINDOW, HALVED_AT_MOST_EVERY = timedelta(seconds=3), timedelta(seconds=1)
# LINE WORKS asks for half its peak figure from calls that go on for more than half an hour.
LONG_RUN, RUN_ENDS_AFTER = timedelta(minutes=30), timedelta(minutes=2)


class Allowed(NamedTuple):
    """How many calls may be made now; with none, when to ask again."""

    calls: int
    again_at: datetime


def take(key: uuid.UUID, wanted: int, *, ceiling: float, shared_budget: bool = False) -> Allowed:
    """Take up to ``wanted`` calls out of an account's bucket, in a transaction of its own.

    ``ceiling`` is the account's limit in calls a minute. With ``shared_budget`` it starts at half of it.
    """
    now = timezone.now()
    with transaction.atomic():
        row = _locked(key, ceiling / 2 if shared_budget else ceiling)
        if row.paused_until and row.paused_until > now:
            return Allowed(0, row.paused_until)
        _fill(row, now, ceiling, shared_budget=shared_budget)
        calls = min(wanted, int(row.ready), _left_of_budget(row, now))
        row.ready -= calls
        window_is_over = row.budget_resets_at is None or row.budget_resets_at <= now
        if window_is_over and row.told_at:  # our own count begins anew with the window
            row.own_calls, row.told_at = 0, None
        row.own_calls += calls
        if row.budget_remaining is not None:
            row.budget_remaining = max(0, row.budget_remaining - calls)
        row.save()
        return Allowed(calls, _again_at(row, now))


def note(key: uuid.UUID, *, budget: Budget | None, refused_for_s: float | None) -> None:
    """Learn from an answer: what the provider says is left, and whether it refused us for speed.

    ``refused_for_s`` is the wait that a refusal asks for, 0 if it names none; None: it was no such refusal.
    """
    if budget is None and refused_for_s is None:
        return
    now = timezone.now()
    with transaction.atomic():
        row = Pace.objects.select_for_update().filter(key=key).first()
        if row is None:
            return
        if budget is not None:
            _note_budget(row, budget, now)
        if refused_for_s is not None:
            wait_s = refused_for_s or _until_reset_s(row, now) or PAUSE_S
            _slow_down(row, now)
            row.paused_until = now + timedelta(seconds=wait_s + random.uniform(0, JITTER_S))  # noqa: S311 -- jitter
        row.save()


class Standing(NamedTuple):
    """How an account stands, for people. ``others`` is what other applications used of the present budget."""

    per_minute: float
    paused_until: datetime | None
    limit: int | None
    remaining: int | None
    resets_at: datetime | None
    others: int

    @property
    def is_scarce(self) -> bool:
        return self.limit is not None and self.remaining is not None and self.remaining < self.limit * 2 * SCARCE

    def done_by(self, waiting: int, now: datetime) -> datetime:
        """Forecast when so many held calls will have gone."""
        begin = max(filter(None, [now, self.paused_until]))
        return begin + timedelta(minutes=waiting / max(self.per_minute, SLOWEST_PER_MINUTE))


def standing(key: uuid.UUID) -> Standing | None:
    """Return how an account stands; None before its first call."""
    row, now = Pace.objects.filter(key=key).first(), timezone.now()
    if row is None or not row.per_minute:
        return None
    current = row.budget_resets_at is not None and row.budget_resets_at > now
    limit = row.budget_limit if current else None
    remaining = row.budget_remaining if current else None
    used = limit - remaining if limit is not None and remaining is not None else 0
    paused = row.paused_until if row.paused_until and row.paused_until > now else None
    return Standing(
        row.per_minute,
        paused,
        limit,
        remaining,
        row.budget_resets_at if current else None,
        max(0, used - row.own_calls),
    )


def _locked(key: uuid.UUID, start: float) -> Pace:
    Pace.objects.get_or_create(key=key, defaults={"per_minute": 0})
    row = Pace.objects.select_for_update().get(key=key)
    if not row.per_minute:  # its first call; the row may be there already, to keep a token in
        row.per_minute, row.ready, row.raised_at = start, _burst(start), row.raised_at - HALVED_AT_MOST_EVERY
    return row


def _burst(per_minute: float) -> float:
    return max(1.0, per_minute / 60 * BURST_S)


def _fill(row: Pace, now: datetime, ceiling: float, *, shared_budget: bool) -> None:
    if now - row.counted_at > RUN_ENDS_AFTER or row.run_began_at is None:
        row.run_began_at = now
    highest = ceiling / 2 if shared_budget and now - row.run_began_at > LONG_RUN else ceiling
    if now - row.raised_at >= RAISE_EVERY and not _is_scarce(row, now):
        row.per_minute, row.raised_at = row.per_minute + ceiling * RAISE, now
    row.per_minute = max(SLOWEST_PER_MINUTE, min(row.per_minute, highest))
    gained = max(0.0, (now - row.counted_at).total_seconds()) * row.per_minute / 60
    row.ready = min(row.ready + gained, _burst(row.per_minute))
    row.counted_at = now


def _again_at(row: Pace, now: datetime) -> datetime:
    if _left_of_budget(row, now) <= 0 and row.budget_resets_at:
        return row.budget_resets_at
    missing = max(0.0, 1.0 - row.ready)
    return now + timedelta(seconds=missing * 60 / row.per_minute)


def _left_of_budget(row: Pace, now: datetime) -> int:
    """Calls that the provider's present window has left for us, as far as it told; else no limit."""
    if row.budget_resets_at is None or row.budget_resets_at <= now or row.budget_remaining is None:
        return 1_000_000
    return max(0, row.budget_remaining - int((row.budget_limit or 0) * RESERVE))


def _note_budget(row: Pace, budget: Budget, now: datetime) -> None:
    resets_at = now + timedelta(seconds=budget.reset_s)
    same_window = row.budget_resets_at is not None and resets_at - row.budget_resets_at < SAME_WINDOW
    if same_window and row.budget_remaining is not None:
        # Answers overtake each other, and calls under way are not in them yet.
        row.budget_remaining = min(row.budget_remaining, budget.remaining)
    else:
        row.budget_remaining = budget.remaining
        if row.told_at:  # the provider's window turned before ours was over
            row.own_calls = 1
    row.budget_limit, row.budget_resets_at, row.told_at = budget.limit, resets_at, now
    if _is_scarce(row, now) and now - row.raised_at >= HALVED_AT_MOST_EVERY:
        _slow_down(row, now)


def _slow_down(row: Pace, now: datetime) -> None:
    row.per_minute, row.raised_at, row.ready = max(SLOWEST_PER_MINUTE, row.per_minute / 2), now, 0.0


def _is_scarce(row: Pace, now: datetime) -> bool:
    if row.budget_limit is None or row.budget_remaining is None or row.budget_resets_at is None:
        return False
    return row.budget_resets_at > now and row.budget_remaining < row.budget_limit * SCARCE


def _until_reset_s(row: Pace, now: datetime) -> float:
    return (row.budget_resets_at - now).total_seconds() if row.budget_resets_at and row.budget_resets_at > now else 0.0
