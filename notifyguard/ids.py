"""Identifiers made in Python, because PostgreSQL 15 to 17 have no uuid version 7."""

from __future__ import annotations

import random
import time
import uuid
from hashlib import blake2b

_random = random.SystemRandom()


def uuid7() -> uuid.UUID:
    """Return a time-ordered uuid (RFC 9562, version 7)."""
    value = (time.time_ns() // 1_000_000) << 80 | _random.getrandbits(80)
    value &= ~(0xF << 76) & ~(0x3 << 62)
    return uuid.UUID(int=value | 0x7 << 76 | 0x2 << 62)


def digest_hex(text: str) -> str:
    """Return 128 bits of the text's digest as 32 hex digits: the same text always gives the same id."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
