"""Queues an attempt at a delivery that did not arrive, and says where attempts stand."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from deliveries import pace
from deliveries.accounts import SendingAccount, account_for, find_account
from deliveries.bodies import body_of
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Outcome, PlanStatus, State
from deliveries.models import Attempt, Delivery, Notice, ResendHook
from deliveries.tell import tell
from notifyguard.accounts import audit

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

_COUNTED = 10_000  # a queue longer than that is long enough
_AT_ONCE = timedelta(minutes=1)
_WATCHED = timedelta(minutes=10)  # most verdicts come by then
VERDICT_WITHIN = timedelta(hours=72)
_HANDED_OVER = (AttemptStatus.ACCEPTED, AttemptStatus.ASKED, AttemptStatus.UNKNOWN)
# A plan that nobody has approved keeps nobody from resending one of its rows.
_GOES_BY_ITSELF = Q(plan__isnull=True) | Q(plan__status__in=[PlanStatus.RUNNING, PlanStatus.PAUSED])

OUTCOMES: Mapping[Outcome, _StrPromise] = {
    Outcome.READY: pgettext_lazy("outcome", "Will be sent"),
    Outcome.ASK: pgettext_lazy("outcome", "Your product will be asked to send it"),
    Outcome.ACCEPTED: pgettext_lazy("outcome", "Handed over"),
    Outcome.REFUSED: pgettext_lazy("outcome", "Refused by the provider"),
    Outcome.UNKNOWN: pgettext_lazy("outcome", "Outcome unknown: it may have been sent"),
    Outcome.ASKED: pgettext_lazy("outcome", "Your product was asked to send it"),
    Outcome.CANCELLED: pgettext_lazy("outcome", "Cancelled before it was sent"),
    Outcome.SUPPRESSED: pgettext_lazy("outcome", "On the suppression list"),
    Outcome.INVALID: pgettext_lazy("outcome", "Address or content is not valid"),
    Outcome.STALE: pgettext_lazy("outcome", "Too late to be of use"),
    Outcome.DELIVERED: pgettext_lazy("outcome", "Arrived in the meantime"),
    Outcome.UNDER_WAY: pgettext_lazy("outcome", "Still on its way"),
    Outcome.REPLACED: pgettext_lazy("outcome", "Another one goes in its place"),
    Outcome.NO_BODY: pgettext_lazy("outcome", "Its text is not held here"),
    Outcome.NO_WAY: pgettext_lazy("outcome", "No way to send it"),
    Outcome.GAVE_UP: pgettext_lazy("outcome", "Given up: the provider asked to wait too often"),
}


class AttemptRefusedError(ValueError):
    """An attempt would be wrong now; the message says why and what to do."""


class Standing(StrEnum):
    """Where an attempt stands, for people (templates/deliveries/_attempt_words.html)."""

    QUEUED = "queued"
    WAITING = "waiting"  # until its due time
    SENDING = "sending"
    NO_VERDICT = "no_verdict"  # handed over, nothing said since
    HANDED_OVER = "handed_over"
    REFUSED = "refused"
    NOT_SENT = "not_sent"  # ``outcome`` says why
    UNKNOWN = "unknown"
    ASKED = "asked"


class Way(NamedTuple):
    """How an attempt would go: through which connection, or by asking the tenant's product."""

    connection_id: uuid.UUID
    channel: Channel
    account: SendingAccount | None
    asks: bool


