"""What can be done about one delivery: send it again, correct the contact, go another way."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from deliveries import attempts as verbs
from deliveries import contacts, pace, queries, retry, suppress
from deliveries.accounts import SendingAccount, find_account, sending_accounts
from deliveries.attempts import AttemptRefusedError
from deliveries.checks import ADDRESS_FIELDS, check_recipient, suggest
from deliveries.contacts import ContactInputError
from deliveries.enums import AttemptStatus, AttemptWhy, Channel
from deliveries.gather import recipient_key
from deliveries.models import Attempt, Contact, Delivery, Suppression
from deliveries.web.request import TenantRequest
from notifyguard.accounts.permissions import may, tenant_page
from providers.registry import get_provider

if TYPE_CHECKING:
    pass

MOST_OTHERS = 100


@dataclass(frozen=True, slots=True)
class OtherWay:
    """Another channel or account that the notice could go through."""

    connection_id: uuid.UUID
    channel: Channel
    name: str
    recipient: str


def acts(request: TenantRequest, delivery: Delivery, made: list[Attempt]) -> dict[str, Any]:
    """Return what the delivery's page offers to do, and why not where it does not."""
    contact = contact_of(delivery)
    aim = _aim(delivery, contact)
    listed = suppress.suppressed(delivery.channel, [recipient_key(aim)]).get(recipient_key(aim)) if aim else None
    page: dict[str, Any] = {
        "contact": contact,
        "aim": aim,
        "is_corrected": recipient_key(aim) != delivery.recipient_key,
        "suppression": listed,
        "is_moving": verbs.is_moving(made, delivery),
        "automatic": retry.automatic(delivery, made),
        "needs_insisting": bool(made) and made[0].status == AttemptStatus.UNKNOWN,
    }
    if not delivery.is_open:
        return page | {"others": _others(delivery, contact)}
    return page | _sending(delivery, made, listed) | _mending(request, delivery, contact)


def contact_of(delivery: Delivery) -> Contact | None:
    """Return the person behind a delivery, by its contact or by who has the address."""
    linked: Contact | None = Contact.objects.filter(id=delivery.contact_id).first() if delivery.contact_id else None
    return linked or contacts.contact_of(Channel(delivery.channel), delivery.recipient_key)


def _aim(delivery: Delivery, contact: Contact | None) -> str:
    """Where it would go now."""
    if contact is None or delivery.contact_id is None:
        return delivery.recipient
    return contacts.address_of(contact, Channel(delivery.channel))


def _sending(delivery: Delivery, made: list[Attempt], listed: Suppression | None) -> dict[str, Any]:
    insists = bool(made) and made[0].status == AttemptStatus.UNKNOWN
    refusal = verbs.why_not(delivery, made[0] if made else None, allow_unknown=insists)
    way = None
    if not refusal:
        try:
            way = verbs.way_of(delivery)
        except AttemptRefusedError as error:
            refusal = str(error)
    stands = pace.standing(way.account.pace_key) if way and way.account else None
    page = {"refusal": refusal, "way": way, "may_resend": not refusal and listed is None, "budget": stands}
    return page | {"way_name": _account_name(way.account) if way and way.account else ""}


def _account_name(account: SendingAccount) -> str:
    label = get_provider(account.provider).label
    return label if account.name in (label, account.provider) else f"{label} · {account.name}"


def _mending(request: TenantRequest, delivery: Delivery, contact: Contact | None) -> dict[str, Any]:
    others = _others(delivery, contact)
    return {
        "hint": suggest(_aim(delivery, contact)) if delivery.channel == Channel.EMAIL else "",
        "field": ADDRESS_FIELDS[Channel(delivery.channel)],
        "others": others,
        "other_ways": _other_ways(delivery, contact) if may(request.role, "send") else [],
    }


def _others(delivery: Delivery, contact: Contact | None) -> list[Delivery]:
    """The person's other open failures, newest first; a screenful at most."""
    if contact is None:
        rows = Delivery.objects.filter(
            channel=delivery.channel, recipient_key=delivery.recipient_key, error_state__isnull=False
        ).order_by("-failed_at", "-id")
    else:
        rows = contacts.open_deliveries(contact)
    return list(rows.exclude(id=delivery.id)[:MOST_OTHERS]) if delivery.recipient_key or contact else []


def _other_ways(delivery: Delivery, contact: Contact | None) -> list[OtherWay]:
    """Each account beside the usual one whose channel the person can be reached through."""
    if not verbs.holds_text(delivery):
        return []
    usual = verbs.way_of(delivery).connection_id if _has_way(delivery) else None
    found, region = [], contacts.region()
    seen: set[Channel] = set()
    for account in sending_accounts():
        if account.connection_id == usual or (account.channel != delivery.channel and account.channel in seen):
            continue
        aim = _aim_through(delivery, contact, account.channel)
        if aim and check_recipient(account.channel, aim, region=region).finding is None:
            seen.add(account.channel)
            found.append(OtherWay(account.connection_id, account.channel, _account_name(account), aim))
    return found


