"""Credentials at rest: sealed with the newest key, opened with any key that is still listed."""

from __future__ import annotations

from functools import cache

import msgspec
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(values: tuple[str, ...]) -> bytes:
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(msgspec.json.encode(values))


def unseal(sealed: bytes) -> tuple[str, ...]:
    """Open what ``seal`` closed; raises ``cryptography.fernet.InvalidToken`` if no listed key fits."""
    return msgspec.json.decode(_fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(bytes(sealed)), type=tuple[str, ...])
