"""Lets the demo's organisations send: credentials for the sandbox, contacts, notices, and one finished resend."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from deliveries import contacts, notices, plans
from deliveries.accounts import set_sending
from deliveries.checks import ADDRESS_FIELDS
from deliveries.connections import webhook_path
from deliveries.enums import AttemptStatus, Channel, PlanStatus, RawStatus, State
from deliveries.models import Attempt, Connection, Contact, Delivery, RawWebhook, ResendPlan
from deliveries.notices import NewNotice, NewRecipient
from deliveries.tell import tell
from notifyguard import demo_sandbox
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.demo_notices import Person, Planned
from notifyguard.demo_sandbox import HERE

WAIT_S = 40.0
BOT_ID = "2000001"
OTHERS = 4  # failures that go into the resend beside those that were put right

Account = dict[str, Any]


# ---------------------------------------------------------------- accounts at the sandbox


def sendgrid(row: Connection, private_pem: str, sender: str) -> Account:
    """Let a connection send through a new account; returns the account as the sandbox is told of it."""
    key = f"SG.{secrets.token_urlsafe(24)}"
    _let_send(row, {"api_key": key, "sender": sender})
    return {"provider": "sendgrid", "api_key": key, "url": HERE + webhook_path(row), "private_key": private_pem}


def ses(row: Connection, topic: str, sender: str) -> Account:
    key = f"AKIA{secrets.token_hex(8).upper()}"
    values = {"access_key_id": key, "secret_access_key": secrets.token_urlsafe(30), "region": "ap-northeast-1"}
    _let_send(row, {**values, "configuration_set": "demo", "sender": sender})
    return {"provider": "ses", "access_key_id": key, "url": HERE + webhook_path(row), "topic": topic}


def lineworks(row: Connection, domain: str) -> Account:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    app = {"client_id": secrets.token_hex(10), "client_secret": secrets.token_hex(10)}
    app["service_account"] = f"{secrets.token_hex(3)}.serviceaccount@{domain}"
    _let_send(row, {**app, "private_key": pem, "bot_id": BOT_ID, "domain": domain})
    return {"provider": "lineworks", **app, "public_key": public, "bots": [BOT_ID]}


def twilio(row: Connection, token: str, sender: str) -> Account:
    account = {"account_sid": f"AC{secrets.token_hex(16)}", "auth_token": token}
    _let_send(row, {**account, "sender": sender})
    return {"provider": "twilio", **account}


def vonage(row: Connection, signature_secret: str, sender: str) -> Account:
    account = {"api_key": secrets.token_hex(4), "api_secret": secrets.token_urlsafe(12)}
    _let_send(row, {**account, "sender": sender})
    return {"provider": "vonage", **account, "signature_secret": signature_secret}


def _let_send(row: Connection, values: dict[str, str]) -> None:
    with tenant_scope(row.tenant_id):
        set_sending(row, values, actor=COMMAND_LINE)


# ---------------------------------------------------------------- people and notices


def add_people(tenant: Tenant, people: Iterable[Person]) -> None:
    with tenant_scope(tenant.id):
        for person in people:
            addresses = {"email": person.email, "phone": person.phone, "lineworks_id": person.lineworks_id}
            about = {"external_id": person.external_id, "name": person.name, "language": tenant.language}
            no_address = not any(addresses.values())
            contacts.create({**about, **addresses, "no_address": no_address}, actor=COMMAND_LINE)


def send(tenant: Tenant, people: Sequence[Person], planned: Iterable[Planned], shared: uuid.UUID | None = None) -> None:
    """Register the notices; a worker hands them over."""
    with tenant_scope(tenant.id):
        for one in planned:
            use_by = timezone.now() + timedelta(days=one.use_by_days) if one.use_by_days else None
            new = NewNotice(
                channel=one.channel,
                recipients=_recipients(people, one),
                title=one.title,
                text=one.text,
                kind=one.kind,
                use_by=use_by,
                connection=shared if one.shared else None,
            )
            notices.register(new, tenant=tenant, created_by=COMMAND_LINE.name)
        transaction.on_commit(lambda: tell("deliveries.send_queued", str(tenant.id)))


def follow(tenant: Tenant, contact: str, title: str, text: str, connection: uuid.UUID) -> Delivery:
    """Register a notice that another program sends; without ``text`` NotifyGuard does not hold what was in it."""
    new = NewNotice(
        channel=Channel.EMAIL,
        recipients=(NewRecipient(contact=contact),),
        title=title,
        text=text,
        connection=connection,
        send=False,
    )
    with tenant_scope(tenant.id):
        return notices.register(new, tenant=tenant, created_by=COMMAND_LINE.name).deliveries[0]


def _recipients(people: Sequence[Person], one: Planned) -> tuple[NewRecipient, ...]:
    known = [NewRecipient(contact=external_id) for external_id in one.to or _reached(people, one.channel)]
    return (*known, *(NewRecipient(name=name, recipient=recipient) for name, recipient in one.strays))


def _reached(people: Sequence[Person], channel: Channel) -> list[str]:
    """Everybody gets email, the one without an address too; by other ways only who has one."""
    field = ADDRESS_FIELDS[channel]
    return [one.external_id for one in people if channel == Channel.EMAIL or getattr(one, field)]


# ---------------------------------------------------------------- one resend


def settle(tenant_ids: Sequence[uuid.UUID], sandbox: str) -> None:
    """Wait until what is due was handed over, reported on and worked: three waits of at most ``WAIT_S``."""
    under_way = [AttemptStatus.QUEUED, AttemptStatus.SENDING]
    _wait_until_none(tenant_ids, lambda: Attempt.objects.filter(status__in=under_way, due_at__lte=timezone.now()))
    demo_sandbox.settle(sandbox, WAIT_S)
    settle_inbox(tenant_ids)


def settle_inbox(tenant_ids: Sequence[uuid.UUID]) -> None:
    _wait_until_none(tenant_ids, lambda: RawWebhook.objects.filter(status=RawStatus.PENDING))


def resend_corrected(tenant: Tenant, people: Iterable[Person]) -> None:
    """Put wrong addresses right, and resend what failed there, together with some that will fail again."""
    with tenant_scope(tenant.id):
        for person in people:
            if person.corrected and (contact := contacts.find(person.external_id)):
                contacts.correct(contact, "email", person.corrected, COMMAND_LINE)
        plan = plans.start(_failed(people), tenant=tenant, actor=COMMAND_LINE)
    _approve_when_ready(tenant, plan.id)


def _failed(people: Iterable[Person]) -> list[uuid.UUID]:
    ours = Delivery.objects.filter(
        error_state__isnull=False, channel=Channel.EMAIL, tried__status=AttemptStatus.ACCEPTED
    )
    wrong = Contact.objects.filter(external_id__in=[one.external_id for one in people if one.corrected])
    corrected = Q(contact_id__in=wrong.values("id"))
    others = list(
        ours.exclude(corrected).exclude(state__in=[State.DEFERRED, State.FAILED]).values_list("id", flat=True)[:OTHERS]
    )
    return [*ours.filter(corrected).values_list("id", flat=True), *others]


def _approve_when_ready(tenant: Tenant, plan_id: uuid.UUID) -> None:
    def in_state(*states: PlanStatus) -> QuerySet[Any]:
        return ResendPlan.objects.filter(id=plan_id, status__in=states)

    _wait_until_none([tenant.id], lambda: in_state(PlanStatus.PREPARING))
    with tenant_scope(tenant.id):
        if ready := in_state(PlanStatus.READY).first():
            plans.approve(ready, actor=COMMAND_LINE)
    _wait_until_none([tenant.id], lambda: in_state(PlanStatus.RUNNING))


def _wait_until_none(tenant_ids: Sequence[uuid.UUID], rows: Callable[[], QuerySet[Any]]) -> None:
    """Wait until no tenant has such rows; after ``WAIT_S`` go on all the same: the workers will get there."""
    deadline = time.monotonic() + WAIT_S
    while any(_exist(tenant_id, rows) for tenant_id in tenant_ids) and time.monotonic() < deadline:
        time.sleep(0.2)


def _exist(tenant_id: uuid.UUID, rows: Callable[[], QuerySet[Any]]) -> bool:
    with tenant_scope(tenant_id):
        return rows().exists()
