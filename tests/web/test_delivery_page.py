"""The page of one delivery: the sentence on top, the timeline, what can be copied, and the way back."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote

import pytest

from deliveries import ledger
from deliveries.enums import Kind
from deliveries.models import Delivery
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import AT, connect, event

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(acme):
    return connect(acme, "ses", "Billing mail")


@pytest.fixture
def record(acme, source):
    """Record events that each came ``late_s`` seconds after they happened."""

    def write(*events, late_s: int = 2):
        with tenant_scope(acme.id):
            ledger.record(acme.id, [_came_late(item, source, late_s) for item in events])
            return Delivery.objects.get(title="Invoice")

    return write


def _came_late(item, source, late_s):
    from datetime import timedelta

    from tests.factories import reported

    return reported(item, connection=source)[0]._replace(received_at=item.occurred_at + timedelta(seconds=late_s))
