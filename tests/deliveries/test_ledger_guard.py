"""The ledger's own guard, seen from its owner's role."""

from __future__ import annotations

import psycopg2
import pytest

from deliveries import ledger
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported


@pytest.mark.parametrize(
    "statement", ["UPDATE deliveries_event SET kind = 'delivered'", "DELETE FROM deliveries_event"]
)
def test_a_trigger_refuses_to_change_an_event_even_to_the_owner(committed_db, acme, owner_link, statement):
    with tenant_scope(acme.id):
        ledger.record(acme.id, reported(event(), connection=connect(acme, "smpp")))
    with owner_link.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        cursor.execute(statement)
