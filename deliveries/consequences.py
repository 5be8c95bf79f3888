"""What follows from a batch of reports, in its transaction: suppression, automatic tries, attempts cleared up."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Collection

from deliveries import plans, retry, suppress
from deliveries.enums import AttemptStatus, Kind, Outcome, Persistence, Retry
from deliveries.gather import Found
from deliveries.ledger import Recorded
from deliveries.models import Attempt
from deliveries.retry import Failure
from deliveries.state import NO_ANSWER
from deliveries.suppress import Notable

_TRIED_AGAIN = frozenset({Retry.NOW, Retry.LATER, Retry.NEXT_DAY})


def follow(tenant_id: uuid.UUID, recorded: Recorded) -> None:
    """Draw the consequences of what was recorded, in the tenant's scope. Nothing new: nothing follows."""
    if not recorded.new_events:
        return
    classified = [one for one in recorded.found if one.verdict]
    if classified:
        suppress.note(tenant_id, [_notable(one) for one in classified])
        retry.schedule(tenant_id, [_failure(one) for one in classified if _is_tried_again(one)])
    _clear_up(recorded.found)


def _notable(one: Found) -> Notable:
    event, origin, _ = one.report
    assert one.verdict is not None  # noqa: S101 -- chosen by it
    return Notable(
        event_id=uuid.UUID(one.identity),
        match_key=uuid.UUID(one.match_key),
        connection_id=origin.connection_id,
        channel=origin.channel,
        recipient=event.recipient,
        occurred_at=event.occurred_at,
        kind=event.kind,
        verdict=one.verdict,
    )


def _is_tried_again(one: Found) -> bool:
    verdict, event = one.verdict, one.report.event
    return (
        verdict is not None
        and event.kind != Kind.DEFERRED
        and verdict.persistence is Persistence.SOFT
        and verdict.retry in _TRIED_AGAIN
    )


def _failure(one: Found) -> Failure:
    assert one.verdict is not None  # noqa: S101 -- as above
    return Failure(
        event_id=uuid.UUID(one.identity),
        match_key=uuid.UUID(one.match_key),
        verdict=one.verdict,
        occurred_at=one.report.event.occurred_at,
    )


def _clear_up(found: Collection[Found]) -> None:
    """An attempt whose call was never answered did leave, if its provider reports on it."""
    events = [one.report.event for one in found if one.report.event.attempt_ref]
    told = {event.attempt_ref for event in events if not event.verdict.startswith(NO_ANSWER)}
    ids = [uuid.UUID(ref) for ref in told if _is_ours(ref)]
    if not ids:
        return
    open_ones = Attempt.objects.filter(id__in=ids, status__in=_WITHOUT_WORD).select_for_update()
    told_of = list(open_ones.values_list("id", "plan_id", "outcome"))
    if not told_of:
        return
    cleared_up = Attempt.objects.filter(id__in=[attempt_id for attempt_id, _plan, _outcome in told_of])
    cleared_up.update(status=AttemptStatus.ACCEPTED, outcome=Outcome.ACCEPTED)
    moved: dict[uuid.UUID, Counter[str]] = defaultdict(Counter)
    for _attempt, plan_id, outcome in told_of:
        if plan_id:
            moved[plan_id].update({outcome: -1, Outcome.ACCEPTED: 1})
    for plan_id, counts in moved.items():
        plans.count(plan_id, counts)


_WITHOUT_WORD = (AttemptStatus.UNKNOWN, AttemptStatus.ASKED)


def _is_ours(reference: str) -> bool:
    """Attempts' ids have 32 hex digits; a tenant's product may echo words of its own."""
    return len(reference) == 32 and all(digit in "0123456789abcdef" for digit in reference)  # noqa: PLR2004
