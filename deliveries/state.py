"""The pure function from a delivery's events to its state.

The events of a delivery are totally ordered by ``precedence``; the greatest one decides. A maximum does not care
about the order in which events come, nor about seeing one twice, so any shuffle of a set of events, with any
duplicates, ends in the same state. The ledger applies the same order set-wise in SQL (deliveries/ledger.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from deliveries.enums import OPEN_STATES, Channel, Kind, State

STATES: dict[Kind, State] = {
    Kind.ACCEPTED: State.ACCEPTED,
    Kind.DEFERRED: State.DEFERRED,
    Kind.DELIVERED: State.DELIVERED,
    Kind.BOUNCED: State.BOUNCED,
    Kind.BLOCKED: State.BLOCKED,
    Kind.DROPPED: State.DROPPED,
    Kind.SPAM_REPORT: State.SPAM_REPORT,
    Kind.UNDELIVERED: State.UNDELIVERED,
    Kind.EXPIRED: State.EXPIRED,
    Kind.REJECTED: State.REJECTED,
    Kind.FAILED: State.FAILED,
    # What follows says nothing about the delivery itself: it stays handed over, without a verdict.
    Kind.UNSUBSCRIBED: State.ACCEPTED,
    Kind.RESUBSCRIBED: State.ACCEPTED,
    Kind.ENGAGED: State.ACCEPTED,
    Kind.CANCELED: State.ACCEPTED,
    Kind.NO_RECEIPT: State.ACCEPTED,
    Kind.UNKNOWN: State.ACCEPTED,
}

_ASIDE, UNDERWAY, _WAITING, _WEAK, _FINAL, _COMPLAINT = range(6)

_RANKS: dict[Kind, int] = {
    Kind.ACCEPTED: UNDERWAY,
    Kind.NO_RECEIPT: _WAITING,
    Kind.DEFERRED: _WAITING,
    Kind.CANCELED: _WEAK,
    # Never handed over: any word of the provider about the message itself knows better.
    Kind.FAILED: _WEAK,
    Kind.DELIVERED: _FINAL,
    Kind.BOUNCED: _FINAL,
    Kind.BLOCKED: _FINAL,
    Kind.DROPPED: _FINAL,
    Kind.EXPIRED: _FINAL,
    Kind.REJECTED: _FINAL,
    Kind.UNDELIVERED: _FINAL,
    Kind.SPAM_REPORT: _COMPLAINT,
}

# Between two final words of the same second the failure wins: an asynchronous bounce after "250 OK" is real.
_ORDER = {kind: number for number, kind in enumerate([Kind.DELIVERED, *(k for k in Kind if k != Kind.DELIVERED)])}

# Our own event for a call that left and was never answered.
NO_ANSWER = "check/NO_ANSWER"

# SES reports out-of-office replies in these words, and they come after the delivery.
_MAY_BE_AUTOMATIC_REPLY = "Transient/General"


def rank(channel: Channel, kind: Kind, verdict: str) -> tuple[int, int]:
    """Return (rank, order at equal time) of an event; a higher rank decides whatever the time."""
    weight = _RANKS.get(kind, _ASIDE)
    if verdict.startswith(NO_ANSWER):
        weight = _ASIDE  # it may have left: whatever the provider says of it knows better
    if weight == _FINAL and _outranked_by_delivery(channel, kind, verdict):
        weight = _WEAK
    elif channel == Channel.LINEWORKS and kind == Kind.ACCEPTED:
        weight = _WEAK  # no receipt ever follows: a later 201 for the same notice ends the failure before it
    return weight, _ORDER[kind]


def deciding_attempt(attempt: int, weight: int) -> int:
    """Return the attempt as which an event counts: handing over again ends no failure, only a verdict on it does."""
    return attempt if attempt == 1 or weight > UNDERWAY else 0


def _outranked_by_delivery(channel: Channel, kind: Kind, verdict: str) -> bool:
    """A handset's receipt beats earlier failures of segments and carriers; a delivery beats a vague soft bounce."""
    if kind == Kind.DELIVERED:
        return False
    return channel == Channel.SMS or verdict == _MAY_BE_AUTOMATIC_REPLY


class Fact(NamedTuple):
    """What the state needs of one event, in the order in which events are compared.

    ``attempt`` is that of ``deciding_attempt``.
    """

    attempt: int
    rank: int
    occurred_at: datetime
    order: int
    event_id: str
    kind: Kind


def decide(facts: Iterable[Fact]) -> State:
    """Return the state of a delivery with these events; with none it is accepted."""
    deciding = max(facts, default=None)
    return STATES[deciding.kind] if deciding else State.ACCEPTED


def error_state(kind: Kind) -> State | None:
    """Return the state under which such an event puts a delivery on the error list, or None."""
    state = STATES[kind]
    return state if state in OPEN_STATES else None
