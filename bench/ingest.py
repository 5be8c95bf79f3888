"""Whole-path ingest against a plain anymail + ORM handler and against COPY into the same tables, in one run."""

from __future__ import annotations

import io
import multiprocessing
import time
import warnings
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime

from django.db import connection, connections, models
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from psycopg2.extensions import connection as Link

from bench import classify
from bench.payloads import BATCH, batches
from deliveries import inbox
from deliveries.connections import create_connection, webhook_path
from deliveries.models import Connection
from deliveries.webhooks import receive
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope
from providers.sandbox.sendgrid import KeyPair, make_keys, sign

COPIED = ("deliveries_event", "deliveries_delivery")


def measure(owner: Link, *, events: int, plain_events: int, runs: int) -> dict[str, list[float]]:
    """Return the figures of each run: events per second of the three ways, and their ratios."""
    names = ("plain", "ours", "copy", "ingest_vs_plain", "ingest_vs_copy", "two_workers_vs_plain")
    figures: dict[str, list[float]] = {name: [] for name in names}
    for run in range(runs):
        plain = _plain_rate(owner, plain_events, seed=run)
        ours, copied = _our_rate(owner, events, seed=run)
        two_workers = two_workers_rate(owner, events, seed=run)
        for name, value in (
            ("plain", plain),
            ("ours", ours),
            ("copy", copied),
            ("ingest_vs_plain", ours / plain),
            ("ingest_vs_copy", ours / copied),
            ("two_workers_vs_plain", two_workers / plain),
        ):
            figures[name].append(value)
    return figures


def _our_rate(owner: Link, events: int, *, seed: int) -> tuple[float, float]:
    """Post signed webhooks to the real view and work them; then COPY the rows that came of it into empty tables."""
    tenant, source, keys = connected()
    _warm_up(tenant, source, keys)
    _empty(owner)
    posts = _posts(source, keys, batches(events, seed=seed))
    seconds = _timed(lambda: _whole_path(tenant, source, posts))
    with owner.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM deliveries_event")
        assert cursor.fetchone()[0] == len(posts) * BATCH  # noqa: S101 -- as below
    return len(posts) * BATCH / seconds, len(posts) * BATCH / _copy_seconds(owner)


def two_workers_rate(owner: Link, events: int, *, seed: int) -> float:
    """Events per second as deployed by default: one web process posts, then two worker processes share the inbox."""
    tenant, source, keys = connected()
    _warm_up(tenant, source, keys)
    _empty(owner)
    posts = _posts(source, keys, batches(events, seed=seed))
    seconds = _timed(lambda: _with_two_workers(tenant, source, posts))
    _empty(owner)
    return len(posts) * BATCH / seconds


def _with_two_workers(tenant: Tenant, source: Connection, posts: list[HttpRequest]) -> None:
    for request in posts:
        assert receive(request, "sendgrid", source.token).status_code == 200  # noqa: S101 -- as below
    connections.close_all()
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_whole_path, args=(tenant, source, [])) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _warm_up(tenant: Tenant, source: Connection, keys: KeyPair) -> None:
    """Bring the process to the state of one that has run for an hour: imports done, patterns compiled."""
    classify.measure(replies=30_000, runs=1)
    _whole_path(tenant, source, _posts(source, keys, batches(4 * BATCH, seed=99)))


def _posts(source: Connection, keys: KeyPair, bodies: list[bytes]) -> list[HttpRequest]:
    """Signed requests, made before the clock runs, as the plain handler's are."""
    factory = RequestFactory()
    return [
        factory.post(
            webhook_path(source),
            body,
            content_type="application/json",
            headers=sign(keys.private_pem, body, datetime.now(UTC)),
        )
        for body in bodies
    ]


def _whole_path(tenant: Tenant, source: Connection, posts: list[HttpRequest]) -> None:
    """Post to the real view, one after the other, then work the inbox until it is empty: one process, no help."""
    for request in posts:
        assert receive(request, "sendgrid", source.token).status_code == 200  # noqa: S101 -- a bench that lies is none
    while inbox.work(tenant.id).raws:
        pass


def _empty(owner: Link) -> None:
    with owner.cursor() as cursor:
        cursor.execute(
            f"TRUNCATE {', '.join(COPIED)}, deliveries_deliverylink, deliveries_attempt, deliveries_tally,"
            " deliveries_tallydelta, deliveries_rawwebhook"
        )


