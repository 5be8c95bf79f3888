"""Normalised events into the ledger and onto the deliveries, set-wise: two COPYs, two upserts.

Duplicates are kept out by the ledger's key. A delivery takes over what the greatest of its events says
(``state.Fact``) and gathers the rest by least and greatest, so order does not matter and twice is once.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from django.db import connection
from django.db.backends.utils import CursorWrapper

from deliveries import partitions
from deliveries.gather import (
    DELIVERY_COLUMNS,
    EVENT_COLUMNS,
    Found,
    Gathered,
    Reported,
    Target,
    delivery_lines,
    event_lines,
    gather,
    identify,
    is_timeless,
)
from deliveries.state import UNDERWAY

ORPHAN_WINDOW_DAYS = 7
COPY_CHUNK = 1 << 20  # characters; the driver's own 8,192 cost as much as building the lines

# SendGrid ends 72 hours of deferrals with a block that names no cause: then the time is the cause.
GIVEN_UP_AFTER_H = 71
GIVEN_UP_VERDICTS = ("blocked/technical", "blocked/unclassified")


class Recorded(NamedTuple):
    """What became of a batch: how many events were new, how many deliveries they changed, and what they said."""

    new_events: int
    changed: int
    found: Collection[Found]


def record(tenant_id: uuid.UUID, reports: Iterable[Reported]) -> Recorded:
    """Write a batch of one tenant, inside its scope. Safe to repeat: the second time changes nothing."""
    found = identify(reports)
    if not found:
        return Recorded(0, 0, ())
    partitions.ensure({date(at.year, at.month, 1) for at in (one.report.event.occurred_at for one in found.values())})
    with connection.cursor() as cursor:
        new_events = _store_events(cursor, tenant_id, found)
        changed = _project(cursor, tenant_id, found) if new_events else 0
    return Recorded(new_events, changed, found.values())


def _store_events(cursor: CursorWrapper, tenant_id: uuid.UUID, found: Mapping[str, Found]) -> int:
    """Append what the ledger does not hold yet and return how many events that were."""
    cursor.execute(_INCOMING_EVENTS)
    _copy(cursor, f"COPY incoming_event ({EVENT_COLUMNS}) FROM STDIN", event_lines(found.values()))
    if any(is_timeless(one.report.event) for one in found.values()):
        cursor.execute(_KEEP_TIMELESS_ONCE, {"tenant": tenant_id})
    cursor.execute(_STORE_EVENTS, {"tenant": tenant_id})
    new_events: int = cursor.fetchone()[0]
    cursor.execute("TRUNCATE incoming_event")
    return new_events


def _project(cursor: CursorWrapper, tenant_id: uuid.UUID, found: Mapping[str, Found]) -> int:
    """Let the deliveries take over what the events say; returns how many changed."""
    deliveries = gather(found.values(), _linked(cursor, tenant_id, found))
    cursor.execute(_INCOMING_DELIVERIES)
    _copy(cursor, f"COPY incoming_delivery ({DELIVERY_COLUMNS}) FROM STDIN", delivery_lines(deliveries))
    cursor.execute(_PROJECT, {"tenant": tenant_id})
    changed: int
    changed, counted = cursor.fetchone()
    _follow_deferrals(cursor, tenant_id, deliveries, {key.hex for key in counted})
    cursor.execute(_LINK_ORPHANS, {"tenant": tenant_id, "days": ORPHAN_WINDOW_DAYS})
    cursor.execute("TRUNCATE incoming_delivery")
    return changed


def _follow_deferrals(
    cursor: CursorWrapper, tenant_id: uuid.UUID, deliveries: Mapping[str, Gathered], counted: Collection[str]
) -> None:
    """Count the deferrals of deliveries that were there before, and end those that SendGrid gave up for no other cause.

    ``counted`` are new, and brought their count along.
    """
    again = [key for key, one in deliveries.items() if one.deferrals and key not in counted]
    if again:
        cursor.execute(_COUNT_DEFERRALS, {"tenant": tenant_id, "keys": again})
    given_up = [key for key, one in deliveries.items() if one.deciding.report.event.verdict in GIVEN_UP_VERDICTS]
    if again or given_up:
        values: dict[str, Any] = {"tenant": tenant_id, "keys": again + given_up, "hours": GIVEN_UP_AFTER_H}
        cursor.execute(_EXPIRE_GIVEN_UP, {**values, "verdicts": list(GIVEN_UP_VERDICTS)})


class Link(NamedTuple):
    """A further match key of a delivery: one of its attempts under the name that reports of it will have."""

    match_key: str
    delivery_id: uuid.UUID
    attempt: int


def link(tenant_id: uuid.UUID, links: Sequence[Link]) -> None:
    """Let reports under these match keys count for these deliveries, also those that came before. In the scope."""
    if not links:
        return
    values: dict[str, Any] = {
        "tenant": tenant_id,
        "keys": [one.match_key for one in links],
        "deliveries": [str(one.delivery_id) for one in links],
        "attempts": [one.attempt for one in links],
    }
    with connection.cursor() as cursor:
        cursor.execute(_LINK, values)
        cursor.execute(_JOIN_STRAYS, values)


def _linked(cursor: CursorWrapper, tenant_id: uuid.UUID, found: Mapping[str, Found]) -> dict[str, Target]:
    """Return the match keys of the batch that were linked to a delivery of another key."""
    # One literal: PostgreSQL plans an ARRAY[…] of thousands of elements far slower than it reads this.
    keys = ",".join({one.match_key for one in found.values()})
    cursor.execute(_LINKED, {"tenant": tenant_id, "keys": f"{{{keys}}}"})
    return {key.hex: Target(target.hex, attempt) for key, target, attempt in cursor.fetchall()}


def _copy(cursor: CursorWrapper, statement: str, lines: Iterable[str]) -> None:
    cursor.copy_expert(statement, io.StringIO("".join(lines)), size=COPY_CHUNK)


_INCOMING_EVENTS = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_event (
    id uuid, match_key uuid, occurred_at timestamptz, raw_index integer, kind text, deferred_until timestamptz,
    verdict text, recipient text, reply text, smtp_code text, enhanced_code text, provider_event_id text,
    provider_message_id text, connection_id uuid, raw_id uuid, received_at timestamptz
) ON COMMIT DELETE ROWS
"""

