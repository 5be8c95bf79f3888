"""Signed webhooks at the real URL, worked into the list that people see."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from deliveries import inbox
from deliveries.connections import add_route, create_connection, webhook_path
from deliveries.enums import RawStatus
from deliveries.models import Connection, Delivery, Event, Quarantined, RawWebhook, UnparsedItem
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from providers.sandbox.sendgrid import make_keys, sign

pytestmark = pytest.mark.django_db

KEYS = make_keys()


def connect_sendgrid(tenant, **options) -> Connection:
    with tenant_scope(tenant.id):
        values = {"public_key": KEYS.public_key}
        return create_connection(provider="sendgrid", name="SendGrid", values=values, actor=COMMAND_LINE, **options)


@pytest.fixture
def source(acme) -> Connection:
    return connect_sendgrid(acme)


def post(source: Connection, body: bytes, *, key=KEYS, at: datetime | None = None, tampered: bool = False):
    headers = sign(key.private_pem, body, at or datetime.now(UTC))
    sent = body.replace(b"bounce", b"bounse", 1) if tampered else body
    return Client().post(webhook_path(source), sent, content_type="application/json", headers=headers)


def work(tenant) -> inbox.Worked:
    total = inbox.NOTHING
    while (worked := inbox.work(tenant.id)).raws:
        total += worked
    return total


def bounce(number: int, **values) -> dict:
    at = int((datetime.now(UTC) - timedelta(minutes=number)).timestamp())
    item = {"event": "bounce", "type": "bounce", "email": f"person{number}@example.test", "timestamp": at}
    item |= {"sg_message_id": f"message{number}.recvd-1", "status": "5.1.1", "reason": "550 5.1.1 user unknown"}
    return item | values


def rows(tenant, model):
    with tenant_scope(tenant.id):
        return list(model.objects.all())


def test_a_signed_batch_becomes_open_deliveries(acme, source):
    assert post(source, json.dumps([bounce(n) for n in range(5)]).encode()).status_code == 200
    assert work(acme) == inbox.Worked(raws=1, new_events=5, changed=5, failed=0, confirmations=0)
    assert {row.error_state for row in rows(acme, Delivery)} == {"bounced"}


def test_the_batch_again_and_shuffled_changes_nothing(acme, source):
    items = [bounce(n) for n in range(20)]
    post(source, json.dumps(items).encode())
    work(acme)
    before = {row.id: row.state for row in rows(acme, Delivery)}
    for _ in range(2):
        random.shuffle(items)
        post(source, json.dumps(items).encode())
    assert work(acme) == inbox.Worked(raws=2, new_events=0, changed=0, failed=0, confirmations=0)
    assert {row.id: row.state for row in rows(acme, Delivery)} == before


def test_a_tampered_batch_is_answered_401_counted_and_not_kept(acme, source):
    answer = post(source, json.dumps([bounce(1)]).encode(), tampered=True)
    assert (answer.status_code, rows(acme, RawWebhook)) == (401, [])
    row = rows(acme, Connection)[0]
    assert (row.rejected_count, row.last_rejected_reason) == (1, "signature_wrong")


def test_an_unsigned_body_is_answered_401(acme, source):
    answer = Client().post(webhook_path(source), b"hello", content_type="text/plain")
    assert (answer.status_code, rows(acme, RawWebhook)) == (401, [])


def test_somebody_elses_key_is_answered_401(source):
    assert post(source, b"[]", key=make_keys()).status_code == 401


def test_an_unknown_url_is_answered_404(source):
    assert Client().post(f"/webhooks/sendgrid/{'A' * 54}", b"[]", content_type="application/json").status_code == 404
    assert Client().post(f"/webhooks/twilio/{source.token}", b"", content_type="text/plain").status_code == 404
    assert Client().post("/webhooks/nobody/x", b"", content_type="text/plain").status_code == 404


def test_a_body_over_the_limit_is_answered_413(source, settings):
    settings.WEBHOOK_BODY_LIMIT = 100
    assert post(source, b"[" + b" " * 200 + b"]").status_code == 413


def test_three_garbled_items_leave_497_events_and_three_visible_items(acme, source):
    items = [bounce(n) for n in range(500)]
    items[7], items[250], items[499] = 42, {"event": "bounce", "timestamp": 1}, bounce(3, timestamp="yesterday")
    assert post(source, json.dumps(items).encode()).status_code == 200
    work(acme)
    kept = sorted(rows(acme, UnparsedItem), key=lambda row: row.item_index)
    assert (len(rows(acme, Event)), [row.item_index for row in kept]) == (497, [7, 250, 499])
    assert all(row.reason for row in kept)


def test_a_signed_body_that_is_not_json_is_kept_and_shown(acme, source):
    assert post(source, b"not json at all").status_code == 200
    work(acme)
    (item,) = rows(acme, UnparsedItem)
    assert item.reason.startswith("The body is not JSON") and item.raw == "not json at all"
    assert rows(acme, RawWebhook)[0].status == RawStatus.DONE


def test_a_webhook_that_cannot_be_worked_is_set_aside_and_the_others_go_on(acme, source):
    other = connect_sendgrid(acme)
    post(other, json.dumps([bounce(1)]).encode())
    post(source, json.dumps([bounce(2)]).encode())
    with tenant_scope(acme.id):
        Connection.objects.filter(id=other.id).update(provider="discontinued")
    assert work(acme) == inbox.Worked(raws=2, new_events=1, changed=1, failed=1, confirmations=0)
    assert sorted(row.status for row in rows(acme, RawWebhook)) == [RawStatus.DONE, RawStatus.FAILED]
    (failed,) = (row for row in rows(acme, RawWebhook) if row.status == RawStatus.FAILED)
    assert failed.error.startswith("KeyError in ") and "example.test" not in failed.error


def test_replay_from_the_raw_inbox_changes_nothing_the_second_time(acme, source):
    post(source, json.dumps([bounce(n) for n in range(5)]).encode())
    work(acme)
    assert inbox.replay(acme.id) == inbox.Worked(raws=1, new_events=0, changed=0, failed=0, confirmations=0)


def test_events_of_a_shared_connection_go_to_their_tenants_and_the_rest_waits(operator, acme, sakura):
    shared = connect_sendgrid(operator, shared=True, route_by="custom:ng_tenant")
    with tenant_scope(operator.id):
        add_route(shared, tenant_id=acme.id, value="acme", actor=COMMAND_LINE)
        add_route(shared, tenant_id=sakura.id, value="sakura", actor=COMMAND_LINE)
    items = [bounce(1, ng_tenant="acme"), bounce(2, ng_tenant="sakura"), bounce(3, ng_tenant="momiji"), bounce(4)]
    post(shared, json.dumps(items).encode())
    assert work(operator).new_events == 2
    assert [row.recipient for row in rows(acme, Delivery)] == ["person1@example.test"]
    assert [row.recipient for row in rows(sakura, Delivery)] == ["person2@example.test"]
    assert sorted(row.route_value for row in rows(operator, Quarantined)) == ["", "momiji"]


def test_a_route_added_later_lets_held_events_through_once(operator, acme):
    shared = connect_sendgrid(operator, shared=True, route_by="custom:ng_tenant")
    post(shared, json.dumps([bounce(1, ng_tenant="acme")]).encode())
    work(operator)
    with tenant_scope(operator.id):
        add_route(shared, tenant_id=acme.id, value="acme", actor=COMMAND_LINE)
    assert [inbox.replay(operator.id).new_events for _ in range(2)] == [1, 0]
    assert (len(rows(acme, Delivery)), [row.released_at is None for row in rows(operator, Quarantined)]) == (1, [False])
