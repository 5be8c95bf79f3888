"""Every error of the API in one shape: problem details (RFC 9457) that say what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.response import Response

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"

# In place of the framework's texts, which do not say what to do.
_TEXTS: dict[type[exceptions.APIException], str | Promise] = {
    exceptions.NotAuthenticated: gettext_lazy("Send an API token in the header: Authorization: Bearer ng_…"),
    exceptions.PermissionDenied: gettext_lazy("The role of this token does not allow it: ask your admin."),
    exceptions.NotFound: gettext_lazy("There is nothing at this address that this token may see."),
    exceptions.MethodNotAllowed: gettext_lazy("This address only answers GET, HEAD and OPTIONS."),
    exceptions.NotAcceptable: gettext_lazy("This address answers in JSON: accept application/json."),
}


class BadParameters(exceptions.APIException):
    """400: ``errors`` says for each parameter what is wrong with it and what to do."""

    status_code = HTTPStatus.BAD_REQUEST

    def __init__(self, errors: Mapping[str, Sequence[str]], detail: str = "") -> None:
        super().__init__(detail or _("Some parameters are not valid; nothing was looked up."))
        self.errors = {name: [str(message) for message in messages] for name, messages in errors.items()}


class BadBody(BadParameters):
    """400: ``errors`` says for each field of the request's body what is wrong with it and what to do."""

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__(errors, _("The request is not valid; nothing was changed."))


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """Return the answer to an exception of a view; one that nobody expected is logged and told as 500."""
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.APIException):
        detail = _TEXTS.get(type(error), error.detail)
        return _problem(error.status_code, str(detail), _headers(error), getattr(error, "errors", None))
    log.error("api.failed", view=type(context.get("view")).__name__, exc_info=error)
    detail = _("Something went wrong on our side. Try again; if it stays, tell the operator when it happened.")
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, {}, None)


def _problem(status: int, detail: str, headers: dict[str, str], errors: Mapping[str, list[str]] | None) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
    }
    if errors is not None:
        body["errors"] = errors
    return Response(body, status=status, headers=headers, content_type=CONTENT_TYPE)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    challenge = getattr(error, "auth_header", None)
    return {"WWW-Authenticate": challenge} if challenge else {}
