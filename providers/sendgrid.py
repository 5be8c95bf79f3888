"""SendGrid: reads the Signed Event Webhook (docs/providers/sendgrid.md)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from providers import payload
from providers.base import (
    Channel,
    ConnectionConfig,
    ConnectionEvent,
    Event,
    Field,
    Kind,
    Parsed,
    Request,
    Unparsed,
    VerificationError,
)
from providers.payload import Item, UnreadableError, text_of
from providers.signatures import KeyUnusableError, ecdsa_matches, load_ecdsa_key
from providers.smtp import clean_address, domain_of, read_codes

SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"

# SendGrid repeats a refused batch for 24 hours and does not say whether it signs anew: a window of minutes could
# throw a day of events away. A replay inside the window changes nothing, events being stored once.
OLDEST = timedelta(hours=24, minutes=15)
FURTHEST_AHEAD = timedelta(minutes=5)

MILLISECONDS_FROM = 10**11  # as seconds this is the year 5138; one documented sample has milliseconds
MILLISECONDS_UNTIL = 10**15

_PLAIN_KINDS: dict[str, Kind] = {
    "processed": Kind.ACCEPTED,
    "delivered": Kind.DELIVERED,
    "spamreport": Kind.SPAM_REPORT,
    "unsubscribe": Kind.UNSUBSCRIBED,
    "group_unsubscribe": Kind.UNSUBSCRIBED,
    "group_resubscribe": Kind.RESUBSCRIBED,
    "open": Kind.ENGAGED,
    "click": Kind.ENGAGED,
}

_CLASSES = ("invalid", "technical", "content", "reputation", "frequency", "mailbox")
# The literals of the API specification of 2026-01; other spellings go through ``_classify``.
_KNOWN_CLASSES: dict[str, str] = {
    "Invalid Address": "invalid",
    "Technical": "technical",
    "Content": "content",
    "Reputation": "reputation",
    "Frequency or Volume Too High": "frequency",
    "Mailbox Unavailable": "mailbox",
    "Unclassified": "unclassified",
}

_Finding = tuple[Kind, str, str, str, str]  # kind, verdict, reply, SMTP code, enhanced code


class _Item(msgspec.Struct, gc=False, rename={"from_": "from", "kind": "type"}):
    """What is read of an event, of whatever type it is. Other fields, custom arguments among them, are passed over."""

    event: Any = None
    email: Any = None
    timestamp: Any = None
    sg_event_id: Any = None
    sg_message_id: Any = None
    ng_attempt: Any = None
    ng_title: Any = None
    subject: Any = None
    from_: Any = None
    response: Any = None
    reason: Any = None
    message: Any = None
    status: Any = None
    kind: Any = None
    bounce_classification: Any = None


_BATCH = msgspec.json.Decoder(list[_Item])
_Route = Callable[[Item], str]


def _read_deferral(item: _Item) -> _Finding:
    # One table of the documentation puts the text in ``reason``, the samples put it in ``response``.
    reply = text_of(item.response) or text_of(item.reason)
    return Kind.DEFERRED, "deferred", reply, *read_codes(text_of(item.status), reply)


def _read_drop(item: _Item) -> _Finding:
    reason = text_of(item.reason)
    reply = text_of(item.message) or reason
    verdict = f"dropped/{reason.strip().lower()}"[: payload.TEXT_LIMIT]
    return Kind.DROPPED, verdict, reply, *read_codes(text_of(item.status), reply)


def _read_bounce(item: _Item) -> _Finding:
    reply = text_of(item.reason)
    codes = read_codes(text_of(item.status), reply)
    bounce_type = text_of(item.kind)
    if bounce_type == "expired":
        return Kind.EXPIRED, "expired", reply, *codes
    bounce_class = _classify(text_of(item.bounce_classification))
    if bounce_type in ("bounce", ""):
        return Kind.BOUNCED, f"bounce/{bounce_class}", reply, *codes
    # "blocked", "block", or a word we do not know: that one is read as the harmless sort, which suppresses nobody.
    kind = Kind.BOUNCED if bounce_class == "mailbox" else Kind.BLOCKED
    return kind, f"blocked/{bounce_class}", reply, *codes


def _classify(text: str) -> str:
    known = _KNOWN_CLASSES.get(text)
    if known:
        return known
    lowered = text.strip().lower()
    return next((word for word in _CLASSES if lowered.startswith(word)), "unclassified")


_READERS: dict[str, Callable[[_Item], _Finding]] = {
    "deferred": _read_deferral,
    "dropped": _read_drop,
    "cancel_drop": _read_drop,  # a cancelled scheduled send; documented for the Email Logs API only
    "bounce": _read_bounce,
}


def _read_item(item: _Item, latest: float, route: str) -> Parsed:
    """Read one event. Raises ``UnreadableError`` with the predicate of a sentence about the item."""
    word = item.event
    if type(word) is not str or not word:
        raise UnreadableError('has no "event"')
    occurred_at = _read_time(item.timestamp, latest)
    if word == "account_status_change":
        return _read_account(item, occurred_at)
    plain = _PLAIN_KINDS.get(word)
    if plain is not None:
        kind, verdict, reply, smtp_code, enhanced_code = plain, word, text_of(item.response), "", ""
    else:
        kind, verdict, reply, smtp_code, enhanced_code = _READERS.get(word, _read_unknown)(item)
    return Event(
        kind=kind,
        recipient=_read_recipient(item.email),
        occurred_at=occurred_at,
        verdict=verdict,
        reply=reply,
        smtp_code=smtp_code,
        enhanced_code=enhanced_code,
        provider_event_id=text_of(item.sg_event_id, payload.KEY_LIMIT),
        # The rest names a server and a recipient and has changed its form (".filter…", ".recvd-…").
        provider_message_id=text_of(item.sg_message_id, payload.KEY_LIMIT).partition(".")[0],
        attempt_ref=text_of(item.ng_attempt, payload.KEY_LIMIT) if item.ng_attempt else "",
        sender=text_of(item.from_, payload.ADDRESS_LIMIT) if item.from_ else "",
        title=text_of(item.ng_title or item.subject, payload.TEXT_LIMIT),
        route=route,
    )


def _read_unknown(item: _Item) -> _Finding:
    reply = text_of(item.response) or text_of(item.reason)
    return Kind.UNKNOWN, text_of(item.event, payload.TEXT_LIMIT), reply, "", ""


def _read_account(item: _Item, occurred_at: datetime) -> ConnectionEvent:
    detail = text_of(item.kind, payload.TEXT_LIMIT)
    data = {"event_id": text_of(item.sg_event_id, payload.KEY_LIMIT)}
    return ConnectionEvent(kind="account_status", occurred_at=occurred_at, detail=detail, data=data)


def _read_recipient(value: object) -> str:
    address = clean_address(value) if type(value) is str else ""
    if not address:
        raise UnreadableError('has no "email"')
    if len(address) > payload.ADDRESS_LIMIT:
        raise UnreadableError(f'has an "email" of more than {payload.ADDRESS_LIMIT} characters')
    return address


def _read_time(value: object, latest: float) -> datetime:
    seconds = value if type(value) is int else _read_seconds(value)
    if MILLISECONDS_FROM < seconds < MILLISECONDS_UNTIL:
        seconds /= 1000
    if not _EARLIEST_SECONDS <= seconds <= latest:
        raise UnreadableError('has a "timestamp" before 2010 or more than 48 hours after its arrival')
    return datetime.fromtimestamp(seconds, UTC)


_EARLIEST_SECONDS = payload.EARLIEST.timestamp()


def _read_seconds(value: object) -> float:
    if value is None or value == "":
        raise UnreadableError('has no "timestamp"')
    try:
        seconds = float(value) if isinstance(value, (str, float)) else math.nan
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UnreadableError('has a "timestamp" that is not a number of seconds')
    return seconds


def _route_reader(route_by: str) -> _Route | None:
    kind, _, name = route_by.partition(":")
    if kind == "custom":
        return lambda item: text_of(item.get(name), payload.KEY_LIMIT)
    if kind == "domain":
        return lambda item: domain_of(text_of(item.get("from"), payload.ADDRESS_LIMIT))
    return None


def _decode(body: bytes) -> list[_Item] | None:
    """Return the events of a body as it should be; None for one that has to be read with more patience."""
    if b"\\u0000" in body:
        return None
    try:
        return _BATCH.decode(body)
    except (ValueError, RecursionError):
        return None


def _read_decoded(items: list[_Item], body: bytes, latest: float) -> list[Parsed]:
    parsed: list[Parsed] = []
    for item in items:
        try:
            parsed.append(_read_item(item, latest, ""))
        except UnreadableError:  # the item is wanted as it came
            return _read_loosely(body, latest, None)
    return parsed


def _read_loosely(body: bytes, latest: float, route: _Route | None) -> list[Parsed]:
    """Read a batch item by item, whatever is wrong with some, with all of their fields at hand."""
    try:
        items = payload.load(body)
    except UnreadableError as error:
        return [Unparsed(reason=str(error), raw=payload.excerpt(body))]
    if type(items) is dict:
        items = [items]
    if type(items) is not list:
        return [Unparsed(reason="The body is not a list of events.", raw=payload.excerpt(body))]
    parsed: list[Parsed] = []
    for number, item in enumerate(items, start=1):
        try:
            parsed.append(_read_loose(item, latest, route))
        except UnreadableError as error:
            parsed.append(_unparsed(item, number, error))
    return parsed


def _read_loose(item: object, latest: float, route: _Route | None) -> Parsed:
    if type(item) is not dict:
        raise UnreadableError("is not an object")
    return _read_item(msgspec.convert(item, _Item), latest, route(item) if route else "")


def _unparsed(item: object, number: int, error: UnreadableError) -> Unparsed:
    return Unparsed(reason=f"Item {number} {error}.", raw=payload.excerpt(item))


class SendGrid:
    """The Event Webhook of one SendGrid account or subuser."""

    name = "sendgrid"
    label = "SendGrid"
    channel = Channel.EMAIL
    fields: tuple[Field, ...] = (
        Field(
            name="public_key",
            label="Verification key",
            # Not confidential, but it rotates as a secret does: the previous one stays valid for a while.
            secret=True,
            help="Shown by SendGrid under Event Webhooks once Signed Event Webhook is on; begins with MFkw.",
        ),
    )
    route_keys: tuple[str, ...] = ("custom:<name>", "domain")
    kept_headers: tuple[str, ...] = (SIGNATURE_HEADER, TIMESTAMP_HEADER, "content-type", "user-agent")

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Check ECDSA P-256 over time stamp and raw body with any of the configured keys.

        Reasons: ``signature_missing``, ``key_unusable``, ``signature_wrong``, ``timestamp_stale``.
        Source: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
        """
        signature = request.headers.get(SIGNATURE_HEADER, "")
        timestamp = request.headers.get(TIMESTAMP_HEADER, "")
        if not signature or not timestamp:
            raise VerificationError("signature_missing", "The call has no signature or no time stamp header.")
        digest = hashlib.sha256(timestamp.encode("utf-8", "replace"))
        digest.update(request.body)
        if not _any_key_matches(config.secrets, digest.digest(), signature):
            raise VerificationError("signature_wrong", "The signature is not one of the connection's key.")
        if not _is_recent(timestamp, request.received_at):
            raise VerificationError("timestamp_stale", "The call was signed too long ago or in the future.")

    def parse(
        self,
        body: bytes,
        headers: Mapping[str, str],
        config: ConnectionConfig,
        received_at: datetime,
    ) -> list[Parsed]:
        """Read a batch: one result for each item, in order."""
        latest = (received_at + payload.AHEAD).timestamp()
        route = _route_reader(config.route_by)
        items = _decode(body) if route is None else None
        return _read_decoded(items, body, latest) if items is not None else _read_loosely(body, latest, route)

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """Return the ticks that may be missing in SendGrid's console; nothing before the first event.

        A quiet account need not have bounced yet, so this is a hint, not a finding.
        """
        expected = (Kind.DELIVERED, Kind.BOUNCED, Kind.DEFERRED, Kind.DROPPED)
        return tuple(kind for kind in expected if kind not in seen) if seen else ()


def _any_key_matches(keys: tuple[str, ...], digest: bytes, signature: str) -> bool:
    """Raises ``VerificationError`` when no key can be used at all."""
    usable = 0
    for key in keys:
        try:
            loaded = load_ecdsa_key(key)
        except KeyUnusableError:
            continue
        usable += 1
        if ecdsa_matches(loaded, digest, signature):
            return True
    if not usable:
        raise VerificationError("key_unusable", "The connection has no usable verification key.")
    return False


def _is_recent(timestamp: str, received_at: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len("9999999999")):
        return False
    signed_at = datetime.fromtimestamp(int(timestamp), UTC)
    return received_at - OLDEST <= signed_at <= received_at + FURTHEST_AHEAD


PROVIDER = SendGrid()
