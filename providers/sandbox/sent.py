"""Keeps count of what the sandbox's providers have taken, so that a test can ask whether anything was sent twice."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

ROWS_KEPT = 10_000
NAMES_SHOWN = 1_000
REF_BYTES = 16


class Notice(NamedTuple):
    """A notice that a provider has taken. ``text`` tells apart notices without a reference; it is not kept."""

    recipient: str
    attempt_ref: str
    text: str = ""


class _Row(NamedTuple):
    number: int
    provider: str
    recipient: str
    attempt_ref: str
    message_id: str
    at: float  # Unix seconds


class Sent:
    """Counts for ever, details of the last 10,000 notices, and 16 bytes for each reference seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        with self._lock:
            self._rows: deque[tuple[int, str, str, str, str, float]] = deque(maxlen=ROWS_KEPT)
            self._total = 0
            self._calls: Counter[str] = Counter()
            self._notices: Counter[str] = Counter()
            self._seen: set[bytes] = set()
            self._twice: Counter[str] = Counter()
            self._same_text: Counter[str] = Counter()

    def count_call(self, provider: str) -> None:
        """Count a call that wanted to send, whatever came of it."""
        with self._lock:
            self._calls[provider] += 1

    def record(self, provider: str, message_id: str, notices: Iterable[Notice]) -> None:
        """Remember the notices of one call."""
        at = round(time.time(), 3)
        with self._lock:
            for notice in notices:
                self._total += 1
                self._rows.append((self._total, provider, notice.recipient, notice.attempt_ref, message_id, at))
                self._check(provider, notice)
            self._notices[provider] += self._total - self._notices.total()

    def _check(self, provider: str, notice: Notice) -> None:
        key = _key(provider, notice)
        if key not in self._seen:
            self._seen.add(key)
        elif notice.attempt_ref:
            self._twice[notice.attempt_ref] += 1
        else:
            self._same_text[f"{provider} {notice.recipient}"] += 1

    def counts(self) -> dict[str, object]:
        """Return totals, totals by provider, and what was taken more than once."""
        with self._lock:
            return {
                "notices": self._notices.total(),
                "calls": self._calls.total(),
                "by_provider": {
                    provider: {"notices": self._notices[provider], "calls": self._calls[provider]}
                    for provider in sorted({*self._notices, *self._calls})
                },
                "twice": [ref for ref, _ in self._twice.most_common(NAMES_SHOWN)],
                "same_text": [name for name, _ in self._same_text.most_common(NAMES_SHOWN)],
            }

    def rows(self, provider: str = "", since: int = 0) -> list[dict[str, object]]:
        """Return the kept notices with a number above ``since``, oldest first."""
        with self._lock:
            kept = list(map(_Row._make, self._rows))
        return [row._asdict() for row in kept if row.number > since and provider in ("", row.provider)]


def _key(provider: str, notice: Notice) -> bytes:
    if len(notice.attempt_ref) == 2 * REF_BYTES:
        try:
            return bytes.fromhex(notice.attempt_ref)
        except ValueError:
            pass
    told_by = notice.attempt_ref or f"{provider}\0{notice.recipient}\0{notice.text}"
    return hashlib.blake2b(told_by.encode("utf-8", "replace"), digest_size=REF_BYTES).digest()
