"""The raw inbox: webhooks stored once, claimed in batches, worked in one transaction, replayable."""

from __future__ import annotations

import traceback
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from deliveries import consequences, ledger
from deliveries.connections import config_of
from deliveries.enums import RawStatus
from deliveries.gather import Origin, Reported
from deliveries.models import Connection, ConnectionEvent, Quarantined, RawWebhook, Route, UnparsedItem
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope
from notifyguard.ids import digest_hex
from providers import base
from providers.registry import get_provider

log = structlog.get_logger(__name__)

# Deadlocks, lost connections, a server shutting down: nothing is wrong with the webhooks, try again.
TRANSIENT = (OperationalError, InterfaceError)
BATCH_RAWS = 500
CLAIM_STEP = 8
BATCH_BYTES = 256 * 1024  # as stored, deflated: about ten times as much JSON
# How stale a connection's "last event" may be: refreshing it less often keeps workers off each other's row.
FRESH_ENOUGH = "5 seconds"


def store(row: Connection, *, body: bytes, headers: Mapping[str, str], received_at: datetime) -> RawWebhook:
    """Keep a verified webhook in the scope's tenant: one INSERT, nothing read, nothing else needed."""
    raw = RawWebhook(connection_id=row.id, body=body, headers=dict(headers), received_at=received_at)
    raw.save(force_insert=True)
    return raw


@dataclass
class Batch:
    """What the raw rows of one claim say, before it is written."""

    reports: dict[uuid.UUID, list[Reported]] = field(default_factory=lambda: defaultdict(list))
    unparsed: list[UnparsedItem] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    connection_events: list[ConnectionEvent] = field(default_factory=list)
    routed_values: set[str] = field(default_factory=set)


class Worked(NamedTuple):
    """What one claim did."""

    raws: int
    new_events: int
    changed: int
    failed: int
    confirmations: int

    def __add__(self, other: object) -> Worked:
        if not isinstance(other, Worked):
            return NotImplemented
        return Worked(*(a + b for a, b in zip(self, other, strict=True)))


NOTHING = Worked(0, 0, 0, 0, 0)


def work(tenant_id: uuid.UUID) -> Worked:
    """Claim and work one batch of a tenant's pending webhooks; ``raws == 0`` says that none were left.

    Claim, effects and "done" are one transaction: whatever is killed when, a webhook takes effect exactly once.
    A webhook that fails by itself is marked failed with the reason, and the others go on without it.
    """
    try:
        with tenant_scope(tenant_id):
            return _work_rows(_claim())
    except TRANSIENT:
        raise
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is one webhook's fault and is written on it
        log.warning("inbox.batch_failed", tenant_id=str(tenant_id), error=_name(error))
        return _work_one_by_one(tenant_id)


def replay(tenant_id: uuid.UUID, *, since: datetime | None = None, dry_run: bool = False) -> Worked:
    """Work a tenant's stored webhooks again. What is in the ledger already changes nothing.

    With ``dry_run`` everything is done and rolled back, so that the counts are those of the real thing.
    """
    total = NOTHING
    for ids in _batches_of_ids(tenant_id, since):
        with tenant_scope(tenant_id):
            rows = list(RawWebhook.objects.filter(id__in=ids).select_for_update().order_by("id"))
            total += _work_rows(rows)
            if dry_run:
                transaction.set_rollback(True)
    return total


def _batches_of_ids(tenant_id: uuid.UUID, since: datetime | None) -> Iterator[list[uuid.UUID]]:
    last = uuid.UUID(int=0)
    while True:
        with tenant_scope(tenant_id):
            rows = RawWebhook.objects.filter(id__gt=last).order_by("id")
            if since is not None:
                rows = rows.filter(received_at__gte=since)
            ids = list(rows.values_list("id", flat=True)[:50])
        if not ids:
            return
        yield ids
        last = ids[-1]


