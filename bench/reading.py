"""The error list, the dashboard and the CSV, by the views that people call, at a size where scanning would show."""

from __future__ import annotations

import html
import io
import re
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urljoin

from django.db import connection
from django.http import HttpResponseBase
from django.test import Client
from psycopg2.extensions import connection as Link

from bench.fill import empty, fill
from bench.memory import peak_memory
from deliveries.queries import undelivered_number
from notifyguard.accounts.models import Membership, Tenant, User
from notifyguard.accounts.tenancy import tenant_scope

FILTERS = (
    "channel=email",
    "channel=sms",
    "channel=email&state=deferred",
    "channel=email&code=BOUNCE_TRANSIENT_MBX_FULL",
    "channel=email&persistence=hard",
    "channel=email&actionable=no",
    "channel=email&domain=rare.example",
    "channel=email&connection=00000000-0000-0000-0000-000000000002",
    "channel=email&q=person12",
    "channel=email&q=notice+44",
    "channel=email&state=bounced&persistence=soft&domain=example.net",
    "channel=lineworks&state=blocked&code=BOUNCE_TRANSIENT_GENERAL",
)


def browser_of(tenants: list[Tenant]) -> Client:
    """A logged-in session of a person who may read each of the tenants."""
    person = User.objects.filter(email="bench@example.test").first() or User.objects.create_user("bench@example.test")
    for tenant in tenants:
        with tenant_scope(tenant.id):
            Membership.objects.get_or_create(user=person, defaults={"role": "admin"})
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def list_latencies(client: Client, tenants: list[Tenant], rounds: int) -> list[float]:
    """Seconds of each page: every filter, the first page and three further ones, the half-tenant and a small one."""
    found = []
    for _ in range(rounds):
        for tenant in tenants:
            for query in FILTERS:
                found += list(_walk(client, f"/t/{tenant.slug}/errors/?{query}"))
    return found


def _walk(client: Client, url: str, pages: int = 4) -> Iterator[float]:
    """Seconds of a page and of those that its "next" links lead to."""
    for _ in range(pages):
        begun = time.perf_counter()
        answer = client.get(url)
        yield time.perf_counter() - begun
        assert answer.status_code == 200, answer.status_code  # noqa: S101 -- a bench that lies is none
        link = re.search(r'<a [^>]*rel="next"[^>]*>', answer.content.decode())
        if link is None:
            return
        url = urljoin(url, html.unescape(link[0].split('href="')[1].split('"')[0]))


def dashboard_latencies(tenant: Tenant, rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        with tenant_scope(tenant.id):
            undelivered_number(tenant)
        found.append(time.perf_counter() - begun)
    return found


def p95_ms(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1] * 1000


def measure(owner: Link, *, small: int, large: int, tenants: int, rounds: int) -> dict[str, float]:
    """Return p95 of list pages at both sizes, their ratio, and p95 of the dashboard's number at the larger."""
    figures: dict[str, float] = {}
    for name, size in (("small", small), ("large", large)):
        empty(owner)
        made = fill(owner, size, tenants)
        client = browser_of(made[:2])
        list_latencies(client, made[:2], 1)
        figures[f"list_p95_ms_{name}"] = p95_ms(list_latencies(client, made[:2], rounds))
    figures["dashboard_p95_ms"] = p95_ms(dashboard_latencies(made[0], 100))
    return figures


def measure_csv(owner: Link, *, rows: int) -> dict[str, float]:
    """Return the CSV's speed as a share of COPY TO STDOUT of the same rows, time to the first byte, memory growth."""
    empty(owner)
    tenant = _all_failing(owner, rows)
    client = browser_of([tenant])
    url = f"/t/{tenant.slug}/errors/export?channel=email"
    with peak_memory() as gained:
        begun = time.perf_counter()
        size, first_byte_s = _drain(client.get(url))
        seconds = time.perf_counter() - begun
    copy_s = _copy_seconds(tenant)
    return {
        "csv_vs_copy": copy_s / seconds,
        "csv_first_byte_ms": first_byte_s * 1000,
        "csv_memory_mb": gained(),
        "csv_rows_per_s": rows / seconds,
        "csv_mb": size / 1e6,
    }


def _all_failing(owner: Link, rows: int) -> Tenant:
    made = fill(owner, 2 * rows, 2)
    with owner.cursor() as cursor:
        cursor.execute("ALTER TABLE deliveries_delivery DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE deliveries_delivery SET channel = 'email', state = 'bounced', error_state = 'bounced',"
            " failed_at = occurred_at,"
            " code = coalesce(code, 'BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE'), reason = coalesce(reason, 'userunknown'),"
            " persistence = 'hard' WHERE tenant_id = %s",
            [str(made[0].id)],
        )
        cursor.execute("ALTER TABLE deliveries_delivery ENABLE TRIGGER USER")
        cursor.execute("VACUUM ANALYZE deliveries_delivery")
    return made[0]


def _drain(answer: HttpResponseBase) -> tuple[int, float]:
    begun, first, size = time.perf_counter(), 0.0, 0
    for chunk in answer.streaming_content:  # type: ignore[attr-defined]
        first = first or time.perf_counter() - begun
        size += len(chunk)
    return size, first


def _copy_seconds(tenant: Tenant) -> float:
    """Seconds of the plainest possible export: the same rows, PostgreSQL's own words, order and format."""
    query = (
        "COPY (SELECT title, recipient, state, code, reason, persistence, occurred_at, received_at, deferrals, reply,"
        " provider_message_id, domain, sender, connection_id, provider, channel FROM deliveries_delivery"
        f" WHERE tenant_id = '{tenant.id}' AND error_state IS NOT NULL ORDER BY failed_at DESC, id DESC) TO STDOUT CSV"
    )
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        begun = time.perf_counter()
        cursor.copy_expert(query, _Nowhere())
        return time.perf_counter() - begun


class _Nowhere(io.RawIOBase):
    def write(self, data: object) -> int:
        return len(data)  # type: ignore[arg-type]
