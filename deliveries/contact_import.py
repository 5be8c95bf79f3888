"""Takes a CSV of contacts: sealed as it came, judged row by row against what is kept, applied when somebody says so.

Content is read as a stream, a batch of rows at a time; what a page shows is judged anew, as things stand then.
"""

from __future__ import annotations

import csv
import itertools
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Final, NamedTuple

import structlog
from django.core.cache import cache
from django.db import IntegrityError
from django.db import connection as database
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries import contacts
from deliveries.contact_file import Columns, ImportFileError, Record, columns_of, decoded, first_line, records_of
from deliveries.contacts import CHANNELS, FIELDS, KEYS, Change, ContactInputError
from deliveries.gather import recipient_key
from deliveries.models import Contact, ContactImport
from notifyguard.accounts import audit
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope
from notifyguard.sealing import seal

log = structlog.get_logger(__name__)

MOST_BYTES = 32 << 20
MOST_ROWS = 200_000
KEPT_FOR = timedelta(days=1)
# So many rows are judged and written at a time.
BATCH = 1_000
CLEAR: Final = "-"

READING, READY, APPLYING, DONE, FAILED = "reading", "ready", "applying", "done", "failed"
# What becomes of a row, one letter each: a preview keeps them all as one text.
NEW, CHANGED, UNCHANGED, ERROR, DOUBLE = "n", "c", "u", "e", "d"
GOOD: Final = frozenset({NEW, CHANGED})

_MOST_IGNORED = 20
_RETRIES = 3
_PROGRESS_S = 3_600
_YES: Final = frozenset({"1", "yes", "y", "true", "on", "はい", "○", "〇"})
_NO: Final = frozenset({"0", "no", "n", "false", "off", "いいえ", "×"})


class RowError(NamedTuple):
    """What is wrong in one cell: its column as the file calls it, and what to do."""

    column: str
    message: str


@dataclass(slots=True)
class Judged:
    """What a row comes to. ``contact`` is the one it is about: kept already, or new."""

    number: int
    kind: str = UNCHANGED
    contact: Contact | None = None
    values: dict[str, str | bool] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)


# ---------------------------------------------------------------- reading, showing, applying


def receive(file: BinaryIO, *, file_name: str, actor: audit.Actor) -> ContactImport:
    """Seal an uploaded file as a new import that waits to be read. Raises ``ImportFileError``."""
    chunks = decoded(file)
    first = next(chunks, "")
    columns_of(first_line(first))  # a file that is none is refused before it is kept
    lines, sealed = 0, []
    for chunk in itertools.chain([first], chunks):
        lines += chunk.count("\n")
        sealed.append(seal((chunk,)))
    row = ContactImport(
        file_name=file_name[:200],
        content_sealed=b"\n".join(sealed),
        created_by=actor.name,
        counts={"state": READING, "lines": lines},
    )
    row.save(force_insert=True)
    return row


def read(tenant_id: uuid.UUID, import_id: uuid.UUID) -> None:
    """Judge every row of an import that waits for it, and keep what each comes to. Safe to run twice."""
    with tenant_scope(tenant_id):
        row = _locked(import_id)
        if row and row.counts.get("state") == READING and row.content_sealed:
            _keep_reading(row)


def _keep_reading(row: ContactImport) -> None:
    try:
        row.counts = _read(row.id, bytes(row.content_sealed or b""))
    except _TooManyRowsError:
        row.counts = {"state": FAILED, "why": "rows"}
    except (csv.Error, ImportFileError):
        row.counts = {"state": FAILED, "why": "csv"}
    if row.counts["state"] == FAILED:
        row.content_sealed = None
    row.save(update_fields=["counts", "content_sealed"])


def approve(row: ContactImport, *, actor: audit.Actor) -> bool:
    """Say that the good rows are to be written; False if there is nothing to say it of."""
    held = _locked(row.id)
    if held is None or held.counts.get("state") not in (READY, APPLYING) or held.content_sealed is None:
        return False
    held.counts |= {"state": APPLYING, "approved_by": actor.name, "approved_by_id": actor.user_id}
    held.save(update_fields=["counts"])
    return True


