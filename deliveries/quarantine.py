"""Held events of shared connections, and putting what waits for a person back in the inbox's queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min, QuerySet

from deliveries.enums import RawStatus
from deliveries.models import Connection, Quarantined, RawWebhook
from notifyguard.accounts import audit

MOST_GROUPS = 200


@dataclass(frozen=True, slots=True)
class Held:
    """The held events of one connection that carry the same route value; an empty value can't be routed."""

    connection: Connection
    value: str
    events: int
    first_at: datetime
    last_at: datetime


def list_held() -> list[Held]:
    """Return the held events by connection and route value, most events first. Runs in the operator's scope."""
    groups = (
        Quarantined.objects.filter(released_at=None)
        .values_list("connection_id", "route_value")
        .annotate(n=Count("id"), first=Min("received_at"), last=Max("received_at"))
        .order_by("-n", "route_value")[:MOST_GROUPS]
    )
    rows = list(groups)
    connections = Connection.objects.in_bulk([connection_id for connection_id, *_rest in rows])
    return [Held(connections[connection_id], *rest) for connection_id, *rest in rows]


def release(connection: Connection, value: str, *, actor: audit.Actor) -> int:
    """Put the webhooks of a value's held events back in the queue, and return how many events that is.

    The worker routes them as if they had just come, so that each takes effect once. An event whose webhook has
    passed the retention is not counted and stays held. Runs in the operator's scope; the caller tells the workers.
    """
    held = Quarantined.objects.filter(connection_id=connection.id, route_value__iexact=value, released_at=None)
    kept = RawWebhook.objects.filter(id__in=held.values("raw_id"))
    events = held.filter(raw_id__in=kept.values("id")).count()
    if events:
        _requeue(kept)
        after = {"connection": connection.name, "value": value, "events": events}
        audit.record(actor, "quarantine.released", object_type="connection", object_id=connection.id, after=after)
    return events


def retry_failed(*, actor: audit.Actor) -> int:
    """Put the scope's failed webhooks back in the queue, and return how many; the caller tells the workers."""
    count = _requeue(RawWebhook.objects.filter(status=RawStatus.FAILED))
    if count:
        audit.record(actor, "webhooks.retried", object_type="inbox", object_id="failed", after={"webhooks": count})
    return count


def _requeue(webhooks: QuerySet[RawWebhook]) -> int:
    return webhooks.update(status=RawStatus.PENDING, error="", processed_at=None)
