"""The self-test of a connection: a closed port, a wrong key and a missing event type are told apart."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from deliveries import selftest
from deliveries.connections import note_rejection, switch_connection
from deliveries.models import Connection, ConnectionEvent
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from tests.factories import connect


@contextmanager
def public_server(settings, answer):
    """A server at the public URL; ``answer(nonce)`` is (status, headers, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            nonce = parse_qs(urlsplit(self.path).query).get("notifyguard_probe", [""])[0]
            status, headers, body = answer(nonce)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    settings.PUBLIC_URL = f"http://127.0.0.1:{server.server_port}"
    settings.ALLOW_LOOPBACK = True
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def echo(nonce):
    return 200, {}, nonce.encode()


def checks(row: Connection) -> dict[str, selftest.Check]:
    with tenant_scope(row.tenant_id):
        return {check.name: check for check in selftest.run(row)}


def reachability(row: Connection, settings, answer) -> selftest.Check:
    with public_server(settings, answer):
        return checks(row)["Reachable"]


@pytest.fixture
def row(acme) -> Connection:
    return connect(acme, "smpp")


@pytest.fixture
def closed_port(settings):
    """Nothing is reachable: for tests of the checks that need no network."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings.PUBLIC_URL = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings.ALLOW_LOOPBACK = True


def change(row: Connection, **values) -> None:
    with tenant_scope(row.tenant_id):
        Connection.objects.filter(id=row.id).update(**values)


def test_the_own_installation_answering_is_reachable(row, settings):
    assert reachability(row, settings, echo).ok is True


def test_the_webhook_view_echoes_the_probe_of_a_connection_and_of_no_other(row, client):
    url = f"/webhooks/smpp/{row.token}?notifyguard_probe=abc"

    assert client.get(url).content == b"abc"
    assert client.get(url.replace(row.token[-4:], "AAAA")).status_code == 404


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda nonce: (302, {"Location": "https://example.com/"}, b""), "answered with a redirect (HTTP 302)"),
        (lambda nonce: (403, {}, b"no"), "answered HTTP 403 instead of 200"),
        (lambda nonce: (200, {}, b"Welcome to nginx"), "Another server answered"),
        (lambda nonce: (200, {}, b""), "Another server answered"),
    ],
)
def test_an_answer_that_is_not_ours_is_told_apart(row, settings, answer, words):
    check = reachability(row, settings, answer)

    assert check.ok is False
    assert words in check.message
    assert check.what_to_do


def test_a_closed_port_is_named(row, closed_port):
    check = checks(row)["Reachable"]

    assert (check.ok, "the port is closed" in check.message) == (False, True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://nowhere.invalid", "is not known to the DNS"),
        ("http://127.0.0.1:9", "leads to a private address"),
        ("no-url", "is not a web address"),
    ],
)
def test_a_public_url_that_no_provider_can_reach_is_told(row, settings, url, words, monkeypatch):
    settings.PUBLIC_URL, settings.ALLOW_LOOPBACK = url, False

    check = checks(row)["Reachable"]

    assert (check.ok, words in check.message) == (False, True)


def test_a_server_without_tls_at_an_https_address_is_told(row, settings):
    with public_server(settings, echo):
        settings.PUBLIC_URL = settings.PUBLIC_URL.replace("http:", "https:")
        check = checks(row)["Reachable"]

    assert (check.ok, "No trusted TLS connection" in check.message) == (False, True)


def test_a_server_that_stays_silent_is_told_after_the_time_allowed(row, settings, monkeypatch):
    monkeypatch.setattr(selftest, "PROBE_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.PUBLIC_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings.ALLOW_LOOPBACK = True
        check = checks(row)["Reachable"]

    assert (check.ok, "did not answer" in check.message) == (False, True)


def test_a_connection_that_is_off_is_not_called_unreachable(row, settings):
    with tenant_scope(row.tenant_id):
        switch_connection(row, on=False, actor=COMMAND_LINE)

    assert checks(row)["Reachable"].message == "The connection is switched off: its URL refuses all requests."


def test_before_any_request_key_and_event_types_are_not_known(row, closed_port):
    found = checks(row)

    assert (found["Key"].ok, found["Event types"].ok) == (None, None)
    assert found["Key"].message == "No request has arrived yet, so the key has not been tried."


def test_refused_signatures_since_the_last_event_mean_a_wrong_key(row, closed_port):
    change(row, last_event_at=timezone.now() - timedelta(hours=1))
    with tenant_scope(row.tenant_id):
        for _number in range(3):
            note_rejection(row, "signature_wrong")

    check = checks(row)["Key"]

    assert check.ok is False
    assert check.message.startswith("3 requests have been refused")
    assert "the key here is not the one of the sender" in check.message


def test_a_genuine_event_after_a_refusal_means_that_the_key_fits(row, closed_port):
    with tenant_scope(row.tenant_id):
        note_rejection(row, "signature_wrong")
    change(row, last_event_at=timezone.now() + timedelta(seconds=1))

    assert checks(row)["Key"].ok is True


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("signature_missing", "Switch signing on"),
        ("timestamp_stale", "Set the clock"),
        ("topic_unknown", "Enter the ARN of the topic"),
        ("raw_delivery", "Switch raw message delivery off"),
        ("account_wrong", "Correct the account"),
    ],
)
def test_each_reason_for_refusal_says_what_to_do(row, closed_port, reason, words):
    with tenant_scope(row.tenant_id):
        note_rejection(row, reason)

    assert words in checks(row)["Key"].what_to_do


def test_a_reason_that_has_no_words_yet_is_shown_as_it_is(row, closed_port):
    with tenant_scope(row.tenant_id):
        note_rejection(row, "brand_new")

    assert "They were not genuine (brand_new)." in checks(row)["Key"].message


@pytest.fixture
def topic(acme) -> Connection:
    return connect(acme, "ses")


def subscription(row: Connection, kind: str, **values) -> None:
    with tenant_scope(row.tenant_id):
        ConnectionEvent(
            id=uuid7(), connection_id=row.id, raw_id=uuid7(), kind=kind, occurred_at=timezone.now(),
            received_at=timezone.now(), **values,
        ).save(force_insert=True)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "values", "ok", "words"),
    [
        ("subscription_requested", {}, None, "that is being done"),
        ("subscription_requested", {"handled": True, "detail": "Confirmed."}, True, "The subscription is confirmed"),
        (
            "subscription_requested",
            {"handled": True, "detail": "Amazon SNS refused the confirmation: no"},
            False,
            "refused",
        ),
        ("subscription_ended", {}, False, "has ended the subscription"),
    ],
)
def test_the_state_of_an_sns_subscription_is_told(topic, closed_port, kind, values, ok, words):
    handled = {"handled_at": timezone.now()} if values.pop("handled", False) else {}
    subscription(topic, kind, **values, **handled)

    check = checks(topic)["Key"]

    assert (check.ok, words in check.message) == (ok, True)


def test_a_topic_that_is_no_arn_is_told(topic, closed_port):
    change(topic, settings={"topic": "mail-events"})

    assert "This is no ARN of an SNS topic" in checks(topic)["Key"].message


def test_event_types_that_never_came_are_named_as_the_console_names_them(topic, closed_port):
    change(topic, seen_kinds=["delivered", "bounced"], created_at=timezone.now() - timedelta(days=30))

    check = checks(topic)["Event types"]

    assert (check.ok, check.message) == (False, "Not seen so far: Delivery delays, Rejects.")


def test_a_new_connection_that_has_not_bounced_yet_is_not_called_broken(topic, closed_port):
    change(topic, seen_kinds=["delivered"])

    check = checks(topic)["Event types"]

    assert (check.ok, check.message) == (None, "Not seen so far: Hard bounces, Delivery delays, Rejects.")


def test_a_connection_that_never_reports_a_delivery_is_called_so_at_once(row, closed_port):
    change(row, seen_kinds=["undelivered"])

    assert checks(row)["Event types"].ok is False


def test_all_event_types_seen_is_fine(row, closed_port):
    change(row, seen_kinds=["delivered"])

    assert checks(row)["Event types"].ok is True


def test_the_page_shows_the_findings(row, closed_port, acme, member, client_as):
    page = client_as(member("admin", acme)).post(f"/t/acme/connections/{row.id}/test/")

    assert "the port is closed" in page.content.decode()
    assert "Start the web server or the proxy" in page.content.decode()
