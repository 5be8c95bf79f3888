"""Fills a running demo: two organisations, their people, and a month of signed webhooks posted at its public URLs."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from deliveries.connections import add_route, create_connection, webhook_path
from deliveries.models import Connection
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Membership, Role, Tenant, User, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.demo_data import ACME, SAKURA, Maker
from providers.sandbox import lineworks, sendgrid, ses, smpp, twilio

PASSWORD = "demo-notifyguard"  # noqa: S105 -- printed on the screen of whoever starts the demo
BATCH = 200
TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:notifyguard-demo"
LOGINS = settings.BASE_DIR / ".run" / "demo-logins.txt"


class Command(BaseCommand):
    help = "Fill a running demo with two organisations and a month of notices, by signed webhooks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", required=True, help="where the demo listens, e.g. http://127.0.0.1:8000")

    def handle(self, *_args: Any, url: str, **_options: Any) -> None:
        post = _poster(url)
        acme = _tenant("acme", "Acme Learning", "Europe/London", "en")
        sakura = _tenant("sakura", "さくら商事", "Asia/Tokyo", "ja")
        _people(acme, sakura)
        now = datetime.now(UTC)
        _acme(acme, url, post, Maker(ACME, now, 1))
        _sakura(sakura, post, Maker(SAKURA, now, 2))
        _shared(sakura, post, Maker(SAKURA, now, 3))
        _write_logins()


def _tenant(slug: str, name: str, timezone: str, language: str) -> Tenant:
    with tenant_scope(operator_tenant_id()):
        tenant: Tenant | None = Tenant.objects.filter(slug=slug).first()
        return tenant or Tenant.objects.create(slug=slug, name=name, timezone=timezone, language=language)


CAST = (
    ("admin@acme.example", "Alice Admin", "en", (("acme", Role.ADMIN),)),
    ("manager@acme.example", "Max Manager", "en", (("acme", Role.MANAGER),)),
    ("admin@sakura.example", "桜井 管理", "ja", (("sakura", Role.ADMIN),)),
    ("support@operator.example", "Sam Support", "en", (("acme", Role.SUPPORT), ("sakura", Role.SUPPORT))),
    ("operator@operator.example", "Olga Operator", "en", (("operator", Role.ADMIN),)),
)


def _people(*tenants: Tenant) -> None:
    ids = {tenant.slug: tenant.id for tenant in tenants} | {"operator": operator_tenant_id()}
    for email, name, language, roles in CAST:
        person = User.objects.filter(email=email).first() or User.objects.create_user(email, PASSWORD)
        User.objects.filter(id=person.id).update(name=name, language=language)
        for slug, role in roles:
            with tenant_scope(ids[slug]):
                if not Membership.objects.filter(user=person).exists():
                    Membership(user=person, role=role).save()


Post = Callable[[Connection, bytes, Mapping[str, str]], None]


def _poster(url: str) -> Post:
    pool = urllib3.PoolManager(timeout=30)

    def post(connection: Connection, body: bytes, headers: Mapping[str, str]) -> None:
        answer = pool.request("POST", url + webhook_path(connection), body=body, headers=dict(headers), redirect=False)
        if answer.status != 200:  # noqa: PLR2004 -- HTTP
            raise CommandError(
                f"The demo answered {answer.status} to a {connection.provider} webhook: {answer.data[:200]!r}"
            )

    return post


def _connect(tenant: Tenant, provider: str, name: str, values: dict[str, str], **options: Any) -> Connection:
    with tenant_scope(tenant.id):
        return create_connection(provider=provider, name=name, values=values, actor=COMMAND_LINE, **options)


def _acme(acme: Tenant, url: str, post: Post, maker: Maker) -> None:
    _post_sendgrid(_connect_sendgrid(acme, "SendGrid (billing)"), post, maker.sendgrid(1400))
    bot_secret, token = secrets.token_urlsafe(24), secrets.token_hex(16)
    bot = _connect(acme, "lineworks", "LINE WORKS bot", {"bot_secret": bot_secret, "domains": "acme.example"})
    for batch in _batches(maker.lineworks(150, "acme.example")):
        body = json.dumps({"results": batch}).encode()
        post(bot, body, lineworks.sign(body, bot_secret))
    sms = _connect(acme, "twilio", "Twilio", {"auth_token": token})
    for params in maker.twilio(60):
        headers = twilio.sign_form(settings.PUBLIC_URL + webhook_path(sms), params, token)
        post(sms, urlencode(params).encode(), headers)


def _sakura(sakura: Tenant, post: Post, maker: Maker) -> None:
    with _certificate() as signer:
        mail = _connect(sakura, "ses", "Amazon SES 東京", {"topic": TOPIC})
        for message in maker.ses(220):
            body = ses.notification(signer, TOPIC, message, datetime.now(UTC))
            post(mail, body, ses.headers(body))
    bot_secret, secret = secrets.token_urlsafe(24), secrets.token_hex(16)
    bot = _connect(sakura, "lineworks", "LINE WORKS ボット", {"bot_secret": bot_secret, "domains": "sakura.example"})
    for batch in _batches(maker.lineworks(150, "sakura.example")):
        body = json.dumps({"results": batch}, ensure_ascii=False).encode()
        post(bot, body, lineworks.sign(body, bot_secret))
    carrier = _connect(sakura, "smpp", "SMS 配信会社", {"secret": secret})
    for batch in _batches(maker.smpp(160)):
        body = json.dumps(batch, ensure_ascii=False).encode()
        headers = smpp.sign(body, secret, int(datetime.now(UTC).timestamp()))
        post(carrier, body, headers | {"Content-Type": "application/json"})


def _shared(sakura: Tenant, post: Post, maker: Maker) -> None:
    """One SendGrid account of the operator serves all tenants; a few events of an unknown one wait in quarantine."""
    with tenant_scope(operator_tenant_id()):
        operator = Tenant.objects.get(id=operator_tenant_id())
    source = _connect_sendgrid(operator, "SendGrid (shared)", shared=True, route_by="custom:ng_tenant")
    with tenant_scope(operator.id):
        add_route(source[0], tenant_id=sakura.id, value="sakura", actor=COMMAND_LINE)
    _post_sendgrid(source, post, maker.sendgrid(500, tenant_argument="sakura"))
    _post_sendgrid(source, post, maker.sendgrid(4, tenant_argument="momiji"))


def _connect_sendgrid(tenant: Tenant, name: str, **options: Any) -> tuple[Connection, str]:
    keys = sendgrid.make_keys()
    return _connect(tenant, "sendgrid", name, {"public_key": keys.public_key}, **options), keys.private_pem


def _post_sendgrid(source: tuple[Connection, str], post: Post, items: list[dict[str, Any]]) -> None:
    connection, private_pem = source
    for batch in _batches(items):
        body = json.dumps(batch, ensure_ascii=False).encode() + b"\r\n"
        post(connection, body, sendgrid.sign(private_pem, body, datetime.now(UTC)))


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


@contextmanager
def _certificate() -> Iterator[ses.Signer]:
    """Serve the signing certificate at the first trusted URL, as Amazon serves its own."""
    if not settings.SNS_CERT_URLS:
        raise CommandError("NOTIFYGUARD_SNS_CERT_URLS names no certificate URL: the demo sets one.")
    url = settings.SNS_CERT_URLS[0]
    signer = ses.make_signer(url, datetime.now(UTC) - timedelta(days=1))

    class Certificate(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(signer.certificate_pem)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it so
            """Say nothing: the demo's console is for its one line."""

    parts = urlsplit(url)
    server = HTTPServer((parts.hostname or "127.0.0.1", parts.port or 80), Certificate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield signer
    finally:
        server.shutdown()
        server.server_close()


def _write_logins() -> None:
    lines = [f"  {email:28} {', '.join(f'{role} of {slug}' for slug, role in roles)}" for email, _, _, roles in CAST]
    LOGINS.parent.mkdir(exist_ok=True)
    LOGINS.write_text("\n".join([f"Log in with the password {PASSWORD} as", *lines]) + "\n", encoding="utf-8")
