"""When a recipient goes on the suppression list, why, and how a person takes it off again.

What is on the list follows from the set of events and from what people did: neither the order in which events come
nor seeing one twice matters, and what somebody took off only comes back by a failure that occurred afterwards.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple

import msgspec
from django.db import connection as database
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries.checks import check_recipient
from deliveries.classify import Report, Verdict, classify
from deliveries.enums import Channel, Kind, ProviderState, Suppress, SuppressionReason
from deliveries.filters import starts_with
from deliveries.gather import recipient_key
from deliveries.models import Connection, Delivery, DeliveryLink, Route, Suppression
from notifyguard.accounts import audit
from notifyguard.accounts.tenancy import current_tenant_id
from notifyguard.ids import uuid7
from providers.registry import LISTS

REPEATS = 3
REPEATS_WITHIN = timedelta(days=30)
LONGEST_TEXT = 500

# The recipient asked for it: only the recipient can undo it.
CONSENT_REASONS: Final = frozenset({SuppressionReason.SPAM_REPORT, SuppressionReason.UNSUBSCRIBED})

# Our own drop follows from an entry and is no reason for one.
_OUR_OWN_DROP: Final = "SUPPRESSED"


class Notable(NamedTuple):
    """An event that may concern the suppression list, with the verdict on it."""

    event_id: uuid.UUID
    match_key: uuid.UUID
    connection_id: uuid.UUID
    channel: Channel
    recipient: str
    occurred_at: datetime
    kind: Kind
    verdict: Verdict

    @property
    def place(self) -> Place:
        return Place(self.channel, recipient_key(self.recipient))

    @property
    def suppresses(self) -> Suppress:
        return Suppress.NO if self.verdict.code == _OUR_OWN_DROP else self.verdict.suppress


class Place(NamedTuple):
    """What is suppressed: one recipient of one channel."""

    channel: str
    recipient_key: str


class SuppressionInputError(ValueError):
    """An answer can't be taken as it is; ``field`` names it ("" for none) and the text says what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# ---------------------------------------------------------------- events


def note(tenant_id: uuid.UUID, notable: Sequence[Notable]) -> int:
    """Bring the list up to date with events that the ledger holds by now; inside the tenant's scope.

    Returns how many entries were made, changed or lifted: seeing the same events again, 0. One statement for any
    number of failures, two if some suppress only when they repeat, and a few more where somebody subscribed again.
    """
    known = [one for one in notable if one.recipient.strip()]
    doubtful = _span_of(one for one in known if one.suppresses is Suppress.AFTER_REPEATS)
    entries = [one for one in known if one.suppresses is Suppress.YES]
    entries += _repeated(one for one in _failures(tenant_id, doubtful) if one.suppresses is Suppress.AFTER_REPEATS)
    changed = _enter(tenant_id, entries)
    if lifted := _lift(tenant_id, [one for one in known if one.kind is Kind.RESUBSCRIBED]):
        changed += len(lifted) + _enter(tenant_id, _standing(tenant_id, lifted))
    return changed


def _standing(tenant_id: uuid.UUID, places: Iterable[Place]) -> list[Notable]:
    """What else keeps recipients suppressed who subscribed again: failures that an unsubscription had covered."""
    failures = list(_failures(tenant_id, dict.fromkeys(places, _ALWAYS)))
    lasting = [one for one in failures if one.suppresses is Suppress.YES]
    return lasting + _repeated(one for one in failures if one.suppresses is Suppress.AFTER_REPEATS)


def _repeated(failures: Iterable[Notable]) -> list[Notable]:
    """Return for each recipient the failure that is the third within the time, if there is one."""
    by_place: dict[Place, list[Notable]] = defaultdict(list)
    for failure in failures:
        by_place[failure.place].append(failure)
    return [found for several in by_place.values() if (found := _third(several))]


def _third(failures: list[Notable]) -> Notable | None:
    """``failures`` are of different deliveries."""
    ordered = sorted(failures, key=lambda one: (one.occurred_at, one.event_id))
    for first, third in zip(ordered, ordered[REPEATS - 1 :], strict=False):
        if third.occurred_at - first.occurred_at <= REPEATS_WITHIN:
            return third
    return None


