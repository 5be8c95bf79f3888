"""The error list as CSV or TSV: PostgreSQL writes the rows with COPY, a pipe carries them, memory stays flat."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import os
import re
import threading
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any, BinaryIO, NamedTuple

import psycopg2
import structlog
from django.db import connection
from django.http import StreamingHttpResponse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from deliveries import conditions, queries, words
from deliveries.codes import CODES, REASONS
from deliveries.filters import PRIVATE_PARAMETERS, DeliveryFilter, TimeField
from notifyguard.accounts import audit
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope
from providers.registry import PROVIDERS

log = structlog.get_logger(__name__)

CHUNK = 64 * 1024
LONGEST = "1h"  # a client that reads more slowly than this holds a snapshot that the database cannot clean up behind


class Format(StrEnum):
    CSV = "csv"
    TSV = "tsv"


class Encoding(StrEnum):
    """UTF-8 begins with a byte order mark, by which Excel knows it; cp932 is what older Japanese programs read."""

    UTF8 = "utf-8"
    CP932 = "cp932"


_DELIMITERS = {Format.CSV: ",", Format.TSV: "\t"}
_MEDIA_TYPES = {Format.CSV: "text/csv", Format.TSV: "text/tab-separated-values"}
_CHARSETS = {Encoding.UTF8: "utf-8", Encoding.CP932: "Shift_JIS"}
_BYTE_ORDER_MARKS = {Encoding.UTF8: codecs.BOM_UTF8, Encoding.CP932: b""}

_READ = [
    *("id", "channel", "provider", "connection_id", "provider_message_id", "recipient", "domain", "sender", "title"),
    *(
        "name",
        "first_at",
        "first_deferred_at",
        "deferrals",
        "deferred_until",
        "reply",
        "smtp_code",
        "enhanced_code",
        "state",
        "attempts",
    ),
    *("failed_at", "code", "reason", "persistence"),
]


class _List(NamedTuple):
    """What is exported, as the audit log and the file's name say it."""

    action: str
    name: str


_LISTS: dict[TimeField, _List] = {
    "failed_at": _List("errors.exported", "notification-errors"),
    "first_at": _List("mail_log.exported", "mail-log"),
}


