"""Calls of the API with a tenant's token."""

from __future__ import annotations

import pytest
from django.test import Client

from deliveries import ledger
from deliveries.enums import Channel, Kind
from notifyguard.accounts.models import Role
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tokens import create_api_token
from tests.factories import connect, event, reported


@pytest.fixture
def api():
    """``api(acme, "viewer")`` is a client with a token of that role; ``None`` for none."""

    def make(tenant, role=Role.VIEWER):
        if tenant is None:
            return Client()
        with tenant_scope(tenant.id):
            _row, token = create_api_token(name="script", role=role, tenant_id=tenant.id)
        return Client(headers={"Authorization": f"Bearer {token}"})

    return make


@pytest.fixture
def source(acme):
    return connect(acme, "ses")


@pytest.fixture
def record(acme, source):
    """Write events into acme's ledger."""

    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


@pytest.fixture
def to():
    """``to("a@x.example", Kind.BOUNCED, 5)`` is an event of the one message to that recipient."""

    def make(recipient, kind=Kind.BOUNCED, minutes=0, **values):
        return event(kind, minutes, recipient=recipient, provider_message_id=f"id-{recipient}", **values)

    return make
