"""Dull, valid things: events, connections and webhooks with nothing surprising in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from deliveries.connections import create_connection
from deliveries.enums import Channel, Kind
from deliveries.gather import Origin, Reported
from deliveries.models import Connection
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from providers.base import Event

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def event(kind: Kind = Kind.BOUNCED, minutes: float = 0, **values) -> Event:
    """An event of one message to one person, ``minutes`` after nine."""
    defaults = {
        "recipient": "taro@example.co.jp",
        "provider_message_id": "message-1",
        "verdict": "bounce/invalid" if kind == Kind.BOUNCED else "",
        "reply": "550 5.1.1 User unknown" if kind == Kind.BOUNCED else "",
        "smtp_code": "550" if kind == Kind.BOUNCED else "",
        "enhanced_code": "5.1.1" if kind == Kind.BOUNCED else "",
    }
    return Event(kind=kind, occurred_at=AT + timedelta(minutes=minutes), **{**defaults, **values})


def reported(*events: Event, connection: Connection, channel: Channel = Channel.EMAIL) -> list[Reported]:
    origin = Origin(
        connection_id=connection.id,
        provider=connection.provider,
        channel=channel,
        raw_id=uuid7(),
        received_at=AT + timedelta(minutes=1),
    )
    return [Reported(item, origin, index) for index, item in enumerate(events)]


SECRETS = {
    "sendgrid": {"public_key": None},
    "ses": {"topic": "arn:aws:sns:ap-northeast-1:123456789012:ng-events"},
    "lineworks": {"bot_secret": "test-bot-secret"},
    "twilio": {"auth_token": "test-auth-token"},
    "vonage": {"signature_secret": "test-signature-secret-of-32-bytes"},
    "smpp": {"secret": "test-carrier-secret"},
}


def connect(tenant: Tenant, provider: str = "sendgrid", name: str = "", **values) -> Connection:
    with tenant_scope(tenant.id):
        return create_connection(
            provider=provider, name=name or provider, values={**SECRETS[provider], **values}, actor=COMMAND_LINE
        )