class ExportFailed(RuntimeError):  # noqa: N818 -- what happened, not a kind of error
    """The rows broke off; raised into the response, so that a short file never looks like a whole one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the file is written: for which program, and in which language its words are."""

    fmt: Format = Format.CSV
    encoding: Encoding = Encoding.UTF8
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and its parameters."""

    text: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    header: str
    value: Sql


def export_response(actor: audit.Actor, tenant: Tenant, chosen: DeliveryFilter, shape: Shape) -> StreamingHttpResponse:
    """Return what a valid filter shows, as a download of any length; recorded in the audit log without addresses.

    Times are the tenant's own. Runs in the tenant's scope; the rows are read later, in a transaction of their own
    that ends with the download, however it ends.
    """
    with translation.override(shape.language):
        columns = _columns(tenant) + ([] if chosen.on_error_list else _answer_columns(tenant))
        copy = _copy(chosen, columns, shape)
    after = {"filter": _recorded(chosen), **asdict(shape)}
    audit.record(actor, _LISTS[chosen.time_field].action, object_type="tenant", object_id=tenant.id, after=after)
    return StreamingHttpResponse(
        _download(_header(columns, shape.fmt), copy, tenant.id, shape.encoding),
        content_type=f"{_MEDIA_TYPES[shape.fmt]}; charset={_CHARSETS[shape.encoding]}",
        headers={
            "Content-Disposition": f'attachment; filename="{_file_name(tenant, chosen, shape.fmt)}"',
            "Cache-Control": "no-store",
        },
    )


def _recorded(chosen: DeliveryFilter) -> dict[str, Any]:
    """The filter as the audit log keeps it: that a person was searched for, not whom."""
    return {name: _recordable(name, value) for name, value in chosen.chosen().items()}


def _recordable(name: str, value: Any) -> Any:
    if name in PRIVATE_PARAMETERS:
        return "…"
    if name == "c":
        return [conditions.recorded(condition) for condition in value]
    if isinstance(value, uuid.UUID):
        return str(value)
    return value.isoformat() if isinstance(value, date) else value


def _file_name(tenant: Tenant, chosen: DeliveryFilter, fmt: Format) -> str:
    today = timezone.now().astimezone(tenant.zone).date()
    return f"{_LISTS[chosen.time_field].name}-{tenant.slug}-{today}.{fmt}"


def _header(columns: Iterable[Column], fmt: Format) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=_DELIMITERS[fmt], lineterminator="\n").writerow([column.header for column in columns])
    return line.getvalue().encode()


# --- The statement


def _columns(tenant: Tenant) -> list[Column]:
    """The columns of the file, in their order. Cells that other people wrote are defused, ours need not be."""
    zone = tenant.timezone
    return [
        Column(_("Failed at (%(zone)s)") % {"zone": zone}, _local("d.failed_at", zone)),
        Column(_("Channel"), _word("d.channel", words.CHANNELS)),
        Column(_("State"), _word("d.state", words.STATES)),
        Column(_("Recipient"), _defused("d.recipient")),
        Column(_("Name"), _defused("d.name")),
        Column(_("Title"), _defused("d.title")),
        Column(_("Reason code"), Sql("coalesce(about.name, d.code)")),
        Column(_("Explanation"), Sql("about.explanation")),
        Column(_("Recommended action"), Sql("about.action")),
        Column(_("Persistence"), _word("d.persistence", words.PERSISTENCES)),
        Column(_("Who can act"), Sql("about.actionable")),
        Column(_("When it fails"), Sql("about.stage")),
        Column(_("Reason"), Sql("coalesce(because.label, d.reason)")),
        Column(_("Provider"), _word("d.provider", {name: provider.label for name, provider in PROVIDERS.items()})),
        Column(_("Connection"), _connection_name(tenant.id)),
        Column(_("Sender"), _defused("d.sender")),
        Column(_("Receiving domain"), _defused("d.domain")),
        Column(_("Reply code"), _defused("d.smtp_code")),
        Column(_("Enhanced status code"), _defused("d.enhanced_code")),
        Column(_("Reply"), _defused("d.reply")),
        Column(_("Provider's message id"), _defused("d.provider_message_id")),
        Column(_("First event at (%(zone)s)") % {"zone": zone}, _local("d.first_at", zone)),
        Column(_("Deferrals"), Sql("d.deferrals")),
        Column(_("Tried until (%(zone)s)") % {"zone": zone}, _tried_until(zone)),
        Column(_("Delivery id"), Sql("d.id")),
    ]


def _answer_columns(tenant: Tenant) -> list[Column]:
    """What the mail log has besides: the hand-overs, and what the provider answered to the last one."""
    return [
        Column(_("Hand-overs"), Sql("d.attempts")),
        Column(_("Provider's answer"), _defused("tried.answer")),
        Column(_("Answered at (%(zone)s)") % {"zone": tenant.timezone}, _local("tried.answered_at", tenant.timezone)),
    ]


# One look-up a row in the index of a delivery's attempts.
_LATEST_ATTEMPT = (
    "LEFT JOIN LATERAL (SELECT a.answer, a.answered_at FROM deliveries_attempt a"
    " WHERE a.tenant_id = %s AND a.delivery_id = d.id AND a.answered_at IS NOT NULL"
    " ORDER BY a.id DESC LIMIT 1) tried ON true"
)


def _local(column: str, zone: str) -> Sql:
    return Sql(f"date_trunc('second', {column} AT TIME ZONE %s)", (zone,))


def _word(column: str, labels: Mapping[Any, Any]) -> Sql:
    """The word for each value; a value without one stays as it is."""
    if not labels:
        return Sql(column)
    cases = " ".join("WHEN %s THEN %s" for _label in labels)
    pairs = [str(part) for pair in labels.items() for part in pair]
    return Sql(f"CASE {column} {cases} ELSE {column} END", tuple(pairs))


def _tried_until(zone: str) -> Sql:
    """``queries.tries_until`` in SQL."""
    usual = " ".join("WHEN %s THEN d.first_deferred_at + %s" for _provider in queries.TRIES_FOR)
    said = _local(f"coalesce(d.deferred_until, CASE d.provider {usual} END)", zone)
    pairs = itertools.chain.from_iterable(queries.TRIES_FOR.items())
    return Sql(f"CASE d.state WHEN 'deferred' THEN {said.text} END", (*pairs, *said.parameters))


def _connection_name(tenant_id: uuid.UUID) -> Sql:
    names = {source.connection_id: defuse(source.name) for source in queries.sources(tenant_id)}
    return _word("d.connection_id::text", names)


def _sideways(name: str, column: str, fields: Sequence[str], rows: Mapping[str, Sequence[object]]) -> Sql:
    """A join with a table of texts of ours, in such a form that PostgreSQL remembers the few that occur (Memoize).

    It also keeps the order of the rows, which a hash join would not.
    """
    values = ", ".join(f"({', '.join(['%s'] * (len(fields) + 1))})" for _row in rows)
    table = f"(VALUES {values}) texts (key, {', '.join(fields)})"
    return Sql(
        f"LEFT JOIN LATERAL (SELECT * FROM {table} WHERE key = d.{column} OFFSET 0) {name} ON true",  # noqa: S608 -- ours
        tuple(str(part) for key, texts in rows.items() for part in (key, *texts)),
    )


def _about_codes(language: str) -> Sql:
    rows = {
        key: (
            code.name,
            code.explanation[language],
            code.action[language],
            words.ACTIONABLES[code.actionable],
            words.STAGES[code.stage],
        )
        for key, code in CODES.items()
    }
    return _sideways("about", "code", ("name", "explanation", "action", "actionable", "stage"), rows)


def _about_reasons(language: str) -> Sql:
    labels = {key: (reason.label[language],) for key, reason in REASONS.items()}
    return _sideways("because", "reason", ("label",), labels)


def _copy(chosen: DeliveryFilter, columns: Iterable[Column], shape: Shape) -> Sql:
    """Return the statement that writes the rows, newest first."""
    inner, inner_parameters = chosen.qs.order_by().values(*_READ).query.sql_with_params()
    values = [column.value for column in columns]
    joins = [_about_codes(shape.language), _about_reasons(shape.language)]
    if not chosen.on_error_list:
        joins.append(Sql(_LATEST_ATTEMPT, (chosen.tenant.id,)))
    text = (
        f"COPY (SELECT {', '.join(value.text for value in values)}"  # noqa: S608 -- names of ours; values are parameters
        f" FROM ({inner}) d {' '.join(join.text for join in joins)}"
        f" ORDER BY d.{chosen.time_field} DESC, d.id DESC)"
        f" TO STDOUT (FORMAT csv, DELIMITER E'{_DELIMITERS[shape.fmt]}')"
    )
    parts = [*(value.parameters for value in values), inner_parameters, *(join.parameters for join in joins)]
    return Sql(text, tuple(itertools.chain.from_iterable(parts)))


# --- Cells that a spreadsheet would run

# The minus sign U+2212 is among them because cp932 can only write it as the full-width hyphen.
_STARTS_FORMULA = "=+-@\t\r\n＝＋－＠−"
_INVISIBLE = " \t\r\n\v\f\u00a0\u3000\u200b\ufeff"
_FORMULA = f"^[{_INVISIBLE}]*[{re.escape(_STARTS_FORMULA)}]"


def defuse(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula; phone numbers begin with + as well."""
    return f"'{text}" if re.match(_FORMULA, text) else text


