"""The provider accounts that a tenant can send with: its own, and its shares of the operator's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries.connections import webhook_url
from deliveries.credentials import ConnectionInputError
from deliveries.models import Connection, Pace, Route
from notifyguard.accounts import audit
from notifyguard.accounts.models import operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import digest_hex
from notifyguard.sealing import seal, unseal
from providers.base import Channel
from providers.registry import SENDERS, get_provider, get_sender
from providers.sending import Account, NoTokenStore, Refused, Sender, Token, TokenStore, TryLater

# A token is renewed once less than this share of its life is left.
_RENEW_AT = 0.1


class SendingAccount(NamedTuple):
    """One way to send. ``route`` is the tenant's value of a shared connection's route key."""

    connection_id: uuid.UUID
    name: str
    provider: str
    channel: Channel
    sender: Sender
    account: Account
    route: str
    pace_key: uuid.UUID

    @property
    def per_minute(self) -> int:
        given = self.account.values.get("per_minute", "")
        return int(given) if given.isdigit() and int(given) else self.sender.per_minute


def set_sending(connection: Connection, values: Mapping[str, str], *, actor: audit.Actor) -> None:
    """Let a connection send with these credentials; with none it sends no more.

    A secret that is left out stays as it is. Raises ``ConnectionInputError`` for a field that is missing, unknown or
    can't be used.
    """
    given = {name: value.strip() for name, value in values.items() if value.strip()}
    if given:
        given = _kept_secrets(connection) | given
        _check_fields(connection.provider, given)
    connection.sending_sealed = seal((msgspec.json.encode(given).decode(),)) if given else None
    connection.save(update_fields=["sending_sealed"])
    _record(connection, "connection.sends" if given else "connection.sends_no_more", {"fields": sorted(given)}, actor)


def prefer(connection: Connection, *, actor: audit.Actor) -> None:
    """Use a connection first of all of its owner's that send through the same channel."""
    channel = get_provider(connection.provider).channel
    same = [name for name, sender in SENDERS.items() if sender.channel == channel]
    Connection.objects.filter(provider__in=same, send_order=0).exclude(id=connection.id).update(send_order=1)
    connection.send_order = 0
    connection.save(update_fields=["send_order"])
    _record(connection, "connection.preferred", {}, actor)


def rivals(connection: Connection) -> list[Connection]:
    """Return its owner's connections that send through the same channel, itself among them, in the order of use."""
    channel = get_provider(connection.provider).channel
    rows = _live(Connection.objects.filter(shared=connection.shared))
    return [row for row in rows if get_provider(row.provider).channel == channel]


def probe(connection: Connection, *, timeout_s: float) -> Refused | TryLater | None:
    """Ask the provider, without sending, whether a connection could send; None if it could."""
    sender = get_sender(connection.provider)
    return sender.probe(_account(connection, sending_values(connection), NoTokenStore(), timeout_s))


def _kept_secrets(connection: Connection) -> dict[str, str]:
    secret = {field.name for field in get_sender(connection.provider).fields if field.secret}
    return {name: value for name, value in sending_values(connection).items() if name in secret}


def _check_fields(provider: str, given: Mapping[str, str]) -> None:
    fields = {field.name: field for field in get_sender(provider).fields}
    if unknown := sorted(given.keys() - fields.keys()):
        message = f"To send, {provider} has no field {unknown[0]}; it has {', '.join(fields)}."
        raise ConnectionInputError(message, unknown[0])
    for name, field in fields.items():
        if field.required and name not in given:
            raise ConnectionInputError(f"To send, {provider} needs {name} ({field.label}).", name)
    pace = given.get("per_minute", "")
    if pace and not (pace.isascii() and pace.isdigit() and int(pace)):
        raise ConnectionInputError(_("Enter a number of calls, such as 240."), "per_minute")
    if "private_key" in given:
        _check_private_key(given["private_key"])


def _check_private_key(pem: str) -> None:
    try:
        load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = _("This is no private key: paste the whole file, from -----BEGIN to -----END, without a password.")
        raise ConnectionInputError(message, "private_key") from error


