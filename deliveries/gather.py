"""What a batch of reports adds up to: one line a report for the ledger, one line a delivery for its projection."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from deliveries.classify import RULES_VERSION, Verdict, classify, report_of
from deliveries.enums import Channel, Kind
from deliveries.state import STATES, deciding_attempt, error_state, rank
from notifyguard.ids import digest_hex, uuid7
from providers.base import Event

REPLY_LIMIT = 4000
OWN_REPORT = -1  # the place in the inbox of what we report ourselves


class Origin:
    """Where a report came from: one raw webhook of one connection. ``columns`` is its share of a ledger line."""

    __slots__ = (
        "channel",
        "columns",
        "connection_id",
        "connection_key",
        "provider",
        "raw_id",
        "received_at",
        "received_text",
    )

    def __init__(
        self, *, connection_id: uuid.UUID, provider: str, channel: Channel, raw_id: uuid.UUID, received_at: datetime
    ) -> None:
        self.connection_id = connection_id
        self.connection_key = connection_id.hex
        self.provider = provider
        self.channel = channel
        self.raw_id = raw_id
        self.received_at = received_at
        self.received_text = received_at.isoformat()
        self.columns = f"{connection_id.hex}\t{raw_id.hex}\t{self.received_text}"


class Reported(NamedTuple):
    """An event with its place in the raw inbox."""

    event: Event
    origin: Origin
    raw_index: int


class Target(NamedTuple):
    """The delivery, and the attempt at it, that a match key was linked to."""

    delivery_key: str
    attempt: int


class Found(NamedTuple):
    """A report with its identities: ``precedence`` is the order of ``state.Fact``."""

    report: Reported
    identity: str
    match_key: str
    orphan: bool
    recipient_key: str
    at: str
    precedence: tuple[int, datetime, int, str]
    verdict: Verdict | None  # on failures, and on what concerns the recipient's consent


def recipient_key(recipient: str) -> str:
    """The form in which recipients are compared: providers change the case of addresses on the way."""
    return recipient.strip().lower()[:320]


def is_timeless(event: Event) -> bool:
    """Providers that send no time mark the event's identity with ``~``: it holds whenever the report arrives."""
    return event.provider_event_id[:1] == "~"


def attempt_key(connection_id: uuid.UUID, reference: str, recipient: str) -> str:
    """Return the match key of one attempt: by what its reports are known, as 32 hex digits.

    ``reference`` is our own attempt's id where the provider echoes it, else the provider's message id.
    """
    return digest_hex(f"{connection_id.hex}\x1f{reference}\x1f{recipient_key(recipient)}")


def identify(reports: Iterable[Reported]) -> dict[str, Found]:
    """Return the reports by identity; of two equal ones the first is kept."""
    found: dict[str, Found] = {}
    match_keys = _MatchKeys()
    for report in reports:
        one = _identify(report, match_keys)
        found.setdefault(one.identity, one)
    return found


class _MatchKeys(dict[str, str]):
    """What identifies an attempt → its digest: most attempts are spoken of more than once in a batch."""

    def __missing__(self, attempt: str) -> str:
        key = self[attempt] = digest_hex(attempt)
        return key


def _identify(report: Reported, match_keys: _MatchKeys) -> Found:
    """Name the event and the attempt that it speaks of.

    The provider's own event id is no part of an event's identity: it is missing, repeated across different events,
    or new on a retry in real payloads. An event without a message id (SendGrid's asynchronous bounces) stands for
    itself, an orphan, until a delivery to the same address is found (ledger.link_orphans).
    """
    event, origin, _ = report
    at = event.occurred_at.isoformat()
    reference = event.attempt_ref or event.provider_message_id
    recipient = recipient_key(event.recipient)
    attempt = f"{origin.connection_key}\x1f{reference}\x1f{recipient}"
    if is_timeless(event):
        identity = digest_hex(f"{origin.connection_key}\x1f{event.provider_event_id}")
    else:
        identity = digest_hex(f"{attempt}\x1f{event.kind}\x1f{event.verdict}\x1f{at}\x1f{event.reply}")
    key = match_keys[attempt] if reference else identity
    weight, order = _rank(origin.channel, event.kind, event.verdict)
    orphan = not reference and origin.channel == Channel.EMAIL
    verdict = _verdict(event, origin) if event.kind in _CLASSIFIED else None
    return Found(report, identity, key, orphan, recipient, at, (weight, event.occurred_at, order, identity), verdict)


def _verdict(event: Event, origin: Origin) -> Verdict:
    return classify(report_of(event, channel=origin.channel, provider=origin.provider))


_rank = lru_cache(maxsize=4096)(rank)


class Gathered:
    """What the reports on one delivery say together: the deciding one, and what adds up."""

    __slots__ = (
        "attempt",
        "deciding",
        "deferrals",
        "deferred_until",
        "first",
        "first_deferred_at",
        "sender",
        "title",
    )

    def __init__(self, found: Found, attempt: int) -> None:
        self.deciding, self.attempt, self.first = found, attempt, found
        self.first_deferred_at: datetime | None = None
        self.deferred_until: datetime | None = None
        self.deferrals = 0
        self.title = self.sender = ""

    def add(self, found: Found, attempt: int) -> None:
        event = found.report.event
        if (attempt, found.precedence) > (self.attempt, self.deciding.precedence):
            self.deciding, self.attempt = found, attempt
        if event.occurred_at < self.first.report.event.occurred_at:
            self.first = found
        if event.kind is Kind.DEFERRED:
            self.deferrals += 1
            self.first_deferred_at = min(self.first_deferred_at or event.occurred_at, event.occurred_at)
        if event.deferred_until:
            self.deferred_until = max(self.deferred_until or event.deferred_until, event.deferred_until)
        # The greatest rather than the latest, so that the order of arrival does not matter.
        self.title = max(self.title, event.title)
        self.sender = max(self.sender, event.sender)


