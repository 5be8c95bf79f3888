"""A call to the sandbox and its answer, as the routes see them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json"


class Manner(Enum):
    """How an answer comes."""

    ANSWER = "answer"
    HANG = "hang"  # not before the client gives up
    RESET = "reset"  # the connection is reset instead
    CLOSE = "close"  # the connection is closed instead, in good order


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets after ``wait_s``, unless its manner is another."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = Manner.ANSWER
    wait_s: float = 0.0

    def bent(self, manner: Manner = Manner.ANSWER, wait_s: float = 0.0) -> Answer:
        return replace(self, manner=manner, wait_s=wait_s)

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        return replace(self, headers={**self.headers, **headers})


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with ``value`` as JSON."""
    return Answer(status, msgspec.json.encode(value), {"Content-Type": JSON, **(headers or {})})


@dataclass(frozen=True)
class Call:
    """A request; ``path`` is as it was sent, ``headers`` has lower-case names."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def parts(self) -> list[str]:
        """The path's parts, each decoded by itself: an address may hold an encoded slash."""
        return [unquote(part) for part in self.path.strip("/").split("/")]

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def json(self) -> Any:
        """Return the decoded body, None if it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def bearer(self) -> str:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def basic(self) -> tuple[str, str]:
        """User and password, both empty if there are none."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return "", ""
        try:
            user, _, password = base64.b64decode(encoded).decode("utf-8", "replace").partition(":")
        except binascii.Error:
            return "", ""
        return user, password


class Routes(Protocol):
    """One provider's API."""

    @property
    def name(self) -> str: ...

    def purpose(self, call: Call) -> str:
        """Return what the call is for: "send", "token" or "other"."""

    def answer(self, call: Call) -> Answer:
        """Do what the call asks for."""

    def refusal(self, status: int) -> Answer:
        """Return this status in the provider's own words."""


def object_of(value: object) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """Return ``value`` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: object) -> str:
    """Return ``value`` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
