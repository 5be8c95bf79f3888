"""Organisations: finding one by its slug, creating one, changing its settings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError

from notifyguard.accounts import audit
from notifyguard.accounts.models import Tenant, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope

CHANGEABLE = ("name", "timezone", "language", "body_days", "region", "sms_price", "sms_currency")


class TenantError(ValueError):
    """There is no such organisation, or it can't be made; the message says why."""


def find_tenant(slug: str) -> Tenant:
    """Return a tenant by its slug, whatever the scope. Raises ``TenantError``, which names some that there are."""
    with tenant_scope(operator_tenant_id()):
        found: Tenant | None = Tenant.objects.filter(slug=slug).first()
        if found is None:
            raise TenantError(f"There is no tenant “{slug}”. {_some_slugs()}")
        return found


def list_tenants() -> list[Tenant]:
    """Return every tenant by slug, whatever the scope."""
    with tenant_scope(operator_tenant_id()):
        return list(Tenant.objects.order_by("slug"))


def create_tenant(*, slug: str, name: str, timezone: str, language: str, actor: audit.Actor) -> Tenant:
    """Create an organisation. Raises ``TenantError`` if the slug is taken or a value is not valid."""
    tenant = Tenant(slug=slug, name=name.strip() or slug, timezone=timezone, language=language)
    with tenant_scope(operator_tenant_id()):
        _check(tenant)
        tenant.save(force_insert=True)
    with tenant_scope(tenant.id):
        after = {"slug": slug} | _as_audited(tenant)
        audit.record(actor, "tenant.created", object_type="tenant", object_id=tenant.id, after=after)
    return tenant


def change_tenant(tenant: Tenant, *, actor: audit.Actor, **values: Any) -> bool:
    """Change the scope's tenant; returns whether its days are others now, so that tallies need a recount.

    ``values`` are some or all of ``CHANGEABLE``.
    """
    before = _as_audited(tenant)
    for field in CHANGEABLE:
        setattr(tenant, field, values.get(field, getattr(tenant, field)))
    after = _as_audited(tenant)
    if after != before:
        tenant.save(update_fields=CHANGEABLE)
        audit.record(actor, "tenant.changed", object_type="tenant", object_id=tenant.id, before=before, after=after)
    return before["timezone"] != after["timezone"]


def _check(tenant: Tenant) -> None:
    try:
        tenant.full_clean()
    except ValidationError as error:
        problems = (f"{field}: {text}" for field, texts in error.message_dict.items() for text in texts)
        raise TenantError("The tenant can't be created: " + " ".join(problems)) from error


def _some_slugs() -> str:
    slugs = list(Tenant.objects.order_by("slug").values_list("slug", flat=True)[:10])
    return f"There are: {', '.join(slugs)}." if slugs else "There is none yet: manage.py tenant create <slug>."


def _as_audited(tenant: Tenant) -> dict[str, str]:
    return {field: _text(getattr(tenant, field)) for field in CHANGEABLE}


def _text(value: object) -> str:
    """A price as the column keeps it, so that 3 and 3.0000 are the same."""
    if isinstance(value, Decimal):
        return f"{value:.4f}"
    return "" if value is None else str(value)
