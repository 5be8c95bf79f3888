"""Reads callbacks that come as JSON, as a form or in the query: item by item, one bad item never failing its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from providers import payload
from providers.base import ConnectionConfig, Parsed, Request, Unparsed, VerificationError
from providers.payload import UnreadableError, storable, text_of

FORM = "application/x-www-form-urlencoded"
ATTEMPT_PREFIX = "ng-"  # of a reference that is an attempt of ours, as against the product's own
WORD_LIMIT = 64  # longest status or error code; real ones have a dozen characters
_LONGEST_STAMP = len("9999999999")

Item = Mapping[str, object]


def read_items(body: bytes, headers: Mapping[str, str], read: Callable[[Item], Parsed]) -> list[Parsed]:
    """Read each item of a body with ``read``; where that raises ``UnreadableError`` the item becomes ``Unparsed``."""
    try:
        items = items_of(body, headers)
    except UnreadableError as error:
        return [Unparsed(reason=str(error), raw=payload.excerpt(body))]
    return read_each(items, read)


def read_each(items: list[object], read: Callable[[Item], Parsed]) -> list[Parsed]:
    """Read decoded items as ``read_items`` does."""
    return [_read_one(item, number, read) for number, item in enumerate(items, start=1)]


def _read_one(item: object, number: int, read: Callable[[Item], Parsed]) -> Parsed:
    try:
        return read(as_object(item))
    except UnreadableError as error:
        return Unparsed(reason=f"Item {number} {error}.", raw=payload.excerpt(item))


def items_of(body: bytes, headers: Mapping[str, str]) -> list[object]:
    """Return the elements of a JSON array, or the one JSON object or form. Raises ``UnreadableError``."""
    if not is_json(body, headers):
        return [form_of(body)]
    value = payload.load(body)
    return value if isinstance(value, list) else [value]


def is_json(body: bytes, headers: Mapping[str, str]) -> bool:
    """Tell JSON from a form by the content type, else by the first character."""
    content_type = headers.get("content-type", "").lower()
    if "json" in content_type:
        return True
    return FORM not in content_type and body.lstrip()[:1] in (b"{", b"[")


def form_of(body: bytes) -> dict[str, str]:
    """Decode a form; of a repeated name the last value counts. Raises ``UnreadableError`` if it has no field."""
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    if not pairs:
        raise UnreadableError("The body is neither JSON nor a form with fields.")
    return {storable(name): storable(value) for name, value in pairs}


def query_as_body(request: Request) -> Request:
    """Return a GET with its query string as a form body, in place of whatever body it had; others unchanged.

    Providers that call by GET sign the query. The inbox keeps body bytes only, so it has to keep these.
    """
    if request.method != "GET":
        return request
    query = urlsplit(request.url).query
    return replace(request, body=query.encode(), headers={**request.headers, "content-type": FORM})


def as_object(value: object) -> Item:
    """Return ``value`` if it is an object. Raises ``UnreadableError``."""
    if not isinstance(value, dict):
        raise UnreadableError("is not an object")
    return value


def text(item: Item, *names: str, limit: int = payload.KEY_LIMIT) -> str:
    """Return the first of ``names`` that holds text or a number, trimmed; else an empty string."""
    for name in names:
        value = text_of(item.get(name), limit).strip()
        if value:
            return value
    return ""


def word(item: Item, *names: str) -> str:
    """Return a status or an error code, as ``text`` does."""
    return text(item, *names, limit=WORD_LIMIT)


def address(item: Item, *names: str) -> str:
    """Return a recipient or sender, as ``text`` does."""
    return text(item, *names, limit=payload.ADDRESS_LIMIT)


def time_of(item: Item, name: str, received_at: datetime) -> datetime | None:
    """Return an ISO 8601 time as aware UTC, or None where there is none. Raises ``UnreadableError``."""
    value = text(item, name)
    if not value:
        return None
    moment = payload.read_iso_time(value)
    if moment is None:
        raise UnreadableError(f'has a "{name}" that is not a date and time')
    return payload.check_time(moment, received_at)


def attempt_of(item: Item, name: str) -> str:
    """Return the id in the reference if that is an attempt of ours, else an empty string."""
    reference = text(item, name)
    return reference.removeprefix(ATTEMPT_PREFIX) if reference.startswith(ATTEMPT_PREFIX) else ""


def secrets_of(config: ConnectionConfig) -> tuple[str, ...]:
    """Return the secrets that are not empty. Raises ``VerificationError`` without any: nothing goes unsigned."""
    secrets = tuple(secret for secret in config.secrets if secret)
    if not secrets:
        raise VerificationError("key_unusable", "The connection has no secret to check signatures with.")
    return secrets


def is_fresh(unix_seconds: str, received_at: datetime, tolerance_s: int = 300) -> bool:
    """Tell whether a signed time stamp lies within ``tolerance_s`` of ``received_at``."""
    if not (unix_seconds.isascii() and unix_seconds.isdigit() and len(unix_seconds) <= _LONGEST_STAMP):
        return False
    return abs(received_at.timestamp() - int(unix_seconds)) <= tolerance_s
