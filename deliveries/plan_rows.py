"""Freezes what a resend plan selects as queued attempts, and looks at each row as it will be looked at when it goes.

The outcome that a row would come to now stands on its attempt while that is queued. Batches commit by themselves and
each row is there once, so a killed worker's work is gone on with, and doing it twice changes nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import BooleanField, F, Func, QuerySet, Value
from django.http import QueryDict
from django.utils import timezone

from deliveries import plan_counts, queries
from deliveries.accounts import SendingAccount, sending_accounts
from deliveries.bodies import body_of
from deliveries.checks import check_content, check_recipient
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Outcome, PlanStatus
from deliveries.filters import DeliveryFilter
from deliveries.models import Attempt, Delivery, Notice, ResendHook, ResendPlan
from deliveries.plan_counts import Phase
from deliveries.sms_parts import parts_of
from deliveries.suppress import is_suppressed_sql
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope
from notifyguard.ids import uuid7

BATCH = 5000
IDS = "ids:"  # how a selection begins that names its rows
_KEPT_TEXTS = 10_000


class Place(NamedTuple):
    """How far down the list a batch came."""

    failed_at: datetime
    id: uuid.UUID


def prepare(tenant_id: uuid.UUID, plan_id: uuid.UUID) -> None:
    """Freeze and preview a plan, then let it be looked at. Not inside a scope: it commits batch by batch."""
    with _alone(plan_id) as is_alone:
        if is_alone:
            _prepare(tenant_id, plan_id)


@contextmanager
def _alone(plan_id: uuid.UUID) -> Iterator[bool]:
    """Keep other workers away from a plan; the database lets go by itself of a worker that is killed."""
    name = [f"prepare-{plan_id}"]
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name)
        is_alone: bool = cursor.fetchone()[0]
    try:
        yield is_alone
    finally:
        if is_alone:
            with database.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)


def _prepare(tenant_id: uuid.UUID, plan_id: uuid.UUID) -> None:
    with tenant_scope(tenant_id):
        plan = ResendPlan.objects.filter(id=plan_id, status=PlanStatus.PREPARING).first()
        if plan is None:
            return
        place = _place_reached(plan)
    texts: dict[tuple[uuid.UUID, uuid.UUID], _Text] = {}
    while True:
        with tenant_scope(tenant_id):
            if not _goes_on(plan_id):
                return
            reached = _Batch(plan, texts).freeze(place)
            if reached is None:
                _finish(plan)
                return
        place = reached


def selected(plan: ResendPlan, tenant: Tenant) -> QuerySet[Delivery]:
    """Return what a plan's selection finds now, newest failure first."""
    if plan.selection.startswith(IDS):
        ids = [uuid.UUID(text) for text in plan.selection.removeprefix(IDS).split(",")]
        return Delivery.objects.filter(id__in=ids).order_by("-failed_at", "-id")
    chosen = DeliveryFilter(QueryDict(plan.selection), queries.error_list(tenant.id), tenant=tenant)
    rows: QuerySet[Delivery] = chosen.qs
    return rows.order_by("-failed_at", "-id")


def _goes_on(plan_id: uuid.UUID) -> bool:
    """Lock the plan for this batch, so that who cancels it knows that no row comes after."""
    row = ResendPlan.objects.select_for_update().filter(id=plan_id).first()
    return row is not None and row.status == PlanStatus.PREPARING


def _place_reached(plan: ResendPlan) -> Place | None:
    """Where a killed worker got to: attempts' ids follow the list. A row that moved since only costs a second look."""
    last = Attempt.objects.filter(plan_id=plan.id).order_by("-id").first()
    row = Delivery.objects.filter(id=last.delivery_id).first() if last else None
    return Place(row.failed_at, row.id) if row and row.failed_at else None


class _Row(NamedTuple):
    """One frozen row, as far as Python looks at it."""

    attempt_id: uuid.UUID
    outcome: str
    aim: str
    channel: str
    connection_id: uuid.UUID
    notice_id: uuid.UUID | None


class _Text(NamedTuple):
    """What there is to say about a notice's content: whether it could leave, and its parts as SMS."""

    blank: bool
    parts: int