def _defused(column: str) -> Sql:
    """``defuse`` in SQL. The first character decides for nearly every cell; only the rest meet the expression."""
    suspects = ",".join(str(ord(character)) for character in sorted({*_STARTS_FORMULA, *_INVISIBLE}))
    test = f"ascii({column}) = ANY ('{{{suspects}}}'::int[]) AND {column} ~ %s"
    return Sql(f"CASE WHEN {test} THEN '''' || {column} ELSE nullif({column}, '') END", (_FORMULA,))


# --- The bytes


def _download(header: bytes, copy: Sql, tenant_id: uuid.UUID, encoding: Encoding) -> Iterator[bytes]:
    """Yield the file. The header leaves before the database is asked, so that the download begins at once."""
    encode = _encoder(encoding)
    yield _BYTE_ORDER_MARKS[encoding] + encode(header)
    with contextlib.closing(_rows(copy, tenant_id)) as rows:
        yield from map(encode, rows)


def _encoder(encoding: Encoding) -> Callable[[bytes], bytes]:
    """Return what turns chunks of UTF-8, cut anywhere, into the encoding."""
    if encoding == Encoding.UTF8:
        return bytes
    decoder = codecs.getincrementaldecoder("utf-8")()
    return lambda chunk: decoder.decode(chunk).encode("cp932", "notifyguard.visible")