def apply(tenant_id: uuid.UUID, import_id: uuid.UUID) -> None:
    """Write the good rows of an approved import in one transaction, audit it as one act and erase the content.

    Safe to run twice. A person who is made meanwhile in another way makes it begin again.
    """
    for last in (*itertools.repeat(False, _RETRIES - 1), True):
        try:
            with tenant_scope(tenant_id):
                row = _locked(import_id)
                if row and row.counts.get("state") == APPLYING and row.content_sealed:
                    _apply(row, bytes(row.content_sealed))
        except IntegrityError:
            if last:
                raise
        else:
            return


def discard(row: ContactImport, *, actor: audit.Actor) -> None:
    """Throw an import away that was not applied."""
    audit.record(
        actor,
        "contacts.import_discarded",
        object_type="contact_import",
        object_id=row.id,
        before={"file": row.file_name},
    )
    row.delete()


def page_of_rows(row: ContactImport, *, kinds: frozenset[str], first: int, size: int) -> list[Judged]:
    """Judge the rows number ``first`` to ``first + size`` of those kinds, as they stand now."""
    if row.content_sealed is None:
        return []
    all_kinds: str = row.counts.get("kinds", "")
    wanted = [place for place, kind in enumerate(all_kinds) if kind in kinds][first : first + size]
    columns, records = records_of(bytes(row.content_sealed))
    chosen = set(wanted)
    taken = [
        record for place, record in enumerate(itertools.islice(records, max(wanted, default=-1) + 1)) if place in chosen
    ]
    judged = _judge(taken, columns, region=contacts.region(), seen=set())
    for place, item in zip(wanted, judged, strict=True):
        if all_kinds[place] == DOUBLE:
            _refuse(item, DOUBLE, columns.title_of(_identity(item)[0]), _double())
    return judged


def forget_old(now: datetime) -> int:
    """Erase the content of imports that nobody applied in time; returns how many."""
    old = ContactImport.objects.filter(created_at__lt=now - KEPT_FOR, content_sealed__isnull=False)
    return old.update(content_sealed=None, counts={"state": FAILED, "why": "old"})


def progress(import_id: uuid.UUID) -> int:
    """Return how many rows the worker has done by now; 0 where that is not known."""
    try:
        return int(cache.get(_progress_key(import_id)) or 0)
    except Exception:  # noqa: BLE001 -- whatever the cache's client raises: the page just says that it is under way
        return 0


def _note_progress(import_id: uuid.UUID, done: int) -> None:
    """The work is one transaction, so nobody else would see how far it is."""
    try:
        cache.set(_progress_key(import_id), done, timeout=_PROGRESS_S)
    except Exception:  # noqa: BLE001 -- as above
        log.warning("contact_import.cache_away")


def _progress_key(import_id: uuid.UUID) -> str:
    return f"contact-import:{import_id}"


class _TooManyRowsError(ValueError):
    pass


def _locked(import_id: uuid.UUID) -> ContactImport | None:
    """The import, held for this transaction; None if it was discarded."""
    row: ContactImport | None = ContactImport.objects.select_for_update().filter(id=import_id).first()
    return row


def _read(import_id: uuid.UUID, sealed: bytes) -> dict[str, Any]:
    columns, records = records_of(sealed)
    kinds: list[str] = []
    seen: set[object] = set()
    country = contacts.region()
    for batch in _batches(records):
        kinds += [item.kind for item in _judge(batch, columns, region=country, seen=seen)]
        _note_progress(import_id, len(kinds))
        if len(kinds) > MOST_ROWS:
            raise _TooManyRowsError
    return {
        "state": READY,
        **_tally(Counter(kinds)),
        "kinds": "".join(kinds),
        "ignored": columns.ignored[:_MOST_IGNORED],
    }