def _claim() -> list[RawWebhook]:
    """Lock the oldest pending rows that no other worker holds, up to about ``BATCH_BYTES`` and no more than it takes.

    What is locked here another worker passes over, so the rows are taken a few at a time until there are enough.
    """
    claimed: list[uuid.UUID] = []
    size, step = 0, CLAIM_STEP
    with connection.cursor() as cursor:
        while step > 0:
            cursor.execute(
                _CLAIM, {"tenant": current_tenant_id(), "after": claimed[-1] if claimed else _BEFORE_ALL, "step": step}
            )
            rows = cursor.fetchall()
            claimed += [raw_id for raw_id, _length in rows]
            size += sum(length for _raw_id, length in rows)
            full = len(rows) < step or size >= BATCH_BYTES
            step = 0 if full else min((BATCH_BYTES - size) * len(claimed) // size + 1, BATCH_RAWS - len(claimed))
    return list(RawWebhook.objects.filter(id__in=claimed).order_by("id")) if claimed else []


_BEFORE_ALL = uuid.UUID(int=0)

_CLAIM = """
SELECT id, length(body) FROM deliveries_rawwebhook
WHERE tenant_id = %(tenant)s AND status = 0 AND id > %(after)s
ORDER BY id LIMIT %(step)s FOR UPDATE SKIP LOCKED
"""


def _work_one_by_one(tenant_id: uuid.UUID) -> Worked:
    total = NOTHING
    with tenant_scope(tenant_id):
        for raw in _claim():
            try:
                with transaction.atomic():
                    total += _work_rows([raw])
            except TRANSIENT:
                raise
            except Exception as error:  # noqa: BLE001 -- as above
                log.error("inbox.webhook_failed", raw_id=str(raw.id), error=_name(error))  # noqa: TRY400 -- see _name
                note = f"{_name(error)}: this webhook could not be worked. It is kept and can be tried again."
                RawWebhook.objects.filter(id=raw.id).update(status=RawStatus.FAILED, error=note)
                total += Worked(1, 0, 0, 1, 0)
    return total


def _name(error: Exception) -> str:
    """The kind of an error and where it happened; its text may quote an address, so it goes nowhere."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"


def _work_rows(raws: list[RawWebhook]) -> Worked:
    if not raws:
        return NOTHING
    batch = _read(raws)
    new_events = changed = 0
    for tenant_id, reports in batch.reports.items():
        recorded = _record_for(tenant_id, reports)
        new_events, changed = new_events + recorded.new_events, changed + recorded.changed
    _keep_aside(batch, raws)
    RawWebhook.objects.filter(id__in=[raw.id for raw in raws]).update(
        status=RawStatus.DONE, error="", processed_at=timezone.now()
    )
    confirmations = sum(event.kind == "subscription_requested" for event in batch.connection_events)
    return Worked(len(raws), new_events, changed, 0, confirmations)


def _record_for(tenant_id: uuid.UUID, reports: list[Reported]) -> ledger.Recorded:
    _note_last_event(Connection, "id", reports)
    if tenant_id == current_tenant_id():
        return _record(tenant_id, reports)
    with tenant_scope(tenant_id):
        _note_last_event(Route, "connection_id", reports)
        return _record(tenant_id, reports)


def _record(tenant_id: uuid.UUID, reports: list[Reported]) -> ledger.Recorded:
    recorded = ledger.record(tenant_id, reports)
    consequences.follow(tenant_id, recorded)
    return recorded


def _read(raws: list[RawWebhook]) -> Batch:
    """Parse the rows; a connection's rows are read by its provider, a shared one's events routed."""
    connections = {row.id: row for row in Connection.objects.filter(id__in={raw.connection_id for raw in raws})}
    routes = _routes([row.id for row in connections.values() if row.shared])
    batch = Batch()
    for raw in raws:
        row = connections[raw.connection_id]
        if row.shared:
            _sort_by_route(raw, row, routes, batch)
        else:
            _sort_own(raw, row, batch)
    return batch


def _sort_own(raw: RawWebhook, row: Connection, batch: Batch) -> None:
    origin, own = _origin(raw, row), batch.reports[raw.tenant_id]
    for index, item in enumerate(_parse(raw, row)):
        if isinstance(item, base.Event):
            own.append(Reported(item, origin, index))
        else:
            _keep_for_later(item, index, raw, batch)


def _sort_by_route(
    raw: RawWebhook, row: Connection, routes: Mapping[tuple[uuid.UUID, str], uuid.UUID], batch: Batch
) -> None:
    origin = _origin(raw, row)
    for index, item in enumerate(_parse(raw, row)):
        if not isinstance(item, base.Event):
            _keep_for_later(item, index, raw, batch)
        elif tenant_id := routes.get((row.id, item.route.lower())):
            batch.routed_values.add(item.route)
            batch.reports[tenant_id].append(Reported(item, origin, index))
        else:
            batch.quarantined.append(_quarantined(item, index, raw))


def _parse(raw: RawWebhook, row: Connection) -> list[base.Parsed]:
    config = config_of(row, with_secrets=False)
    return get_provider(row.provider).parse(bytes(raw.body), raw.headers, config, raw.received_at)


def _routes(connection_ids: list[uuid.UUID]) -> dict[tuple[uuid.UUID, str], uuid.UUID]:
    """Return (connection, route value) → tenant. The operator's scope may read every tenant's routes."""
    if not connection_ids:
        return {}
    rows = Route.unscoped.filter(connection_id__in=connection_ids)
    return {(row.connection_id, row.value.lower()): row.tenant_id for row in rows}


def _keep_for_later(item: base.ConnectionEvent | base.Unparsed, index: int, raw: RawWebhook, batch: Batch) -> None:
    if isinstance(item, base.Unparsed):
        batch.unparsed.append(_unparsed(item, index, raw))
    else:
        batch.connection_events.append(_connection_event(item, raw))


def _origin(raw: RawWebhook, row: Connection) -> Origin:
    return Origin(
        connection_id=row.id,
        provider=row.provider,
        channel=get_provider(row.provider).channel,
        raw_id=raw.id,
        received_at=raw.received_at,
    )


def _place(raw: RawWebhook, index: int) -> uuid.UUID:
    return uuid.UUID(digest_hex(f"{raw.id.hex}\x1f{index}"))


def _unparsed(item: base.Unparsed, index: int, raw: RawWebhook) -> UnparsedItem:
    return UnparsedItem(
        id=_place(raw, index),
        tenant_id=raw.tenant_id,
        connection_id=raw.connection_id,
        raw_id=raw.id,
        item_index=index,
        received_at=raw.received_at,
        reason=item.reason[:500],
        raw=item.raw[:4000].replace("\0", ""),
    )


def _quarantined(item: base.Event, index: int, raw: RawWebhook) -> Quarantined:
    return Quarantined(
        id=_place(raw, index),
        tenant_id=raw.tenant_id,
        connection_id=raw.connection_id,
        raw_id=raw.id,
        item_index=index,
        received_at=raw.received_at,
        route_value=item.route[:254],
    )


def _connection_event(item: base.ConnectionEvent, raw: RawWebhook) -> ConnectionEvent:
    identity = digest_hex(f"{raw.connection_id.hex}\x1f{item.kind}\x1f{item.occurred_at.isoformat()}\x1f{item.detail}")
    return ConnectionEvent(
        id=uuid.UUID(identity),
        tenant_id=raw.tenant_id,
        connection_id=raw.connection_id,
        raw_id=raw.id,
        kind=item.kind[:40],
        occurred_at=item.occurred_at,
        received_at=raw.received_at,
        detail=item.detail[:500],
        data=item.data,
    )


def _keep_aside(batch: Batch, raws: list[RawWebhook]) -> None:
    """Keep what is no delivery's event. The ids come from the place in the inbox: a replay adds none."""
    UnparsedItem.objects.bulk_create(batch.unparsed, ignore_conflicts=True)
    worked_before = [raw.id for raw in raws if raw.processed_at]
    if worked_before:  # a replay may read what could not be read then
        still = [item.id for item in batch.unparsed]
        UnparsedItem.objects.filter(raw_id__in=worked_before).exclude(id__in=still).delete()
    Quarantined.objects.bulk_create(batch.quarantined, ignore_conflicts=True)
    ConnectionEvent.objects.bulk_create(batch.connection_events, ignore_conflicts=True)
    for event in batch.connection_events:
        if event.kind == "account_status":
            Connection.objects.filter(id=event.connection_id).update(
                account_status=event.detail[:200], account_status_at=event.occurred_at
            )
    if batch.routed_values:
        held = Quarantined.objects.filter(raw_id__in=[raw.id for raw in raws], released_at=None)
        held.filter(route_value__in=batch.routed_values).update(released_at=timezone.now())


def _note_last_event(model: type[Connection | Route], key: str, reports: list[Reported]) -> None:
    """Remember when each source last spoke ("silence is not health") and which kinds it has ever sent."""
    kinds: dict[uuid.UUID, set[str]] = defaultdict(set)
    for origin, kind in {(report.origin, report.event.kind) for report in reports}:
        kinds[origin.connection_id].add(kind)
    latest: dict[uuid.UUID, datetime] = {}
    for origin in {report.origin for report in reports}:
        latest[origin.connection_id] = max(origin.received_at, latest.get(origin.connection_id, origin.received_at))
    with connection.cursor() as cursor:
        for connection_id, at in sorted(latest.items()):
            cursor.execute(
                _LAST_EVENT.format(table=model._meta.db_table, key=key),
                {"at": at, "tenant": current_tenant_id(), "id": connection_id, "fresh": FRESH_ENOUGH},
            )
            if model is Connection:
                seen: dict[str, Any] = {
                    "kinds": sorted(kinds[connection_id]),
                    "tenant": current_tenant_id(),
                    "id": connection_id,
                }
                cursor.execute(_SEEN_KINDS, seen)


_LAST_EVENT = """
UPDATE {table} SET last_event_at = %(at)s WHERE tenant_id = %(tenant)s AND {key} = %(id)s
    AND (last_event_at IS NULL OR last_event_at < %(at)s - %(fresh)s::interval)
"""

_SEEN_KINDS = """
UPDATE deliveries_connection
SET seen_kinds = (SELECT array_agg(DISTINCT kind) FROM unnest(seen_kinds || %(kinds)s::varchar[]) kind)
WHERE tenant_id = %(tenant)s AND id = %(id)s AND NOT seen_kinds @> %(kinds)s::varchar[]
"""
