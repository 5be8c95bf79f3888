"""What must not leave: looked at for each attempt when its turn has come, in the transaction that takes it."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.utils import timezone

from deliveries import suppress
from deliveries.accounts import SendingAccount
from deliveries.asking import Product
from deliveries.attempts import holds_back
from deliveries.bodies import body_of
from deliveries.checks import check_content, check_recipient
from deliveries.contacts import address_of
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Outcome, State
from deliveries.gather import recipient_key
from deliveries.models import Attempt, Contact, Delivery, Notice, ResendHook, ResendPlan, Suppression
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import current_tenant_id


class Item(NamedTuple):
    """An attempt with what it takes to send it."""

    attempt: Attempt
    delivery: Delivery
    notice: Notice | None
    contact: Contact | None

    @property
    def recipient(self) -> str:
        """Where it goes: what was asked for, else the contact's address now, else the last one."""
        own = self.attempt.recipient
        if own or self.contact is None:
            return own or self.delivery.recipient
        return address_of(self.contact, Channel(self.attempt.channel))


class Dropped(NamedTuple):
    """Why an attempt does not leave. With a verdict the failure is new and goes on the delivery."""

    outcome: Outcome
    verdict: str = ""
    words: str = ""


def unready(items: Sequence[Item], account: SendingAccount) -> dict[uuid.UUID, Dropped]:
    """Return what must not leave, by attempt, and why. A few queries, however many items."""
    looked_up = _LookedUp(items, account)
    found: dict[uuid.UUID, Dropped] = {}
    for item in items:
        reason = (
            _not_needed(item, looked_up)
            or _not_possible(item, account, looked_up)
            or _on_list(item, looked_up.listed)
            or _without_text(item, account, looked_up)
        )
        if reason:
            found[item.attempt.id] = reason
    return found


class _LookedUp:
    """What the checks need to know of the database, for all items at once."""

    def __init__(self, items: Sequence[Item], account: SendingAccount) -> None:
        self.under_way = _beside_others(items)
        self.listed = suppress.suppressed(account.channel, {recipient_key(item.recipient) for item in items})
        self.region = Tenant.objects.get(id=current_tenant_id()).region
        self.asks = ResendHook.objects.exists()
        notices = {item.notice.id: item.notice for item in items if item.notice}
        self.bodies = {notice_id: body_of(notice) for notice_id, notice in notices.items()}
        plan_ids = {item.attempt.plan_id for item in items if item.attempt.plan_id}
        patient = ResendPlan.objects.filter(id__in=plan_ids, include_stale=True)
        self.plans_for_stale = set(patient.values_list("id", flat=True)) if plan_ids else set()


def _not_needed(item: Item, looked_up: _LookedUp) -> Dropped | None:
    attempt, row, notice = item.attempt, item.delivery, item.notice
    if attempt.why != AttemptWhy.FIRST:
        if row.state == State.DELIVERED:
            return Dropped(Outcome.DELIVERED)
        if not row.is_open or row.state == State.DEFERRED or attempt.id in looked_up.under_way:
            return Dropped(Outcome.UNDER_WAY)
    late = notice is not None and notice.use_by is not None and notice.use_by <= timezone.now()
    return Dropped(Outcome.STALE) if late and attempt.plan_id not in looked_up.plans_for_stale else None


def _not_possible(item: Item, account: SendingAccount, looked_up: _LookedUp) -> Dropped | None:
    if not item.recipient or (item.contact and item.contact.no_address and not item.attempt.recipient):
        return Dropped(Outcome.INVALID, "check/NO_ADDRESS")
    finding = check_recipient(account.channel, item.recipient, region=looked_up.region).finding
    return Dropped(Outcome.INVALID, finding.verdict, finding.detail) if finding else None


def _on_list(item: Item, listed: Mapping[str, Suppression]) -> Dropped | None:
    entry = listed.get(recipient_key(item.recipient))
    return Dropped(Outcome.SUPPRESSED, f"check/SUPPRESSED/{entry.reason}") if entry else None


def _without_text(item: Item, account: SendingAccount, looked_up: _LookedUp) -> Dropped | None:
    body = looked_up.bodies.get(item.notice.id) if item.notice else None
    if body is None or item.notice is None:
        return None if looked_up.asks else Dropped(Outcome.NO_BODY)
    if isinstance(account.sender, Product):
        return Dropped(Outcome.NO_WAY)
    sender = item.notice.sender or account.account.values.get("sender", "")
    finding = check_content(account.channel, sender=sender, text=body.text, html=body.html, title=item.notice.title)
    return Dropped(Outcome.INVALID, finding.verdict, finding.detail) if finding else None


_HANDED_OVER = (AttemptStatus.SENDING, AttemptStatus.ACCEPTED, AttemptStatus.ASKED, AttemptStatus.UNKNOWN)


def _beside_others(items: Sequence[Item]) -> set[uuid.UUID]:
    """Return the attempts beside which another one at their delivery was handed over and has no verdict yet.

    One whose outcome is unknown stops plans and automatic tries, but not a person who asks for this very row.
    """
    rows = {item.delivery.id: item.delivery for item in items}
    others: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    for other in Attempt.objects.filter(delivery_id__in=rows, status__in=_HANDED_OVER).defer("answer"):
        if other.status == AttemptStatus.SENDING or holds_back(rows[other.delivery_id], other):
            others[other.delivery_id].append(other)
    return {
        item.attempt.id
        for item in items
        if any(_stops(other, item.attempt) for other in others[item.delivery.id] if other.id != item.attempt.id)
    }


def _stops(other: Attempt, attempt: Attempt) -> bool:
    asked_for_itself = attempt.plan_id is None and attempt.why != AttemptWhy.AUTOMATIC
    return not (other.status == AttemptStatus.UNKNOWN and asked_for_itself)
