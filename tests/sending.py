"""Sending in tests: accounts that point at a sandbox, notices, and what providers report of them."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from deliveries import attempts, handover, ledger, notices
from deliveries.accounts import set_sending
from deliveries.consequences import follow
from deliveries.enums import AttemptWhy, Channel, Kind
from deliveries.gather import Origin, Reported
from deliveries.models import Attempt, Delivery
from deliveries.notices import NewNotice, NewRecipient
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from providers.base import Event
from providers.sandbox.sendgrid import make_keys
from tests.factories import connect

SENDING = {
    "sendgrid": {"api_key": "SG.test", "sender": "notices@acme.example"},
    "lineworks": {
        "client_id": "client",
        "client_secret": "secret",
        "service_account": "abc.serviceaccount@acme.example",
        "bot_id": "2000001",
        "private_key": make_keys().private_pem,
    },
    "twilio": {"account_sid": "AC" + "0" * 32, "auth_token": "test", "sender": "+15005550006"},
}


def sends(tenant, provider: str):
    row = connect(tenant, provider, **({"public_key": make_keys().public_key} if provider == "sendgrid" else {}))
    with tenant_scope(tenant.id):
        set_sending(row, SENDING[provider], actor=COMMAND_LINE)
    return row


def register(tenant, *recipients: str, **values) -> list[Delivery]:
    new = NewNotice(
        channel=values.pop("channel", Channel.EMAIL),
        recipients=tuple(NewRecipient(recipient=one) for one in recipients),
        **{"title": "Invoice 7", "text": "Please pay.", **values},
    )
    with tenant_scope(tenant.id):
        return notices.register(new, tenant=tenant, created_by="test").deliveries


def work(tenant) -> int:
    """Hand over whatever is due; returns how many attempts left the queue."""
    n = 0
    while True:
        rounds = [handover.hand_over(tenant.id, account) for account in handover.accounts_with_due(tenant.id)]
        if not any(one.attempts for one in rounds):
            return n
        n += sum(one.attempts for one in rounds)


def delivery(tenant, row: Delivery | None = None) -> Delivery:
    with tenant_scope(tenant.id):
        return Delivery.objects.get(id=row.id) if row else Delivery.objects.get()


def attempt(tenant, row: Delivery) -> Attempt:
    with tenant_scope(tenant.id):
        return Attempt.objects.filter(delivery_id=row.id).order_by("-id").first()


def tell(tenant, source, made: Attempt, kind: Kind, **values) -> None:
    """What the provider reports of an attempt, as its webhook would bring it."""
    event = Event(
        kind=kind,
        recipient=made.recipient,
        occurred_at=timezone.now() + timedelta(seconds=1),
        attempt_ref=made.id.hex,
        **values,
    )
    origin = Origin(
        connection_id=source.id,
        provider=source.provider,
        channel=Channel(made.channel),
        raw_id=uuid7(),
        received_at=timezone.now(),
    )
    with tenant_scope(tenant.id):
        follow(tenant.id, ledger.record(tenant.id, [Reported(event, origin, 0)]))


BOUNCE = {"verdict": "bounce/invalid", "reply": "550 5.1.1 User unknown", "smtp_code": "550", "enhanced_code": "5.1.1"}


def resend(tenant, row: Delivery, **values) -> Attempt:
    with tenant_scope(tenant.id):
        values.setdefault("why", AttemptWhy.RESEND)
        return attempts.queue_attempt(Delivery.objects.get(id=row.id), actor=COMMAND_LINE, **values)