class _Batch:
    """Freezes one batch of a plan's rows."""

    def __init__(self, plan: ResendPlan, texts: dict[tuple[uuid.UUID, uuid.UUID], _Text]) -> None:
        self.plan, self.texts = plan, texts
        self.tenant = Tenant.objects.get(id=current_tenant_id())
        self.accounts = sending_accounts()
        self.by_id = {one.connection_id: one for one in self.accounts}

    def freeze(self, place: Place | None) -> Place | None:
        """Freeze what comes after a place; return how far that went, None at the end."""
        found = selected(self.plan, self.tenant)
        if place:
            found = found.filter(_beyond(place))
        chosen = list(found.values_list("id", "failed_at")[:BATCH])
        if not chosen:
            return None
        rows = self._insert([row_id for row_id, _ in chosen])
        self._look_at(rows)
        last_id, last_at = chosen[-1]
        # A selection by ids may hold rows off the list; it is one batch at most.
        return Place(last_at, last_id) if last_at and len(chosen) == BATCH else None

    def _insert(self, ids: Sequence[uuid.UUID]) -> list[_Row]:
        first_of = {one.channel: one.connection_id for one in reversed(self.accounts)}
        with database.cursor() as cursor:
            cursor.execute(
                _FREEZE,
                {
                    "tenant": self.tenant.id,
                    "plan": self.plan.id,
                    "ids": [str(row_id) for row_id in ids],
                    "base": uuid7().hex[:20],
                    "other_way": self.plan.other_way,
                    "why": AttemptWhy.OTHER_WAY if self.plan.other_way else AttemptWhy.RESEND,
                    "include_stale": self.plan.include_stale,
                    "asks": ResendHook.objects.exists(),
                    "sending": [str(one.connection_id) for one in self.accounts],
                    "sending_channels": [str(one.channel) for one in self.accounts],
                    "channels": [str(channel) for channel in first_of],
                    "defaults": [str(connection_id) for connection_id in first_of.values()],
                    "now": timezone.now(),
                    "by": self.plan.created_by,
                },
            )
            return [_Row(*row) for row in cursor.fetchall()]

    def _look_at(self, rows: Sequence[_Row]) -> None:
        """Check in Python what SQL can't, correct those rows, and count."""
        going = [row for row in rows if row.outcome in (Outcome.READY, Outcome.ASK)]
        self._read_texts(row for row in going if row.outcome == Outcome.READY)
        invalid = {row.attempt_id for row in going if self._is_invalid(row)}
        if invalid:
            Attempt.objects.filter(id__in=invalid).update(outcome=Outcome.INVALID)
        counts = Counter(Outcome.INVALID if row.attempt_id in invalid else row.outcome for row in rows)
        plan_counts.add(self.plan.id, Phase.PREVIEW, counts)
        plan_counts.add(self.plan.id, Phase.OUTCOME, {str(Outcome.NO_WAY): counts[Outcome.NO_WAY]})
        plan_counts.add(self.plan.id, Phase.SMS, {"parts": self._sms_parts(going, invalid)})

    def _is_invalid(self, row: _Row) -> bool:
        if row.notice_id and row.outcome == Outcome.READY and self._text(row).blank:
            return True
        return check_recipient(Channel(row.channel), row.aim, region=self.tenant.region).finding is not None

    def _sms_parts(self, going: Iterable[_Row], invalid: set[uuid.UUID]) -> int:
        sms = (row for row in going if row.channel == Channel.SMS and row.outcome == Outcome.READY)
        return sum(self._text(row).parts for row in sms if row.attempt_id not in invalid)

    def _text(self, row: _Row) -> _Text:
        return self.texts[(row.notice_id or row.attempt_id, row.connection_id)]

    def _read_texts(self, rows: Iterable[_Row]) -> None:
        """Read the texts that are not known yet; plans mostly have few notices and many recipients."""
        wanted = {(row.notice_id, row.connection_id) for row in rows if row.notice_id}
        missing = wanted - self.texts.keys()
        if len(self.texts) > _KEPT_TEXTS:
            self.texts.clear()
            missing = wanted
        notices = Notice.objects.in_bulk({notice_id for notice_id, _ in missing})
        for notice_id, connection_id in missing:
            self.texts[(notice_id, connection_id)] = _text_of(notices.get(notice_id), self.by_id[connection_id])


def _text_of(notice: Notice | None, account: SendingAccount) -> _Text:
    body = body_of(notice) if notice else None
    if notice is None or body is None:
        return _Text(blank=True, parts=0)
    sender = notice.sender or account.account.values.get("sender", "")
    finding = check_content(account.channel, sender=sender, text=body.text, html=body.html, title=notice.title)
    parts = parts_of(body.text or notice.title) if account.channel == Channel.SMS else 0
    return _Text(blank=finding is not None, parts=parts)


