"""Registers notices: one content, a delivery for each recipient, and an attempt for each that is to be sent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries.accounts import SendingAccount, account_for, find_account
from deliveries.bodies import Body, seal_body
from deliveries.contacts import address_of
from deliveries.enums import AttemptWhy, Channel, State
from deliveries.gather import attempt_key, recipient_key
from deliveries.models import Attempt, Connection, Contact, Delivery, Notice, Route
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import current_tenant_id
from notifyguard.ids import digest_hex, uuid7
from providers.registry import get_provider

MOST_RECIPIENTS = 1_000  # of one request: it answers once all of them are committed
NO_EVENT = uuid.UUID(int=0)
BEFORE_ALL_EVENTS = -1  # a rank below every event's


class NoticeError(ValueError):
    """A notice can't be registered; ``field`` names what is wrong, as in the API."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class KeyReusedError(ValueError):
    """The idempotency key was used before, for another request."""


class NewRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a notice is for: a contact by the tenant's id, or an address with or without a name."""

    contact: str = ""
    recipient: str = ""
    name: str = ""
    provider_message_id: str = ""  # only where the tenant's product sends


class NewNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as it is registered. With ``send`` off the tenant's own product sends it and we follow."""

    channel: Channel
    recipients: Sequence[NewRecipient]
    title: str = ""
    text: str = ""
    html: str = ""
    kind: str = ""
    sender: str = ""
    sender_name: str = ""
    connection: uuid.UUID | None = None
    use_by: datetime | None = None
    idempotency_key: str = ""
    send: bool = True


class Registered(NamedTuple):
    """What became of a request; ``is_new`` is False when its idempotency key had been used for the same one."""

    notice: Notice
    deliveries: list[Delivery]
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Way:
    """Through which connection a notice goes, ours or the tenant's product's."""

    connection_id: uuid.UUID
    provider: str


def register(new: NewNotice, *, tenant: Tenant, created_by: str) -> Registered:
    """Write a notice, its deliveries and, with ``send``, their attempts. Inside the tenant's scope.

    Raises ``NoticeError`` and ``KeyReusedError``.
    """
    digest = uuid.UUID(digest_hex(msgspec.json.encode(new).decode()))
    if found := _registered_before(new, digest):
        return found
    way = _way(new)
    people = _contacts(new.recipients)
    try:
        with transaction.atomic():
            notice = _notice(new, tenant, created_by, digest)
            notice.save(force_insert=True)
    except IntegrityError:  # the same key at the same moment
        if found := _registered_before(new, digest):
            return found
        raise
    rows = [_delivery(new, notice, way, one, people.get(one.contact)) for one in new.recipients]
    deliveries = _queue(rows, notice) if new.send else _follow(rows)
    return Registered(notice, deliveries, is_new=True)


def deliveries_of(notice: Notice) -> QuerySet[Delivery]:
    return Delivery.objects.filter(notice_id=notice.id).order_by("id")


def _registered_before(new: NewNotice, digest: uuid.UUID) -> Registered | None:
    if not new.idempotency_key:
        return None
    notice = Notice.objects.filter(idempotency_key=new.idempotency_key).first()
    if notice is None:
        return None
    if notice.request_digest != digest:
        raise KeyReusedError(_("This idempotency key was used for another request. Use a new one."))
    return Registered(notice, list(deliveries_of(notice)), is_new=False)


def _way(new: NewNotice) -> _Way:
    account = find_account(new.connection) if new.connection else account_for(new.channel)
    if new.send:
        if account is None:
            raise NoticeError("connection", _no_account(new))
        if account.channel != new.channel:
            raise NoticeError("connection", _("This connection does not send through that channel."))
        return _Way(account.connection_id, account.provider)
    return _reporting_way(new, account)


def _no_account(new: NewNotice) -> str:
    if new.connection:
        return _("There is no such connection to send through.")
    return _("No connection sends through this channel yet: enter its sending credentials under Sources.")


def _reporting_way(new: NewNotice, account: SendingAccount | None) -> _Way:
    """Return the connection that will report on a notice that the tenant's product sends."""
    if account is not None:
        return _Way(account.connection_id, account.provider)
    own = [(row.id, row.provider) for row in Connection.objects.filter(disabled_at=None).order_by("created_at")]
    routed = [(row.connection_id, row.provider) for row in Route.objects.order_by("created_at")]
    for connection_id, provider in [*own, *routed]:
        if new.connection in (None, connection_id) and get_provider(provider).channel == new.channel:
            return _Way(connection_id, provider)
    raise NoticeError("connection", _("There is no connection that reports on this channel. Make one under Sources."))


