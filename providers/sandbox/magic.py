"""Magic recipients: what becomes of a notice is written in its address, number or user id."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from providers.sandbox.calls import Answer, Manner


class Fate(StrEnum):
    """What becomes of a notice. The values are the words of email addresses and LINE WORKS user ids."""

    DELIVERED = "delivered"
    BOUNCE = "bounce"
    SOFTBOUNCE = "softbounce"
    DEFERRED = "deferred"
    DEFERRED_FOREVER = "deferred-forever"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    SPAM = "spam"
    ACCEPTED = "accepted"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"
    SCOPE = "scope"
    DAILY = "daily"
    RATELIMIT = "ratelimit"
    UNDELIVERED = "undelivered"
    REJECTED = "rejected"
    EXPIRED = "expired"
    HANDOVER = "handover"
    OPTED_OUT = "optedout"
    ERROR500 = "error500"
    ERROR429 = "error429"
    SLOW = "slow"
    HANG = "hang"
    RESET = "reset"


_TROUBLES = (Fate.ERROR500, Fate.ERROR429, Fate.SLOW, Fate.HANG, Fate.RESET)
_EMAIL = {
    fate.value: fate
    for fate in (
        *(Fate.BOUNCE, Fate.SOFTBOUNCE, Fate.DEFERRED, Fate.DEFERRED_FOREVER, Fate.BLOCKED, Fate.DROPPED, Fate.SPAM),
        *(Fate.ACCEPTED, Fate.INVALID, *_TROUBLES),
    )
}
_USERS = {fate.value: fate for fate in (Fate.UNKNOWN, Fate.FOREIGN, Fate.SCOPE, Fate.DAILY, Fate.RATELIMIT, *_TROUBLES)}
_NUMBERS = {
    "0001": Fate.UNDELIVERED,
    "0002": Fate.REJECTED,
    "0003": Fate.EXPIRED,
    "0004": Fate.HANDOVER,
    "0005": Fate.ACCEPTED,
    "0006": Fate.OPTED_OUT,
    "0007": Fate.ERROR429,
    "0008": Fate.ERROR500,
    "0009": Fate.HANG,
    "0010": Fate.RESET,
    "0011": Fate.SLOW,
}
_MANNERS = {Fate.HANG: Manner.HANG, Fate.RESET: Manner.RESET}


_ARRIVES, _INVALID = Fate.DELIVERED, Fate.INVALID


def of_address(address: str) -> Fate:
    """Return the fate named by the local part before any "+"."""
    return _EMAIL.get(address.partition("@")[0].partition("+")[0].lower(), _ARRIVES)


def is_invalid(address: str) -> bool:
    """Tell whether the fate is "invalid", quickly where it is not."""
    return address[: len(_INVALID)].lower() == _INVALID and of_address(address) is _INVALID


def of_number(number: str) -> Fate:
    """Return the fate named by the last four digits."""
    return _NUMBERS.get(number[-4:], Fate.DELIVERED)


def of_user(user_id: str) -> Fate:
    """Return the fate named by what stands before the first "-" of a LINE WORKS user id."""
    return _USERS.get(user_id.partition("-")[0].lower(), Fate.DELIVERED)


def is_unverified(sender: str) -> bool:
    """Tell whether a sender's address stands for one that was never verified with the provider."""
    return sender.partition("@")[0].lower() == "unverified"


def refused_status(fates: Collection[Fate]) -> int:
    """Return the HTTP status that one of the recipients wants for the whole call, or 0."""
    if Fate.ERROR500 in fates:
        return 500
    return 429 if Fate.ERROR429 in fates or Fate.RATELIMIT in fates else 0


def bend(answer: Answer, fates: Collection[Fate], slow_s: float) -> Answer:
    """Make an answer to a call that was taken late or lost, if one of the recipients wants that."""
    for fate, manner in _MANNERS.items():
        if fate in fates:
            return answer.bent(manner)
    return answer.bent(wait_s=slow_s) if Fate.SLOW in fates else answer