_INCOMING_DELIVERIES = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_delivery (
    id uuid, match_key uuid, channel text, provider text, connection_id uuid, orphan boolean, deferrals integer,
    first_at timestamptz, first_deferred_at timestamptz, deferred_until timestamptz,
    attempt smallint, rank smallint, rank_order smallint, event_id uuid, kind text, state text,
    occurred_at timestamptz, received_at timestamptz, recipient text, recipient_key text, domain text,
    provider_message_id text, sender text, title text, title_key text, verdict text, reply text, smtp_code text,
    enhanced_code text, error_state text, failed_at timestamptz, code text, reason text, persistence text, rule text,
    rules_version smallint
) ON COMMIT DELETE ROWS
"""

# An event without a time of its own has the same id at another occurred_at, which the partitioned key cannot see.
# The locks, taken in order, keep another worker from storing the same one meanwhile.
_KEEP_TIMELESS_ONCE = """
WITH locked AS MATERIALIZED (
    SELECT id, pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM (
        SELECT id FROM incoming_event WHERE provider_event_id LIKE '~%%' ORDER BY id) ids
)
DELETE FROM incoming_event i USING locked l
WHERE i.id = l.id AND EXISTS (
    SELECT FROM deliveries_event e WHERE e.tenant_id = %(tenant)s AND e.match_key = i.match_key AND e.id = i.id)
