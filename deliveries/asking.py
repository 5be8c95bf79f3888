"""Asks a tenant's own product, by a signed request, to send notices again whose text we do not hold."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from standardwebhooks import Webhook

from deliveries import attempts, ledger
from deliveries.accounts import SendingAccount
from deliveries.enums import AttemptStatus, Outcome
from deliveries.gather import OWN_REPORT, Origin, Reported, attempt_key
from deliveries.ledger import Link
from deliveries.models import Attempt, Connection, Delivery, ResendHook, Route
from deliveries.state import NO_ANSWER
from notifyguard.accounts import audit
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope
from notifyguard.ids import uuid7
from notifyguard.sealing import seal, unseal
from providers import base, http
from providers.base import Channel, Field, Kind
from providers.registry import get_provider
from providers.sending import Accepted, Account, NoAnswer, Outgoing, Refused, SendResult, Sent, TryLater

MOST_ITEMS = 100
ASKED: Final = "asked"  # the answer of a result that means: the product was asked, nothing more
TIMEOUT_S = 15.0
LONGEST_URL = 500

_KEY_BYTES = 32


class Product:
    """The tenant's own product in a sender's place, for attempts that no account of ours sends."""

    name = "product"
    batch, at_once, per_minute = MOST_ITEMS, 2, 600
    fields: tuple[Field, ...] = ()

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def account_key(self, account: Account) -> str:
        return account.callback_url

    def send(self, notices: Sequence[Outgoing], _account: Account) -> Sent:
        """Whoever has a text of ours has to send it through an account."""
        return Sent(results=[Refused(verdict="network", answer="")] * len(notices))

    def probe(self, _account: Account) -> None:
        return None


def product_account(connection_id: uuid.UUID) -> SendingAccount | None:
    """Return the way to ask for what a connection only reports on; None without an address to ask at."""
    hook = hook_of_tenant()
    own = Connection.objects.filter(id=connection_id).values_list("name", "provider")
    routed = Route.objects.filter(connection_id=connection_id).values_list("name", "provider")
    found = own.first() or routed.first()
    if hook is None or found is None:
        return None
    name, provider = found
    channel = get_provider(provider).channel
    return SendingAccount(
        connection_id, name, provider, channel, Product(channel), Account(values={}), route="", pace_key=hook.id
    )


class HookInputError(ValueError):
    """The address can't be used; the message says why."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery as the product is asked for it (docs/api.md)."""

    attempt: str
    delivery: uuid.UUID
    recipient: str
    channel: str
    title: str
    provider: str
    provider_message_id: str
    state: str
    code: str
    reason: str
    failed_at: datetime | None


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    tenant: uuid.UUID
    items: list[Asked]


def hook_of_tenant() -> ResendHook | None:
    found: ResendHook | None = ResendHook.objects.first()
    return found


def set_hook(url: str, *, actor: audit.Actor) -> str:
    """Let the tenant's product be asked at this address; returns the signing secret where it is new, else "".

    Raises ``HookInputError``.
    """
    url = url.strip()
    _check(url)
    with transaction.atomic():
        row = ResendHook.objects.select_for_update().first()
        if row is not None:
            before, row.url = row.url, url
            row.save(update_fields=["url"])
            _record(actor, "resend_hook.changed", row, before={"url": before}, after={"url": url})
            return ""
        secret = _new_secret()
        row = ResendHook(url=url, secret_sealed=seal((secret,)))
        row.save(force_insert=True)
        _record(actor, "resend_hook.created", row, after={"url": url})
        return secret


def rotate_secret(row: ResendHook, *, actor: audit.Actor) -> str:
    """Make a new signing secret, valid at once, and return it."""
    secret = _new_secret()
    with transaction.atomic():
        row.secret_sealed = seal((secret,))
        row.save(update_fields=["secret_sealed"])
        _record(actor, "resend_hook.secret_rotated", row)
    return secret


def remove_hook(row: ResendHook, *, actor: audit.Actor) -> None:
    with transaction.atomic():
        _record(actor, "resend_hook.removed", row, before={"url": row.url})
        row.delete()


def ask(hook: ResendHook, items: Sequence[tuple[Attempt, Delivery, str]]) -> SendResult:
    """Make one signed request for up to ``MOST_ITEMS`` attempts, each with its delivery and recipient.

    2xx: the product was asked. 4xx: it will not; 408, 425, 429, 5xx and no connection: later. A request that left
    without an answer is an outcome unknown. Not to be called inside a transaction.
    """
    said, words = _call(hook, msgspec.json.encode(_request(items)))
    with tenant_scope(hook.tenant_id):
        ResendHook.objects.filter(id=hook.id).update(last_called_at=timezone.now(), last_answer=words[:200])
    return said


