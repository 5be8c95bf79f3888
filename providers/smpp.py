"""Delivery receipts of any SMS carrier that speaks SMPP, posted by the product that holds the SMPP session.

The words are those of SMPP 3.4 (appendix B, section 5.2.28); the request is ours: see docs/providers/smpp.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from providers.base import Channel, ConnectionConfig, Event, Field, Kind, Parsed, Request, VerificationError
from providers.callback import Item, address, attempt_of, is_fresh, read_items, secrets_of, text, word
from providers.payload import RAW_LIMIT, TEXT_LIMIT, UnreadableError, check_time
from providers.phone import to_e164
from providers.signatures import hmac_matches

SIGNATURE_HEADER = "x-notifyguard-signature"

_STATE_NUMBERS = dict(
    zip(
        "0123456789",
        ("SCHEDLD", "ENROUTE", "DELIVRD", "EXPIRED", "DELETED", "UNDELIV", "ACCEPTD", "UNKNOWN", "REJECTD", "SKIPPED"),
        strict=True,
    )
)
_SPELLINGS = {
    "SCHEDULED": "SCHEDLD",
    "DELIVERED": "DELIVRD",
    "UNDELIVERED": "UNDELIV",
    "UNDELIVERABLE": "UNDELIV",
    "ACCEPTED": "ACCEPTD",
    "REJECTED": "REJECTD",
}
_KINDS = {
    "SCHEDLD": Kind.ACCEPTED,
    "ENROUTE": Kind.ACCEPTED,
    "ACCEPTD": Kind.ACCEPTED,
    "DELIVRD": Kind.DELIVERED,
    "EXPIRED": Kind.EXPIRED,
    "DELETED": Kind.CANCELED,
    "UNDELIV": Kind.UNDELIVERED,
    "FAILED": Kind.UNDELIVERED,
    "UNKNOWN": Kind.NO_RECEIPT,
    "REJECTD": Kind.REJECTED,
    "NACK": Kind.REJECTED,
    "SKIPPED": Kind.REJECTED,
}
_TEXT = re.compile(r"\btext:", re.IGNORECASE)
_PAIR = re.compile(r"\b(id|sub|dlvrd|submit[ _]date|done[ _]date|stat|err):(\S*)", re.IGNORECASE)
_SHORT_DATE = re.compile(r"\d{10}(?:\d\d(?:\d\d)?)?", re.ASCII)
_ABSOLUTE_TIME = re.compile(r"(\d{12})\d([0-3]\d|4[0-8])([+-])", re.ASCII)  # SMPP 3.4, 7.1.1


class Smpp:
    """A carrier or gateway that reports in SMPP's words."""

    name = "smpp"
    label = "SMPP carrier"
    channel = Channel.SMS
    fields = (
        Field("secret", "Signing secret", secret=True, help="Shared with the program that posts the receipts."),
        Field(
            "timezone",
            "Time zone",
            required=False,
            help="Of the carrier's clock, for dates without a zone, e.g. Asia/Tokyo. Default: UTC.",
        ),
        Field(
            "country",
            "Country",
            required=False,
            help="Two letters, e.g. JP, if the carrier reports national numbers such as 09012345678.",
        ),
    )
    route_keys = ("field:<name>",)
    kept_headers = ("content-type",)

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Check ``X-NotifyGuard-Signature: t=<unix seconds>,v1=<hex>``: HMAC-SHA256 over ``<t>.<raw body>``.

        Reasons: ``signature_missing``, ``key_unusable``, ``signature_wrong``, ``timestamp_stale``.
        """
        header = request.headers.get(SIGNATURE_HEADER)
        if not header:
            raise VerificationError("signature_missing", "The X-NotifyGuard-Signature header is missing.")
        parts = [part.strip().partition("=") for part in header.split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        covered = stamp.encode("utf-8", "replace") + b"." + request.body
        # More than one v1 lets the sender rotate its secret without a gap.
        given = [value for name, _, value in parts if name == "v1"]
        if not any(
            hmac_matches(secret, covered, value, "sha256", "hex") for secret in secrets_of(config) for value in given
        ):
            raise VerificationError("signature_wrong", "The signature does not match the body.")
        if not is_fresh(stamp, request.received_at):
            raise VerificationError("timestamp_stale", "The signed time is more than five minutes off.")

    def parse(
        self, body: bytes, headers: Mapping[str, str], config: ConnectionConfig, received_at: datetime
    ) -> list[Parsed]:
        """Read a JSON object, a JSON array or a form of receipts; of each the fields, else its raw receipt line."""
        return read_items(body, headers, lambda item: _event(item, config, received_at))

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """A connection that reports anything also reports deliveries."""
        return (Kind.DELIVERED,) if seen and Kind.DELIVERED not in seen else ()


def receipt_fields(line: str) -> dict[str, str]:
    """Read ``id:… sub:… dlvrd:… submit date:… done date:… stat:… err:… text:…`` in any order, case, completeness.

    The message's own text comes last and may hold anything, even ``stat:``, so reading stops there.
    """
    head = _TEXT.split(line, maxsplit=1)[0]
    return {name.lower().replace(" ", "_"): value for name, value in _PAIR.findall(head)}


def _event(item: Item, config: ConnectionConfig, received_at: datetime) -> Event:
    receipt = text(item, "receipt", limit=RAW_LIMIT)
    line = receipt_fields(receipt)
    state, code = _state(item, line), _error_code(item, line)
    message_id, attempt_ref = text(item, "id", "message_id") or text(line, "id"), attempt_of(item, "client_ref")
    recipient = address(item, "to", "msisdn", "destination")
    if not recipient:
        raise UnreadableError("names no recipient (to)")
    if not state:
        raise UnreadableError("has no status (stat or message_state)")
    if not (message_id or attempt_ref):
        raise UnreadableError("names no message (id)")
    done_at = _done_at(text(item, "done_date") or text(line, "done_date"), config, received_at)
    identity = f"{message_id}/{state}/{code}"
    return Event(
        kind=_KINDS.get(state, Kind.UNKNOWN),
        recipient=to_e164(recipient, config.settings.get("country", "")),
        occurred_at=done_at or received_at,
        verdict=f"{state}/{code}",
        reply=receipt,
        provider_event_id=identity if done_at else f"~{identity}",
        provider_message_id=message_id,
        attempt_ref=attempt_ref,
        sender=address(item, "from"),
        title=text(item, "title", limit=TEXT_LIMIT),
        route=text(item, config.route_by.removeprefix("field:")) if config.route_by.startswith("field:") else "",
    )


def _state(item: Item, line: Item) -> str:
    """Return the state in SMPP's seven letters; the number of the PDU's message_state beats any text."""
    number = word(item, "message_state")
    state = _STATE_NUMBERS.get(number) or word(item, "stat", "status") or word(line, "stat") or number
    return _SPELLINGS.get(state.upper(), state.upper())


def _error_code(item: Item, line: Item) -> str:
    code = word(item, "err") or word(line, "err") or word(item, "network_error_code")
    return code.lstrip("0") or code[-1:]


def _done_at(value: str, config: ConnectionConfig, received_at: datetime) -> datetime | None:
    """Read the done date; nothing, or zeros only, means that the carrier gave none. Raises ``UnreadableError``."""
    if not value.strip("0"):
        return None
    moment = _absolute_time(value) or _short_date(value) or _iso_time(value)
    if moment is None:
        raise UnreadableError('has a "done_date" that is not a date and time')
    aware = moment if moment.tzinfo else moment.replace(tzinfo=_zone(config.settings.get("timezone", "")))
    return check_time(aware, received_at).astimezone(UTC)


def _absolute_time(value: str) -> datetime | None:
    """Read SMPP's own form, YYMMDDhhmmss, tenths and the offset from UTC in quarter hours."""
    match = _ABSOLUTE_TIME.fullmatch(value)
    moment = _short_date(match[1]) if match else None
    if not (match and moment):
        return None
    offset = timedelta(minutes=15 * int(match[2]))
    return moment.replace(tzinfo=timezone(offset if match[3] == "+" else -offset))


def _short_date(value: str) -> datetime | None:
    """Read YYMMDDhhmm[ss] or YYYYMMDDhhmm[ss]. Twelve digits may be either: only one has a possible month."""
    if not _SHORT_DATE.fullmatch(value):
        return None
    candidates = {
        len("YYMMDDhhmm"): ("20" + value,),
        len("YYMMDDhhmmss"): ("20" + value, value),
        len("YYYYMMDDhhmmss"): (value,),
    }[len(value)]
    return next(filter(None, map(_full_date, candidates)), None)


def _full_date(digits: str) -> datetime | None:
    numbers = [int(digits[start : start + 2]) for start in range(4, len(digits), 2)]
    try:
        # The carrier's clock: its zone is added by the caller.
        return datetime(int(digits[:4]), *numbers)  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, TypeError):
        return None


def _iso_time(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError) as error:
        raise UnreadableError("has a time in the connection's time zone, which is not a known one") from error


PROVIDER = Smpp()