def _apply(row: ContactImport, sealed: bytes) -> None:
    columns, records = records_of(sealed)
    kinds: Counter[str] = Counter()
    seen: set[object] = set()
    country = contacts.region()
    for batch in _batches(records):
        judged = _judge(batch, columns, region=country, seen=seen, lock=True)
        _write([item for item in judged if item.kind in GOOD])
        kinds.update(item.kind for item in judged)
        _note_progress(row.id, kinds.total())
    actor = audit.Actor(row.counts["approved_by"], row.counts["approved_by_id"])
    tally = _tally(kinds)
    row.counts = {"state": DONE, **tally}
    row.content_sealed, row.applied_at = None, timezone.now()
    row.save(update_fields=["counts", "content_sealed", "applied_at"])
    after = {"file": row.file_name, **tally}
    audit.record(actor, "contacts.imported", object_type="contact_import", object_id=row.id, after=after)


def _tally(kinds: Mapping[str, int]) -> dict[str, int]:
    return {
        "new": kinds.get(NEW, 0),
        "changed": kinds.get(CHANGED, 0),
        "unchanged": kinds.get(UNCHANGED, 0),
        "errors": kinds.get(ERROR, 0) + kinds.get(DOUBLE, 0),
    }


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(itertools.islice(records, BATCH)):
        yield batch


# ---------------------------------------------------------------- what a row comes to


def _judge(
    records: Iterable[Record], columns: Columns, *, region: str, seen: set[object], lock: bool = False
) -> list[Judged]:
    """Judge rows against what is kept; ``seen`` holds whom earlier rows of the file were about."""
    judged = [_normal(record, columns, region) for record in records]
    kept = _Kept([item.values for item in judged], lock=lock)
    for item in judged:
        if not item.errors:
            _match(item, kept, columns, seen)
        if item.errors and item.kind != DOUBLE:
            item.kind = ERROR
    return judged


def _normal(record: Record, columns: Columns, region: str) -> Judged:
    """A row's values as they are kept; an empty cell leaves the field as it is, CLEAR empties it."""
    item = Judged(record.number)
    for name, title, cell in zip(columns.fields, columns.titles, record.cells, strict=False):
        text = cell.strip()
        if name and text:
            try:
                item.values[name] = _value(name, text, region)
            except ContactInputError as error:
                item.errors.append(RowError(title, error.message))
    if len(record.cells) > len(columns.fields) and any(map(str.strip, record.cells[len(columns.fields) :])):
        item.errors.append(RowError("", _("The row has more cells than the header: quote cells that hold a comma.")))
    return item


def _value(name: str, text: str, region: str) -> str | bool:
    if name == "no_address":
        return _yes_or_no(text)
    return "" if text == CLEAR else contacts.normal_value(name, text, region=region)


def _yes_or_no(text: str) -> bool:
    answer = unicodedata.normalize("NFKC", text).lower()
    if answer in _YES or answer in _NO or answer == CLEAR:
        return answer in _YES
    raise ContactInputError("no_address", _("Write yes or no."))


def _identity(item: Judged) -> tuple[str, str]:
    """What tells whom a row is about: the tenant's own id, else the first address."""
    for name in ("external_id", *CHANNELS):
        if value := item.values.get(name):
            return name, str(value) if name == "external_id" else recipient_key(str(value))
    return "", ""


class _Kept:
    """The contacts that a batch of rows may be about, found with one query for each way of naming them."""

    def __init__(self, rows: Sequence[Mapping[str, str | bool]], *, lock: bool) -> None:
        self._found: dict[tuple[str, str], list[Contact]] = {}
        wanted: dict[str, set[str]] = {}
        for values in rows:
            name, key = _identity(Judged(0, values=dict(values)))
            wanted.setdefault(name, set()).add(key)
        for name, keys in wanted.items():
            if name:
                self._load(name, keys, lock=lock)

    def _load(self, name: str, keys: set[str], *, lock: bool) -> None:
        column = KEYS.get(name, name)
        # PostgreSQL does not see by itself that none of so many ids is empty, as the index on ids asks.
        found = Contact.objects.filter(~Q(**{column: ""}), **{f"{column}__in": list(keys)}).order_by("id")
        for contact in found.select_for_update() if lock else found:
            self._found.setdefault((name, getattr(contact, column)), []).append(contact)

    def about(self, identity: tuple[str, str]) -> list[Contact]:
        return self._found.get(identity, [])