def _contacts(recipients: Sequence[NewRecipient]) -> Mapping[str, Contact]:
    wanted = {one.contact for one in recipients if one.contact}
    found = {row.external_id: row for row in Contact.objects.filter(external_id__in=wanted)} if wanted else {}
    for number, one in enumerate(recipients):
        if one.contact and one.contact not in found:
            message = _("There is no contact with the id “%(id)s”.") % {"id": one.contact[:100]}
            raise NoticeError(f"recipients.{number}.contact", message)
        if not one.contact and not one.recipient.strip():
            raise NoticeError(f"recipients.{number}", _("Name a contact or a recipient."))
    return found


def _notice(new: NewNotice, tenant: Tenant, created_by: str, digest: uuid.UUID) -> Notice:
    now = timezone.now()
    body = Body(new.text, new.html)
    return Notice(
        title=new.title[:500],
        kind=new.kind,
        sender=new.sender,
        sender_name=new.sender_name,
        body_sealed=seal_body(body) if new.send or any(body) else None,
        body_until=now + timedelta(days=tenant.body_days),
        use_by=new.use_by,
        idempotency_key=new.idempotency_key,
        request_digest=digest,
        created_by=created_by[:254],
        created_at=now,
    )


def _delivery(new: NewNotice, notice: Notice, way: _Way, one: NewRecipient, contact: Contact | None) -> Delivery:
    recipient = (one.recipient or (address_of(contact, new.channel) if contact else "")).strip()[:320]
    now, delivery_id = notice.created_at, uuid7()
    # The first attempt has its delivery's id, so the product can pass it on before anything is sent.
    reference = one.provider_message_id or delivery_id.hex
    return Delivery(
        id=delivery_id,
        match_key=uuid.UUID(attempt_key(way.connection_id, reference, recipient)),
        channel=new.channel,
        provider=way.provider,
        connection_id=way.connection_id,
        provider_message_id=one.provider_message_id[:200],
        recipient=recipient,
        recipient_key=recipient_key(recipient),
        domain=recipient.rpartition("@")[2].lower()[:255] if "@" in recipient else "",
        sender=new.sender,
        title=notice.title,
        title_key=notice.title.lower(),
        name=(one.name or (contact.name if contact else ""))[:200],
        contact_id=contact.id if contact else None,
        notice_id=notice.id,
        first_at=now,
        received_at=now,
        occurred_at=now,
        rank=BEFORE_ALL_EVENTS,
        rank_order=0,
        event_id=NO_EVENT,
        kind="",
        verdict="",
        state=State.QUEUED if new.send else State.ACCEPTED,
        reply="",
        smtp_code="",
        enhanced_code="",
    )


def _queue(rows: list[Delivery], notice: Notice) -> list[Delivery]:
    Delivery.objects.bulk_create(_owned(rows), batch_size=1000)
    attempts = [
        Attempt(
            id=row.id,
            tenant_id=notice.tenant_id,
            delivery_id=row.id,
            why=AttemptWhy.FIRST,
            channel=row.channel,
            connection_id=row.connection_id,
            recipient=row.recipient,
            due_at=notice.created_at,
            created_by=notice.created_by,
        )
        for row in rows
    ]
    Attempt.objects.bulk_create(attempts, batch_size=1000)
    return rows


def _follow(rows: list[Delivery]) -> list[Delivery]:
    """Write deliveries of which reports may have come already: those made one of their own, which learns its notice."""
    rows = list({row.match_key: row for row in rows}.values())
    try:
        with transaction.atomic():
            return _join(rows)
    except IntegrityError:  # a first report came at the same moment
        return _join(rows)


def _join(rows: list[Delivery]) -> list[Delivery]:
    known = {row.match_key: row for row in Delivery.objects.filter(match_key__in=[row.match_key for row in rows])}
    for row in rows:
        if found := known.get(row.match_key):
            _learn(found, row)
    fresh = [row for row in rows if row.match_key not in known]
    Delivery.objects.bulk_create(_owned(fresh), batch_size=1000)
    return [known.get(row.match_key, row) for row in rows]


def _learn(found: Delivery, row: Delivery) -> None:
    found.notice_id, found.contact_id, found.name = row.notice_id, row.contact_id, row.name
    found.title, found.title_key = row.title or found.title, row.title_key or found.title_key
    found.save(update_fields=["notice_id", "contact_id", "name", "title", "title_key"])


def _owned(rows: list[Delivery]) -> list[Delivery]:
    for row in rows:
        row.tenant_id = current_tenant_id()
    return rows
