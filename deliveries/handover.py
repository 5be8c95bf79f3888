"""Hands queued attempts over to their providers: claim and check, call, record; each in a transaction of its own.

Before a call its attempts become ``sending`` and that is committed. Whatever is killed when, an attempt is therefore
either still queued, or recorded, or found ``sending`` with nobody at it: that one may have been sent, its outcome is
unknown, and it is never sent again by itself.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import connection as database
from django.db import connections
from django.db.models import F, QuerySet
from django.utils import timezone

from deliveries import asking, consequences, ledger, pace, plans
from deliveries.accounts import SendingAccount, sending_accounts
from deliveries.bodies import Body, body_of
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Kind, Outcome, PlanStatus
from deliveries.gather import OWN_REPORT, Origin, Reported, attempt_key
from deliveries.ledger import Link
from deliveries.models import Attempt, Contact, Delivery, Event, Notice, ResendHook, ResendPlan
from deliveries.readiness import Dropped, Item, unready
from deliveries.state import NO_ANSWER
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope
from providers import base
from providers.sending import Accepted, NoAnswer, Outgoing, Refused, SendResult, Sent, TryLater

log = structlog.get_logger(__name__)

MOST_TRIES = 5  # waits that a provider asks for before we give up
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 3600.0
# What a row of a plan comes to when its attempt ends.
_OUTCOMES = {
    AttemptStatus.ACCEPTED: Outcome.ACCEPTED,
    AttemptStatus.REFUSED: Outcome.REFUSED,
    AttemptStatus.UNKNOWN: Outcome.UNKNOWN,
    AttemptStatus.ASKED: Outcome.ASKED,
}


class HandedOver(NamedTuple):
    """What one round did: attempts taken from the queue, and when to look again if the account made us wait."""

    attempts: int
    again_at: datetime | None


class Call(NamedTuple):
    """One call to a provider, or to the tenant's product, for several attempts."""

    items: list[Item]
    body: Body | None


def hand_over(tenant_id: uuid.UUID, account: SendingAccount, plan_id: uuid.UUID | None = None) -> HandedOver:
    """Hand over one round of a tenant's queued attempts through one account: as many calls as may be made at once."""
    with tenant_scope(tenant_id):
        if not _has_due(account, plan_id):
            return HandedOver(0, None)
    allowed = pace.take(
        account.pace_key, account.sender.at_once, ceiling=account.per_minute, shared_budget=_shares_budget(account)
    )
    if not allowed.calls:
        return HandedOver(0, allowed.again_at)
    with tenant_scope(tenant_id):
        taken, calls = _claim(account, plan_id, allowed.calls)
        hook = ResendHook.objects.first() if any(call.body is None for call in calls) else None
    if calls:
        answers = _make(calls, account, hook)
        with tenant_scope(tenant_id):
            _record(calls, answers, account)
    return HandedOver(taken, None)


def accounts_with_due(tenant_id: uuid.UUID, plan_id: uuid.UUID | None = None) -> list[SendingAccount]:
    """Return the accounts that attempts wait for, the tenant's product in the place of those that send no more.

    Where there is neither the attempts are ended, visibly.
    """
    with tenant_scope(tenant_id):
        usable = {one.connection_id: one for one in sending_accounts()}
        waited_for = [one for one in usable.values() if _has_due(one, plan_id)]
        if plan_id and waited_for:
            return waited_for  # of a plan's rows, maybe a million, nobody wants a list of connections each round
        others = set(_queued(plan_id).values_list("connection_id", flat=True).distinct()) - usable.keys()
        products = {gone: asking.product_account(gone) for gone in others}
        for gone, product in products.items():
            if product is None:
                _end_without_way(gone, plan_id)
        return waited_for + [product for product in products.values() if product]


def recover(tenant_id: uuid.UUID) -> int:
    """Give the attempts whose worker is gone their honest outcome: unknown. Returns how many there were."""
    before = timezone.now() - timedelta(seconds=settings.SEND_LEASE_S)
    with tenant_scope(tenant_id):
        lost = Attempt.objects.filter(status=AttemptStatus.SENDING, sent_at__lt=before)
        attempts = list(lost.select_for_update(skip_locked=True).order_by("sent_at")[:1000])
        items = _items(attempts)
        reported = _reported(items)
        arrived, unanswered = Accepted(), NoAnswer(verdict=NO_ANSWER, answer="")
        results = [Result(item, arrived if item.attempt.id in reported else unanswered) for item in items]
        _settle(results, {one.connection_id: one.provider for one in sending_accounts()})
        return len(attempts)


