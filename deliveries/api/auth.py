"""Who calls the API: a tenant's token, and what its role may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from notifyguard.accounts.models import ApiToken
from notifyguard.accounts.permissions import may
from notifyguard.accounts.tokens import find_api_token

SCHEMES = frozenset({b"bearer", b"token"})


@dataclass(frozen=True, slots=True)
class TokenUser:
    """What Django's middleware may ask of ``request.user``: a token is no person, but it is known."""

    token: ApiToken
    is_authenticated: bool = True
    is_anonymous: bool = False

    def __str__(self) -> str:
        return f"API token {self.token.name}"


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer ng_…`` (or ``Token ng_…``); ``request.auth`` is the token, its tenant loaded."""

    def authenticate(self, request: Request) -> tuple[TokenUser, ApiToken] | None:
        """Return None without credentials; raise ``AuthenticationFailed`` for credentials that are not live ones."""
        scheme, _, given = get_authorization_header(request).partition(b" ")
        if not scheme:
            return None
        if scheme.lower() not in SCHEMES:
            raise AuthenticationFailed("Send the token as: Authorization: Bearer ng_…")
        token = find_api_token(given.strip().decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("This token is unknown, revoked or expired: ask your admin for another one.")
        return TokenUser(token), token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="NotifyGuard API"'


class HasRole(BasePermission):
    """The token's role must have the right that the view names; a view that names none is closed."""

    def has_permission(self, request: Request, view: object) -> bool:
        token: Any = request.auth
        right = getattr(view, "right", None)
        return isinstance(token, ApiToken) and right is not None and may(token.role, right)