def queue_attempt(
    delivery: Delivery,
    *,
    why: AttemptWhy,
    actor: audit.Actor,
    recipient: str = "",
    account: SendingAccount | None = None,
    due_at: datetime | None = None,
    allow_unknown: bool = False,
) -> Attempt:
    """Queue one attempt and audit it; it goes when a worker comes to it, after the checks before sending.

    ``recipient`` empty: the contact's address at that time. ``account`` is another way to send. ``allow_unknown``:
    a person insists although an earlier attempt may have been sent. Raises ``AttemptRefusedError``.
    """
    with transaction.atomic():
        row = Delivery.objects.select_for_update(no_key=True).get(id=delivery.id)
        if reason := why_not(row, latest([row.id]).get(row.id), allow_unknown=allow_unknown):
            raise AttemptRefusedError(reason)
        way = way_of(row, account)
        attempt = Attempt(
            delivery_id=row.id,
            why=why,
            channel=way.channel,
            connection_id=way.connection_id,
            recipient=recipient[:320],
            due_at=due_at or timezone.now(),
            created_by=actor.name[:254],
        )
        attempt.save(force_insert=True)
        after = {"attempt": attempt.id.hex, "why": why, "channel": way.channel}
        audit.record(actor, "delivery.resent", object_type="delivery", object_id=row.id, after=after)
        tenant_id = str(row.tenant_id)
        transaction.on_commit(lambda: tell("deliveries.send_queued", tenant_id))
        return attempt


class Queued(NamedTuple):
    """What became of a request to send several again: those that go, and why the others do not."""

    attempts: list[Attempt]
    refused: list[tuple[Delivery, str]]


def queue_several(deliveries: Sequence[Delivery], *, why: AttemptWhy, actor: audit.Actor) -> Queued:
    """Queue an attempt at each delivery that may have one now; for more than a page of them make a plan."""
    done = Queued([], [])
    for row in deliveries:
        try:
            done.attempts.append(queue_attempt(row, why=why, actor=actor))
        except AttemptRefusedError as error:
            done.refused.append((row, str(error)))
    return done


