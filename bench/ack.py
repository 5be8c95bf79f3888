"""How long a provider waits for its answer while a worker process is busy with the inbox."""

from __future__ import annotations

import multiprocessing
import statistics
import time
import uuid
from datetime import UTC, datetime

from django.db import connections
from django.test import RequestFactory

from bench.ingest import connected
from bench.payloads import batches
from deliveries import inbox
from deliveries.connections import webhook_path
from deliveries.webhooks import receive
from providers.sandbox.sendgrid import sign


def measure(*, webhooks: int) -> float:
    """Return p99 in ms of the answer to a 500-event webhook while another process works the inbox without a pause."""
    tenant, source, keys = connected()
    factory = RequestFactory()
    bodies = batches(webhooks * 500, seed=11)
    connections.close_all()
    worker = multiprocessing.get_context("fork").Process(target=_work_without_pause, args=(tenant.id,), daemon=True)
    worker.start()
    found = []
    for body in bodies:
        headers = sign(keys.private_pem, body, datetime.now(UTC))
        request = factory.post(webhook_path(source), body, content_type="application/json", headers=headers)
        begun = time.perf_counter()
        receive(request, "sendgrid", source.token)
        found.append((time.perf_counter() - begun) * 1000)
    worker.terminate()
    worker.join()
    return statistics.quantiles(found, n=100)[-1]


def _work_without_pause(tenant_id: uuid.UUID) -> None:
    while True:
        inbox.work(tenant_id)
