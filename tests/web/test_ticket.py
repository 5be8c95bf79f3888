"""The support ticket pack: everything a support desk asks for, in one text."""

from __future__ import annotations

import re
from html import unescape

import pytest

from deliveries import ledger
from deliveries.enums import AttemptStatus, AttemptWhy, Kind
from deliveries.models import Attempt, Delivery
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

NOTICE = "0198c2a4-5f7e-7d31-9c55-0c8b0f6d2b11"


@pytest.fixture
def delivery(sakura):
    with tenant_scope(sakura.id):
        source = connect(sakura, "ses", "Billing mail")
        values = {"title": "Invoice", "sender": "billing@sakura.example"}
        deferred = event(
            Kind.DEFERRED,
            1,
            reply="452 4.2.2 Mailbox full\nTry later",
            smtp_code="452",
            enhanced_code="4.2.2",
            **values,
        )
        ledger.record(sakura.id, reported(deferred, event(Kind.BOUNCED, 9, **values), connection=source))
        row = Delivery.objects.get()
        Delivery.objects.update(notice_id=NOTICE, name="山田 太郎")
        values = {"why": AttemptWhy.FIRST, "status": AttemptStatus.ACCEPTED, "channel": row.channel}
        values["connection_id"] = row.connection_id
        Attempt(delivery=row, answer="202 Accepted", provider_message_id="message-1", sent_at=AT, **values).save()
        return Delivery.objects.get()


@pytest.fixture
def viewer(sakura, member, client_as):
    return client_as(member("viewer", sakura))


def address(delivery) -> str:
    return f"/t/sakura/deliveries/{delivery.id}/ticket"


def shown(html: str) -> str:
    return unescape(re.search(r'id="ticket" tabindex="0">(.*?)</pre>', html, re.DOTALL)[1])


def test_the_text_has_all_that_is_asked_for_in_order_with_the_zone(viewer, sakura, delivery):
    with tenant_scope(sakura.id):
        attempt = Attempt.objects.get()
    text = viewer.get(address(delivery) + "?download=1").content.decode()
    assert text.splitlines() == [
        "== Notice ==",
        f"Notice id: {NOTICE}",
        f"Delivery id: {delivery.id}",
        "Title: Invoice",
        "Sender: billing@sakura.example",
        "Recipient: taro@example.co.jp",
        "Name: 山田 太郎",
        "Channel: Email",
        "State: Bounced",
        "First handed over: 2026-11-20 18:01:00+09:00",
        "Last event: 2026-11-20 18:09:00+09:00",
        "First deferred: 2026-11-20 18:01:00+09:00",
        "Provider: Amazon SES",
        "Connection: Billing mail",
        "Provider's message id: message-1",
        "",
        "== Our classification ==",
        "Reason code: BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE (Address does not exist)",
        "Reason: Address does not exist",
        "Persistence: hard",
        "Reply code: 550 5.1.1",
        f"Rule: {delivery.rule}, rules version {delivery.rules_version}",
        "",
        "== Hand-overs ==",
        "2026-11-20 18:00:00+09:00  First hand-over: Accepted",
        f"  Attempt id: {attempt.id}",
        "  Provider's message id: message-1",
        "  Provider's answer: 202 Accepted",
        "",
        "== Events, oldest first ==",
        "2026-11-20 18:01:00+09:00  Deferred: the provider keeps trying",
        "  Received here: 2026-11-20 18:01:00+09:00",
        "  Provider's message id: message-1",
        "  Reply code: 452 4.2.2",
        "  Reply: 452 4.2.2 Mailbox full",
        "    Try later",
        "  Read as: BOUNCE_TRANSIENT_MBX_FULL (reply.mailbox-full)",
        "",
        "2026-11-20 18:09:00+09:00  Bounced",
        "  Received here: 2026-11-20 18:01:00+09:00",
        "  Provider's message id: message-1",
        "  Provider's verdict: bounce/invalid",
        "  Reply code: 550 5.1.1",
        "  Reply: 550 5.1.1 User unknown",
        f"  Read as: BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE ({delivery.rule})",
    ]


def test_pasted_headers_join_the_text(viewer, delivery):
    html = viewer.post(address(delivery), {"headers": "Received: by a.example\r\nFrom: <x@example.com>\r\n"})
    assert shown(html.content.decode()).splitlines()[-3:] == [
        "== Headers of the message, as pasted ==",
        "Received: by a.example",
        "From: <x@example.com>",
    ]


def test_it_is_downloaded_as_a_text_file(viewer, delivery):
    answer = viewer.post(address(delivery), {"headers": "From: x@example.com", "download": "1"})
    assert answer["Content-Disposition"] == f'attachment; filename="ticket-{delivery.id}.txt"'
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.content.decode().endswith("From: x@example.com\n")


def test_page_and_file_say_the_same(viewer, delivery):
    html, file = viewer.get(address(delivery)), viewer.get(address(delivery) + "?download=1")
    assert shown(html.content.decode()) == file.content.decode()


def test_another_tenants_delivery_has_no_ticket(acme, delivery, member, client_as):
    stranger = client_as(member("admin", acme))
    assert stranger.get(f"/t/acme/deliveries/{delivery.id}/ticket").status_code == 404