def _reported(items: Sequence[Item]) -> set[uuid.UUID]:
    """Return the attempts that their provider has reported on: those did leave."""
    keys = {
        attempt_key(item.attempt.connection_id, item.attempt.id.hex, item.attempt.recipient): item.attempt.id
        for item in items
    }
    told = Event.objects.filter(match_key__in=keys, raw_index__gte=0).values_list("match_key", flat=True)
    return {keys[key.hex] for key in told}


# ---------------------------------------------------------------- claim and check


def _queued(plan_id: uuid.UUID | None) -> QuerySet[Attempt]:
    rows = Attempt.objects.filter(status=AttemptStatus.QUEUED)
    return rows.filter(plan_id=plan_id) if plan_id else rows.filter(plan_id__isnull=True)


def _due(account: SendingAccount, plan_id: uuid.UUID | None) -> QuerySet[Attempt]:
    rows = _queued(plan_id).filter(connection_id=account.connection_id, due_at__lte=timezone.now())
    return rows.order_by("due_at", "id")


def _has_due(account: SendingAccount, plan_id: uuid.UUID | None) -> bool:
    return bool(_due(account, plan_id).exists())


def _claim(account: SendingAccount, plan_id: uuid.UUID | None, calls: int) -> tuple[int, list[Call]]:
    """Take due attempts, end those that fail a check, mark the rest as being sent; returns how many left the queue."""
    if plan_id and not _is_running(plan_id):
        return 0, []
    limit = _rows_for(account, calls, plan_id)
    attempts = list(_due(account, plan_id).select_for_update(skip_locked=True, of=("self",))[:limit])
    items = _lock_deliveries(attempts)
    planned = _group(items, account.sender.batch)[:calls]
    _rows_a_call[account.connection_id] = max(1.0, sum(len(call.items) for call in planned) / max(1, len(planned)))
    chosen = [item for call in planned for item in call.items]
    dropped = unready(chosen, account)
    _end(dropped, chosen, account)
    ready = [Call([item for item in call.items if item.attempt.id not in dropped], call.body) for call in planned]
    ready = [call for call in ready if call.items]
    _mark_sending([item for call in ready for item in call.items])
    return len(dropped) + sum(len(call.items) for call in ready), ready


# How many attempts the last calls of an account could carry: notices with a text of their own go one a call.
_rows_a_call: dict[uuid.UUID, float] = {}


def _rows_for(account: SendingAccount, calls: int, plan_id: uuid.UUID | None) -> int:
    usual = _rows_a_call.get(account.connection_id, account.sender.batch)
    rows = min(int(calls * usual * 2) + calls, calls * account.sender.batch)
    plan = ResendPlan.objects.filter(id=plan_id, per_minute__gt=0).first() if plan_id else None
    return pace.take(plan.id, rows, ceiling=plan.per_minute).calls if plan and plan.per_minute else rows