def _has_way(delivery: Delivery) -> bool:
    try:
        verbs.way_of(delivery)
    except AttemptRefusedError:
        return False
    return True


def _aim_through(delivery: Delivery, contact: Contact | None, channel: Channel) -> str:
    if channel == delivery.channel:
        return _aim(delivery, contact)
    return contacts.address_of(contact, channel) if contact else ""


# ---------------------------------------------------------------- acts


@require_POST
@tenant_page("send")
def delivery_resend(request: TenantRequest, delivery_id: uuid.UUID) -> HttpResponse:
    """Send one notice again, through ``connection`` if one is named; leads back to the delivery."""
    found = _find(request, delivery_id)
    account = _account(request.POST.get("connection", ""))
    contact = contact_of(found)
    aim = _aim_through(found, contact, account.channel) if account and account.channel != found.channel else ""
    try:
        verbs.queue_attempt(
            found,
            why=AttemptWhy.OTHER_WAY if account else AttemptWhy.RESEND,
            actor=request.actor,
            recipient=aim,
            account=account,
            allow_unknown="insist" in request.POST,
        )
    except AttemptRefusedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("It is on its way again. This page follows it by itself."))
    return _back(request, found)


@require_POST
@tenant_page("correct")
def delivery_correct(request: TenantRequest, delivery_id: uuid.UUID) -> HttpResponse:
    """Correct the person's address where its failure is shown, and send again what that mends.

    ``then``: ``nothing``, ``this`` notice, ``all`` open ones of the person on this channel, or the ``newest`` of each
    kind of them.
    """
    found = _find(request, delivery_id)
    try:
        with transaction.atomic():
            contact = _corrected(request, found)
    except ContactInputError as error:
        messages.error(request, error.message)
        return _back(request, found)
    then = request.POST.get("then", "this")
    if then == "nothing" or not may(request.role, "send"):
        messages.success(request, _("The contact is corrected. Nothing was sent."))
        return _back(request, found)
    _send_mended(request, found, contact, then)
    return _back(request, found)


@require_POST
@tenant_page("send")
def delivery_resend_others(request: TenantRequest, delivery_id: uuid.UUID) -> HttpResponse:
    """Send all open notices of the person on this channel again, or with ``then=newest`` the newest of each kind."""
    found = _find(request, delivery_id)
    _send_mended(request, found, contact_of(found), request.POST.get("then", "all"))
    return _back(request, found)


def _corrected(request: TenantRequest, found: Delivery) -> Contact:
    field, value = ADDRESS_FIELDS[Channel(found.channel)], request.POST.get("value", "").strip()
    if not value:
        raise ContactInputError(field, _("Enter the new address."))
    contact = contact_of(found)
    if contact is None:
        contact = contacts.create({"name": found.name, field: value}, actor=request.actor)
    else:
        contacts.change(contact, {field: value, "no_address": False}, actor=request.actor)
    contacts.adopt_failures(contact, Channel(found.channel), found.recipient_key, request.actor)
    # Where several people share the old address, this notice is the one that was meant.
    Delivery.objects.filter(id=found.id, contact_id=None).update(contact_id=contact.id, name=contact.name)
    return contact


def _send_mended(request: TenantRequest, found: Delivery, contact: Contact | None, then: str) -> None:
    rows = list(Delivery.objects.filter(id=found.id, error_state__isnull=False))
    if then in ("all", "newest", "others"):
        rows += [row for row in _others(found, contact) if row.channel == found.channel]
    if then == "newest":
        rows = verbs.newest_of_kind(rows)
    done = verbs.queue_several(rows, why=AttemptWhy.CORRECTED, actor=request.actor)
    if done.attempts:
        said = ngettext(
            "%(n)d notice is on its way again.", "%(n)d notices are on their way again.", len(done.attempts)
        )
        messages.success(request, said % {"n": len(done.attempts)})
    for reason in dict.fromkeys(reason for _row, reason in done.refused):
        n = sum(reason == other for _row, other in done.refused)
        said = ngettext("%(n)d notice was not sent: %(reason)s", "%(n)d notices were not sent: %(reason)s", n)
        messages.warning(request, said % {"n": n, "reason": reason})


def _find(request: TenantRequest, delivery_id: uuid.UUID) -> Delivery:
    found = queries.delivery(request.tenant.id, delivery_id)
    if found is None:
        raise Http404
    return found


def _account(text: str) -> SendingAccount | None:
    if not text:
        return None
    try:
        found = find_account(uuid.UUID(text))
    except ValueError as error:
        raise Http404 from error
    if found is None:
        raise Http404
    return found


def _back(request: TenantRequest, found: Delivery) -> HttpResponse:
    here = reverse("delivery", args=[request.tenant.slug, found.id])
    back = request.POST.get("back", "")
    return redirect(f"{here}?{urlencode({'back': back})}" if back else here)
