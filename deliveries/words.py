"""The words that people read for the product's enums: one place, both languages (docs/glossary.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from deliveries.enums import Actionable, AttemptStatus, AttemptWhy, Channel, Kind, Persistence, Stage, State

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

CHANNELS: dict[Channel, _StrPromise] = {
    Channel.EMAIL: pgettext_lazy("channel", "Email"),
    Channel.LINEWORKS: _("LINE WORKS"),
    Channel.SMS: _("SMS"),
}

STATES: dict[State, _StrPromise] = {
    State.QUEUED: pgettext_lazy("state", "Waiting to be sent"),
    State.ACCEPTED: pgettext_lazy("state", "Accepted"),
    State.DEFERRED: pgettext_lazy("state", "Deferred"),
    State.DELIVERED: pgettext_lazy("state", "Delivered"),
    State.BOUNCED: pgettext_lazy("state", "Bounced"),
    State.BLOCKED: pgettext_lazy("state", "Blocked"),
    State.DROPPED: pgettext_lazy("state", "Dropped"),
    State.SPAM_REPORT: pgettext_lazy("state", "Spam report"),
    State.UNDELIVERED: pgettext_lazy("state", "Undelivered"),
    State.EXPIRED: pgettext_lazy("state", "Expired"),
    State.REJECTED: pgettext_lazy("state", "Rejected"),
    State.FAILED: pgettext_lazy("state", "Not sent"),
}

KINDS: dict[Kind, _StrPromise] = {
    Kind.ACCEPTED: pgettext_lazy("event", "Accepted by the provider"),
    Kind.DEFERRED: pgettext_lazy("event", "Deferred: the provider keeps trying"),
    Kind.DELIVERED: pgettext_lazy("event", "Delivered"),
    Kind.BOUNCED: pgettext_lazy("event", "Bounced"),
    Kind.BLOCKED: pgettext_lazy("event", "Blocked"),
    Kind.DROPPED: pgettext_lazy("event", "Dropped before sending"),
    Kind.SPAM_REPORT: pgettext_lazy("event", "Reported as spam"),
    Kind.UNDELIVERED: pgettext_lazy("event", "The carrier could not deliver"),
    Kind.EXPIRED: pgettext_lazy("event", "Given up: the time allowed is over"),
    Kind.REJECTED: pgettext_lazy("event", "Rejected"),
    Kind.FAILED: pgettext_lazy("event", "Not sent: the provider refused the send call"),
    Kind.UNSUBSCRIBED: pgettext_lazy("event", "Unsubscribed"),
    Kind.RESUBSCRIBED: pgettext_lazy("event", "Subscribed again"),
    Kind.ENGAGED: pgettext_lazy("event", "Opened, clicked or read"),
    Kind.CANCELED: pgettext_lazy("event", "Cancelled"),
    Kind.NO_RECEIPT: pgettext_lazy("event", "No receipt will come"),
    Kind.UNKNOWN: pgettext_lazy("event", "A report that NotifyGuard does not know yet"),
}

# The statuses of the undelivered notifications report: the states, but for what is wrong with the address itself.
ANY, INVALID = "any", "invalid"
UNDELIVERED: dict[str, _StrPromise] = {
    ANY: pgettext_lazy("status", "All"),
    State.BOUNCED: pgettext_lazy("state", "Bounced"),
    INVALID: pgettext_lazy("status", "Invalid"),
    State.SPAM_REPORT: pgettext_lazy("status", "Spammed"),
    State.DROPPED: pgettext_lazy("state", "Dropped"),
    State.UNDELIVERED: pgettext_lazy("state", "Undelivered"),
    State.REJECTED: pgettext_lazy("state", "Rejected"),
    State.EXPIRED: pgettext_lazy("state", "Expired"),
    State.FAILED: pgettext_lazy("state", "Not sent"),
}
# There is no such address, number or LINE WORKS ID, or none at all: whatever the state, only a new one helps.
INVALID_CODES = (
    "INVALID_EMAIL_ADDRESS",
    "INVALID_MOBILE_NUMBER",
    "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE",
    "LINEWORKS_USER_NOT_FOUND",
    "LINEWORKS_USER_OUTSIDE_DOMAIN",
    "NO_ADDRESS",
)

PERSISTENCES: dict[Persistence, _StrPromise] = {
    Persistence.HARD: pgettext_lazy("persistence", "Permanent"),
    Persistence.SOFT: pgettext_lazy("persistence", "Temporary"),
}

ACTIONABLES: dict[Actionable, _StrPromise] = {
    Actionable.YES: _("You can act"),
    Actionable.PARTLY: _("You can act in part"),
    Actionable.NO: _("Others must act"),
}

STAGES: dict[Stage, _StrPromise] = {
    Stage.BEFORE: _("Before sending"),
    Stage.WHILE: _("While sending"),
    Stage.AFTER: _("After sending"),
}

ATTEMPT_STATUSES: dict[AttemptStatus, _StrPromise] = {
    AttemptStatus.QUEUED: pgettext_lazy("attempt", "Waiting to be handed over"),
    AttemptStatus.SENDING: pgettext_lazy("attempt", "Being handed over"),
    AttemptStatus.ACCEPTED: pgettext_lazy("attempt", "Accepted"),
    AttemptStatus.REFUSED: pgettext_lazy("attempt", "Refused by the provider"),
    AttemptStatus.DROPPED: pgettext_lazy("attempt", "Stopped before sending"),
    AttemptStatus.SKIPPED: pgettext_lazy("attempt", "Not needed any more"),
    AttemptStatus.UNKNOWN: pgettext_lazy("attempt", "It left, and no answer came"),
    AttemptStatus.CANCELLED: pgettext_lazy("attempt", "Cancelled"),
    AttemptStatus.ASKED: pgettext_lazy("attempt", "Your product was asked to send it"),
}

ATTEMPT_REASONS: dict[AttemptWhy, _StrPromise] = {
    AttemptWhy.FIRST: pgettext_lazy("attempt", "First hand-over"),
    AttemptWhy.RESEND: pgettext_lazy("attempt", "Resend"),
    AttemptWhy.CORRECTED: pgettext_lazy("attempt", "Resend to the corrected contact"),
    AttemptWhy.OTHER_WAY: pgettext_lazy("attempt", "Resend another way"),
    AttemptWhy.AUTOMATIC: pgettext_lazy("attempt", "Automatic retry"),
}
