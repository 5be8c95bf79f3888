"""Reads JSON bodies of webhooks so that one bad value spoils one item, never its batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

Item = dict[str, Any]

RAW_LIMIT = 4000  # characters of an item that ``Unparsed.raw`` may hold
KEY_LIMIT = 512  # longest id or key handed on: PostgreSQL refuses to index a value of about 2,700 bytes
TEXT_LIMIT = 500  # longest title or verdict
ADDRESS_LIMIT = 320  # RFC 5321: 64 for the local part, "@", 255 for the domain

EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
AHEAD = timedelta(hours=48)
_LONGEST_INTEGER = 40


class UnreadableError(ValueError):
    """An item or a body can't be read; the message is the predicate of a sentence or a whole one."""


def load(body: bytes) -> Any:
    """Decode JSON; no string in the result has a NUL or a lone surrogate, which PostgreSQL refuses.

    Invalid UTF-8, broken escapes, control characters, a byte order mark and numbers out of range are read with
    replacement. Raises ``UnreadableError`` with a full sentence when it is not JSON at all.
    """
    try:
        decoded = msgspec.json.decode(body)
        return _clean(decoded) if b"\\u0000" in body else decoded
    except (ValueError, RecursionError) as error:
        return _load_leniently(body, error)


def _load_leniently(body: bytes, first_error: Exception) -> Any:
    try:
        text = body.decode("utf-8-sig", "replace")
        return _clean(json.loads(text, strict=False, parse_int=_integer, parse_constant=_nothing))
    except RecursionError:
        raise UnreadableError("The body is not JSON: it is nested too deeply.") from None
    except ValueError:
        raise UnreadableError(f"The body is not JSON: {first_error}.") from None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else None


def _nothing(_constant: str) -> None:
    """NaN and Infinity, which are not JSON."""


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_clean(element) for element in value]
    if isinstance(value, dict):
        return {storable(key): _clean(element) for key, element in value.items()}
    return value


def storable(text: str) -> str:
    """Return ``text`` without what a PostgreSQL text column refuses."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def text_of(value: object, limit: int | None = None) -> str:
    """Return a string or number as text, anything else as ""; cut to ``limit`` characters."""
    if type(value) is str:
        return value[:limit]
    if type(value) is int or type(value) is float:
        return str(value)[:limit]
    return ""


def excerpt(item: object) -> str:
    """Return an item, or a body that is no JSON, as the text of ``Unparsed.raw``."""
    if isinstance(item, bytes):
        return storable(item[: RAW_LIMIT * 4].decode("utf-8", "replace"))[:RAW_LIMIT]
    try:
        return storable(json.dumps(item, ensure_ascii=False)[:RAW_LIMIT])
    except (ValueError, RecursionError):
        return ""


def check_time(at: datetime, received_at: datetime) -> datetime:
    """Return ``at`` if a provider can have meant it, else raise ``UnreadableError``."""
    if EARLIEST <= at <= received_at + AHEAD:
        return at
    raise UnreadableError(f"has a time before {EARLIEST.year} or more than 48 hours after its arrival")


def read_iso_time(value: object) -> datetime | None:
    """Read ISO 8601 ("…Z", "… +0000", "…-07:00", without a zone UTC) as aware UTC, or return None."""
    if type(value) is not str:
        return None
    try:
        at = datetime.fromisoformat(value.strip())
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