def _is_running(plan_id: uuid.UUID) -> bool:
    """Share-locks the plan, so that who cancels it knows that no claim comes after."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT status FROM deliveries_resendplan WHERE tenant_id = %s AND id = %s FOR SHARE",
            [current_tenant_id(), plan_id],
        )
        row = cursor.fetchone()
    return row is not None and row[0] == PlanStatus.RUNNING


def _lock_deliveries(attempts: Sequence[Attempt]) -> list[Item]:
    """Return the items whose delivery nobody else is at, one of each delivery; the others stay queued."""
    ids = {attempt.delivery_id for attempt in attempts}
    free = set(
        Delivery.objects.filter(id__in=ids)
        .select_for_update(skip_locked=True, no_key=True)
        .values_list("id", flat=True)
    )
    first = {attempt.delivery_id: attempt for attempt in reversed(attempts) if attempt.delivery_id in free}
    return _items(attempt for attempt in attempts if first.get(attempt.delivery_id) is attempt)


def _items(attempts: Iterable[Attempt]) -> list[Item]:
    attempts = list(attempts)
    deliveries = Delivery.objects.in_bulk({attempt.delivery_id for attempt in attempts})
    notices = Notice.objects.in_bulk({row.notice_id for row in deliveries.values() if row.notice_id})
    contacts = Contact.objects.in_bulk({row.contact_id for row in deliveries.values() if row.contact_id})
    found = []
    for attempt in attempts:
        row = deliveries[attempt.delivery_id]
        found.append(Item(attempt, row, notices.get(row.notice_id), contacts.get(row.contact_id)))
    return found


def _group(items: Sequence[Item], batch: int) -> list[Call]:
    """Put together what one call can carry: the same notice, each recipient once."""
    bodies: dict[uuid.UUID | None, Body | None] = {}
    calls: dict[uuid.UUID | None, list[Call]] = defaultdict(list)
    for item in items:
        key = item.notice.id if item.notice else None
        if key not in bodies:
            bodies[key] = body_of(item.notice) if item.notice else None
        key = key if bodies[key] else None  # what we hold no text of goes to the tenant's product together
        open_calls = calls[key]
        if not open_calls or len(open_calls[-1].items) >= (batch if key else asking.MOST_ITEMS):
            open_calls.append(Call([], bodies[key] if key else None))
        open_calls[-1].items.append(item)
    return [call for several in calls.values() for call in several]


# ---------------------------------------------------------------- call


def _make(calls: Sequence[Call], account: SendingAccount, hook: ResendHook | None) -> list[Sequence[SendResult]]:
    """Make the calls side by side and return the results of each. No transaction is open."""
    if len(calls) == 1:
        return [_call(calls[0], account, hook)]
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        return list(pool.map(lambda call: _call_in_thread(call, account, hook), calls))


def _call_in_thread(call: Call, account: SendingAccount, hook: ResendHook | None) -> Sequence[SendResult]:
    try:
        return _call(call, account, hook)
    finally:
        connections.close_all()  # a token store may have opened one for this thread


def _call(call: Call, account: SendingAccount, hook: ResendHook | None) -> Sequence[SendResult]:
    try:
        if call.body is None:
            return _ask(call, hook)
        sent = account.sender.send([_outgoing(item, call.body, account) for item in call.items], account.account)
    except Exception as error:  # noqa: BLE001 -- senders never raise; if one does, the call may have left all the same
        log.error("handover.sender_failed", provider=account.provider, error=type(error).__name__)  # noqa: TRY400
        return [NoAnswer(verdict=NO_ANSWER, answer="")] * len(call.items)
    pace.note(account.pace_key, budget=sent.budget, refused_for_s=_refused_for_s(sent))
    return sent.results


def _ask(call: Call, hook: ResendHook | None) -> Sequence[SendResult]:
    if hook is None:
        return [TryLater(verdict="network", answer="", wait_s=FIRST_WAIT_S)] * len(call.items)
    return [asking.ask(hook, [(item.attempt, item.delivery, item.recipient) for item in call.items])] * len(call.items)


def _refused_for_s(sent: Sent) -> float | None:
    waits = [one.wait_s or 0.0 for one in sent.results if isinstance(one, TryLater) and one.account_wide]
    return max(waits, default=None)


def _outgoing(item: Item, body: Body, account: SendingAccount) -> Outgoing:
    notice = item.notice
    return Outgoing(
        attempt_ref=item.attempt.id.hex,
        recipient=item.recipient,
        sender=notice.sender if notice and account.channel == Channel.EMAIL else "",
        sender_name=notice.sender_name if notice else "",
        name=item.delivery.name,
        title=item.delivery.title,
        text=body.text,
        html=body.html,
        route=account.route,
    )


# ---------------------------------------------------------------- record


class Result(NamedTuple):
    """What became of one attempt."""

    item: Item
    said: SendResult


def _record(calls: Sequence[Call], answers: Sequence[Sequence[SendResult]], account: SendingAccount) -> None:
    results = [
        Result(item, said)
        for call, several in zip(calls, answers, strict=True)
        for item, said in zip(call.items, several, strict=True)
    ]
    later = [one for one in results if isinstance(one.said, TryLater) and one.item.attempt.tries + 1 < MOST_TRIES]
    _queue_again(later)
    waiting = {one.item.attempt.id for one in later}
    _settle([one for one in results if one.item.attempt.id not in waiting], {account.connection_id: account.provider})
    if account.sender.batch == 1:  # who sends one by one may report by the message's id alone
        _link_message_ids(results)


def _queue_again(results: Sequence[Result]) -> None:
    now = timezone.now()
    for one in results:
        attempt, said = one.item.attempt, one.said
        wait_s = said.wait_s if isinstance(said, TryLater) else None
        attempt.status, attempt.tries = AttemptStatus.QUEUED, attempt.tries + 1
        attempt.due_at = now + timedelta(
            seconds=min(LONGEST_WAIT_S, _wait_s(attempt.tries) if wait_s is None else wait_s)
        )
        attempt.verdict, attempt.answer, attempt.sent_at = said_verdict(said)[:120], said.answer[:1000], None
    _save([one.item.attempt for one in results], "status", "tries", "due_at", "verdict", "answer", "sent_at")


def _wait_s(tries: int) -> float:
    return FIRST_WAIT_S * 2.0 ** (tries - 1)


def said_verdict(said: SendResult) -> str:
    return "" if isinstance(said, Accepted) else said.verdict


def _settle(results: Sequence[Result], providers: dict[uuid.UUID, str]) -> None:
    """Write final results on the attempts, in the ledger and on their plans."""
    now = timezone.now()
    outcomes: dict[uuid.UUID | None, Counter[str]] = defaultdict(Counter)
    for item, said in results:
        attempt = item.attempt
        attempt.status = _status(said)
        attempt.outcome = Outcome.GAVE_UP if isinstance(said, TryLater) else _OUTCOMES[attempt.status]
        attempt.verdict, attempt.answer, attempt.answered_at = said_verdict(said)[:120], said.answer[:1000], now
        attempt.provider_message_id = said.provider_message_id[:200] if isinstance(said, Accepted) else ""
        outcomes[attempt.plan_id][attempt.outcome] += 1
    _save(
        [item.attempt for item, _ in results],
        *("status", "outcome", "verdict", "answer", "answered_at", "provider_message_id"),
    )
    _report(
        [_event(item, said, now) for item, said in results if item.attempt.status != AttemptStatus.ASKED], providers
    )
    _count(outcomes)


def _status(said: SendResult) -> AttemptStatus:
    if isinstance(said, Accepted):
        return AttemptStatus.ASKED if said.answer == asking.ASKED else AttemptStatus.ACCEPTED
    return AttemptStatus.UNKNOWN if isinstance(said, NoAnswer) else AttemptStatus.REFUSED


def _event(item: Item, said: SendResult, at: datetime) -> tuple[Item, base.Event]:
    """Say in the ledger's words what the hand-over came to."""
    kind, verdict, message_id = Kind.FAILED, said_verdict(said), ""
    if isinstance(said, Accepted):
        kind, message_id = Kind.ACCEPTED, said.provider_message_id
    elif isinstance(said, NoAnswer):
        # LINE WORKS has codes of its own, also for this.
        verdict = f"{NO_ANSWER}/lineworks" if item.attempt.channel == Channel.LINEWORKS else NO_ANSWER
    elif isinstance(said, Refused):
        kind = said.kind
    return item, base.Event(
        kind=kind,
        recipient=item.recipient,
        occurred_at=at,
        verdict=verdict,
        reply=said.answer,
        provider_message_id=message_id,
        attempt_ref=item.attempt.id.hex,
        sender=item.delivery.sender,
        title=item.delivery.title,
    )