class _Span(NamedTuple):
    """Between which moments failures of a recipient are looked for; ``first`` is the earliest event in hand."""

    first: str
    last: str


_ALWAYS: Final = _Span("-infinity", "infinity")


def _span_of(events: Iterable[Notable]) -> dict[Place, _Span]:
    times: dict[Place, list[datetime]] = defaultdict(list)
    for event in events:
        times[event.place].append(event.occurred_at)
    return {place: _Span(min(of).isoformat(), max(of).isoformat()) for place, of in times.items()}


def _failures(tenant_id: uuid.UUID, asked: Mapping[Place, _Span]) -> Iterator[Notable]:
    """Yield the failed deliveries of recipients around these moments, each with today's verdict on it.

    A delivery that arrived after all has not failed. Nothing is looked up for who is suppressed since before.
    """
    if not asked:
        return
    rows = [{**place._asdict(), **span._asdict()} for place, span in asked.items()]
    with database.cursor() as cursor:
        cursor.execute(_FAILURES, {"tenant": tenant_id, "asked": _json(rows), "days": REPEATS_WITHIN.days})
        found = cursor.fetchall()
    for event_id, match_key, connection_id, channel, recipient, occurred_at, provider, kind, *said in found:
        verdict = classify(Report(Channel(channel), provider, Kind(kind), *said))
        yield Notable(event_id, match_key, connection_id, channel, recipient, occurred_at, Kind(kind), verdict)


def _enter(tenant_id: uuid.UUID, entries: Sequence[Notable]) -> int:
    """Make entries of these events, or let them take over weaker ones; returns how many rows changed."""
    if not entries:
        return 0
    with database.cursor() as cursor:
        cursor.execute(_ENTER, {"tenant": tenant_id, "entries": _json(map(_row, entries))})
        return len(cursor.fetchall())


def _lift(tenant_id: uuid.UUID, said: Sequence[Notable]) -> list[Place]:
    """End the unsubscriptions before these subscriptions, those that are still to come in as well."""
    if not said:
        return []
    latest = {one.place: one for one in sorted(said, key=lambda one: (one.occurred_at, one.event_id))}
    values: dict[str, Any] = {"tenant": tenant_id, "entries": _json(map(_row, latest.values()))}
    with database.cursor() as cursor:
        cursor.execute(_LIFT, values)
        lifted = [Place(*row) for row in cursor.fetchall()]
        cursor.execute(_REMEMBER_SUBSCRIPTION, values)
    return lifted


def _row(one: Notable) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "channel": one.channel,
        "recipient": one.recipient.strip()[:320],
        "recipient_key": one.place.recipient_key,
        "reason": _reason(one),
        "code": one.verdict.code,
        "since": one.occurred_at,
        "event_id": one.event_id,
        "match_key": one.match_key,
        "connection_id": one.connection_id,
    }


def _reason(one: Notable) -> SuppressionReason:
    """Providers tell of complaints and unsubscriptions once as such, and later as the reason of a drop."""
    if one.kind is Kind.SPAM_REPORT or one.verdict.reason == "spamreport":
        return SuppressionReason.SPAM_REPORT
    if one.kind in (Kind.UNSUBSCRIBED, Kind.RESUBSCRIBED) or one.verdict.reason == "unsubscribed":
        return SuppressionReason.UNSUBSCRIBED
    return SuppressionReason.INVALID if one.verdict.code.startswith("INVALID_") else SuppressionReason.BOUNCE


def _json(rows: Iterable[Mapping[str, Any]]) -> str:
    """One literal for any number of rows: PostgreSQL plans arrays of thousands of elements far slower."""
    return msgspec.json.encode(list(rows)).decode()


_INCOMING = """json_to_recordset(%(entries)s) AS i (
    id uuid, channel text, recipient text, recipient_key text, reason text, code text, since timestamptz, event_id uuid,
    match_key uuid, connection_id uuid)"""


