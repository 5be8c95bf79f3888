"""``manage.py classify``: lines in, lines out, without a database, whatever the lines."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.management.commands.classify import stream

ROOT = Path(__file__).resolve().parents[2]


def answers(*lines: str | bytes) -> list[dict[str, object]]:
    raw = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    sink = io.BytesIO()
    stream(io.BytesIO(raw), sink)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_each_reply_is_answered_with_its_id():
    line = {"id": "a-1", "smtp_code": "552", "enhanced_code": "5.2.2", "reply": "552 5.2.2 This mailbox is full"}
    assert answers(json.dumps(line)) == [
        {
            "id": "a-1",
            "code": "BOUNCE_TRANSIENT_MBX_FULL",
            "persistence": "soft",
            "reason": "mailboxfull",
            "rule": "reply.mailbox-full",
        }
    ]


@pytest.mark.parametrize(
    ("line", "code", "persistence"),
    [
        ({"reply": "550 5.1.1 abracadabra"}, "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", "hard"),
        (
            {"smtp_code": None, "enhanced_code": None, "reply": "host a.example said: 550 5.2.2 x"},
            "BOUNCE_TRANSIENT_MBX_FULL",
            "soft",
        ),
        ({"smtp_code": 550, "reply": ""}, "BOUNCE_PERMANENT_GENERAL", "hard"),
        ({"smtp_code": "550", "enhanced_code": "5.1.1", "reply": None}, "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", "hard"),
        ({"enhanced_code": "4.4.1"}, "BOUNCE_TRANSIENT_GENERAL", "soft"),
        ({}, "BOUNCE_TRANSIENT_GENERAL", "soft"),
    ],
)
def test_codes_that_are_missing_are_read_from_the_reply(line, code, persistence):
    (answer,) = answers(json.dumps({"id": 7, **line}))
    assert (answer["id"], answer["code"], answer["persistence"]) == (7, code, persistence)


def test_a_bad_line_is_named_and_the_next_one_answered():
    found = answers(
        '{"id": 1, "reply": "550 user unknown"}',
        "",
        "{not json",
        b'\xff{"id": 3}',
        '{"id": 4, "reply": 5}',
        '{"id": 5}',
    )
    assert [line["id"] for line in found] == [1, None, None, None, 5]
    assert [str(line.get("error", ""))[:7] for line in found] == ["", "line 3:", "line 4:", "line 5:", ""]


def test_a_line_longer_than_a_block_is_one_line():
    reply = "550 5.1.1 User unknown. " + "x" * 200_000
    assert [line["id"] for line in answers(json.dumps({"id": 1, "reply": reply}), '{"id": 2}')] == [1, 2]


class _Slow(io.BytesIO):
    """Hands out one line at a time and notes what was answered when it was asked for the next."""

    def __init__(self, lines: list[bytes], sink: io.BytesIO) -> None:
        super().__init__()
        self.lines, self.sink, self.answered = lines, sink, []

    def read1(self, size: int | None = -1) -> bytes:
        self.answered.append(self.sink.getvalue().count(b"\n"))
        return self.lines.pop(0) if self.lines else b""


def test_a_slow_source_gets_each_answer_before_the_next_line():
    sink = io.BytesIO()
    source = _Slow([b'{"id": 1}\n', b'{"id": 2}\n{"id"', b": 3}\n"], sink)
    stream(source, sink)
    assert source.answered == [0, 1, 2, 3]


@given(st.lists(st.binary(max_size=80).filter(lambda line: b"\n" not in line and line.strip())))
def test_whatever_comes_in_there_is_one_answer_for_each_line(lines):
    assert len(answers(*lines)) == len(lines)


def test_the_command_needs_no_database():
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "manage.py", "classify"],
        cwd=ROOT,
        env=environment,
        input='{"id": "x", "reply": "550 5.1.1 no such user"}\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, json.loads(done.stdout)["reason"], done.stderr) == (0, "userunknown", "")
