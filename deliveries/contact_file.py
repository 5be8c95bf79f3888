"""Reads a CSV of contacts: its encoding, its header in English or Japanese, and its rows, as a stream."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

from django.utils.translation import gettext as _

from notifyguard.sealing import unseal

_CHUNK = 1 << 18
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "external_id": (
        *("id", "externalid", "contactid", "yourownid", "personid", "memberid", "employeeid", "customerid"),
        *("管理番号", "社員番号", "会員番号", "顧客番号", "連絡先id", "外部id", "お客様番号", "自社のid"),
    ),
    "name": ("name", "fullname", "氏名", "名前", "お名前", "宛名", "姓名"),
    "email": ("email", "emailaddress", "mail", "mailaddress", "メール", "メールアドレス", "eメール", "eメールアドレス"),
    "phone": (
        *("phone", "phonenumber", "mobile", "mobilenumber", "mobilephone", "tel", "sms"),
        *("電話", "電話番号", "携帯", "携帯電話", "携帯番号", "携帯電話番号"),
    ),
    "lineworks_id": ("lineworks", "lineworksid", "lineworksアカウント", "lineworksのid"),
    "language": ("language", "lang", "言語"),
    "no_address": ("noaddress", "宛先なし", "アドレスなし", "送信しない"),
}
_FIELD_OF: Final = {name: field for field, names in _NAMES.items() for name in names}
TEMPLATES: Final = {
    "en": ("External ID", "Name", "Email", "Mobile number", "LINE WORKS ID", "Language", "No address"),
    "ja": ("管理番号", "氏名", "メールアドレス", "携帯電話番号", "LINE WORKS ID", "言語", "宛先なし"),
}


class ImportFileError(ValueError):
    """A file that can't be read at all; the message says what to do."""


class Record(NamedTuple):
    """One row of the file; ``number`` is the one that a spreadsheet shows beside it, the header's being 1."""

    number: int
    cells: Sequence[str]


class Columns(NamedTuple):
    """Which field each column of the file is for, None for one that is ignored, and what the file calls them."""

    fields: tuple[str | None, ...]
    titles: tuple[str, ...]

    def title_of(self, name: str) -> str:
        return self.titles[self.fields.index(name)] if name in self.fields else name

    @property
    def ignored(self) -> list[str]:
        return [title for title, name in zip(self.titles, self.fields, strict=True) if name is None and title]


def columns_of(line: str) -> Columns:
    """Read the header. Raises ``ImportFileError`` unless it names columns that are known, each once."""
    try:
        titles = next(csv.reader([line], delimiter=_delimiter(line)), [])
    except csv.Error as error:
        raise ImportFileError(_("The first line can't be read: it must name the columns.")) from error
    fields = tuple(_FIELD_OF.get(_folded(title)) for title in titles)
    known = [name for name in fields if name]
    if not known:
        message = _("The first line names no column that is known here. It must have names such as: %(names)s.")
        raise ImportFileError(message % {"names": ", ".join(TEMPLATES["en"])})
    if len(known) != len(set(known)):
        raise ImportFileError(_("Two columns are for the same field: take one of them out."))
    return Columns(fields, tuple(title.strip() for title in titles))


def first_line(text: str) -> str:
    return next(iter(io.StringIO(text, newline="")), "")


def _delimiter(line: str) -> str:
    return "\t" if line.count("\t") > line.count(",") else ","


def _folded(title: str) -> str:
    text = unicodedata.normalize("NFKC", title).lower()
    return "".join(letter for letter in text if letter not in " _-\t\r\n\ufeff\"'()")


def decoded(file: BinaryIO) -> Iterator[str]:
    """The file's text in chunks: UTF-8, UTF-16 with its mark, or what Japanese Excel writes."""
    encoding = _encoding(file)
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    for block in iter(lambda: file.read(_CHUNK), b""):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _encoding(file: BinaryIO) -> str:
    file.seek(0)
    if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        tried: tuple[str, ...] = ("utf-16",)
    else:
        tried = ("utf-8-sig", "cp932")
    for encoding in tried:
        if _decodes(file, encoding):
            return encoding
    raise ImportFileError(_("This is no text file that can be read: save it as CSV (UTF-8) and upload it again."))


def _decodes(file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    try:
        has_nul = any("\0" in decoder.decode(block) for block in iter(lambda: file.read(_CHUNK), b""))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return not has_nul


def _lines(sealed: bytes) -> Iterator[str]:
    """The lines of a sealed file, their ends kept: a quoted cell may hold some."""
    rest = ""
    for token in sealed.split(b"\n"):
        whole, end, rest = (rest + unseal(token)[0]).rpartition("\n")
        yield from io.StringIO(whole + end, newline="")
    yield from io.StringIO(rest, newline="")


def records_of(sealed: bytes) -> tuple[Columns, Iterator[Record]]:
    """The header, and the rows that hold anything."""
    lines = _lines(sealed)
    header = next(lines, "")
    reader = csv.reader(lines, delimiter=_delimiter(header))
    rows = (Record(number, cells) for number, cells in enumerate(reader, 2) if any(map(str.strip, cells)))
    return columns_of(header), rows
