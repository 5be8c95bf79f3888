"""Asking the tenant's product: one signed request, what its answer means, and what the product says afterwards."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from standardwebhooks import Webhook

from deliveries import asking, attempts, ledger
from deliveries.attempts import AttemptRefusedError
from deliveries.enums import AttemptStatus, AttemptWhy, Kind, Outcome
from deliveries.gather import recipient_key
from deliveries.models import Attempt, Delivery, ResendHook
from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from providers.sending import Accepted, NoAnswer, Refused, TryLater
from tests.factories import connect, event, reported
from tests.failures import bounced, report, sends
from tests.sending import tell, work

pytestmark = pytest.mark.django_db

HANAKO = Actor("hanako@example.test", 7)


@pytest.fixture
def product(settings):
    """A tenant's product that keeps what it was asked and answers with ``status``."""
    settings.ALLOW_LOOPBACK = True

    class Product(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.asked.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            if self.server.status:
                self.send_response(self.server.status)
                self.end_headers()

        def log_message(self, *_args):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Product)
    server.asked, server.status = [], 202
    server.url = f"http://127.0.0.1:{server.server_port}/resend"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def item(acme):
    source = sends(acme)
    (row,) = bounced(acme, "taro@example.com", title="Invoice")
    with tenant_scope(acme.id):
        attempt = Attempt(
            delivery=row, why="resend", channel="email", connection_id=source.id, number=2, recipient=row.recipient
        )
        attempt.save()
    return attempt, row, "taro@example.com"


def hook_at(acme, url: str) -> tuple[ResendHook, str]:
    with tenant_scope(acme.id):
        secret = asking.set_hook(url, actor=HANAKO)
        return asking.hook_of_tenant(), secret


def test_the_request_is_signed_and_names_what_to_send(acme, product, item):
    hook, secret = hook_at(acme, product.url)
    assert asking.ask(hook, [item]) == Accepted(answer=asking.ASKED)
    ((headers, body),) = product.asked
    said = Webhook(secret).verify(body.decode(), headers)
    assert said == json.loads(body)
    (asked,) = said["items"]
    attempt, row, _ = item
    assert (asked["attempt"], asked["delivery"], asked["recipient"], asked["title"], asked["code"]) == (
        attempt.id.hex,
        str(row.id),
        "taro@example.com",
        "Invoice",
        row.code,
    )
    with tenant_scope(acme.id):
        assert asking.hook_of_tenant().last_answer == "HTTP 202"


@pytest.mark.parametrize(("status", "result"), [(503, TryLater), (429, TryLater), (404, Refused), (0, NoAnswer)])
def test_an_answer_means_what_it_says(acme, product, item, status, result):
    hook, _secret = hook_at(acme, product.url)
    product.status = status
    assert type(asking.ask(hook, [item])) is result


def test_a_private_address_is_never_called(acme, product, item, settings):
    hook, _secret = hook_at(acme, product.url)
    settings.ALLOW_LOOPBACK = False
    assert type(asking.ask(hook, [item])) is Refused
    assert product.asked == []


def test_the_secret_is_shown_once_and_can_be_changed(acme, settings):
    hook, first = hook_at(acme, "https://product.example.com/resend")
    with tenant_scope(acme.id):
        assert asking.set_hook("https://product.example.com/other", actor=HANAKO) == ""
        second = asking.rotate_secret(hook, actor=HANAKO)
        with pytest.raises(asking.HookInputError):
            asking.set_hook("http://product.example.com/", actor=HANAKO)
        asking.remove_hook(hook, actor=HANAKO)
        actions = list(
            AuditEntry.objects.filter(object_type="resend_hook").order_by("id").values_list("action", "after")
        )
    assert first.startswith("whsec_")
    assert second != first
    assert [action for action, _ in actions] == [
        "resend_hook.created",
        "resend_hook.changed",
        "resend_hook.secret_rotated",
        "resend_hook.removed",
    ]
    assert "whsec_" not in str(actions)


def test_what_the_product_sends_is_followed_to_its_end(acme, item):
    attempt, row, recipient = item
    with tenant_scope(acme.id):
        Attempt.objects.filter(id=attempt.id).update(status=AttemptStatus.ASKED)
        asking.sent_by_product(attempt, "from-the-product-1")

    source = type("Source", (), {"id": row.connection_id, "provider": row.provider})
    said = event(Kind.DELIVERED, provider_message_id="from-the-product-1", recipient=recipient)
    with tenant_scope(acme.id):
        ledger.record(acme.id, reported(said, connection=source))
        found = Delivery.objects.get(id=row.id)
    assert (found.state, found.recipient_key) == ("delivered", recipient_key(recipient))


def test_a_tenant_whose_product_sends_everything_is_asked_without_an_account_of_ours(acme, product):
    source = connect(acme, "ses")
    hook_at(acme, product.url)
    with tenant_scope(acme.id):
        ledger.record(acme.id, reported(event(Kind.BLOCKED, verdict="Transient/ContentRejected"), connection=source))
        row = Delivery.objects.get()
        attempts.queue_attempt(row, why=AttemptWhy.RESEND, actor=HANAKO)
    assert work(acme) == 1
    ((_headers, body),) = product.asked
    with tenant_scope(acme.id):
        made = Attempt.objects.get()
    assert json.loads(body)["items"][0]["attempt"] == made.id.hex
    assert (made.status, made.outcome, made.number) == (AttemptStatus.ASKED, Outcome.ASKED, 2)
    tell(acme, source, made, Kind.DELIVERED)
    with tenant_scope(acme.id):
        assert (Delivery.objects.get().state, Attempt.objects.get().status) == ("delivered", AttemptStatus.ACCEPTED)


def test_what_the_product_refuses_is_kept_with_its_words_and_only_once(acme, item):
    attempt, row, _recipient = item
    with tenant_scope(acme.id):
        Attempt.objects.filter(id=attempt.id).update(status=AttemptStatus.ASKED)
        asking.refused_by_product(attempt, "customer left")
        attempt.refresh_from_db()
        assert (attempt.status, attempt.answer) == ("refused", "customer left")
        with pytest.raises(AttemptRefusedError):
            asking.sent_by_product(attempt, "x")
        assert report(acme, row, Kind.ACCEPTED).is_open
