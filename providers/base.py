"""The contract of a provider: bytes and configuration in, dataclasses and typed errors out.

Nothing here knows Django, Celery or the database; see ``registry`` for the list of providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

# The query of a call's URL, as one more header: for ``parse``, which sees no URL. Never taken from the caller.
QUERY_HEADER = "x-notifyguard-query"


class Channel(StrEnum):
    """How a notice travels; one tab of the Notification Error List each."""

    EMAIL = "email"
    LINEWORKS = "lineworks"
    SMS = "sms"


class Kind(StrEnum):
    """What one report says, in our words. Never fold two of them (docs/glossary.md)."""

    ACCEPTED = "accepted"  # the provider took it; no verdict yet
    DEFERRED = "deferred"  # the provider is still trying
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # final refusal by the receiving side
    BLOCKED = "blocked"  # refused by policy or reputation, not about the address
    DROPPED = "dropped"  # never tried: suppressed or refused at the provider
    SPAM_REPORT = "spam_report"
    UNDELIVERED = "undelivered"  # SMS: the carrier could not deliver
    EXPIRED = "expired"  # given up after the time allowed
    REJECTED = "rejected"  # taken, then refused by the provider or carrier
    FAILED = "failed"  # never handed over: the send call was refused
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    ENGAGED = "engaged"  # opened, clicked, read
    CANCELED = "canceled"
    NO_RECEIPT = "no_receipt"  # the provider says that it will never know
    UNKNOWN = "unknown"  # a word we do not know yet: kept and shown, changes no state


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One thing a provider reported about one notice to one recipient. Immutable."""

    kind: Kind
    recipient: str  # address as reported; for SMS E.164 with "+" where it can be known
    occurred_at: datetime  # by the provider's clock, aware UTC
    verdict: str = ""  # the provider's own verdict as a short key, e.g. "bounce/invalid", "Permanent/NoEmail", "30003"
    reply: str = ""  # the receiving server's or API's words, unchanged but for NUL
    smtp_code: str = ""  # RFC 5321 reply code, e.g. "550"
    enhanced_code: str = ""  # RFC 3463, e.g. "5.1.1"
    provider_event_id: str = ""
    provider_message_id: str = ""  # what the send call returned (SendGrid: sg_message_id up to its first dot)
    attempt_ref: str = ""  # our own attempt id if the provider echoes it (custom argument, tag, client-ref)
    sender: str = ""
    title: str = ""  # subject or notice title when the payload has it
    route: str = ""  # value of the connection's route key, for shared connections
    deferred_until: datetime | None = None  # when the provider gives up, if it says so


class ConnectionEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Something a provider said about the account or the connection itself, not about one notice."""

    kind: str  # e.g. "account_status", "subscription_requested", "subscription_ended", "test", "bot_left"
    occurred_at: datetime
    detail: str = ""
    data: dict[str, str] = {}  # what acting on it needs (topic, token); never secrets


class Unparsed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An item that could not be read. It becomes a visible row; its batch goes on."""

    reason: str  # a full sentence that names what was wrong
    raw: str = ""  # the item's text, at most 4,000 characters


Parsed = Event | ConnectionEvent | Unparsed


@dataclass(frozen=True, slots=True)
class Request:
    """A webhook call as it arrived. ``headers`` has lower-case names; ``url`` is the public URL with its query."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """What a provider needs to know of a connection.

    ``secrets`` are newest first: during a rotation the previous one stays valid. ``settings`` are the plain
    fields named by ``Provider.fields``. ``route_by`` is set for shared connections, e.g. ``custom:ng_tenant``.
    """

    secrets: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    route_by: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One setting of a connection, as forms and the ``connect`` command ask for it."""

    name: str
    label: str
    secret: bool = False
    required: bool = True
    help: str = ""


class VerificationError(Exception):
    """The request is not genuine. ``reason`` is a short stable word for counters and the self-test."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CannotVerifyError(VerificationError):
    """Whether the request is genuine can't be told for now, for a reason of ours: it must come again."""


class Provider(Protocol):
    """One provider. Done means: this, one registry line, docs/providers/<name>.md, payload fixtures."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def channel(self) -> Channel: ...
    @property
    def fields(self) -> tuple[Field, ...]:
        """The settings of a connection, as forms and the ``connect`` command ask for them."""

    @property
    def route_keys(self) -> tuple[str, ...]:
        """By what a shared connection can tell tenants apart, e.g. ``custom:<name>``."""

    @property
    def kept_headers(self) -> tuple[str, ...]:
        """Headers that ``parse`` needs, in lower case; no others are stored."""

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Raise ``VerificationError`` unless the request is genuine. Constant time, raw bytes, before parsing."""

    def parse(
        self, body: bytes, headers: Mapping[str, str], config: ConnectionConfig, received_at: datetime
    ) -> list[Parsed]:
        """Read a verified body. Never raises, whatever the bytes: what can't be read is ``Unparsed``.

        ``received_at`` is used only where the provider gives no time of its own, and then the event's identity
        must not depend on it.
        """

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """Kinds that a working connection would have shown by now, for the self-test; empty when unknown."""
