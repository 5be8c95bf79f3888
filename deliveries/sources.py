"""Tells how each source stands: silence is told apart from health, and refusals from silence."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import F, Max
from django.utils import timezone

from deliveries.models import Connection, Quarantined, Route, UnparsedItem

SILENT_AFTER = timedelta(hours=24)
# A suspended account still reports mail that it took before, for as long as that may be deferred.
SUSPENSION_ECHO = timedelta(hours=72)
RECENT_UNREADABLE = 500


class SourceState(StrEnum):
    """How a connection stands; the first that applies, in this order."""

    OFF = "off"
    SUSPENDED = "suspended"
    REJECTING = "rejecting"
    UNREADABLE = "unreadable"
    WAITING = "waiting"
    SILENT = "silent"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Source:
    """A connection, when an event of it was last understood, and when one last could not be read."""

    connection: Connection
    heard_at: datetime | None
    unreadable_at: datetime | None
    state: SourceState


def list_sources() -> list[Source]:
    """Return the scope's connections by name, those that are off last; the same few queries however many there are."""
    return _stand(Connection.objects.order_by(F("disabled_at").asc(nulls_first=True), "name", "id"))


def find_source(connection_id: uuid.UUID) -> Source | None:
    return next(iter(_stand(Connection.objects.filter(id=connection_id))), None)


def list_shares() -> list[Route]:
    """Return the scope's shares of the operator's connections."""
    return list(Route.objects.order_by("name", "value"))


def _stand(rows: Iterable[Connection]) -> list[Source]:
    connections = list(rows)
    shared = [row.id for row in connections if row.shared]
    routed = _latest_routed(shared) if shared else {}
    unreadable = _latest_unreadable()
    now = timezone.now()
    found = []
    for row in connections:
        heard_at = _later(row.last_event_at, routed.get(row.id))
        unreadable_at = unreadable.get(row.id)
        found.append(Source(row, heard_at, unreadable_at, judge(row, heard_at, unreadable_at, now)))
    return found


def judge(
    connection: Connection, heard_at: datetime | None, unreadable_at: datetime | None, now: datetime
) -> SourceState:
    """Return the state. Whatever a genuine event came after is over."""
    if connection.disabled_at:
        return SourceState.OFF
    if is_suspended(connection, heard_at):
        return SourceState.SUSPENDED
    if is_after(connection.last_rejected_at, heard_at):
        return SourceState.REJECTING
    if is_after(unreadable_at, heard_at):
        return SourceState.UNREADABLE
    if heard_at is None:
        return SourceState.WAITING
    return SourceState.SILENT if now - heard_at > SILENT_AFTER else SourceState.HEALTHY


def is_suspended(connection: Connection, heard_at: datetime | None) -> bool:
    """Tell whether the provider's last word about the account was a bad one that no new mail has overtaken."""
    since = connection.account_status_at
    if not connection.account_status or since is None or "reactivat" in connection.account_status.lower():
        return False
    return not is_after(heard_at, since + SUSPENSION_ECHO)


def is_after(at: datetime | None, other: datetime | None) -> bool:
    return at is not None and (other is None or at > other)


def _latest_routed(connection_ids: list[uuid.UUID]) -> dict[uuid.UUID, datetime | None]:
    """Return when a shared connection was last heard, in any tenant or in quarantine. Runs in the operator's scope."""
    latest: dict[uuid.UUID, datetime | None] = {}
    routes = Route.unscoped.filter(connection_id__in=connection_ids)
    held = Quarantined.objects.filter(connection_id__in=connection_ids, released_at=None)
    for rows, column in ((routes, "last_event_at"), (held, "received_at")):
        for connection_id, at in rows.values_list("connection_id").annotate(Max(column)):
            latest[connection_id] = _later(latest.get(connection_id), at)
    return latest


def _latest_unreadable() -> dict[uuid.UUID, datetime]:
    """Look at the newest unreadable items only: older ones say nothing about how a source stands now."""
    newest = UnparsedItem.objects.order_by("-received_at", "-id").values_list("connection_id", "received_at")
    latest: dict[uuid.UUID, datetime] = {}
    for connection_id, at in newest[:RECENT_UNREADABLE]:
        latest.setdefault(connection_id, at)
    return latest


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)