def _strength(row: str) -> str:
    """SQL: which of two events an entry is about. The recipient's wish comes first, else the earliest failure.

    Of unsubscriptions the latest counts: the recipient may have subscribed again in between.
    """
    return f"""(CASE {row}.reason WHEN 'spam_report' THEN 3 WHEN 'unsubscribed' THEN 2 WHEN 'manual' THEN 1 ELSE 0 END,
        extract(epoch FROM {row}.since) * CASE {row}.reason WHEN 'unsubscribed' THEN 1 ELSE -1 END, {row}.event_id)"""


# Tables are looked up once for all recipients, by an array: for a tenant that has no statistics yet PostgreSQL would
# take another index for each of them and read the tenant's rows as often as there are recipients.
# What a person took off stays off for all that occurred before; a new subscription only covers unsubscriptions.
_ENTER = f"""
WITH incoming AS MATERIALIZED (SELECT * FROM {_INCOMING}), removed AS MATERIALIZED (
    SELECT channel, recipient_key, removed_at, removed_by, event_id FROM deliveries_suppression
    WHERE tenant_id = %(tenant)s AND recipient_key = ANY(ARRAY(SELECT recipient_key FROM incoming))
        AND removed_at IS NOT NULL
), best AS MATERIALIZED (
    SELECT DISTINCT ON (i.channel, i.recipient_key) i.* FROM incoming i
    WHERE NOT EXISTS (
        SELECT FROM removed r
        WHERE r.recipient_key = i.recipient_key AND r.channel = i.channel
            AND (r.removed_at >= i.since OR r.event_id = i.event_id)
            AND (r.removed_by <> '' OR i.reason = 'unsubscribed'))
    ORDER BY i.channel, i.recipient_key, {_strength("i")} DESC
)
INSERT INTO deliveries_suppression AS s (tenant_id, id, channel, recipient, recipient_key, reason, code, since,
    event_id, match_key, connection_id, note, created_by, created_at, removed_by, removal_reason, provider_state,
    provider_answer)
SELECT %(tenant)s, id, channel, recipient, recipient_key, reason, code, since, event_id,
    match_key, connection_id, '', '', now(), '', '', '', ''
FROM best ORDER BY channel, recipient_key
ON CONFLICT (tenant_id, channel, recipient_key) WHERE removed_at IS NULL DO UPDATE
SET reason = excluded.reason, code = excluded.code, since = excluded.since, event_id = excluded.event_id,
    match_key = excluded.match_key, connection_id = excluded.connection_id
WHERE {_strength("excluded")} > {_strength("s")}
RETURNING 1
"""  # noqa: S608 -- put together from texts of its own

# What a person entered by hand is on the list for that reason, too, and stays.
_LIFT = f"""
UPDATE deliveries_suppression s
SET removed_at = CASE WHEN s.created_by = '' THEN i.since END,
    provider_state = CASE WHEN s.created_by = '' THEN 'not_needed' ELSE '' END,
    reason = CASE WHEN s.created_by = '' THEN s.reason ELSE 'manual' END,
    code = CASE WHEN s.created_by = '' THEN s.code ELSE '' END,
    since = CASE WHEN s.created_by = '' THEN s.since ELSE s.created_at END,
    event_id = CASE WHEN s.created_by = '' THEN s.event_id END,
    match_key = CASE WHEN s.created_by = '' THEN s.match_key END,
    connection_id = CASE WHEN s.created_by = '' THEN s.connection_id END
FROM {_INCOMING}
WHERE s.tenant_id = %(tenant)s AND s.channel = i.channel AND s.recipient_key = i.recipient_key
    AND s.removed_at IS NULL AND s.reason = 'unsubscribed' AND s.since <= i.since
RETURNING s.channel, s.recipient_key
"""  # noqa: S608 -- as above

