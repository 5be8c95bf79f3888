"""Classifies bounce replies from standard input: one JSON object a line in, one a line out, without a database."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import msgspec
from django.core.management.base import BaseCommand

from deliveries.classify import Report, classify
from deliveries.enums import Channel, Kind, Persistence
from providers.smtp import read_codes

_BLOCK = 1 << 16


class Line(msgspec.Struct):
    """One reply. Codes that are missing are read from the reply."""

    id: str | int | None = None
    smtp_code: str | int | None = None
    enhanced_code: str | None = None
    reply: str | None = None


class Answer(msgspec.Struct):
    id: str | int | None
    code: str
    persistence: Persistence | None
    reason: str
    rule: str


class Failure(msgspec.Struct):
    id: None
    error: str


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


def answer(line: Line) -> Answer:
    """Classify one reply as a final refusal of which nothing but the reply is known."""
    reply = line.reply or ""
    smtp_code, enhanced_code = str(line.smtp_code or ""), line.enhanced_code or ""
    if not (smtp_code and enhanced_code):
        read_smtp, read_enhanced = read_codes(enhanced_code or smtp_code, reply)
        smtp_code, enhanced_code = smtp_code or read_smtp, enhanced_code or read_enhanced
    verdict = classify(Report(Channel.EMAIL, "", Kind.BOUNCED, "", smtp_code, enhanced_code, reply))
    return Answer(line.id, verdict.code, verdict.persistence, verdict.reason, verdict.rule)


def _answered(raw: bytes, number: int) -> bytes:
    try:
        return _encode(answer(_decode(raw)))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _encode(Failure(None, f"line {number}: {error}"))


def stream(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer line by line. What has arrived is answered before more is waited for; a bad line stops nothing."""
    number, rest = 0, b""
    while block := source.read1(_BLOCK):  # type: ignore[attr-defined]  # every buffered reader has it
        *lines, rest = (rest + block).split(b"\n")
        number = _write(lines, number, sink)
    _write([rest], number, sink)


def _write(lines: list[bytes], number: int, sink: BinaryIO) -> int:
    for number, raw in enumerate(lines, number + 1):  # noqa: B020, PLR1704 -- it goes on counting
        if raw.strip():
            sink.write(_answered(raw, number) + b"\n")
    sink.flush()
    return number


class Command(BaseCommand):
    help = (
        'Reads lines like {"id", "smtp_code", "enhanced_code", "reply"} and writes '
        '{"id", "code", "persistence", "reason", "rule"} for each.'
    )
    requires_system_checks: list[Any] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            stream(sys.stdin.buffer, sys.stdout.buffer)
        except BrokenPipeError:
            # Whoever reads has had enough; closing stderr keeps Python quiet about it at exit.
            sys.stderr.close()
