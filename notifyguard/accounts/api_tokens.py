"""API tokens as people handle them: issued with a role and an end, listed, revoked; each act is audited."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.utils import timezone

from notifyguard.accounts import audit
from notifyguard.accounts.models import ApiToken
from notifyguard.accounts.tenancy import current_tenant_id
from notifyguard.accounts.tokens import create_api_token


def issue(*, name: str, role: str, expires_at: datetime | None, actor: audit.Actor) -> tuple[ApiToken, str]:
    """Create a token in the scope's tenant; the second value is the only time the token itself is seen."""
    row, token = create_api_token(name=name, role=role, tenant_id=current_tenant_id(), expires_at=expires_at)
    if actor.user_id:
        row.created_by_id = actor.user_id
        row.save(update_fields=["created_by"])
    after = {"name": name, "role": role, "expires_at": expires_at.isoformat(timespec="minutes") if expires_at else None}
    audit.record(actor, "api_token.created", object_type="api_token", object_id=row.id, after=after)
    return row, token


def list_tokens() -> list[ApiToken]:
    """Return the scope's tokens, those that still work first, newest first."""
    return list(ApiToken.objects.select_related("created_by").order_by("-revoked_at", "-created_at"))


def revoke(token_id: uuid.UUID, *, actor: audit.Actor) -> bool:
    """End a token now; returns False if there is none or it was revoked before."""
    row = ApiToken.objects.filter(id=token_id, revoked_at__isnull=True).first()
    if row is None:
        return False
    row.revoked_at = timezone.now()
    row.save(update_fields=["revoked_at"])
    before = {"name": row.name, "role": row.role}
    audit.record(actor, "api_token.revoked", object_type="api_token", object_id=row.id, before=before)
    return True
