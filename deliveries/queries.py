"""Every list and every number that pages, exports and the API show; run inside the tenant's scope."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import QuerySet
from django.utils import timezone

from deliveries.classify import Verdict, classify, report_of
from deliveries.enums import OPEN_STATES, Channel, Kind, State
from deliveries.models import Connection, Delivery, DeliveryLink, Event, Route, UnparsedItem
from deliveries.state import error_state
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import current_tenant_id

# A deferred notice is still on its way: it counts as undelivered once the provider gives up.
UNDELIVERED_STATES = OPEN_STATES - {State.DEFERRED}
TOP_DOMAINS = 50

# Never handed to a receiving server, so never tried; or tried without an answer yet.
_WITHOUT_ANSWER = frozenset({State.DROPPED, State.FAILED, State.DEFERRED, State.QUEUED, State.ACCEPTED})
# How long a provider tries from the first deferral on, where its reports do not say (docs/providers/sendgrid.md).
TRIES_FOR = {"sendgrid": timedelta(hours=72)}

# What a list never shows: copies for searching, and replies of up to 4,000 characters.
_HEAVY = ("reply", "recipient_key", "title_key")


class Count(NamedTuple):
    """How many open deliveries have this value."""

    value: str
    n: int


@dataclass(frozen=True, slots=True)
class Facets:
    """The filter bar's choices of one tab, most frequent first; a connection's value is its id as text."""

    states: list[Count]
    codes: list[Count]
    domains: list[Count]
    connections: list[Count]


@dataclass(frozen=True, slots=True)
class Source:
    """What reports to a tenant: a connection of its own, or its share of one of the operator's."""

    name: str
    provider: str
    connection_id: uuid.UUID
    last_event_at: datetime | None
    rejected_count: int
    last_rejected_at: datetime | None
    account_status: str
    shared: bool


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One event of a delivery, with the verdict on it by today's rules if it is a failure."""

    event: Event
    kind: Kind
    verdict: Verdict | None


def error_list(tenant_id: uuid.UUID) -> QuerySet[Delivery]:
    """The Notification Error List: the open deliveries, newest first. Replies are loaded only where asked for."""
    rows = Delivery.objects.filter(tenant_id=tenant_id, error_state__isnull=False)
    return rows.order_by("-failed_at", "-id").defer(*_HEAVY)


def all_deliveries(tenant_id: uuid.UUID) -> QuerySet[Delivery]:
    """Every delivery, the one that was handed over last first."""
    return Delivery.objects.filter(tenant_id=tenant_id).order_by("-first_at", "-id").defer(*_HEAVY)


def delivery(tenant_id: uuid.UUID, delivery_id: uuid.UUID) -> Delivery | None:
    """Return one delivery in full, or None: another tenant's looks like one that never was."""
    found: Delivery | None = Delivery.objects.filter(tenant_id=tenant_id, id=delivery_id).first()
    return found


def unparsed(tenant_id: uuid.UUID) -> QuerySet[UnparsedItem]:
    """What could not be read of the tenant's webhooks, newest first."""
    return UnparsedItem.objects.filter(tenant_id=tenant_id).order_by("-received_at", "-id")


def timeline(row: Delivery) -> list[TimelineEntry]:
    """Return what providers reported of a delivery and its further attempts, in the order in which it happened."""
    links = DeliveryLink.objects.filter(tenant_id=row.tenant_id, delivery_id=row.id)
    keys = [row.match_key, *links.values_list("match_key", flat=True)]
    events = Event.objects.filter(tenant_id=row.tenant_id, match_key__in=keys)
    return [_entry(row, event) for event in events.order_by("occurred_at", "received_at", "id")]


def _entry(row: Delivery, event: Event) -> TimelineEntry:
    kind = Kind(event.kind)
    report = report_of(event, channel=Channel(row.channel), provider=row.provider)
    return TimelineEntry(event, kind, classify(report) if error_state(kind) else None)


def tries(row: Delivery) -> int:
    """Return how often the provider is known to have tried: each deferral is one, and so is a final answer."""
    return row.deferrals + (State(row.state) not in _WITHOUT_ANSWER)


def tries_until(row: Delivery) -> datetime | None:
    """Return when the provider gives up what it still tries; None where that is over or not known."""
    if row.state != State.DEFERRED:
        return None
    usual = TRIES_FOR.get(row.provider)
    if row.deferred_until is None and usual and row.first_deferred_at:
        return row.first_deferred_at + usual
    return row.deferred_until


def tab_counts(tenant_id: uuid.UUID) -> dict[Channel, int]:
    """Return how many open deliveries each tab holds; every channel is there."""
    found = dict(_sums("channel", tenant_id, facet="state"))
    return {channel: found.get(channel, 0) for channel in Channel}


def undelivered_number(tenant: Tenant, days: int = 30) -> int:
    """Return how many notices failed today or on the ``days - 1`` days before, by the tenant's calendar."""
    by_state = dict(_sums("value", tenant.id, facet="state", since=_first_day(tenant, days)))
    return sum(by_state.get(state, 0) for state in UNDELIVERED_STATES)