"""

# Citus reports a wrong row count for INSERT … SELECT … ON CONFLICT, so the returned rows are counted.
_STORE_EVENTS = f"""
WITH stored AS (
    INSERT INTO deliveries_event (tenant_id, {EVENT_COLUMNS})
    SELECT %(tenant)s, {EVENT_COLUMNS} FROM incoming_event ORDER BY match_key, id
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*) FROM stored
"""

_LINKED = """
WITH links AS MATERIALIZED (
    SELECT match_key, delivery_id, attempt FROM deliveries_deliverylink
    WHERE tenant_id = %(tenant)s AND match_key = ANY(%(keys)s::uuid[])
)
SELECT l.match_key, d.match_key, l.attempt
FROM links l JOIN deliveries_delivery d ON d.tenant_id = %(tenant)s AND d.id = l.delivery_id
"""

# Columns of the delivery that the deciding event sets, all together or not at all.
_DECIDED = [
    "attempt",
    "rank",
    "rank_order",
    "event_id",
    "kind",
    "verdict",
    "state",
    "reply",
    "smtp_code",
    "enhanced_code",
    "error_state",
    "failed_at",
    "code",
    "reason",
    "persistence",
    "rule",
    "rules_version",
    "occurred_at",
    "received_at",
    "channel",
    "provider",
    "connection_id",
    "recipient",
    "recipient_key",
    "domain",
]


def _greater(new: str) -> str:
    return f"""({new}.attempt, {new}.rank, {new}.occurred_at, {new}.rank_order, {new}.event_id)
        > (d.attempt, d.rank, d.occurred_at, d.rank_order, d.event_id)"""


def _take_over(new: str) -> str:
    """SQL assignments by which delivery ``d`` takes over what ``new`` decides and gathers what adds up."""
    decided = ",\n".join(f"{name} = CASE WHEN {_greater(new)} THEN {new}.{name} ELSE d.{name} END" for name in _DECIDED)
    return f"""{decided},
        provider_message_id = coalesce(nullif(CASE WHEN {_greater(new)} THEN {new}.provider_message_id ELSE '' END, ''),
            nullif(d.provider_message_id, ''), {new}.provider_message_id),
        first_at = least(d.first_at, {new}.first_at),
        first_deferred_at = least(d.first_deferred_at, {new}.first_deferred_at),
        deferred_until = greatest(d.deferred_until, {new}.deferred_until),
        title = greatest(d.title, {new}.title), title_key = greatest(d.title_key, {new}.title_key),
        sender = greatest(d.sender, {new}.sender)"""


_PROJECT = f"""
WITH projected AS (
    INSERT INTO deliveries_delivery AS d (tenant_id, name, {DELIVERY_COLUMNS})
    SELECT %(tenant)s, '', {DELIVERY_COLUMNS} FROM incoming_delivery ORDER BY match_key
    ON CONFLICT (tenant_id, match_key) DO UPDATE SET {_take_over("excluded")}
    WHERE {_greater("excluded")} OR excluded.first_at < d.first_at OR excluded.title > d.title
        OR excluded.sender > d.sender OR excluded.deferred_until > coalesce(d.deferred_until, '-infinity')
        OR excluded.first_deferred_at < coalesce(d.first_deferred_at, 'infinity')
    RETURNING match_key, xmax = 0 AND deferrals > 0 AS counted
)
SELECT count(*), coalesce(array_agg(match_key) FILTER (WHERE counted), '{{}}') FROM projected
"""

# The subqueries are written so that they can only be index look-ups: a hash join would read the whole ledger.
_COUNT_DEFERRALS = """
UPDATE deliveries_delivery d SET deferrals = (
    SELECT count(*) FROM deliveries_event e
    WHERE e.tenant_id = %(tenant)s AND e.match_key = d.match_key AND e.kind = 'deferred')
WHERE d.tenant_id = %(tenant)s AND d.match_key = ANY(%(keys)s::uuid[])
"""

_EXPIRE_GIVEN_UP = """
UPDATE deliveries_delivery d
SET state = 'expired', error_state = 'expired', code = 'EXPIRED', reason = 'expired', persistence = 'soft',
    rule = 'ledger.given-up-after-deferrals'