def _match(item: Judged, kept: _Kept, columns: Columns, seen: set[object]) -> None:
    """Find whom a row is about, and what it changes of them."""
    identity = _identity(item)
    column = columns.title_of(identity[0])
    found = kept.about(identity)
    if not identity[0]:
        item.errors.append(RowError("", _("The row names nobody: it needs an id or an address.")))
    elif len(found) > 1:
        item.errors.append(RowError(column, _("Several contacts have this address: give their id as well.")))
    elif (about := found[0].id if found else identity) in seen:
        _refuse(item, DOUBLE, column, _double())
    else:
        seen.add(about)
        item.contact = found[0] if found else Contact()
        item.changes = contacts.differences(item.contact, item.values)
        item.kind = (CHANGED if found else NEW) if item.changes else UNCHANGED


def _refuse(item: Judged, kind: str, column: str, message: str) -> None:
    item.kind, item.changes, item.errors = kind, [], [RowError(column, message)]


def _double() -> str:
    return _("An earlier row of the file is about the same person: take one of them out.")


# ---------------------------------------------------------------- writing

_TEXTS: Final = tuple(name for name in FIELDS if name != "no_address")
_COLUMNS: Final = ("id", *_TEXTS, "email_key", "lineworks_key", "name_key", "no_address")
_TYPES: Final = ("uuid", *("text",) * (len(_COLUMNS) - 2), "boolean")
_ARRAYS: Final = ", ".join(f"%s::{kind}[]" for kind in _TYPES)
_UPSERT: Final = f"""
INSERT INTO deliveries_contact AS kept (tenant_id, {", ".join(_COLUMNS)}, created_at, updated_at)
SELECT %s, {", ".join(_COLUMNS)}, %s, %s FROM unnest({_ARRAYS}) AS given ({", ".join(_COLUMNS)})
ON CONFLICT (tenant_id, id) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])}, updated_at = excluded.updated_at
"""  # noqa: S608 -- the names are the model's own
# What failed at a former address stays the person's, unless somebody else has that address (contacts.adopt_failures).
_ADOPT: Final = """
UPDATE deliveries_delivery SET contact_id = left_behind.contact_id, name = left_behind.name
FROM unnest(%s::text[], %s::uuid[], %s::text[]) AS left_behind (key, contact_id, name)
WHERE deliveries_delivery.tenant_id = %s AND deliveries_delivery.channel = %s
  AND deliveries_delivery.recipient_key = left_behind.key AND deliveries_delivery.contact_id IS NULL
  AND NOT EXISTS (
    SELECT FROM deliveries_contact other
    WHERE other.tenant_id = %s AND other.{column} = left_behind.key AND other.id <> left_behind.contact_id
  )
"""


def _write(items: Sequence[Judged]) -> None:
    """Write a batch of good rows with one statement, and one for each channel in which addresses changed."""
    if not items:
        return
    for item in items:
        contact = _contact(item)
        for change in item.changes:
            setattr(contact, change.field, change.after)
        contacts.fill_keys(contact)
    now = timezone.now()
    arrays = [[getattr(_contact(item), name) for item in items] for name in _COLUMNS]
    with database.cursor() as cursor:
        cursor.execute(_UPSERT, [current_tenant_id(), now, now, *arrays])
    for name in CHANNELS:
        _adopt(name, items)


def _contact(item: Judged) -> Contact:
    if item.contact is None:
        raise ValueError("only rows that are about somebody are written")
    return item.contact


def _adopt(name: str, items: Sequence[Judged]) -> None:
    left = [
        (recipient_key(str(change.before)), _contact(item))
        for item in items
        for change in item.changes
        if change.field == name and change.before
    ]
    if not left:
        return
    tenant_id = current_tenant_id()
    columns: list[list[Any]] = [[key for key, _who in left], [who.id for _key, who in left]]
    columns.append([who.name for _key, who in left])
    with database.cursor() as cursor:
        cursor.execute(_ADOPT.format(column=KEYS[name]), [*columns, tenant_id, CHANNELS[name].value, tenant_id])