def undelivered_by_channel(tenant: Tenant, days: int = 30) -> dict[Channel, int]:
    """Return the parts of ``undelivered_number``, channels without any left out."""
    parts = dict.fromkeys(Channel, 0)
    for channel, state, n in _sums("channel, value", tenant.id, facet="state", since=_first_day(tenant, days)):
        if state in UNDELIVERED_STATES:
            parts[Channel(channel)] += n
    return {channel: n for channel, n in parts.items() if n}


def failures_per_day(tenant: Tenant, days: int) -> list[tuple[date, dict[State, int]]]:
    """Return the open deliveries of each of the last ``days`` days by state, oldest first; every day is there."""
    first = _first_day(tenant, days)
    found: dict[date, dict[State, int]] = defaultdict(dict)
    for day, state, n in _sums("day, value", tenant.id, facet="state", since=first):
        found[day][State(state)] = n
    return [(day, found.get(day, {})) for day in (first + timedelta(days=offset) for offset in range(days))]


def top_reasons(tenant: Tenant, days: int, limit: int) -> list[Count]:
    """Return the most frequent reason codes of the last ``days`` days."""
    return _most_frequent(tenant, "code", days, limit)


def top_domains(tenant: Tenant, days: int, limit: int) -> list[Count]:
    """Return the receiving domains with the most failures in the last ``days`` days."""
    return _most_frequent(tenant, "domain", days, limit)


def facets(tenant_id: uuid.UUID, channel: Channel) -> Facets:
    """Return what the open deliveries of a tab can be filtered by; of the domains the most frequent ones."""
    found: dict[str, list[Count]] = defaultdict(list)
    for facet, value, n in _sums("facet, value", tenant_id, channel=channel):
        found[facet].append(Count(value, n))
    return Facets(found["state"], found["code"], found["domain"][:TOP_DOMAINS], found["connection"])


def sources(tenant_id: uuid.UUID) -> list[Source]:
    """Return the tenant's own connections and its shares of the operator's, by name."""
    own = [_own_source(row) for row in Connection.objects.filter(tenant_id=tenant_id)]
    routed = [_routed_source(row) for row in Route.objects.filter(tenant_id=tenant_id)]
    return sorted([*own, *routed], key=lambda source: (source.name, str(source.connection_id)))


def _own_source(row: Connection) -> Source:
    return Source(
        name=row.name,
        provider=row.provider,
        connection_id=row.id,
        last_event_at=row.last_event_at,
        rejected_count=row.rejected_count,
        last_rejected_at=row.last_rejected_at,
        account_status=row.account_status,
        shared=row.shared,
    )


def _routed_source(row: Route) -> Source:
    """Rejections and the account's status are the operator's to see, not those of one tenant among many."""
    return Source(
        name=row.name,
        provider=row.provider,
        connection_id=row.connection_id,
        last_event_at=row.last_event_at,
        rejected_count=0,
        last_rejected_at=None,
        account_status="",
        shared=True,
    )


def _first_day(tenant: Tenant, days: int) -> date:
    return timezone.now().astimezone(tenant.zone).date() - timedelta(days=days - 1)


def _most_frequent(tenant: Tenant, facet: str, days: int, limit: int) -> list[Count]:
    rows = _sums("value", tenant.id, facet=facet, since=_first_day(tenant, days))
    return [Count(*row) for row in rows[:limit]]


def _sums(columns: str, tenant_id: uuid.UUID, **where: Any) -> list[tuple[Any, ...]]:
    """Return (columns…, n) of the kept counts, greatest first: the folded ones plus what came since the last fold."""
    current_tenant_id()  # outside a scope the database would say nothing and the sum be a wrong 0: raise instead
    conditions = " AND ".join(["tenant_id = %(tenant)s", *(_CONDITIONS[name] for name in where)])
    part = f"SELECT {columns}, n FROM {{}} WHERE {conditions}"  # noqa: S608 -- columns and conditions are ours
    both = " UNION ALL ".join(part.format(table) for table in ("deliveries_tally", "deliveries_tallydelta"))
    with database.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns}, sum(n)::bigint AS total FROM ({both}) counts GROUP BY {columns} HAVING sum(n) > 0"  # noqa: S608
            f" ORDER BY total DESC, {columns}",
            {"tenant": tenant_id, **where},
        )
        return cursor.fetchall()  # type: ignore[no-any-return]


_CONDITIONS: Mapping[str, str] = {
    "facet": "facet = %(facet)s",
    "channel": "channel = %(channel)s",
    "since": "day >= %(since)s",
}


# --- The mail log and its neighbours


def tries_from(row: Delivery) -> datetime | None:
    """Return when the clock of ``tries_until`` began to run; None where it is not running."""
    return row.first_deferred_at if tries_until(row) else None


def deliveries_of_messages(tenant_id: uuid.UUID, message_ids: Iterable[str], limit: int) -> list[Delivery]:
    """Return deliveries that the provider knows by one of these ids, the latest first; one message may have several."""
    wanted = sorted({one for one in message_ids if one})
    found = Delivery.objects.filter(tenant_id=tenant_id, provider_message_id__in=wanted)
    return list(found.order_by("-first_at", "-id").defer(*_HEAVY)[:limit])
