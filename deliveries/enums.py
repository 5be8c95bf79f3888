"""The words of the product; imports nothing of ours but the providers' contract."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from providers.base import Channel, Kind

__all__ = [
    "Actionable",
    "AttemptStatus",
    "AttemptWhy",
    "Channel",
    "Kind",
    "Outcome",
    "Persistence",
    "PlanStatus",
    "ProviderState",
    "RawStatus",
    "Retry",
    "Stage",
    "State",
    "Suppress",
    "SuppressionReason",
]


class State(StrEnum):
    """What became of a delivery. All but the first two and ``delivered`` are on the Notification Error List."""

    QUEUED = "queued"  # not handed over yet
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    SPAM_REPORT = "spam_report"
    UNDELIVERED = "undelivered"
    EXPIRED = "expired"
    REJECTED = "rejected"
    FAILED = "failed"


OPEN_STATES = frozenset(State) - {State.QUEUED, State.ACCEPTED, State.DELIVERED}


class Persistence(StrEnum):
    HARD = "hard"
    SOFT = "soft"


class Actionable(StrEnum):
    """Can the tenant do something about it?"""

    YES = "yes"
    NO = "no"
    PARTLY = "partly"


class Stage(StrEnum):
    """When the failure occurs, seen from the send call."""

    BEFORE = "before"
    WHILE = "while"
    AFTER = "after"


class Suppress(StrEnum):
    """Should the recipient go on the suppression list?"""

    YES = "yes"
    AFTER_REPEATS = "after_repeats"
    NO = "no"


class Retry(StrEnum):
    NOW = "now"
    LATER = "later"
    NEXT_DAY = "next_day"
    AFTER_FIX = "after_fix"
    NO = "no"


class RawStatus(IntEnum):
    """Where a raw webhook stands in the inbox."""

    PENDING = 0
    DONE = 1
    FAILED = 2


class AttemptStatus(StrEnum):
    """Where an attempt stands; all but the first two are final."""

    QUEUED = "queued"
    SENDING = "sending"  # the call may be under way
    ACCEPTED = "accepted"
    REFUSED = "refused"  # by the provider
    DROPPED = "dropped"  # by a check of ours, before it left
    SKIPPED = "skipped"  # not needed or not wanted any more; ``outcome`` says why
    UNKNOWN = "unknown"  # it left and no answer came: never repeated by itself
    CANCELLED = "cancelled"
    ASKED = "asked"  # the tenant's product was asked to send it


class AttemptWhy(StrEnum):
    """What an attempt was made for."""

    FIRST = "first"
    RESEND = "resend"
    CORRECTED = "corrected"  # the contact was corrected
    OTHER_WAY = "other_way"  # through another channel or provider
    AUTOMATIC = "automatic"  # the retry policy


class Outcome(StrEnum):
    """What a row of a plan comes to, or why an attempt was not sent."""

    READY = "ready"  # preview only: it would be sent
    ASK = "ask"  # preview only: the tenant's product would be asked
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ASKED = "asked"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    INVALID = "invalid"  # a check before sending failed
    STALE = "stale"  # past its use-by
    DELIVERED = "delivered"  # arrived since
    UNDER_WAY = "under_way"  # another attempt has no verdict yet, or the provider is still trying
    REPLACED = "replaced"  # by a newer notice of its kind, or by an attempt that a person made
    NO_BODY = "no_body"  # we hold no text and know nobody to ask
    NO_WAY = "no_way"  # no connection to send through, or the contact lacks such an address
    GAVE_UP = "gave_up"  # the provider asked to wait too often


class PlanStatus(StrEnum):
    PREPARING = "preparing"
    READY = "ready"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"


class SuppressionReason(StrEnum):
    """Why a recipient is on the suppression list."""

    BOUNCE = "bounce"
    SPAM_REPORT = "spam_report"
    UNSUBSCRIBED = "unsubscribed"
    INVALID = "invalid"
    MANUAL = "manual"


class ProviderState(StrEnum):
    """How the removal of a suppression stands at the provider."""

    NOT_NEEDED = "not_needed"  # the provider keeps no list, or none that can be read
    REMOVING = "removing"
    REMOVED = "removed"  # read back: the provider no longer lists it
    FAILED = "failed"