# An unsubscription may be reported after the subscription that followed it.
_REMEMBER_SUBSCRIPTION = f"""
INSERT INTO deliveries_suppression (tenant_id, id, channel, recipient, recipient_key, reason, code, since, event_id,
    match_key, connection_id, note, created_by, created_at, removed_at, removed_by, removal_reason, provider_state,
    provider_answer)
SELECT %(tenant)s, id, channel, recipient, recipient_key, reason, code, since, event_id,
    match_key, connection_id, '', '', now(), since, '', '', 'not_needed', ''
FROM {_INCOMING}
WHERE NOT EXISTS (
    SELECT FROM deliveries_suppression r
    WHERE r.tenant_id = %(tenant)s AND r.recipient_key = i.recipient_key AND r.channel = i.channel
        AND r.removed_at >= i.since AND r.removed_by = '')
"""  # noqa: S608 -- as above

# A delivery counts from when it was first heard of: what decides it may be another event tomorrow, and then the entry
# would depend on the order in which the events came.
_FAILURES = """
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(asked)s)
        AS a (channel text, recipient_key text, first timestamptz, last timestamptz)
), listed AS MATERIALIZED (
    SELECT channel, recipient_key, since, removed_at, removed_by FROM deliveries_suppression
    WHERE tenant_id = %(tenant)s AND recipient_key = ANY(ARRAY(SELECT recipient_key FROM asked))
), failed AS MATERIALIZED (
    SELECT * FROM deliveries_delivery
    WHERE tenant_id = %(tenant)s AND recipient_key = ANY(ARRAY(SELECT recipient_key FROM asked))
        AND error_state IS NOT NULL
)
SELECT d.event_id, d.match_key, d.connection_id, d.channel, d.recipient, d.first_at, d.provider, d.kind,
    d.verdict, d.smtp_code, d.enhanced_code, d.reply
FROM asked a JOIN failed d ON d.recipient_key = a.recipient_key AND d.channel = a.channel
    AND d.first_at BETWEEN a.first - make_interval(days => %(days)s) AND a.last + make_interval(days => %(days)s)
WHERE NOT EXISTS (
    SELECT FROM listed s
    WHERE s.recipient_key = a.recipient_key AND s.channel = a.channel AND s.removed_at IS NULL AND s.since <= a.first)
AND NOT EXISTS (
    SELECT FROM listed r
    WHERE r.recipient_key = a.recipient_key AND r.channel = a.channel
        AND r.removed_at >= d.occurred_at AND r.removed_by <> '')
"""


# ---------------------------------------------------------------- look-ups


def suppressed(channel: str, recipient_keys: Collection[str]) -> dict[str, Suppression]:
    """Return the entries of those recipients that are on the list, by ``gather.recipient_key``."""
    rows = Suppression.objects.filter(channel=channel, recipient_key__in=recipient_keys, removed_at=None)
    return {row.recipient_key: row for row in rows}


def is_suppressed_sql(row: str) -> str:
    """SQL that says whether the recipient of a row is on the list.

    ``row`` is the alias of a table with the columns ``tenant_id``, ``channel`` and ``recipient_key``.
    """
    return f"""EXISTS (
        SELECT FROM deliveries_suppression on_list
        WHERE on_list.tenant_id = {row}.tenant_id AND on_list.channel = {row}.channel
            AND on_list.recipient_key = {row}.recipient_key AND on_list.removed_at IS NULL)"""


def list_entries(*, removed: bool, channel: str = "", reason: str = "", prefix: str = "") -> QuerySet[Suppression]:
    """Return the scope's entries, on the list or removed from it, newest first.

    They carry ``first_at``, the same as ``since``, by which ``keyset_page`` pages. ``prefix`` is the beginning of a
    recipient.
    """
    rows: QuerySet[Suppression] = Suppression.objects.filter(removed_at__isnull=not removed)
    rows = rows.annotate(first_at=F("since"))
    if channel:
        rows = rows.filter(channel=channel)
    if reason:
        rows = rows.filter(reason=reason)
    if prefix:
        rows = rows.filter(reduce(or_, (Q(starts_with("recipient_key", form)) for form in key_forms(prefix))))
    return rows.order_by("-first_at", "-id")