# Characters that Japanese keyboards write and cp932 knows under another code point.
_TWINS = {"\u301c": "～", "\u2212": "－", "\u2014": "―", "\u2016": "∥", "\u00a2": "￠", "\u00a3": "￡", "\u00ac": "￢"}


def _visible(error: UnicodeError) -> tuple[str, int]:
    """What cp932 cannot write becomes its twin, or 〓: a mark that Japanese printing uses for a missing character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_TWINS.get(character, "〓") for character in lost), error.end


codecs.register_error("notifyguard.visible", _visible)


def _rows(copy: Sql, tenant_id: uuid.UUID) -> Generator[bytes, None, None]:
    """Yield the rows as PostgreSQL writes them. Closing the generator ends statement, transaction and thread."""
    reading, writing = os.pipe()
    writer = _Writer(copy, tenant_id, writing)
    writer.start()
    try:
        with open(reading, "rb", buffering=0) as pipe:  # noqa: PTH123 -- a descriptor has no path
            while chunk := pipe.read(CHUNK):
                yield chunk
    finally:
        writer.stop()
    if writer.failure:
        log.error("export.broke_off", tenant_id=str(tenant_id), error=type(writer.failure).__name__)
        raise ExportFailed("The export broke off; the file is not complete.") from writer.failure


class _Writer(threading.Thread):
    """Runs the COPY into a pipe: the driver pushes rows, a response pulls chunks, and a full pipe makes one wait."""

    def __init__(self, copy: Sql, tenant_id: uuid.UUID, pipe: int) -> None:
        super().__init__(name="export", daemon=True)
        self._copy = copy
        self._tenant_id = tenant_id
        self._pipe = pipe
        self._link: Any = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with open(self._pipe, "wb", buffering=CHUNK) as pipe, tenant_scope(self._tenant_id):  # noqa: PTH123
                self._write(pipe)
        except BaseException as error:  # noqa: BLE001 -- handed to the thread that reads
            self.failure = error
        finally:
            connection.close()

    def _write(self, pipe: BinaryIO) -> None:
        self._link = connection.connection
        with connection.cursor() as cursor:
            cursor.execute(_SETTINGS)
            try:
                cursor.copy_expert(cursor.mogrify(self._copy.text, self._copy.parameters), pipe)
            except BaseException:
                # Else the rollback would wait for the rows that nobody wants any more.
                self._link.cancel()
                raise

    def stop(self) -> None:
        """End the statement wherever it is; returns when the thread has ended and its connection is closed."""
        self.join(_PATIENCE_S)
        while self.is_alive():
            if self._link is not None:
                with contextlib.suppress(psycopg2.Error):
                    self._link.cancel()
            self.join(_PATIENCE_S)


_PATIENCE_S = 0.1
# Compiling a statement takes longer than its first rows should.
_SETTINGS = f"SET LOCAL jit = off; SET LOCAL statement_timeout = '{LONGEST}'"
