"""Nothing is lost and nothing counts twice, whatever is killed when."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

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


def body_of(batch: int) -> bytes:
    now = int(datetime.now(UTC).timestamp())
    items = [
        {
            "event": "bounce",
            "type": "bounce",
            "email": f"person{batch}-{n}@example.test",
            "timestamp": now,
            "sg_message_id": f"m{batch}-{n}.x",
            "reason": "550 5.1.1 user unknown",
            "status": "5.1.1",
        }
        for n in range(SIZE)
    ]
    return json.dumps(items).encode()


def test_a_killed_worker_and_a_stopped_valkey_lose_nothing_and_double_nothing(product, acme, owner_link):
    keys = make_keys()
    with tenant_scope(acme.id):
        source = create_connection(
            provider="sendgrid", name="sendgrid", values={"public_key": keys.public_key}, actor=COMMAND_LINE
        )

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
