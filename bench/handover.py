"""Deliveries handed over per second by one worker process against the sandbox, and the memory of a bulk resend."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from psycopg2.extensions import connection as Link

from bench.ingest import connected
from bench.memory import peak_memory
from deliveries import handover, notices, plan_rows, plans
from deliveries.accounts import set_sending
from deliveries.enums import Channel
from deliveries.models import Notice, ResendPlan
from deliveries.notices import NewNotice, NewRecipient
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope

UNLIMITED = "100000000"  # calls a minute


@contextmanager
def sandbox() -> Iterator[str]:
    """Run the sandbox as a process of its own, as providers are, and yield its URL."""
    command = [sys.executable, "-m", "providers.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=settings.BASE_DIR) as process:
        try:
            assert process.stdout is not None  # noqa: S101 -- asked for above
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def sending_tenant(url: str) -> tuple[Tenant, object]:
    tenant, source, _keys = connected()
    settings.PROVIDER_URLS = {"sendgrid": url}
    with tenant_scope(tenant.id):
        values = {"api_key": "SG.bench", "sender": "bench@sender.example", "per_minute": UNLIMITED}
        set_sending(source, values, actor=COMMAND_LINE)
    return tenant, source


def measure_rate(owner: Link, *, deliveries: int, runs: int) -> list[float]:
    """Deliveries a second from the queue to the recorded answer, in one process: one notice to many people."""
    with sandbox() as url:
        tenant, _source = sending_tenant(url)
        return [_rate(tenant, deliveries) for _ in range(runs)]


def _rate(tenant: Tenant, deliveries: int) -> float:
    for first in range(0, deliveries, notices.MOST_RECIPIENTS):
        people = range(first, min(deliveries, first + notices.MOST_RECIPIENTS))
        recipients = tuple(NewRecipient(recipient=f"person{n}@example.co.jp") for n in people)
        new = NewNotice(channel=Channel.EMAIL, recipients=recipients, title="Invoice", text="Please pay.")
        with tenant_scope(tenant.id):
            notices.register(new, tenant=tenant, created_by="bench")
    begun = time.perf_counter()
    left = _hand_over(tenant)
    assert left == deliveries, left  # noqa: S101 -- a bench that lies is none
    return deliveries / (time.perf_counter() - begun)


def _hand_over(tenant: Tenant, plan: ResendPlan | None = None, most: int | None = None) -> int:
    """Hand over what is due, until nothing is or at least ``most`` went."""
    plan_id, handed = plan.id if plan else None, 0
    while (most is None or handed < most) and (accounts := handover.accounts_with_due(tenant.id, plan_id)):
        handed += sum(handover.hand_over(tenant.id, account, plan_id).attempts for account in accounts)
    return handed


def measure_plan(owner: Link, *, rows: int, handed_over: int) -> dict[str, float]:
    """Prepare a resend of so many failed deliveries and run its first ones; MB gained at the peak, rows a second.

    Handing over takes the same memory at the first thousand rows as at the last: it never holds more than one round.
    """
    with sandbox() as url:
        tenant, source = sending_tenant(url)
        _fail_many(tenant, source, rows)
        with owner.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE deliveries_delivery")
        with peak_memory() as gained:
            begun = time.perf_counter()
            with tenant_scope(tenant.id):
                plan = plans.start("channel=email", tenant=tenant, actor=COMMAND_LINE)
            plan_rows.prepare(tenant.id, plan.id)
            prepared = time.perf_counter()
            with tenant_scope(tenant.id):
                plans.approve(ResendPlan.objects.get(id=plan.id), actor=COMMAND_LINE)
            handed = _hand_over(tenant, plan, handed_over)
            ended = time.perf_counter()
            figures = {"memory_mb": gained()}
        assert handed >= handed_over, handed  # noqa: S101 -- as above
    return figures | {"prepared_per_s": rows / (prepared - begun), "handed_per_s": handed / (ended - prepared)}


def _fail_many(tenant: Tenant, source: object, rows: int) -> None:
    """Deliveries of one notice that were blocked: made by SQL, since only what comes after is measured."""
    with tenant_scope(tenant.id):
        new = NewNotice(channel=Channel.EMAIL, recipients=(), title="Reminder", text="Please pay.")
        notice: Notice = notices.register(new, tenant=tenant, created_by="bench").notice
        with connection.cursor() as cursor:
            cursor.execute(_FAILED, {"tenant": tenant.id, "rows": rows, "notice": notice.id, "source": source.id})  # type: ignore[attr-defined]


_FAILED = """
INSERT INTO deliveries_delivery (tenant_id, id, match_key, channel, provider, connection_id, provider_message_id,
    recipient, recipient_key, domain, sender, title, title_key, name, notice_id, first_at, received_at, occurred_at,
    deferrals, attempt, orphan, rank, rank_order, event_id, kind, verdict, state, reply, smtp_code, enhanced_code,
    error_state, failed_at, code, reason, persistence, rule, rules_version)
SELECT %(tenant)s, gen_random_uuid(), gen_random_uuid(), 'email', 'sendgrid', %(source)s, 'plan' || n,
    'failed' || n || '@example.com', 'failed' || n || '@example.com', 'example.com', '', 'Reminder', 'reminder', '',
    %(notice)s, at, at, at, 0, 1, false, 4, 1, gen_random_uuid(), 'blocked', 'blocked/reputation', 'blocked',
    '554 5.7.1 blocked', '554', '5.7.1', 'blocked', at, 'BOUNCE_TRANSIENT_GENERAL', 'blocked', 'soft', 'bench', 1
FROM (SELECT n, now() - n * interval '1 second' AS at FROM generate_series(1, %(rows)s) n) numbers
"""