def _call(hook: ResendHook, body: bytes) -> tuple[SendResult, str]:
    try:
        answer = http.request(
            "POST",
            hook.url,
            headers=_headers(hook, body),
            body=body,
            timeout_s=TIMEOUT_S,
            max_bytes=10_000,
            allow_loopback=settings.ALLOW_LOOPBACK,
        )
        http.checked(answer)
    except http.OutcomeUnknown as error:
        return NoAnswer(verdict=NO_ANSWER, answer=""), str(error)
    except http.TransientError as error:
        return TryLater(verdict="network", answer=str(error), wait_s=error.retry_after_s), str(error)
    except http.HttpError as error:
        return Refused(verdict=f"product {error.reason}", answer=str(error)), str(error)
    return Accepted(answer=ASKED), f"HTTP {answer.status}"


def sent_by_product(attempt: Attempt, provider_message_id: str) -> None:
    """The product has sent what it was asked for: reports under this message id count for the delivery.

    Raises ``attempts.AttemptRefusedError`` for an attempt that was not asked for.
    """
    row = _asked(attempt)
    delivery = Delivery.objects.get(id=row.delivery_id)
    recipient = row.recipient or delivery.recipient
    key = attempt_key(delivery.connection_id, provider_message_id, recipient)
    row.status, row.outcome, row.provider_message_id = AttemptStatus.ACCEPTED, Outcome.ACCEPTED, provider_message_id
    row.answered_at = timezone.now()
    row.save(update_fields=["status", "outcome", "provider_message_id", "answered_at"])
    if key != delivery.match_key.hex:
        ledger.link(current_tenant_id(), [Link(key, delivery.id, row.number)])


def refused_by_product(attempt: Attempt, words: str) -> None:
    """The product says that it will not send it. Raises ``attempts.AttemptRefusedError`` as above."""
    row = _asked(attempt)
    row.status, row.outcome, row.answer = AttemptStatus.REFUSED, Outcome.REFUSED, words[:1000]
    row.answered_at = timezone.now()
    row.save(update_fields=["status", "outcome", "answer", "answered_at"])
    ledger.record(current_tenant_id(), [_refusal(row, Delivery.objects.get(id=row.delivery_id))])


def _refusal(row: Attempt, delivery: Delivery) -> Reported:
    at = timezone.now()
    origin = Origin(
        connection_id=row.connection_id,
        provider=delivery.provider,
        channel=Channel(row.channel),
        raw_id=row.id,
        received_at=at,
    )
    event = base.Event(
        kind=Kind.FAILED,
        recipient=row.recipient or delivery.recipient,
        occurred_at=at,
        verdict="product refused",
        reply=row.answer,
        attempt_ref=row.id.hex,
    )
    return Reported(event, origin, OWN_REPORT)


def _asked(attempt: Attempt) -> Attempt:
    row: Attempt = Attempt.objects.select_for_update().get(id=attempt.id)
    if row.status != AttemptStatus.ASKED:
        raise attempts.AttemptRefusedError(_("Nobody waits for the outcome of this attempt."))
    return row


def _request(items: Sequence[tuple[Attempt, Delivery, str]]) -> _Request:
    return _Request(
        type="resend.asked", tenant=items[0][1].tenant_id, items=[_item(*one) for one in items[:MOST_ITEMS]]
    )


def _item(attempt: Attempt, delivery: Delivery, recipient: str) -> Asked:
    return Asked(
        attempt=attempt.id.hex,
        delivery=delivery.id,
        recipient=recipient,
        channel=attempt.channel,
        title=delivery.title,
        provider=delivery.provider,
        provider_message_id=delivery.provider_message_id,
        state=delivery.state,
        code=delivery.code or "",
        reason=delivery.reason or "",
        failed_at=delivery.failed_at,
    )


def _headers(hook: ResendHook, body: bytes) -> dict[str, str]:
    """Sign as standardwebhooks.com has it: id, time and body; the product checks it with any of its libraries."""
    (secret,) = unseal(bytes(hook.secret_sealed))
    message_id, at = f"msg_{uuid7().hex}", datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


def _check(url: str) -> None:
    if len(url) > LONGEST_URL:
        raise HookInputError(_("The address is too long."))
    is_https = url.startswith("https://")
    if not is_https and not (settings.ALLOW_LOOPBACK and url.startswith("http://")):
        raise HookInputError(_("The address must begin with https://."))


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _record(actor: audit.Actor, action: str, row: ResendHook, **states: dict[str, str]) -> None:
    audit.record(actor, action, object_type="resend_hook", object_id=row.id, **states)