def _beyond(place: Place) -> Func:
    """SQL for "further down the list": one range of its index."""
    row = Func(F("failed_at"), F("id"), template="(%(expressions)s)")
    here = Func(Value(place.failed_at), Value(place.id), template="(%(expressions)s)")
    return Func(row, here, template="%(expressions)s", arg_joiner=" < ", output_field=BooleanField())


def _finish(plan: ResendPlan) -> None:
    """Leave out what a newer notice replaces, count the calls it will take, and let people look."""
    if plan.newest_of_kind:
        _replace_older(plan)
    plan_counts.replace(plan.id, Phase.CALLS, _calls(plan))
    ResendPlan.objects.filter(id=plan.id, status=PlanStatus.PREPARING).update(status=PlanStatus.READY)


def _replace_older(plan: ResendPlan) -> None:
    with database.cursor() as cursor:
        cursor.execute(_REPLACE_OLDER, {"tenant": current_tenant_id(), "plan": plan.id})
        counts: Counter[str] = Counter(dict(cursor.fetchall()))
    plan_counts.add(plan.id, Phase.PREVIEW, {name: -n for name, n in counts.items()})
    plan_counts.add(plan.id, Phase.PREVIEW, {Outcome.REPLACED: counts.total()})
    plan_counts.add(plan.id, Phase.OUTCOME, {Outcome.REPLACED: counts.total()})