def gather(found: Iterable[Found], linked: Mapping[str, Target]) -> dict[str, Gathered]:
    """Return what the reports say of each delivery, by the delivery's match key."""
    deliveries: dict[str, Gathered] = {}
    for one in found:
        key, number = linked.get(one.match_key, (one.match_key, 1))
        attempt = deciding_attempt(number, one.precedence[0])
        gathered = deliveries.get(key)
        if gathered is None:
            gathered = deliveries[key] = Gathered(one, attempt)
        gathered.add(one, attempt)
    return deliveries


EVENT_COLUMNS = (
    "id, match_key, occurred_at, raw_index, kind, deferred_until, verdict, recipient, reply, smtp_code,"
    " enhanced_code, provider_event_id, provider_message_id, connection_id, raw_id, received_at"
)

DELIVERY_COLUMNS = (
    "id, match_key, channel, provider, connection_id, orphan, deferrals, first_at, first_deferred_at,"
    " deferred_until,"
    " attempt, rank, rank_order, event_id, kind, state, occurred_at, received_at,"
    " recipient, recipient_key, domain, provider_message_id, sender, title, title_key, verdict, reply, smtp_code,"
    " enhanced_code, error_state, failed_at, code, reason, persistence, rule, rules_version"
)

_NULL = "\\N"
_NOT_ON_THE_LIST = "\t".join([_NULL] * 7)
_FAILING = frozenset(kind for kind in Kind if error_state(kind))
_CLASSIFIED = _FAILING | {Kind.UNSUBSCRIBED, Kind.RESUBSCRIBED}


def event_lines(found: Iterable[Found]) -> Iterator[str]:
    """Lines of COPY's text format, columns as in ``EVENT_COLUMNS``."""
    for report, identity, key, _, _, at, _, _ in found:
        event, origin, index = report
        texts = _escaped(
            event.verdict[:120],
            event.recipient[:320],
            event.reply[:REPLY_LIMIT],
            event.smtp_code[:3],
            event.enhanced_code[:12],
            event.provider_event_id[:200],
            event.provider_message_id[:200],
        )
        until = _time(event.deferred_until)
        yield f"{identity}\t{key}\t{at}\t{index}\t{event.kind}\t{until}\t{texts}\t{origin.columns}\n"


def delivery_lines(deliveries: Mapping[str, Gathered]) -> Iterator[str]:
    """Lines of COPY's text format, columns as in ``DELIVERY_COLUMNS``."""
    for (key, gathered), delivery_id in zip(deliveries.items(), _delivery_ids(), strict=False):
        yield _delivery_line(delivery_id, key, gathered)


def _delivery_line(delivery_id: str, key: str, gathered: Gathered) -> str:
    report, identity, _, orphan, key_of_recipient, at, precedence, verdict = gathered.deciding
    event, origin, _ = report
    weight, _, order, _ = precedence
    title = gathered.title[:500]
    texts = _escaped(
        event.recipient[:320],
        key_of_recipient,
        key_of_recipient.rpartition("@")[2][:255] if "@" in key_of_recipient else "",
        event.provider_message_id[:200],
        gathered.sender[:320],
        title,
        title.lower(),
        event.verdict[:120],
        event.reply[:REPLY_LIMIT],
        event.smtp_code[:3],
        event.enhanced_code[:12],
    )
    failure = _verdict_columns(event, verdict, at) if verdict and event.kind in _FAILING else _NOT_ON_THE_LIST
    return (
        f"{delivery_id}\t{key}\t{origin.channel}\t{origin.provider}\t{origin.connection_key}\t{orphan}\t"
        f"{gathered.deferrals}\t{gathered.first.at}\t{_time(gathered.first_deferred_at)}\t{_time(gathered.deferred_until)}\t"
        f"{gathered.attempt}\t{weight}\t{order}\t{identity}\t{event.kind}\t{STATES[event.kind]}\t"
        f"{at}\t{origin.received_text}\t{texts}\t{failure}\n"
    )


def _delivery_ids() -> Iterator[str]:
    """Ids for the deliveries that a batch may make: one uuid 7 and its successors, which keep the index dense."""
    return (f"{number:032x}" for number in itertools.count(uuid7().int))


def _verdict_columns(event: Event, verdict: Verdict, at: str) -> str:
    return (
        f"{STATES[event.kind]}\t{at}\t{verdict.code}\t{verdict.reason}\t{verdict.persistence or _NULL}\t"
        f"{verdict.rule}\t{RULES_VERSION}"
    )


def _time(at: datetime | None) -> str:
    return at.isoformat() if at else _NULL


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": ""})


def _escaped(*fields: str) -> str:
    """Join columns that are somebody else's text; most need no escape, and one look at all of them tells."""
    joined = "".join(fields)
    if "\\" in joined or not joined.isprintable():
        return "\t".join(field.translate(_ESCAPES) for field in fields)
    return "\t".join(fields)