def newest_of_kind(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the newest notice of each of the tenant's kinds, and all that have no kind."""
    notices = Notice.objects.in_bulk([row.notice_id for row in deliveries if row.notice_id])
    newest: dict[object, Delivery] = {}
    for row in sorted(deliveries, key=lambda one: one.first_at):
        notice = notices.get(row.notice_id) if row.notice_id else None
        newest[(notice.kind, row.channel) if notice and notice.kind else row.id] = row
    return list(newest.values())


def why_not(delivery: Delivery, newest: Attempt | None, *, allow_unknown: bool = False) -> str:
    """Return why no further attempt should be made now; "" if one may be."""
    if delivery.state == State.DELIVERED:
        return _("It was delivered: there is nothing to send again.")
    if delivery.state == State.DEFERRED:
        return _("The provider is still trying. Wait until it gives up or the notice arrives.")
    if newest and (under_way := _why_not_beside(newest, delivery, allow_unknown=allow_unknown)):
        return under_way
    return "" if delivery.is_open else _("It was handed over and has not failed so far.")


def _why_not_beside(newest: Attempt, delivery: Delivery, *, allow_unknown: bool) -> str:
    if newest.status == AttemptStatus.QUEUED and newest.why == AttemptWhy.AUTOMATIC:
        return ""  # that one leaves the queue when this one goes
    if newest.status in (AttemptStatus.QUEUED, AttemptStatus.SENDING):
        return _("It is being sent again already.")
    if not holds_back(delivery, newest):
        return ""
    if newest.status != AttemptStatus.UNKNOWN:
        return _("It was sent again, and there is no verdict on that yet.")
    if allow_unknown:
        return ""
    return _("The last attempt may have been sent although no answer came. Send it again only if you are sure.")


def way_of(delivery: Delivery, account: SendingAccount | None = None) -> Way:
    """Return how the delivery would be sent: its own connection if that still sends, else the channel's account.

    Raises ``AttemptRefusedError`` where there is none: we hold no text and know nobody to ask, or no connection sends.
    """
    channel = account.channel if account else Channel(delivery.channel)
    account = account or find_account(delivery.connection_id) or account_for(channel)
    asks = not holds_text(delivery)
    if asks and not ResendHook.objects.exists():
        raise AttemptRefusedError(
            _("NotifyGuard does not hold the text of this notice. Send it again from the program that sent it.")
        )
    if account is None and not asks:
        raise AttemptRefusedError(
            _("No connection sends through this channel. Enter its sending credentials under Sources.")
        )
    return Way(account.connection_id if account else delivery.connection_id, channel, account, asks)


def holds_text(delivery: Delivery) -> bool:
    notice = Notice.objects.filter(id=delivery.notice_id).first() if delivery.notice_id else None
    return notice is not None and body_of(notice) is not None


def latest(delivery_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Attempt]:
    """Return the newest attempt of each delivery that has one, without those of plans that do not run; one query."""
    if not delivery_ids:
        return {}
    counts = ~Q(status=AttemptStatus.QUEUED) | _GOES_BY_ITSELF
    rows = Attempt.objects.filter(counts, delivery_id__in=delivery_ids).exclude(status=AttemptStatus.CANCELLED)
    newest = rows.order_by("delivery_id", "-id").distinct("delivery_id")
    return {row.delivery_id: row for row in newest}


def attempts_of(delivery: Delivery) -> list[Attempt]:
    """Return all attempts at a delivery that were or will be made, newest first."""
    counts = ~Q(status=AttemptStatus.QUEUED) | _GOES_BY_ITSELF
    return list(Attempt.objects.filter(counts, delivery_id=delivery.id).order_by("-id"))


def is_unanswered(delivery: Delivery, attempt: Attempt | None) -> bool:
    """Tell whether an attempt was handed over, or may have been, and the provider has said nothing final since."""
    if attempt is None or attempt.status not in _HANDED_OVER:
        return False
    if attempt.number > delivery.attempt:
        return True
    return attempt.number == delivery.attempt and attempt.status == AttemptStatus.UNKNOWN and _says_nothing(delivery)


def holds_back(delivery: Delivery, attempt: Attempt | None) -> bool:
    """Tell whether further attempts have to wait for a verdict on this one: no longer than providers go on trying."""
    if attempt is None or not is_unanswered(delivery, attempt):
        return False
    if attempt.status == AttemptStatus.UNKNOWN or attempt.sent_at is None:
        return True
    return attempt.sent_at > timezone.now() - VERDICT_WITHIN


def _says_nothing(delivery: Delivery) -> bool:
    """What decides is our own report that no answer came."""
    return delivery.rank <= 0


def standing(attempt: Attempt, delivery: Delivery) -> Standing:
    """Return where an attempt at a delivery stands."""
    status = AttemptStatus(attempt.status)
    if status == AttemptStatus.QUEUED:
        return Standing.WAITING if attempt.due_at > timezone.now() else Standing.QUEUED
    if status == AttemptStatus.ACCEPTED:
        return Standing.NO_VERDICT if is_unanswered(delivery, attempt) else Standing.HANDED_OVER
    return _STANDINGS[status]


_STANDINGS: Mapping[AttemptStatus, Standing] = {
    AttemptStatus.SENDING: Standing.SENDING,
    AttemptStatus.REFUSED: Standing.REFUSED,
    AttemptStatus.DROPPED: Standing.NOT_SENT,
    AttemptStatus.SKIPPED: Standing.NOT_SENT,
    AttemptStatus.CANCELLED: Standing.NOT_SENT,
    AttemptStatus.UNKNOWN: Standing.UNKNOWN,
    AttemptStatus.ASKED: Standing.ASKED,
}


def forecast(attempt: Attempt) -> datetime | None:
    """Return when a queued attempt will have gone if its account goes on as now; None where that is at once."""
    account = find_account(attempt.connection_id)
    stands = pace.standing(account.pace_key) if account else None
    if stands is None:
        return None
    waiting = Attempt.objects.filter(
        status=AttemptStatus.QUEUED,
        plan_id__isnull=True,
        connection_id=attempt.connection_id,
        due_at__lte=attempt.due_at,
    )
    ahead = waiting.order_by()[:_COUNTED].count()
    now = timezone.now()
    gone_by = stands.done_by(ahead, max(now, attempt.due_at))
    return gone_by if gone_by - now > _AT_ONCE else None


def is_moving(attempts: Sequence[Attempt], delivery: Delivery) -> bool:
    """Tell whether the newest attempt may change by itself soon, so that a page had better look again."""
    if not attempts:
        return False
    newest, stands = attempts[0], standing(attempts[0], delivery)
    if stands == Standing.NO_VERDICT:
        return newest.sent_at is not None and timezone.now() - newest.sent_at < _WATCHED
    return stands in (Standing.QUEUED, Standing.SENDING)
