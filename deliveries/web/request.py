"""The request that a tenant's page sees behind ``tenant_page``."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict

from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import Tenant


class TenantRequest(HttpRequest):
    """For type checkers: what ``tenant_page`` has put on the request."""

    tenant: Tenant
    role: str
    actor: Actor


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what a form is bound to: the answers of a POST, empty ones too, or nothing."""
    return request.POST if request.method == "POST" else None