def key_forms(text: str) -> list[str]:
    """Return how the recipient may be stored: a number is often written without its plus sign."""
    key = recipient_key(text)
    return [key, f"+{key}"] if key.isascii() and key.isdigit() else [key]


def delivery_behind(entry: Suppression) -> Delivery | None:
    """Return the failed delivery that an entry follows from, if there is one."""
    if entry.match_key is None:
        return None
    link = DeliveryLink.objects.filter(match_key=entry.match_key).first()
    named = Q(id=link.delivery_id) if link else Q(match_key=entry.match_key)
    found: Delivery | None = Delivery.objects.filter(named).first()
    return found


def provider_behind(entry: Suppression) -> str:
    """Return the name of the provider that reported the failure; "" for an entry made by hand."""
    own = Connection.objects.filter(id=entry.connection_id).values_list("provider", flat=True)
    shared = Route.objects.filter(connection_id=entry.connection_id).values_list("provider", flat=True)
    return own.first() or shared.first() or ""


# ---------------------------------------------------------------- what people do


def add_by_hand(
    *, channel: str, recipient: str, note: str, actor: audit.Actor, region: str = "JP"
) -> tuple[Suppression, bool]:
    """Put a recipient on the list; returns the entry, and False if it was there already.

    ``region`` is the country of numbers written without one. Raises ``SuppressionInputError``.
    """
    if channel not in list(Channel):
        raise SuppressionInputError("channel", _("Choose email, lineworks or sms."))
    checked = check_recipient(Channel(channel), recipient, region=region)
    if checked.finding:
        raise SuppressionInputError("recipient", _("This is no recipient of that channel: check how it is written."))
    entry = Suppression(
        tenant_id=current_tenant_id(),
        channel=channel,
        recipient=checked.recipient,
        recipient_key=recipient_key(checked.recipient),
        reason=SuppressionReason.MANUAL,
        since=timezone.now(),
        note=_within_limit("note", note),
        created_by=actor.name[:254],
    )
    entry.created_at = entry.since
    Suppression.objects.bulk_create([entry], ignore_conflicts=True)
    listed = suppressed(channel, [entry.recipient_key])[entry.recipient_key]
    if listed.id == entry.id:
        after = {"channel": channel, "note": entry.note}
        audit.record(actor, "suppression.added", object_type="suppression", object_id=entry.id, after=after)
    return listed, listed.id == entry.id


def remove(entry: Suppression, *, reason: str, actor: audit.Actor, consent: bool = False) -> None:
    """Take an entry off the list. Where the provider keeps a list of its own, ``unlist`` clears that next.

    ``reason`` is the person's own words. ``consent``: the recipient wants notices again, which is needed after a
    complaint or an unsubscription. Raises ``SuppressionInputError``, also if the entry has changed meanwhile.
    """
    if not reason.strip():
        raise SuppressionInputError("reason", _("Say why the entry is removed."))
    if entry.reason in CONSENT_REASONS and not consent:
        raise SuppressionInputError("consent", _("Only with the recipient's new consent can this entry be removed."))
    keeps_a_list = provider_behind(entry) in LISTS
    removal = {
        "removed_at": timezone.now(),
        "removed_by": actor.name[:254],
        "removal_reason": _within_limit("reason", reason),
        "provider_state": ProviderState.REMOVING if keeps_a_list else ProviderState.NOT_NEEDED,
    }
    if not Suppression.objects.filter(id=entry.id, removed_at=None, reason=entry.reason).update(**removal):
        raise SuppressionInputError("", _("The entry has changed meanwhile: look at it again."))
    entry.refresh_from_db()
    before = {"channel": entry.channel, "reason": entry.reason, "code": entry.code}
    after = {"removal_reason": entry.removal_reason, "consent": consent}
    audit.record(
        actor, "suppression.removed", object_type="suppression", object_id=entry.id, before=before, after=after
    )


def _within_limit(field: str, text: str) -> str:
    if len(text.strip()) > LONGEST_TEXT:
        raise SuppressionInputError(field, _("Write at most %(most)d characters.") % {"most": LONGEST_TEXT})
    return text.strip()
