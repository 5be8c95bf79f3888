"""API tokens and webhook tokens: each names its tenant, so that row-level security can do the rest."""

from __future__ import annotations

import secrets
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from hashlib import sha256

from django.db.models import Q
from django.utils import timezone

from notifyguard.accounts.models import ApiToken
from notifyguard.accounts.tenancy import tenant_scope

API_PREFIX = "ng_"
USE_NOTED_EVERY_S = 60
_TENANT_CHARS = 22  # 16 bytes in base64url without padding


def new_token(tenant_id: uuid.UUID) -> str:
    """Return 22 characters that name the tenant, then 32 that nobody can guess."""
    return _encode(tenant_id.bytes) + _encode(secrets.token_bytes(24))


def tenant_of(token: str) -> uuid.UUID | None:
    """Return the tenant that a token names, or None if it can't be one of ours."""
    try:
        return uuid.UUID(bytes=urlsafe_b64decode(token[:_TENANT_CHARS] + "=="))
    except ValueError:
        return None


def create_api_token(
    *, name: str, role: str, tenant_id: uuid.UUID, expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Create a token in the scope's tenant; the second value is the only time the token itself is seen."""
    token = API_PREFIX + new_token(tenant_id)
    prefix = token[: len(API_PREFIX) + _TENANT_CHARS + 4]
    row = ApiToken(name=name, role=role, prefix=prefix, token_hash=_hash(token), expires_at=expires_at)
    row.save(force_insert=True)
    return row, token


def find_api_token(token: str) -> ApiToken | None:
    """Return the live token, its tenant loaded, or None; notes the use at most once a minute."""
    tenant_id = tenant_of(token.removeprefix(API_PREFIX)) if token.startswith(API_PREFIX) else None
    if tenant_id is None:
        return None
    now = timezone.now()
    with tenant_scope(tenant_id):
        live = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
        rows = ApiToken.objects.select_related("tenant").filter(live, token_hash=_hash(token), revoked_at__isnull=True)
        found: ApiToken | None = rows.first()
        if found and (found.last_used_at is None or (now - found.last_used_at).total_seconds() > USE_NOTED_EVERY_S):
            ApiToken.objects.filter(id=found.id).update(last_used_at=now)
        return found


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
