"""The mail log as a file: what the filter shows, with the provider's answers, audited without names."""

from __future__ import annotations

import csv
import io

import pytest

from deliveries import ledger
from deliveries.enums import AttemptStatus, AttemptWhy, Kind
from deliveries.models import Attempt, Delivery
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import AT, connect, event, reported


@pytest.fixture
def recorded(committed_db, acme):
    """Two notices of one person; the delivered one was handed over by us."""
    with tenant_scope(acme.id):
        source = connect(acme, "ses")
        delivered = event(Kind.DELIVERED, title="Invoice", provider_message_id="1")
        bounced = event(Kind.BOUNCED, title="Survey", provider_message_id="2")
        ledger.record(acme.id, reported(delivered, bounced, connection=source))
        row = Delivery.objects.get(title="Invoice")
        values = {"why": AttemptWhy.FIRST, "status": AttemptStatus.ACCEPTED, "answered_at": AT, "channel": row.channel}
        values["connection_id"] = row.connection_id
        Attempt(delivery=row, answer="an older one", **values).save()
        Attempt(delivery=row, answer="=202 Accepted", **values).save()


def test_the_file_has_every_state_and_the_last_answer_and_is_audited(recorded, acme, member, client_as):
    admin = client_as(member("admin", acme))
    answer = admin.get("/t/acme/mail-log/export?c=1.title.is.invoice&c=1.recipient.starts.taro")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))
    columns = ("Title", "State", "Failed at (Europe/London)", "Provider's answer", "Answered at (Europe/London)")
    assert [[row[name] for name in columns] for row in rows] == [
        ["Invoice", "Delivered", "", "'=202 Accepted", "2026-11-20 09:00:00"]
    ]
    assert answer["Content-Disposition"].startswith('attachment; filename="mail-log-acme-')
    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get(action="mail_log.exported")
    assert entry.after["filter"] == {"c": ["1.title.is.invoice", "1.recipient.starts.…"]}