def connected() -> tuple[Tenant, Connection, KeyPair]:
    keys = make_keys()
    with tenant_scope(operator_tenant_id()):
        tenant, _ = Tenant.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    with tenant_scope(tenant.id):
        values = {"public_key": keys.public_key}
        return tenant, create_connection(provider="sendgrid", name="bench", values=values, actor=COMMAND_LINE), keys


def _copy_seconds(owner: Link) -> float:
    """Seconds that COPY takes to write the same rows into the same tables, indexes and triggers in place."""
    texts: dict[str, str] = {}
    with owner.cursor() as cursor:
        for table in COPIED:
            out = io.StringIO()
            cursor.copy_expert(f"COPY (SELECT * FROM {table}) TO STDOUT", out)
            texts[table] = out.getvalue()
        _empty(owner)
        for table in COPIED:  # COPY refuses to work under row-level security, so this side goes without
            cursor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        seconds = _timed(
            lambda: [cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(texts[table])) for table in COPIED]
        )
        _empty(owner)
        for table in COPIED:
            cursor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    return seconds


def _plain_rate(owner: Link, events: int, *, seed: int) -> float:
    """What most teams write: anymail's view, and a receiver that saves one ORM row an event, seven indexes on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anymail.signals import tracking  # noqa: PLC0415 -- a development dependency, needed here alone
        from anymail.webhooks.sendgrid import SendGridTrackingWebhookView  # noqa: PLC0415 -- as above

    _make_plain_table(owner)

    def save(sender: object, event: object, esp_name: str, **kwargs: object) -> None:
        PlainEvent.objects.create(**_plain_values(event))

    tracking.connect(save)
    login = b64encode(b"user:password").decode()
    factory = RequestFactory()
    with override_settings(ANYMAIL={"WEBHOOK_SECRET": "user:password"}):
        view = SendGridTrackingWebhookView.as_view()
        posts = [
            factory.post("/", body, content_type="application/json", headers={"authorization": f"Basic {login}"})
            for body in batches(events, seed=seed)
        ]
        seconds = _timed(lambda: [view(request) for request in posts])
    tracking.disconnect(save)
    return len(posts) * BATCH / seconds


class PlainEvent(models.Model):
    """Seven indexes with the key: what an error list, a search and de-duplication need at the least."""

    event_id = models.CharField(max_length=100)
    message_id = models.CharField(max_length=200)
    recipient = models.CharField(max_length=320)
    kind = models.CharField(max_length=20)
    reason = models.CharField(max_length=40)
    reply = models.TextField()
    tenant = models.IntegerField()
    occurred_at = models.DateTimeField()
    payload = models.JSONField()

    class Meta:
        app_label = "bench"
        constraints = [models.UniqueConstraint(fields=["event_id"], name="bench_plain_once")]
        indexes = [
            models.Index(fields=["message_id"], name="bench_plain_message"),
            models.Index(fields=["recipient"], name="bench_plain_recipient"),
            models.Index(fields=["kind"], name="bench_plain_kind"),
            models.Index(fields=["occurred_at"], name="bench_plain_when"),
            models.Index(fields=["tenant", "-occurred_at"], name="bench_plain_newest"),
        ]


def _make_plain_table(owner: Link) -> None:
    with owner.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_plainevent")
        with connection.schema_editor(collect_sql=True) as editor:
            editor.create_model(PlainEvent)
            statements = [*editor.collected_sql, *editor.deferred_sql]
        for statement in statements:
            cursor.execute(str(statement))
        cursor.execute(f'GRANT ALL ON bench_plainevent TO "{connection.settings_dict["USER"]}"')


def _plain_values(event: object) -> dict[str, object]:
    return {
        "event_id": getattr(event, "event_id", ""),
        "message_id": getattr(event, "message_id", "") or "",
        "recipient": getattr(event, "recipient", "") or "",
        "kind": getattr(event, "event_type", ""),
        "reason": getattr(event, "reject_reason", "") or "",
        "reply": getattr(event, "mta_response", "") or "",
        "tenant": 1,
        "occurred_at": getattr(event, "timestamp", None),
        "payload": getattr(event, "esp_event", {}),
    }


def _timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
