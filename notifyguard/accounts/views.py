"""The start page, which leads to the organisation at hand, and the choice of language."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from notifyguard.accounts.models import User
from notifyguard.accounts.permissions import tenants_of


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the only organisation's dashboard; whoever has several, or none, gets a page that says so."""
    tenants = tenants_of(request.user.pk)
    if len(tenants) == 1:
        return redirect("dashboard", tenants[0].slug)
    return render(request, "accounts/choose_tenant.html", {"tenants": tenants})


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Remember the language: in the person's account, and in a cookie for the pages before the login."""
    response = redirect(_page_before(request))
    chosen = request.POST.get("language", "")
    if chosen in dict(settings.LANGUAGES):
        if request.user.is_authenticated:
            User.objects.filter(pk=request.user.pk).update(language=chosen)
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            chosen,
            max_age=365 * 24 * 3600,
            secure=settings.SESSION_COOKIE_SECURE,
            samesite="Lax",
        )
    return response


def _page_before(request: HttpRequest) -> str:
    page = request.POST.get("next", "")
    ours = url_has_allowed_host_and_scheme(page, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return page if ours else "/"
