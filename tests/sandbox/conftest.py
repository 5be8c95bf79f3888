"""A quick sandbox, and a receiver that reads its webhooks with our own providers as the product would."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from providers import registry
from providers.base import ConnectionConfig, Request
from providers.sandbox.sendgrid import make_keys
from providers.sandbox.server import Sandbox
from providers.ses import AmazonSes

# One poster, so that events come in order.
QUICK = {"delay_s": 0.02, "retry_s": 0.02, "slow_s": 0.2, "seed": 1, "posters": 1}


class Receiver:
    """Keeps what is posted to it; ``statuses`` are what it answers first, after that 200."""

    def __init__(self):
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                url, at = receiver.url + self.path.removeprefix("/hook"), datetime.now(UTC)
                receiver.requests.append(Request("POST", url, headers, body, at))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args):
                """Keep quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/hook"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def read(self, provider, config):
        """Verify and parse everything that came, by the provider that the product uses."""
        # Certificates are kept by URL and the port of a sandbox may be given out again.
        reader = AmazonSes() if provider == "ses" else registry.get_provider(provider)
        events = []
        for request in self.requests:
            reader.verify(request, config)
            events += reader.parse(request.body, request.headers, config, request.received_at)
        return events


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def sandbox():
    with Sandbox(QUICK) as made:
        yield made


@pytest.fixture(scope="session")
def keys():
    return make_keys()


@pytest.fixture
def sendgrid_account(sandbox, receiver, keys):
    """The sandbox posts SendGrid's events to the receiver; how a connection would be configured for that."""
    sandbox.add_account({"provider": "sendgrid", "url": receiver.url, "private_key": keys.private_pem})
    return ConnectionConfig(secrets=(keys.public_key,), route_by="custom:ng_tenant")
