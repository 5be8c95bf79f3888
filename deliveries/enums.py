"""The words of the product; imports nothing of ours but the providers' contract."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from providers.base import Channel, Kind

__all__ = ["Actionable", "Channel", "Kind", "Persistence", "RawStatus", "Retry", "Stage", "State", "Suppress"]


class State(StrEnum):
    """What became of a delivery. All but ``accepted`` and ``delivered`` are on the Notification Error List."""

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


OPEN_STATES = frozenset(State) - {State.ACCEPTED, State.DELIVERED}


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
