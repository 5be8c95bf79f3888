"""API calls that change something: in the token's tenant and the caller's language, if its role has the right."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, cast

from django.http import Http404, HttpRequest, QueryDict
from django.utils import translation
from django.utils.translation import gettext as _
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.api.problems import BadBody
from deliveries.api.views import TenantView, language_of
from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import ApiToken
from notifyguard.accounts.permissions import may
from notifyguard.accounts.tenancy import tenant_scope


class OtherMethod(exceptions.MethodNotAllowed):
    """405 at an address where something can be changed."""

    def __init__(self, method: str, allowed: list[str]) -> None:
        text = _("This address does not answer %(method)s, only %(allowed)s.")
        super().__init__(method, text % {"method": method, "allowed": ", ".join(allowed)})


class ActingView(TenantView, ABC):
    """Takes calls that change something; one that reads as well names its methods and gives an ``answer``."""

    http_method_names = ["post", "options"]

    def answer(self, _parameters: QueryDict) -> dict[str, Any]:
        raise Http404

    def act(self, request: Request, right: str, act: Callable[[Actor], Response]) -> Response:
        """Act if the role has the right; ``right`` on the view is what reading needs."""
        token = cast(ApiToken, request.auth)
        if not may(token.role, right):
            raise exceptions.PermissionDenied
        self.tenant = token.tenant
        language = language_of(request, self.tenant)
        with tenant_scope(self.tenant.id), translation.override(language):
            answer = act(Actor(str(request.user)))
        answer.headers["Content-Language"] = language
        return answer

    def http_method_not_allowed(self, request: HttpRequest, *_args: Any, **_route: Any) -> Response:
        raise OtherMethod(str(request.method), self.allowed_methods)


def valid(shape: type[serializers.Serializer[Any]], body: object) -> dict[str, Any]:
    """Return a request's body as the serializer reads it. Raises ``BadBody`` with each wrong field by its path."""
    if not isinstance(body, dict):
        raise BadBody({"body": [_("Send one JSON object.")]})
    known = [name for name, field in shape().fields.items() if not field.read_only]
    if unknown := sorted(str(name) for name in body.keys() - set(known)):
        message = _("There is no such field. Known are: %(known)s.") % {"known": ", ".join(known)}
        raise BadBody({name: [message] for name in unknown})
    read = shape(data=body)
    if not read.is_valid():
        raise BadBody(dict(_flat("", read.errors)))
    return dict(read.validated_data)


def _flat(path: str, errors: Any) -> list[tuple[str, list[str]]]:
    """Return nested errors by dotted path, e.g. ``recipients.3.name``."""
    if isinstance(errors, dict):
        return [one for name, inner in errors.items() for one in _flat(_below(path, str(name)), inner)]
    if isinstance(errors, list) and any(isinstance(inner, dict) for inner in errors):
        return [one for number, inner in enumerate(errors) for one in _flat(f"{path}.{number}", inner)]
    return [(path, [str(message) for message in errors])] if errors else []


def _below(path: str, name: str) -> str:
    """The framework's word for what no single field is to blame for is none of ours."""
    if name == "non_field_errors":
        return path or "body"
    return f"{path}.{name}" if path else name
