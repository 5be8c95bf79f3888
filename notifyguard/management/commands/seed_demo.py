"""Fills a running demo: two organisations, a month of signed webhooks, and notices sent through the sandbox."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from deliveries.connections import add_route, create_connection, webhook_path
from deliveries.models import Connection
from notifyguard import demo_sandbox, demo_sending
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Membership, Role, Tenant, User, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.demo_data import ACME, SAKURA, Maker
from notifyguard.demo_notices import (
    ACME_NOTICES,
    ACME_PEOPLE,
    ACME_TROUBLES,
    SAKURA_NOTICES,
    SAKURA_PEOPLE,
    SAKURA_TROUBLES,
    Troubles,
)
from notifyguard.demo_sending import Account
from providers.sandbox import lineworks, sendgrid, ses, smpp, twilio

PASSWORD = "demo-notifyguard"  # noqa: S105 -- printed on the screen of whoever starts the demo
BATCH = 200
TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:notifyguard-demo"
LOGINS = settings.BASE_DIR / ".run" / "demo-logins.txt"


class Command(BaseCommand):
    help = "Fill a running demo with two organisations, a month of signed webhooks, and notices that are sent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", required=True, help="where the demo listens, e.g. http://127.0.0.1:8000")

    def handle(self, *_args: Any, url: str, **_options: Any) -> None:
        post, sandbox = _poster(url), _sandbox()
        acme = _tenant(
            "acme", "Acme Learning", "Europe/London", "en", region="GB", sms_price="0.04", sms_currency="GBP"
        )
        sakura = _tenant("sakura", "さくら商事", "Asia/Tokyo", "ja", region="JP", sms_price="9", sms_currency="JPY")
        _people(acme, sakura)
        ours, theirs, shared = _connect_acme(acme), _connect_sakura(sakura), _connect_shared(sakura)
        demo_sandbox.keep([*ours.accounts(), *theirs.accounts(), _shared_account(shared)])
        demo_sandbox.register(sandbox, url)
        demo_sending.add_people(acme, ACME_PEOPLE)
        demo_sending.add_people(sakura, SAKURA_PEOPLE)
        now = datetime.now(UTC)
        _troubles(acme, ours.mail, ACME_TROUBLES, post, now)
        _troubles(sakura, shared, SAKURA_TROUBLES, post, now, ng_tenant="sakura")
        demo_sending.settle_inbox([acme.id, operator_tenant_id()])
        demo_sending.send(acme, ACME_PEOPLE, ACME_NOTICES)
        demo_sending.send(sakura, SAKURA_PEOPLE, SAKURA_NOTICES, shared=shared.connection.id)
        _post_acme(ours, post, Maker(ACME, now, 1))
        _post_sakura(theirs, post, Maker(SAKURA, now, 2), demo_sandbox.signer(sandbox))
        _post_shared(shared, post, Maker(SAKURA, now, 3))
        demo_sending.settle([acme.id, sakura.id, operator_tenant_id()], sandbox)
        demo_sending.resend_corrected(acme, ACME_PEOPLE)
        demo_sending.resend_corrected(sakura, SAKURA_PEOPLE)
        _write_logins()


def _sandbox() -> str:
    """Return where the sandbox listens, which plays all providers."""
    if "sendgrid" not in settings.PROVIDER_URLS:
        raise CommandError("NOTIFYGUARD_PROVIDER_URLS names no sandbox: the demo sets it.")
    return str(settings.PROVIDER_URLS["sendgrid"])


def _tenant(slug: str, name: str, timezone: str, language: str, **values: str) -> Tenant:
    with tenant_scope(operator_tenant_id()):
        tenant: Tenant | None = Tenant.objects.filter(slug=slug).first()
        return tenant or Tenant.objects.create(slug=slug, name=name, timezone=timezone, language=language, **values)


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


class Mail(NamedTuple):
    """A SendGrid connection and the private half of its verification key."""

    connection: Connection
    private_pem: str


class Acme(NamedTuple):
    """The connections of acme, with what their providers sign with."""

    mail: Mail
    bot: Connection
    bot_secret: str
    sms: Connection
    token: str

    def accounts(self) -> list[Account]:
        return [
            demo_sending.sendgrid(self.mail.connection, self.mail.private_pem, ACME.sender),
            demo_sending.lineworks(self.bot, "acme.example"),
            demo_sending.twilio(self.sms, self.token, "+447911120000"),
        ]


class Sakura(NamedTuple):
    """The connections of sakura, likewise. Its SMS carrier of old reports only; new messages go through Vonage."""

    mail: Connection
    bot: Connection
    bot_secret: str
    carrier: Connection
    secret: str
    sms: Connection
    sms_secret: str

    def accounts(self) -> list[Account]:
        return [
            demo_sending.ses(self.mail, TOPIC, SAKURA.sender),
            demo_sending.lineworks(self.bot, "sakura.example"),
            demo_sending.vonage(self.sms, self.sms_secret, "Sakura"),
        ]


def _connect_acme(acme: Tenant) -> Acme:
    bot_secret, token = secrets.token_urlsafe(24), secrets.token_hex(16)
    bot = _connect(acme, "lineworks", "LINE WORKS bot", {"bot_secret": bot_secret, "domains": "acme.example"})
    sms = _connect(acme, "twilio", "Twilio", {"auth_token": token})
    return Acme(_connect_sendgrid(acme, "SendGrid (billing)"), bot, bot_secret, sms, token)


def _connect_sakura(sakura: Tenant) -> Sakura:
    bot_secret, secret, sms_secret = secrets.token_urlsafe(24), secrets.token_hex(16), secrets.token_hex(24)
    mail = _connect(sakura, "ses", "Amazon SES 東京", {"topic": TOPIC})
    bot = _connect(sakura, "lineworks", "LINE WORKS ボット", {"bot_secret": bot_secret, "domains": "sakura.example"})
    carrier = _connect(sakura, "smpp", "SMS 配信会社", {"secret": secret})
    sms = _connect(sakura, "vonage", "Vonage", {"signature_secret": sms_secret})
    return Sakura(mail, bot, bot_secret, carrier, secret, sms, sms_secret)


def _connect_shared(sakura: Tenant) -> Mail:
    """One SendGrid account of the operator serves all tenants."""
    with tenant_scope(operator_tenant_id()):
        operator = Tenant.objects.get(id=operator_tenant_id())
    source = _connect_sendgrid(operator, "SendGrid (shared)", shared=True, route_by="custom:ng_tenant")
    with tenant_scope(operator.id):
        add_route(source.connection, tenant_id=sakura.id, value="sakura", actor=COMMAND_LINE)
    return source


def _shared_account(shared: Mail) -> Account:
    return demo_sending.sendgrid(shared.connection, shared.private_pem, "notices@operator.example")


def _troubles(tenant: Tenant, source: Mail, troubles: Troubles, post: Post, now: datetime, **arguments: str) -> None:
    """Register notices of another program and report their failures, as its provider does."""
    connection_id = source.connection.id
    typo = demo_sending.follow(tenant, troubles.typo, troubles.typo_title, troubles.typo_text, connection_id)
    elsewhere = demo_sending.follow(tenant, troubles.elsewhere, troubles.elsewhere_title, "", connection_id)
    reports = (
        (typo, "bounce", "5.1.2", "550 5.1.2 The domain of <{to}> does not exist", "Invalid Address"),
        (elsewhere, "blocked", "5.2.2", "552 5.2.2 Mailbox of {to} is over its quota", "Mailbox Unavailable"),
    )
    items = [
        {
            "email": row.recipient,
            "event": "bounce",
            "type": kind,
            "status": status,
            "reason": reply.format(to=row.recipient),
            "bounce_classification": classification,
            "ng_attempt": row.id.hex,
            "timestamp": int(now.timestamp()),
            "sg_event_id": row.id.hex,
            "sg_message_id": f"{row.id.hex}.recvd",
            **arguments,
        }
        for row, kind, status, reply, classification in reports
    ]
    _post_sendgrid(source, post, items)


def _post_acme(ours: Acme, post: Post, maker: Maker) -> None:
    _post_sendgrid(ours.mail, post, maker.sendgrid(1400))
    for batch in _batches(maker.lineworks(150, "acme.example")):
        body = json.dumps({"results": batch}).encode()
        post(ours.bot, body, lineworks.sign(body, ours.bot_secret))
    for params in maker.twilio(60):
        headers = twilio.sign_form(settings.PUBLIC_URL + webhook_path(ours.sms), params, ours.token)
        post(ours.sms, urlencode(params).encode(), headers)


def _post_sakura(theirs: Sakura, post: Post, maker: Maker, signer: ses.Signer) -> None:
    for message in maker.ses(220):
        body = ses.notification(signer, TOPIC, message, datetime.now(UTC))
        post(theirs.mail, body, ses.headers(body))
    for batch in _batches(maker.lineworks(150, "sakura.example")):
        body = json.dumps({"results": batch}, ensure_ascii=False).encode()
        post(theirs.bot, body, lineworks.sign(body, theirs.bot_secret))
    for batch in _batches(maker.smpp(160)):
        body = json.dumps(batch, ensure_ascii=False).encode()
        headers = smpp.sign(body, theirs.secret, int(datetime.now(UTC).timestamp()))
        post(theirs.carrier, body, headers | {"Content-Type": "application/json"})


def _post_shared(shared: Mail, post: Post, maker: Maker) -> None:
    """A few events of an unknown tenant wait in quarantine."""
    _post_sendgrid(shared, post, maker.sendgrid(500, tenant_argument="sakura"))
    _post_sendgrid(shared, post, maker.sendgrid(4, tenant_argument="momiji"))


def _connect_sendgrid(tenant: Tenant, name: str, **options: Any) -> Mail:
    keys = sendgrid.make_keys()
    return Mail(_connect(tenant, "sendgrid", name, {"public_key": keys.public_key}, **options), keys.private_pem)


def _post_sendgrid(source: Mail, post: Post, items: list[dict[str, Any]]) -> None:
    for batch in _batches(items):
        body = json.dumps(batch, ensure_ascii=False).encode() + b"\r\n"
        post(source.connection, body, sendgrid.sign(source.private_pem, body, datetime.now(UTC)))


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _write_logins() -> None:
    lines = [f"  {email:28} {', '.join(f'{role} of {slug}' for slug, role in roles)}" for email, _, _, roles in CAST]
    LOGINS.parent.mkdir(exist_ok=True)
    LOGINS.write_text("\n".join([f"Log in with the password {PASSWORD} as", *lines]) + "\n", encoding="utf-8")
