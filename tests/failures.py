"""Notices that were sent and failed: what resending, retrying and correcting begin with."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.utils import timezone

from deliveries import ledger, notices
from deliveries.accounts import set_sending
from deliveries.connections import create_connection
from deliveries.enums import AttemptStatus, Channel, Kind, Outcome
from deliveries.gather import Origin, Reported
from deliveries.models import Attempt, Connection, Delivery
from deliveries.notices import NewNotice, NewRecipient
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from providers.base import Event

CREDENTIALS = {
    "sendgrid": {"api_key": "SG.test", "sender": "notices@example.com"},
    "twilio": {"account_sid": "AC00000000000000000000000000000000", "auth_token": "test", "sender": "+15005550006"},
    "lineworks": {
        "client_id": "test-client",
        "client_secret": "test-secret",
        "service_account": "bot.serviceaccount@example.com",
        "bot_id": "1000001",
    },
}


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def sends(tenant: Tenant, provider: str = "sendgrid", name: str = "") -> Connection:
    """A connection that may send."""
    with tenant_scope(tenant.id):
        row = create_connection(
            provider=provider, name=name or provider, values={}, actor=COMMAND_LINE, secret_later=True
        )
        values = CREDENTIALS[provider]
        if provider == "lineworks":
            values = {**values, "private_key": _private_key()}
        set_sending(row, values, actor=COMMAND_LINE)
    return row


def sent(tenant: Tenant, *recipients: str | NewRecipient, channel: Channel = Channel.EMAIL, **values) -> list[Delivery]:
    """A notice that was handed over once, to each recipient; their deliveries."""
    people = [NewRecipient(recipient=one) if isinstance(one, str) else one for one in recipients]
    content = {"title": "Invoice", "text": "Please pay by Friday.", "sender": "notices@example.com", **values}
    with tenant_scope(tenant.id):
        found = notices.register(
            NewNotice(channel=channel, recipients=people, **content), tenant=tenant, created_by="test"
        )
        queued = Attempt.objects.filter(delivery_id__in=[row.id for row in found.deliveries])
        queued.update(
            status=AttemptStatus.ACCEPTED, outcome=Outcome.ACCEPTED, number=1, sent_at=timezone.now(), answer="202"
        )
        return found.deliveries


def report(tenant: Tenant, delivery: Delivery, kind: Kind, reference: uuid.UUID | None = None, **values) -> Delivery:
    """Let the provider say something about an attempt, the first unless ``reference`` names another."""
    usual = {"verdict": "bounce/invalid", "reply": "550 5.1.1 User unknown", "smtp_code": "550"}
    said = {**(usual if kind == Kind.BOUNCED else {}), "recipient": delivery.recipient, **values}
    said.setdefault("occurred_at", timezone.now() + timedelta(seconds=1))
    event = Event(kind=kind, attempt_ref=(reference or delivery.id).hex, **said)
    with tenant_scope(tenant.id):
        origin = Origin(
            connection_id=delivery.connection_id,
            provider=delivery.provider,
            channel=Channel(delivery.channel),
            raw_id=uuid7(),
            received_at=timezone.now(),
        )
        ledger.record(tenant.id, [Reported(event, origin, 0)])
        return Delivery.objects.get(id=delivery.id)


def bounced(
    tenant: Tenant, *recipients: str | NewRecipient, channel: Channel = Channel.EMAIL, **values
) -> list[Delivery]:
    """As ``sent``, and every one of them failed for good."""
    kind = Kind.BOUNCED if channel == Channel.EMAIL else Kind.UNDELIVERED
    return [report(tenant, row, kind) for row in sent(tenant, *recipients, channel=channel, **values)]