def _record(connection: Connection, action: str, after: Mapping[str, object], actor: audit.Actor) -> None:
    what = {"name": connection.name, **after}
    audit.record(actor, action, object_type="connection", object_id=connection.id, after=what)


def sending_values(connection: Connection) -> dict[str, str]:
    """Return what a connection sends with, secrets among it; never show or log them."""
    if connection.sending_sealed is None:
        return {}
    (text,) = unseal(bytes(connection.sending_sealed))
    return msgspec.json.decode(text, type=dict[str, str])


def sending_accounts() -> list[SendingAccount]:
    """Return the ways to send of the scope's tenant, its own first, of each sort the preferred one first."""
    found = [_sending_account(row, "") for row in _live(Connection.objects.filter(shared=False))]
    routes = {route.connection_id: route.value for route in Route.objects.order_by("value")}
    if routes:
        with tenant_scope(operator_tenant_id()):
            shared = _live(Connection.objects.filter(id__in=routes, shared=True))
            found += [_sending_account(row, routes[row.id]) for row in shared]
    return found


def find_account(connection_id: uuid.UUID) -> SendingAccount | None:
    return next((one for one in sending_accounts() if one.connection_id == connection_id), None)


def account_of(connection_id: uuid.UUID) -> Account | None:
    """Return the provider account behind a connection that the scope's tenant may send through, or None."""
    found = find_account(connection_id)
    return found.account if found else None


def account_for(channel: Channel) -> SendingAccount | None:
    """Return the way to send that a channel uses when nothing else is asked for."""
    return next((one for one in sending_accounts() if one.channel == channel), None)


def _live(rows: QuerySet[Connection]) -> list[Connection]:
    return list(rows.filter(disabled_at=None, sending_sealed__isnull=False).order_by("send_order", "id"))


def _sending_account(row: Connection, route: str) -> SendingAccount:
    sender, values = get_sender(row.provider), sending_values(row)
    key = _pace_key(row.provider, sender.account_key(Account(values=values)))
    account = _account(row, values, KeptToken(key), settings.SEND_TIMEOUT_S)
    return SendingAccount(row.id, row.name, row.provider, sender.channel, sender, account, route, key)


def _account(row: Connection, values: Mapping[str, str], tokens: TokenStore, timeout_s: float) -> Account:
    return Account(
        values=values,
        api_url=settings.PROVIDER_URLS.get(row.provider, ""),
        callback_url=webhook_url(row),
        route_by=row.route_by,
        tokens=tokens,
        timeout_s=timeout_s,
    )


def _pace_key(provider: str, account_key: str) -> uuid.UUID:
    return uuid.UUID(digest_hex(f"{provider}\x1f{account_key}"))


class KeptToken:
    """A ``TokenStore`` in the database, sealed: one worker renews, the others wait for it."""

    def __init__(self, key: uuid.UUID) -> None:
        self.key = key

    def get(self, renew: Callable[[], Token], *, not_this: str = "") -> str:
        """Return the kept token; see ``providers.sending.TokenStore``. Not to be called inside a transaction."""
        kept = self._read(Pace.objects.filter(key=self.key).first())
        if kept and kept != not_this:
            return kept
        with transaction.atomic():
            Pace.objects.get_or_create(key=self.key, defaults={"per_minute": 0})
            row = Pace.objects.select_for_update().get(key=self.key)
            kept = self._read(row)
            if kept and kept != not_this:
                return kept
            token = renew()
            row.token_sealed = seal((token.value,))
            row.token_until = timezone.now() + timedelta(seconds=token.lifetime_s * (1 - _RENEW_AT))
            row.save(update_fields=["token_sealed", "token_until"])
            return token.value

    def _read(self, row: Pace | None) -> str:
        if row is None or row.token_sealed is None or row.token_until is None or row.token_until <= timezone.now():
            return ""
        return unseal(bytes(row.token_sealed))[0]