WHERE d.tenant_id = %(tenant)s AND d.state = 'blocked' AND d.provider = 'sendgrid'
    AND d.match_key = ANY(%(keys)s::uuid[]) AND d.verdict = ANY(%(verdicts)s)
    AND d.occurred_at - d.first_deferred_at >= make_interval(hours => %(hours)s)
"""

# Deliveries that turn out to be attempts at others leave, and those take over what they had. ``pairs`` names both.
_JOIN = f"""
gone AS (
    DELETE FROM deliveries_delivery o USING pairs p
    WHERE o.tenant_id = %(tenant)s AND o.id = p.gone_id
    RETURNING o.id, o.match_key, p.delivery_id, p.attempt AS number,
        CASE WHEN p.attempt > 1 AND o.rank <= {UNDERWAY} THEN 0 ELSE p.attempt END AS attempt,
        o.first_at, o.first_deferred_at, o.deferred_until, o.title, o.title_key, o.sender, o.provider_message_id,
        {", ".join(f"o.{name}" for name in _DECIDED[1:])}
), linked AS (
    INSERT INTO deliveries_deliverylink (tenant_id, id, match_key, delivery_id, attempt, created_at)
    SELECT %(tenant)s, id, match_key, delivery_id, number, received_at FROM gone ON CONFLICT DO NOTHING
), greatest_gone AS (
    SELECT DISTINCT ON (delivery_id) * FROM gone
    ORDER BY delivery_id, attempt DESC, rank DESC, occurred_at DESC, rank_order DESC, event_id DESC
)
UPDATE deliveries_delivery d SET {_take_over("new")}
FROM greatest_gone new WHERE d.tenant_id = %(tenant)s AND d.id = new.delivery_id
"""

# Both directions: an orphan of this batch to an older delivery, and an older orphan to a delivery of this batch.
_LINK_ORPHANS = f"""
WITH pairs AS MATERIALIZED (
    SELECT DISTINCT ON (o.id) o.id AS gone_id, found.id AS delivery_id, found.attempt
    FROM (SELECT DISTINCT recipient_key FROM incoming_delivery) i
    JOIN deliveries_delivery o ON o.tenant_id = %(tenant)s AND o.orphan AND o.recipient_key = i.recipient_key
    CROSS JOIN LATERAL (
        SELECT c.id, c.attempt FROM deliveries_delivery c
        WHERE c.tenant_id = %(tenant)s AND c.recipient_key = o.recipient_key AND c.connection_id = o.connection_id
            AND NOT c.orphan AND c.first_at <= o.first_at AND c.first_at > o.first_at - make_interval(days => %(days)s)
        ORDER BY c.first_at DESC, c.id DESC LIMIT 1
    ) found
), {_JOIN}
"""

_LINK = """
INSERT INTO deliveries_deliverylink (tenant_id, id, match_key, delivery_id, attempt, created_at)
SELECT %(tenant)s, gen_random_uuid(), match_key, delivery_id, attempt, now()
FROM unnest(%(keys)s::uuid[], %(deliveries)s::uuid[], %(attempts)s::smallint[]) l (match_key, delivery_id, attempt)
ON CONFLICT DO NOTHING
"""

# Reports that came before the link made a delivery of their own.
_JOIN_STRAYS = f"""
WITH pairs AS MATERIALIZED (
    SELECT o.id AS gone_id, l.delivery_id, l.attempt
    FROM unnest(%(keys)s::uuid[], %(deliveries)s::uuid[], %(attempts)s::smallint[]) l (match_key, delivery_id, attempt)
    JOIN deliveries_delivery o ON o.tenant_id = %(tenant)s AND o.match_key = l.match_key AND o.id <> l.delivery_id
), {_JOIN}
"""
