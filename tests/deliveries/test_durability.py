"""Nothing is lost and nothing counts twice, whatever is killed when."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deliveries.connections import create_connection, webhook_path
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from providers.sandbox.sendgrid import make_keys, sign
from tests.running import Product

BATCHES, SIZE = 24, 250


@pytest.fixture
def product(committed_db, tmp_path):
    running = Product(tmp_path)
    yield running
    running.close()


NOW = int(datetime.now(UTC).timestamp())


def body_of(batch: int) -> bytes:
    items = [
        {
            "event": "bounce",
            "type": "bounce",
            "email": f"person{batch}-{n}@example.test",
            "timestamp": NOW,
            "sg_message_id": f"m{batch}-{n}.x",
            "reason": "550 5.1.1 user unknown",
            "status": "5.1.1",
        }
        for n in range(SIZE)
    ]
    return json.dumps(items).encode()


def connect_sendgrid(tenant, keys):
    with tenant_scope(tenant.id):
        values = {"public_key": keys.public_key}
        return create_connection(provider="sendgrid", name="sendgrid", values=values, actor=COMMAND_LINE)


def test_a_webhook_takes_four_queries_of_which_one_writes(committed_db, acme):
    keys, body = make_keys(), body_of(1)
    source = connect_sendgrid(acme, keys)
    headers = sign(keys.private_pem, body, datetime.now(UTC))
    with CaptureQueriesContext(connection) as made:
        answer = Client().post(webhook_path(source), body, content_type="application/json", headers=headers)
    verbs = [query["sql"].split()[0] for query in made.captured_queries if query["sql"] not in {"BEGIN", "COMMIT"}]
    assert (answer.status_code, sorted(verbs)) == (200, ["INSERT", "SELECT", "SELECT", "SELECT"])


def test_a_killed_worker_and_a_stopped_valkey_lose_nothing_and_double_nothing(product, acme, owner_link):
    keys = make_keys()
    source = connect_sendgrid(acme, keys)

    def post(batch: int) -> int:
        body = body_of(batch)
        headers = sign(keys.private_pem, body, datetime.now(UTC))
        return product.http.request("POST", product.url + webhook_path(source), body=body, headers=headers).status

    def count(what: str) -> int:
        with owner_link.cursor() as cursor:
            cursor.execute(what)
            return cursor.fetchone()[0]

    def stored() -> int:
        return count("SELECT count(*) FROM deliveries_event")

    product.start("web", "worker", "beat")
    answers = [post(batch) for batch in range(BATCHES // 2)]
    product.wait_until(lambda: stored() > 0, "the first events are in the ledger")
    product.kill("worker")
    product.stop_valkey()
    answers += [post(batch) for batch in range(BATCHES // 2, BATCHES)]
    answers += [post(0), post(BATCHES - 1)]  # a provider that got no answer in time sends again
    assert answers == [200] * (BATCHES + 2)
    assert stored() < BATCHES * SIZE

    product.start_valkey()
    product.start("worker")
    product.wait_until(
        lambda: count("SELECT count(*) FROM deliveries_rawwebhook WHERE status <> 1") == 0, "the inbox is empty"
    )
    assert (stored(), count("SELECT count(*) FROM deliveries_delivery")) == (BATCHES * SIZE, BATCHES * SIZE)
    assert count("SELECT count(DISTINCT id) FROM deliveries_event") == BATCHES * SIZE