def _report(events: Sequence[tuple[Item, base.Event]], providers: dict[uuid.UUID, str]) -> None:
    """Write what we know ourselves into the ledger, as an answer of the provider or a refusal of our own."""
    reports = []
    for item, event in events:
        attempt = item.attempt
        origin = Origin(
            connection_id=attempt.connection_id,
            provider=providers.get(attempt.connection_id, item.delivery.provider),
            channel=Channel(attempt.channel),
            raw_id=attempt.id,
            received_at=event.occurred_at,
        )
        reports.append(Reported(event, origin, OWN_REPORT))
    if reports:
        tenant_id = current_tenant_id()
        consequences.follow(tenant_id, ledger.record(tenant_id, reports))


def _end(dropped: dict[uuid.UUID, Dropped], items: Sequence[Item], account: SendingAccount) -> None:
    """End the attempts that must not leave; a check that failed is a failure of the delivery, and shown as such."""
    now = timezone.now()
    outcomes: dict[uuid.UUID | None, Counter[str]] = defaultdict(Counter)
    ended = [item for item in items if item.attempt.id in dropped]
    for item in ended:
        attempt, reason = item.attempt, dropped[item.attempt.id]
        attempt.status = AttemptStatus.DROPPED if reason.verdict else AttemptStatus.SKIPPED
        attempt.outcome, attempt.verdict, attempt.answered_at = reason.outcome, reason.verdict, now
        outcomes[attempt.plan_id][reason.outcome] += 1
    # In a plan its outcome says so, and the failure that it was for keeps its reason.
    failed = [item for item in ended if dropped[item.attempt.id].verdict and not item.attempt.plan_id]
    _number(failed)
    _save([item.attempt for item in ended], "status", "outcome", "verdict", "answered_at", "number", "recipient")
    _report([(item, _dropped_event(item, dropped[item.attempt.id], now)) for item in failed], _provider(account))
    _count(outcomes)


