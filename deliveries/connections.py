"""Provider connections: making and changing them, their URLs, and the tenants' shares of a shared one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from deliveries.credentials import ConnectionInputError, check_usable
from deliveries.models import Connection, Route
from notifyguard.accounts import audit
from notifyguard.accounts.models import operator_tenant_id
from notifyguard.accounts.tenancy import current_tenant_id, tenant_scope
from notifyguard.accounts.tokens import new_token, tenant_of
from notifyguard.sealing import seal, unseal
from providers.base import ConnectionConfig, Field
from providers.registry import get_provider

__all__ = ["ConnectionInputError"]


def create_connection(
    *,
    provider: str,
    name: str,
    values: Mapping[str, str],
    actor: audit.Actor,
    shared: bool = False,
    route_by: str = "",
    secret_later: bool = False,
) -> Connection:
    """Create a connection in the scope's tenant. ``values`` are the provider's fields, secret ones among them.

    ``secret_later`` is for a provider that shows its key only after the URL was pasted there: until the key is
    entered (``rotate_secret``) every request is refused. Raises ``ConnectionInputError``.
    """
    secrets, plain = split_fields(provider, values, secret_later=secret_later)
    check_usable(provider, secrets, plain)
    _check_routing(provider, shared=shared, route_by=route_by)
    row = Connection(
        provider=provider,
        name=name.strip() or get_provider(provider).label,
        token=new_token(current_tenant_id()),
        secrets_sealed=seal(secrets),
        settings=plain,
        shared=shared,
        route_by=route_by,
    )
    row.save(force_insert=True)
    after = {"provider": provider, "name": row.name, "shared": shared, "settings": plain}
    audit.record(actor, "connection.created", object_type="connection", object_id=row.id, after=after)
    return row


def split_fields(
    provider: str, values: Mapping[str, str], *, secret_later: bool = False
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return (secrets, plain settings) of a provider's fields; a missing or unknown field is named."""
    fields = {field.name: field for field in get_provider(provider).fields}
    given = {name: value.strip() for name, value in values.items() if value and value.strip()}
    if unknown := given.keys() - fields.keys():
        name = min(unknown)
        raise ConnectionInputError(f"{provider} has no field {name}; it has {', '.join(fields) or 'none'}.", name)
    for field in fields.values():
        if field.required and field.name not in given and not (field.secret and secret_later):
            raise ConnectionInputError(f"{provider} needs {field.name} ({field.label}).", field.name)
    secrets = tuple(value for name, value in given.items() if fields[name].secret)
    return secrets, {name: value for name, value in given.items() if not fields[name].secret}


def secret_field(provider: str) -> Field | None:
    """Return the field that holds a provider's key or secret, or None where nothing is secret."""
    return next((field for field in get_provider(provider).fields if field.secret), None)


def secrets_of(connection: Connection) -> tuple[str, ...]:
    """Return a connection's keys or secrets, newest first; never show or log them."""
    return unseal(bytes(connection.secrets_sealed))


def change_connection(
    connection: Connection, *, name: str, plain: Mapping[str, str], route_by: str, actor: audit.Actor
) -> None:
    """Change the name, the plain settings and the route key; the secret has a verb of its own."""
    settings_now = {key: value.strip() for key, value in plain.items() if value and value.strip()}
    check_usable(connection.provider, (), settings_now)
    _check_routing(connection.provider, shared=connection.shared, route_by=route_by)
    before = _as_audited(connection)
    connection.name, connection.settings, connection.route_by = name.strip(), settings_now, route_by
    connection.save(update_fields=["name", "settings", "route_by"])
    after = _as_audited(connection)
    if after != before:
        audit.record(
            actor,
            "connection.changed",
            object_type="connection",
            object_id=connection.id,
            before=before,
            after=after,
        )


def rotate_secret(connection: Connection, new_secret: str, *, actor: audit.Actor) -> None:
    """Put a new secret first and keep the previous one valid until the next rotation."""
    check_usable(connection.provider, (new_secret,), connection.settings)
    previous = secrets_of(connection)[:1]
    connection.secrets_sealed = seal((new_secret.strip(), *previous))
    connection.save(update_fields=["secrets_sealed"])
    after = {"name": connection.name}
    audit.record(actor, "connection.secret_rotated", object_type="connection", object_id=connection.id, after=after)


