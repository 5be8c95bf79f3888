"""Lets commands of the same checkout reach the running demo: its settings, in a file that only its owner may read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / ".run" / "demo" / "environment.json"
SHARED = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "NOTIFYGUARD_ENCRYPTION_KEYS",
    "PUBLIC_URL",
    "NOTIFYGUARD_SNS_CERT_URLS",
    "NOTIFYGUARD_PROVIDER_URLS",
    "NOTIFYGUARD_ALLOW_LOOPBACK",
)


@contextmanager
def shared(environment: Mapping[str, str]) -> Iterator[None]:
    """Share the demo's settings for the length of the block."""
    FILE.unlink(missing_ok=True)
    with os.fdopen(os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({name: environment[name] for name in SHARED if name in environment}, file)
    try:
        yield
    finally:
        FILE.unlink(missing_ok=True)


def adopt() -> None:
    """Take over the running demo's settings, unless the environment names a database of its own."""
    if "DATABASE_URL" in os.environ or "DATABASE_URL_FILE" in os.environ or not os.access(FILE, os.R_OK):
        return
    for name, value in json.loads(FILE.read_text()).items():
        os.environ.setdefault(name, value)
