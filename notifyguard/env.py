"""Typed reading of the environment: ``NAME``, or the contents of the file that ``NAME_FILE`` names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


class ConfigurationError(Exception):
    """A setting is missing or can't be read; the message names it and says what to do."""


def env(name: str, default: str | None = None) -> str:
    """Return the setting ``name``; without a default a missing one is an error."""
    if name in os.environ:
        return os.environ[name]
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    if default is None:
        raise ConfigurationError(f"{name} is not set: put it in the environment, or a file's path in {name}_FILE.")
    return default


def env_bool(name: str, *, default: bool = False) -> bool:
    return env(name, "1" if default else "").strip().lower() in {"1", "true", "yes", "on"}


def env_int(name: str, default: int) -> int:
    text = env(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}.") from None


def env_list(name: str, default: str | None = "") -> list[str]:
    return [part.strip() for part in env(name, default).split(",") if part.strip()]


# A batch of webhooks fits into the session's buffers for temporary tables; nothing we ask is worth compiling.
SESSION = "-c temp_buffers=64MB -c jit=off"


def database(url: str) -> dict[str, Any]:
    """Read ``postgresql://user:password@host:port/name?option=value`` into Django's form."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ConfigurationError(f"A database URL must begin with postgresql://, not {parts.scheme}://.")
    options = {"options": SESSION, **dict(parse_qsl(parts.query))}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": parts.port or "",
        "OPTIONS": options,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
