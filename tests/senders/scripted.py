"""A provider on this machine that answers as each test says, and what the senders' tests share."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from providers.sending import Account, Outgoing

Answer = Callable[[BaseHTTPRequestHandler], None]

REF = "0123456789abcdef0123456789abcdef"
TEXT = "Your certificate of enrolment is ready."
TITLE = "Certificate ready"


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """A client that hung up is what some tests are about."""


class ScriptedProvider:
    """Gives the answers of ``script`` in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Answer] = []
        self.seen: list[Seen] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): text for name, text in self.headers.items()}
                outer.seen.append(Seen(self.command, self.path, headers, body))
                self.close_connection = True
                (outer.script.pop(0) if len(outer.script) > 1 else outer.script[0])(self)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 (http.server's names)

            def log_message(self, *_args: object) -> None:
                """Keep quiet."""

        self.httpd = QuietServer(("127.0.0.1", 0), Handler)
        if tls:
            self.httpd.socket = tls.wrap_socket(self.httpd.socket, server_side=True)
        self.port = self.httpd.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()


def reply(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Answer:
    """Answer with a status, a body (JSON unless bytes) and headers."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in {"content-length": str(len(content)), "connection": "close", **(headers or {})}.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def hang(_handler: BaseHTTPRequestHandler) -> None:
    """Take the request and say nothing for longer than any sender waits here."""
    time.sleep(3)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and close the connection."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and reset the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()


def garble(handler: BaseHTTPRequestHandler) -> None:
    """Answer something that is not HTTP."""
    handler.wfile.write(b"\x00\x01 what?\r\n\r\n")


class KnownToken:
    """A token store whose token is good."""

    def get(self, renew, *, not_this=""):
        return "a-token"


VALUES = {
    "sendgrid": {"api_key": "SG.key-id.secret", "sender": "office@example.com"},
    "ses": {
        "access_key_id": "AKIAEXAMPLE",
        "secret_access_key": "ses-secret",
        "region": "ap-northeast-1",
        "configuration_set": "mail-events",
        "sender": "office@example.com",
    },
    "lineworks": {
        "client_id": "client-id",
        "client_secret": "lw-secret",
        "service_account": "abc12.serviceaccount@example.com",
        "private_key": "set by tests that ask for a token",
        "bot_id": "2000001",
        "domain": "example.com",
    },
    "twilio": {"account_sid": "AC0123", "auth_token": "tw-secret", "sender": "+15005550006"},
    "vonage": {"api_key": "abcd1234", "api_secret": "vo-secret", "sender": "NOTIFY"},
}
RECIPIENTS = {
    "sendgrid": "taro@example.net",
    "ses": "taro@example.net",
    "lineworks": "taro@example.com",
    "twilio": "+819012345678",
    "vonage": "+819012345678",
}


def account_of(name: str, url: str, **more) -> Account:
    """Make a provider's account; ``values`` among ``more`` are added to the usual ones."""
    values = {**VALUES[name], **more.pop("values", {})}
    return Account(values=values, api_url=url, **{"timeout_s": 5.0, "tokens": KnownToken(), **more})


def notice_for(provider: str, /, **more) -> Outgoing:
    return Outgoing(**{"attempt_ref": REF, "recipient": RECIPIENTS[provider], "title": TITLE, "text": TEXT, **more})
