"""The person's language on every page, and what templates know of the tenant at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import translation


class LanguageMiddleware:
    """A person who chose a language reads every page in it, whatever their browser prefers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        language = getattr(request.user, "language", "") if request.user.is_authenticated else ""
        if language:
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)


def tenant_context(request: HttpRequest) -> dict[str, Any]:
    """Give templates ``tenant`` and ``role`` where a tenant page is shown (set by ``permissions.tenant_page``)."""
    return {"tenant": getattr(request, "tenant", None), "role": getattr(request, "role", None)}