def _dropped_event(item: Item, reason: Dropped, at: datetime) -> base.Event:
    kind = Kind.DROPPED if reason.outcome == Outcome.SUPPRESSED else Kind.FAILED
    return base.Event(
        kind=kind,
        recipient=item.recipient,
        occurred_at=at,
        verdict=reason.verdict,
        reply=reason.words,
        attempt_ref=item.attempt.id.hex,
        title=item.delivery.title,
    )


def _end_without_way(connection_id: uuid.UUID, plan_id: uuid.UUID | None) -> None:
    """End what waits for a connection that sends no more: resending chooses one that does."""
    ended = _queued(plan_id).filter(connection_id=connection_id)
    n = ended.update(status=AttemptStatus.SKIPPED, outcome=Outcome.NO_WAY, answered_at=timezone.now())
    _count({plan_id: Counter({Outcome.NO_WAY: n})})


def _mark_sending(items: Sequence[Item]) -> None:
    now = timezone.now()
    _number(items)
    for item in items:
        item.attempt.status, item.attempt.sent_at = AttemptStatus.SENDING, now
    _save([item.attempt for item in items], "status", "sent_at", "number", "recipient")
    again = [item.delivery.id for item in items if item.attempt.why not in (AttemptWhy.FIRST, AttemptWhy.AUTOMATIC)]
    if again:
        automatic = Attempt.objects.filter(delivery_id__in=again, status=AttemptStatus.QUEUED, why=AttemptWhy.AUTOMATIC)
        automatic.update(status=AttemptStatus.SKIPPED, outcome=Outcome.REPLACED, answered_at=now)


def _number(items: Sequence[Item]) -> None:
    """Give attempts their number at the delivery, and make reports of them known as the delivery's."""
    again = []
    for item in items:
        item.attempt.recipient = item.recipient
        if item.attempt.number:
            continue
        if item.attempt.why == AttemptWhy.FIRST:
            item.attempt.number = 1
        else:
            item.attempt.number = item.delivery.attempts + 1
            again.append(item.delivery.id)
    if again:
        Delivery.objects.filter(id__in=again).update(attempts=F("attempts") + 1)
    ledger.link(current_tenant_id(), [link for item in items if (link := _link(item))])


def _link(item: Item) -> Link | None:
    attempt = item.attempt
    key = attempt_key(attempt.connection_id, attempt.id.hex, attempt.recipient)
    return None if key == item.delivery.match_key.hex else Link(key, item.delivery.id, attempt.number)


def _link_message_ids(results: Sequence[Result]) -> None:
    links = [
        Link(
            attempt_key(item.attempt.connection_id, said.provider_message_id, item.attempt.recipient),
            item.delivery.id,
            item.attempt.number,
        )
        for item, said in results
        if isinstance(said, Accepted) and said.provider_message_id
    ]
    ledger.link(current_tenant_id(), links)


_TYPES = {"number": "smallint", "tries": "smallint"}


def _save(attempts: Sequence[Attempt], *fields: str) -> None:
    """Write these fields of all attempts in one statement."""
    if not attempts:
        return
    columns = [[getattr(attempt, field) for attempt in attempts] for field in fields]
    types = [_TYPES.get(field, "timestamptz" if field.endswith("_at") else "text") for field in fields]
    assigned = ", ".join(f"{field} = v.{field}" for field in fields)
    values = ", ".join(f"%s::{name}[]" for name in types)
    with database.cursor() as cursor:
        cursor.execute(
            f"UPDATE deliveries_attempt a SET {assigned}"  # noqa: S608 -- names of our own columns
            f" FROM unnest(%s::uuid[], {values}) v (id, {', '.join(fields)})"
            " WHERE a.tenant_id = %s AND a.id = v.id",
            [[str(attempt.id) for attempt in attempts], *columns, current_tenant_id()],
        )


def _count(outcomes: Mapping[uuid.UUID | None, Counter[str]]) -> None:
    for plan_id, counts in outcomes.items():
        if plan_id:
            plans.count(plan_id, counts)


def _provider(account: SendingAccount) -> dict[uuid.UUID, str]:
    return {account.connection_id: account.provider}


def _shares_budget(account: SendingAccount) -> bool:
    """LINE WORKS counts all applications of an account together, and says how much is left."""
    return account.channel == Channel.LINEWORKS