def switch_connection(connection: Connection, *, on: bool, actor: audit.Actor) -> None:
    """Let a connection's URL answer, or refuse all requests. What it reported so far stays."""
    if on == (connection.disabled_at is None):
        return
    connection.disabled_at = None if on else timezone.now()
    connection.save(update_fields=["disabled_at"])
    action = "connection.switched_on" if on else "connection.switched_off"
    audit.record(actor, action, object_type="connection", object_id=connection.id, after={"name": connection.name})


def routes_of(connection: Connection) -> list[Route]:
    """Return the tenants' shares of a shared connection, their tenants loaded. Runs in the operator's scope."""
    rows = Route.unscoped.select_related("tenant").filter(connection_id=connection.id)
    return list(rows.order_by("tenant__name", "value"))


def add_route(connection: Connection, *, tenant_id: uuid.UUID, value: str, actor: audit.Actor) -> Route:
    """Give a tenant its share of the operator's shared connection; held events of that value become routable.

    Runs in the operator's scope. Values are told apart without regard to case, as events are routed.
    """
    if not connection.shared:
        raise ConnectionInputError("Only a shared connection has routes.")
    if Route.unscoped.filter(connection_id=connection.id, value__iexact=value).exists():
        message = _("“%(value)s” is routed already: a value leads to one organisation only.") % {"value": value}
        raise ConnectionInputError(message, "value")
    with tenant_scope(tenant_id):
        route = Route(connection_id=connection.id, provider=connection.provider, name=connection.name, value=value)
        route.save(force_insert=True)
        after = {"connection": connection.name, "value": value}
        audit.record(actor, "route.created", object_type="route", object_id=route.id, after=after)
    return route


def remove_route(route: Route, *, actor: audit.Actor) -> None:
    """End a tenant's share: later events of the value are held. What was routed stays with the tenant."""
    with tenant_scope(route.tenant_id):
        Route.objects.filter(id=route.id).delete()
        before = {"connection": route.name, "value": route.value}
        audit.record(actor, "route.removed", object_type="route", object_id=route.id, before=before)


def find_by_token(provider: str, token: str) -> Connection | None:
    """Return the live connection of a webhook URL, or None. Runs in the scope of the tenant that the token names."""
    row: Connection | None = Connection.objects.filter(token=token, provider=provider, disabled_at=None).first()
    return row


def tenant_of_webhook(token: str) -> uuid.UUID | None:
    return tenant_of(token)


def config_of(connection: Connection, *, with_secrets: bool = True) -> ConnectionConfig:
    """Return what the provider needs to know of a connection; parsing needs no secrets."""
    plain = dict(connection.settings)
    plain["sns_cert_urls"] = ",".join(settings.SNS_CERT_URLS)  # always: a stored value must never be trusted
    secrets = secrets_of(connection) if with_secrets else ()
    return ConnectionConfig(secrets=secrets, settings=plain, route_by=connection.route_by)


def webhook_path(connection: Connection) -> str:
    return f"/webhooks/{connection.provider}/{connection.token}"


def webhook_url(connection: Connection) -> str:
    """Return the URL to paste in the provider's console."""
    return settings.PUBLIC_URL + webhook_path(connection)


def note_rejection(connection: Connection, reason: str) -> None:
    """Count a request that was not genuine. No row is kept of it: anybody can send one."""
    Connection.objects.filter(id=connection.id).update(
        rejected_count=F("rejected_count") + 1, last_rejected_at=timezone.now(), last_rejected_reason=reason[:40]
    )


def _check_routing(provider: str, *, shared: bool, route_by: str) -> None:
    if not shared:
        if route_by:
            raise ConnectionInputError("Only a shared connection is routed: leave out the route key or make it shared.")
        return
    if current_tenant_id() != operator_tenant_id():
        raise ConnectionInputError("A shared connection belongs to the operator's tenant.")
    keys = get_provider(provider).route_keys
    if not any(_is_route_key(route_by, key) for key in keys):
        message = _("%(provider)s can be routed by %(keys)s, not by “%(given)s”.")
        names = {"provider": get_provider(provider).label, "keys": ", ".join(keys), "given": route_by}
        raise ConnectionInputError(message % names, "route_by")


def _is_route_key(given: str, key: str) -> bool:
    """Tell whether ``given`` is the key, or, for one such as ``custom:<name>``, names something."""
    kind, colon, _name = key.partition(":")
    return given.startswith(kind + colon) and given != kind + colon if colon else given == key


def _as_audited(connection: Connection) -> dict[str, object]:
    return {"name": connection.name, "settings": dict(connection.settings), "route_by": connection.route_by}
