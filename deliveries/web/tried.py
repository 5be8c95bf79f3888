"""An attempt as pages show it: what was done, where it stands, and when it will have gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.translation import pgettext_lazy

from deliveries import attempts as verbs
from deliveries.accounts import find_account
from deliveries.attempts import Standing
from deliveries.enums import AttemptWhy, Outcome
from deliveries.models import Attempt, Delivery

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# Worth a line of its own beside an older failure.
ON_THE_WAY = frozenset(
    {Standing.QUEUED, Standing.WAITING, Standing.SENDING, Standing.NO_VERDICT, Standing.ASKED, Standing.UNKNOWN}
)

WHYS: dict[AttemptWhy, _StrPromise] = {
    AttemptWhy.FIRST: pgettext_lazy("attempt", "Sent"),
    AttemptWhy.RESEND: pgettext_lazy("attempt", "Sent again"),
    AttemptWhy.CORRECTED: pgettext_lazy("attempt", "Sent again to the corrected address"),
    AttemptWhy.OTHER_WAY: pgettext_lazy("attempt", "Sent another way"),
    AttemptWhy.AUTOMATIC: pgettext_lazy("attempt", "Tried again by itself"),
}
_TONES = {
    Standing.QUEUED: "info",
    Standing.WAITING: "info",
    Standing.SENDING: "info",
    Standing.NO_VERDICT: "info",
    Standing.HANDED_OVER: "slate",
    Standing.REFUSED: "danger",
    Standing.NOT_SENT: "graphite",
    Standing.UNKNOWN: "warning",
    Standing.ASKED: "info",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt as pages show it. ``gone_by``: when it will have gone, if its account makes it wait."""

    attempt: Attempt
    standing: Standing
    tone: str
    what: str
    way: str
    outcome: str
    gone_by: datetime | None


def tried(attempt: Attempt, delivery: Delivery, *, forecasts: bool = False) -> Tried:
    """Return an attempt for people; with ``forecasts`` one that is held back says when it will have gone."""
    stands = verbs.standing(attempt, delivery)
    account = find_account(attempt.connection_id) if forecasts else None
    return Tried(
        attempt=attempt,
        standing=stands,
        tone=_TONES[stands],
        what=str(WHYS[AttemptWhy(attempt.why)]),
        way=account.name if account else "",
        outcome=str(verbs.OUTCOMES[Outcome(attempt.outcome)]) if attempt.outcome else "",
        gone_by=verbs.forecast(attempt) if forecasts and stands == Standing.QUEUED else None,
    )
