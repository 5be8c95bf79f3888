"""Who may do what: roles, and the decorator that every tenant page wears."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase

from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import Membership, Role, Tenant
from notifyguard.accounts.tenancy import tenant_scope, user_scope

# What each role may do. Browsing is everybody's; the rest is named for the act.
RIGHTS: dict[str, frozenset[str]] = {
    Role.VIEWER: frozenset({"browse"}),
    Role.MANAGER: frozenset({"browse", "export", "correct", "send"}),
    Role.SUPPORT: frozenset({"browse", "export", "correct", "send", "clear"}),
    Role.ADMIN: frozenset({"browse", "export", "correct", "send", "configure"}),
}


def may(role: str, right: str) -> bool:
    return right in RIGHTS.get(role, frozenset())


def find_membership(user_id: int | None, slug: str) -> Membership | None:
    """Return a person's membership in the tenant with that slug, its tenant loaded, or None."""
    with user_scope(user_id):
        return Membership.unscoped.select_related("tenant").filter(user_id=user_id or 0, tenant__slug=slug).first()


def tenants_of(user_id: int | None) -> list[Tenant]:
    """Return the tenants that a person belongs to, by name."""
    with user_scope(user_id):
        rows = Membership.unscoped.select_related("tenant").filter(user_id=user_id or 0).order_by("tenant__name")
        return [row.tenant for row in rows]


def tenant_page(right: str) -> Callable[..., Any]:
    """Guard a view at ``/t/<slug>/…``: a stranger gets 404, a member without the right 403.

    The view runs in the tenant's scope and finds ``request.tenant``, ``request.role`` and ``request.actor``.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        @login_required
        def guarded(request: HttpRequest, slug: str, **kwargs: Any) -> HttpResponseBase:
            membership = find_membership(request.user.pk, slug)
            if membership is None:
                raise Http404
            if not may(membership.role, right):
                raise PermissionDenied
            request.tenant, request.role = membership.tenant, membership.role  # type: ignore[attr-defined]
            request.actor = Actor(request.user.email, request.user.pk)  # type: ignore[attr-defined, union-attr]
            with tenant_scope(membership.tenant_id):
                return view(request, **kwargs)

        guarded.right = right  # type: ignore[attr-defined]
        return guarded

    return decorate
