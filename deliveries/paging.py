"""Keyset paging: a page is found by the place of its neighbour in an index, never by counting rows."""

from __future__ import annotations

import struct
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from django.db.models import BooleanField, F, Func, Model, QuerySet, Value
from django.utils.translation import gettext as _

Row = TypeVar("Row", bound=Model)
TimeField = Literal["failed_at", "first_at", "received_at"]

_FIELD_LETTERS: dict[TimeField, bytes] = {"failed_at": b"f", "first_at": b"a", "received_at": b"r"}
_OLDER, _NEWER = b">", b"<"
_LAYOUT = struct.Struct(">ccq16s")  # field, direction, microseconds since 1970, id
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class BadCursor(ValueError):  # noqa: N818 -- the page's and the API's word for it
    """A cursor is none of ours, or one of another list; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, newest first, with the cursors of the older (``next``) and newer (``previous``) pages."""

    rows: list[Row]
    next: str | None
    previous: str | None
    first: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A place between two rows, and the direction in which to read on from it."""

    at: datetime
    id: uuid.UUID
    older: bool


def keyset_page(queryset: QuerySet[Row], *, field: TimeField, cursor: str | None, size: int = 50) -> Page[Row]:
    """Return one page of the queryset, ordered by ``field`` and id, newest first; its own ordering is replaced.

    ``cursor`` is that of another page of the same list, or empty for the newest. One query, whatever the page; a
    second one only where reading back meets the newest rows, so that the first page is always a full one.
    Raises ``BadCursor``.
    """
    place = _read(cursor, field) if cursor else None
    if place is None:
        return _first_page(queryset, field, size)
    rows = list(_beyond(queryset, field, place)[: size + 1])
    more, shown = len(rows) > size, rows[:size]
    if place.older:
        return _page(shown, field, older=more, newer=True)
    if not more:
        return _first_page(queryset, field, size)
    return _page(shown[::-1], field, older=True, newer=True)


def _first_page(queryset: QuerySet[Row], field: TimeField, size: int) -> Page[Row]:
    rows = list(queryset.order_by(f"-{field}", "-id")[: size + 1])
    return _page(rows[:size], field, older=len(rows) > size, newer=False)


def _page(rows: list[Row], field: TimeField, *, older: bool, newer: bool) -> Page[Row]:
    return Page(
        rows=rows,
        next=_cursor(rows[-1], field, _OLDER) if rows and older else None,
        previous=_cursor(rows[0], field, _NEWER) if rows and newer else None,
        first=not newer,
    )


def _beyond(queryset: QuerySet[Row], field: TimeField, place: _Place) -> QuerySet[Row]:
    """The rows on the far side of a place, nearest first. A row comparison: one range of the composite index."""
    here = Func(Value(place.at), Value(place.id), template="(%(expressions)s)")
    row = Func(F(field), F("id"), template="(%(expressions)s)")
    beyond = Func(
        row,
        here,
        template="%(expressions)s",
        arg_joiner=" < " if place.older else " > ",
        output_field=BooleanField(),
    )
    order = (f"-{field}", "-id") if place.older else (field, "id")
    return queryset.filter(beyond).order_by(*order)


def _cursor(row: Any, field: TimeField, direction: bytes) -> str:
    microseconds = (getattr(row, field) - _EPOCH) // _MICROSECOND
    return _encode(_LAYOUT.pack(_FIELD_LETTERS[field], direction, microseconds, row.id.bytes))


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read(cursor: str, field: TimeField) -> _Place:
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        letter, direction, microseconds, id_bytes = _LAYOUT.unpack(raw)
        place = _Place(_EPOCH + microseconds * _MICROSECOND, uuid.UUID(bytes=id_bytes), older=direction == _OLDER)
        # Decoding skips characters that it does not know, so only what reads back the same is ours.
        ours = letter == _FIELD_LETTERS[field] and direction in {_OLDER, _NEWER} and _encode(raw) == cursor
    except (ValueError, struct.error, OverflowError):
        ours = False
    if not ours:
        raise BadCursor(_("This page address is damaged or belongs to another list. Start again at the first page."))
    return place