def _calls(plan: ResendPlan) -> dict[str, int]:
    """Return how many calls the rows that go will take about, by connection: those of one notice share calls."""
    batches = {one.connection_id: one.sender.batch for one in sending_accounts()}
    with database.cursor() as cursor:
        cursor.execute(_CALLS, {"tenant": current_tenant_id(), "plan": plan.id})
        rows: list[tuple[Any, int, int]] = cursor.fetchall()
    return {
        short(connection_id): max(notices, n // batches.get(connection_id, 1)) for connection_id, n, notices in rows
    }


def short(connection_id: uuid.UUID) -> str:
    """A connection's name among the counts, which have room for 24 characters: enough of its random end."""
    return connection_id.hex[8:]


_AIM = """CASE WHEN aimed_at.contact IS NULL THEN CASE WHEN aimed_at.to_channel = aimed_at.channel
        THEN aimed_at.recipient ELSE '' END
    WHEN aimed_at.no_address THEN ''
    ELSE CASE aimed_at.to_channel WHEN 'email' THEN aimed_at.email WHEN 'sms' THEN aimed_at.phone
        ELSE aimed_at.lineworks_id END END"""

# Another attempt that waits, is under way or was handed over without a verdict; what nobody approved goes nowhere.
_BESIDE_ANOTHER = """EXISTS (
    SELECT FROM deliveries_attempt other
    LEFT JOIN deliveries_resendplan p ON p.tenant_id = other.tenant_id AND p.id = other.plan_id
    WHERE other.tenant_id = %(tenant)s AND other.delivery_id = found.id AND other.plan_id IS DISTINCT FROM %(plan)s
        AND (other.status = 'sending'
            OR other.status = 'queued' AND other.why <> 'automatic'
                AND (other.plan_id IS NULL OR p.status IN ('running', 'paused'))
            OR other.status IN ('accepted', 'asked') AND other.number > found.attempt
                AND other.sent_at > %(now)s - interval '72 hours' -- attempts.VERDICT_WITHIN
            OR other.status = 'unknown' AND other.number > found.attempt
            OR other.status = 'unknown' AND other.number = found.attempt AND found.rank <= 0))"""

_FREEZE = f"""
WITH aimed_at AS MATERIALIZED (
    SELECT d.id, i.place, d.tenant_id, d.channel, d.state, d.error_state, d.attempt, d.rank, d.recipient,
        d.connection_id,
        coalesce(nullif(%(other_way)s, ''), d.channel) AS to_channel, d.notice_id, n.use_by,
        coalesce(n.body_sealed IS NOT NULL AND (n.body_until IS NULL OR n.body_until > %(now)s), false) AS has_text,
        c.id AS contact, c.no_address, c.email, c.phone, c.lineworks_id
    FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY i (id, place)
    JOIN deliveries_delivery d ON d.tenant_id = %(tenant)s AND d.id = i.id
    LEFT JOIN deliveries_notice n ON n.tenant_id = d.tenant_id AND n.id = d.notice_id
    LEFT JOIN deliveries_contact c ON c.tenant_id = d.tenant_id AND c.id = d.contact_id
), found AS MATERIALIZED (
    SELECT aimed_at.*, {_AIM} AS aim,
        coalesce(own.connection_id, usual.connection_id) AS through
    FROM aimed_at
    LEFT JOIN unnest(%(sending)s::uuid[], %(sending_channels)s::text[]) own (connection_id, channel)
        ON own.connection_id = aimed_at.connection_id AND own.channel = aimed_at.to_channel
    LEFT JOIN unnest(%(defaults)s::uuid[], %(channels)s::text[]) usual (connection_id, channel)
        ON usual.channel = aimed_at.to_channel
), seen AS MATERIALIZED (
    SELECT found.*, CASE
        WHEN found.state = 'delivered' THEN 'delivered'
        WHEN found.error_state IS NULL OR found.state = 'deferred' OR {_BESIDE_ANOTHER} THEN 'under_way'
        WHEN found.use_by <= %(now)s AND NOT %(include_stale)s THEN 'stale'
        WHEN NOT found.has_text AND NOT %(asks)s THEN 'no_body'
        WHEN found.aim = '' AND found.to_channel <> found.channel THEN 'no_way'
        WHEN found.has_text AND found.through IS NULL THEN 'no_way'
        WHEN found.aim = '' THEN 'invalid'
        WHEN {is_suppressed_sql("place_of")} THEN 'suppressed'
        WHEN found.has_text THEN 'ready'
        ELSE 'ask' END AS outcome
    FROM found CROSS JOIN LATERAL (
        SELECT found.tenant_id, found.to_channel AS channel, lower(trim(found.aim)) AS recipient_key) place_of
), stored AS (
    INSERT INTO deliveries_attempt (tenant_id, id, delivery_id, plan_id, why, status, channel, connection_id, recipient,
        number, due_at, tries, outcome, verdict, answer, provider_message_id, created_by, created_at, answered_at)
    SELECT tenant_id, (%(base)s || lpad(to_hex(place), 12, '0'))::uuid, id, %(plan)s, %(why)s,
        CASE outcome WHEN 'no_way' THEN 'skipped' ELSE 'queued' END, to_channel, coalesce(through, connection_id),
        CASE WHEN contact IS NULL OR to_channel <> channel THEN aim ELSE '' END,
        0, %(now)s, 0, outcome, '', '', '', %(by)s, %(now)s, CASE outcome WHEN 'no_way' THEN %(now)s END
    FROM seen ORDER BY place
    ON CONFLICT (tenant_id, plan_id, delivery_id) WHERE plan_id IS NOT NULL DO NOTHING
    RETURNING id, delivery_id, outcome, connection_id
)
SELECT stored.id, stored.outcome, seen.aim, seen.to_channel, stored.connection_id, seen.notice_id
FROM stored JOIN seen ON seen.id = stored.delivery_id
"""  # noqa: S608 -- words of ours; values are parameters

_REPLACE_OLDER = f"""
WITH ranked AS (
    SELECT a.id, a.outcome, row_number() OVER (
        PARTITION BY n.kind, a.channel, coalesce(d.contact_id::text, d.recipient_key)
        ORDER BY n.created_at DESC, d.id DESC) AS place
    FROM deliveries_attempt a
    JOIN deliveries_delivery d ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id
    JOIN deliveries_notice n ON n.tenant_id = d.tenant_id AND n.id = d.notice_id
    WHERE a.tenant_id = %(tenant)s AND a.plan_id = %(plan)s AND a.status = 'queued'
        AND a.outcome IN ('{Outcome.READY}', '{Outcome.ASK}') AND n.kind <> ''
), replaced AS (
    UPDATE deliveries_attempt a
    SET status = '{AttemptStatus.SKIPPED}', outcome = '{Outcome.REPLACED}', answered_at = now()
    FROM ranked WHERE a.tenant_id = %(tenant)s AND a.id = ranked.id AND ranked.place > 1
    RETURNING ranked.outcome
)
SELECT outcome, count(*) FROM replaced GROUP BY outcome
"""  # noqa: S608 -- words of ours; values are parameters

_CALLS = f"""
SELECT a.connection_id, count(*), count(DISTINCT coalesce(d.notice_id, d.id))
FROM deliveries_attempt a JOIN deliveries_delivery d ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id
WHERE a.tenant_id = %(tenant)s AND a.plan_id = %(plan)s AND a.status = 'queued' AND a.outcome = '{Outcome.READY}'
GROUP BY a.connection_id
"""  # noqa: S608 -- words of ours; values are parameters
