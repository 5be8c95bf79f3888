"""The sandbox as an HTTP server: one port for all providers, told apart by path."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, Self, cast
from urllib.parse import parse_qsl

import msgspec

from providers.sandbox.calls import Answer, Call, Manner, Routes, json_answer
from providers.sandbox.config import Account, Config, Fault
from providers.sandbox.control import CERTIFICATE, Control
from providers.sandbox.routes_lineworks import LineWorksRoutes
from providers.sandbox.routes_sendgrid import SendGridRoutes
from providers.sandbox.routes_ses import SesRoutes
from providers.sandbox.routes_twilio import TwilioRoutes
from providers.sandbox.routes_vonage import VonageRoutes
from providers.sandbox.world import World

BODY_LIMIT = 48 * 1024 * 1024  # SES takes 40 MB, the most of all
HANG_CHECK_S = 0.2
POLL_S = 0.02


class Sandbox:
    """A sandbox that serves from ``start`` (or entering the context) to ``close``; port 0 takes a free one.

    ``config`` is a ``Config`` or the same as a dict. The host has to be an address; on one that other machines can
    reach there are no control routes.
    """

    def __init__(
        self, config: Config | Mapping[str, Any] | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._http = _Server((host, port), _Handler)
        self.url = f"http://{host}:{self._http.server_address[1]}"
        self.certificate_url = self.url + CERTIFICATE
        given = config if isinstance(config, Config) else msgspec.convert(dict(config or {}), Config)
        self.world = World(given, self.certificate_url)
        lineworks = LineWorksRoutes(self.world)
        self._control = Control(self.world, lineworks, is_local=ip_address(host).is_loopback)
        self._lineworks = lineworks
        sendgrid, ses = SendGridRoutes(self.world), SesRoutes(self.world)
        twilio, vonage = TwilioRoutes(self.world), VonageRoutes(self.world)
        self._routes: tuple[tuple[str, Routes], ...] = (
            ("/v3/", sendgrid),
            ("/v2/email/", ses),
            ("/v1.0/bots/", lineworks),
            ("/oauth2/v2.0/", lineworks),
            ("/2010-04-01/", twilio),
            ("/sms/json", vonage),
            ("/account/", vonage),
        )
        self._http.sandbox = self
        self._serving = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self) -> None:
        """Serve from a thread."""
        self._serving = True
        threading.Thread(target=self._http.serve_forever, args=(POLL_S,), name="sandbox", daemon=True).start()

    def serve(self) -> None:
        """Serve from this thread, until somebody interrupts it."""
        self._http.serve_forever()

    def close(self) -> None:
        """Stop serving and posting, and break off what is under way."""
        self._http.stopping.set()
        if self._serving:  # shutting down what never served would wait for ever
            self._http.shutdown()
        self._http.server_close()
        self.world.close()

    def answer(self, call: Call) -> Answer:
        """Answer one call."""
        if call.path == "/_sandbox" or call.path.startswith("/_sandbox/"):
            return self._control.answer(call)
        routes = next((routes for prefix, routes in self._routes if call.path.startswith(prefix)), None)
        if routes is None:
            return json_answer(404, {"error": "The sandbox plays no provider with such a path."})
        purpose = routes.purpose(call)
        if purpose == "send":
            self.world.sent.count_call(routes.name)
        fault = self.world.faults.take(routes.name, purpose)
        return _faulty(routes, call, fault) if fault else routes.answer(call)

    def add_account(self, account: Account | Mapping[str, Any]) -> None:
        """Add an account, or replace the one with the same credential."""
        self.world.accounts.put(msgspec.convert(account, Account) if isinstance(account, Mapping) else account)

    def add_fault(self, **fault: Any) -> None:
        """Let the next calls go wrong: the fields of ``Fault``."""
        self.world.faults.add(msgspec.convert(fault, Fault))

    def drain(self, calls: int, client_id: str = "") -> None:
        """Use up calls of a LINE WORKS domain's budget, as another app of it would."""
        self._lineworks.drain(calls, client_id)

    def sent(self, provider: str = "", since: int = 0) -> list[dict[str, Any]]:
        """Return the last notices taken, oldest first."""
        return self.world.sent.rows(provider, since)

    def counts(self) -> dict[str, Any]:
        """Return what was taken, how often twice, and what became of the webhooks."""
        return self._control.counts()

    def settle(self, timeout_s: float = 10.0) -> bool:
        """Wait until all webhooks are posted or given up; tell whether they are."""
        return self.world.tally.settle(timeout_s)

    def reset(self) -> None:
        """Forget what happened; accounts stay."""
        self.world.reset()


def _faulty(routes: Routes, call: Call, fault: Fault) -> Answer:
    if isinstance(fault.answer, int):
        return routes.refusal(fault.answer)
    answer = routes.answer(call) if fault.taken else routes.refusal(503)
    if isinstance(fault.answer, dict):
        return answer.bent(wait_s=fault.answer["slow_s"])
    return answer.bent(Manner(fault.answer))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    sandbox: Sandbox

    def __init__(self, *args: Any) -> None:
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            still_open = list(self._open)
        for request in still_open:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up: some of them are meant to."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError, ValueError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = self._body()
        if body is None:
            self._send(json_answer(413, {"error": "The body is too large, or its length is not given."}))
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        server = cast("_Server", self.server)
        self._give(server.sandbox.answer(Call(self.command, path, parameters, headers, body)), server.stopping)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 (http.server's names)

    def log_message(self, *_words: Any) -> None:
        """Say nothing: addresses are in the paths."""

    def _body(self) -> bytes | None:
        """Return the body, None if there is one that is not going to be read."""
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isdecimal() or int(length) > BODY_LIMIT:
            self.close_connection = True
            return None
        return self.rfile.read(int(length))

    def _give(self, answer: Answer, stopping: threading.Event) -> None:
        if answer.wait_s:
            stopping.wait(answer.wait_s)
        if answer.manner is Manner.ANSWER:
            self._send(answer)
            return
        self.close_connection = True
        if answer.manner is Manner.HANG:
            self._await_hang_up(stopping)
        elif answer.manner is Manner.RESET:
            # Without a linger the kernel sends a reset when the last reference is closed, in place of a good end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _await_hang_up(self, stopping: threading.Event) -> None:
        self.connection.settimeout(HANG_CHECK_S)
        while not stopping.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue

    def _send(self, answer: Answer) -> None:
        """Write head and body at once: two packets would cost the client a wait."""
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.status != HTTPStatus.NO_CONTENT:  # which has no length either
            lines.append(f"Content-Length: {len(answer.body)}")
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)
