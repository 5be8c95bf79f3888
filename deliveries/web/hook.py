"""Settings: where the organisation's own product is asked to send notices again."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from deliveries import asking
from deliveries.asking import HookInputError
from deliveries.models import ResendHook
from deliveries.web.request import TenantRequest, posted
from notifyguard.accounts.permissions import tenant_page


class HookForm(forms.Form):
    url = forms.CharField(
        label=gettext_lazy("Address of your product"),
        max_length=asking.LONGEST_URL,
        help_text=gettext_lazy("Begins with https://. Requests come by POST, signed as docs/api.md describes."),
        widget=forms.URLInput(attrs={"spellcheck": "false"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page("configure")
def resend_hook(request: TenantRequest) -> HttpResponse:
    """The address and what the last request came to. A new secret is shown on this answer and never again."""
    row = asking.hook_of_tenant()
    form, secret = HookForm(posted(request), initial={"url": row.url if row else ""}), ""
    if form.is_valid():
        try:
            secret = asking.set_hook(form.cleaned_data["url"], actor=request.actor)
        except HookInputError as error:
            form.add_error("url", str(error))
        else:
            messages.success(request, _("The address is saved."))
            row = asking.hook_of_tenant()
    return _page(request, form, row, secret)


@require_POST
@tenant_page("configure")
def resend_hook_secret(request: TenantRequest) -> HttpResponse:
    """Make a new signing secret; the old one ends at once."""
    row = _found()
    secret = asking.rotate_secret(row, actor=request.actor)
    return _page(request, HookForm(initial={"url": row.url}), row, secret)


@require_POST
@tenant_page("configure")
def resend_hook_remove(request: TenantRequest) -> HttpResponse:
    asking.remove_hook(_found(), actor=request.actor)
    messages.success(request, _("Your product is asked no more."))
    return redirect("resend_hook", request.tenant.slug)


def _found() -> ResendHook:
    row = asking.hook_of_tenant()
    if row is None:
        raise Http404
    return row


def _page(request: TenantRequest, form: HookForm, row: ResendHook | None, secret: str) -> HttpResponse:
    page = {"form": form, "hook": row, "secret": secret}
    return render(request, "settings/hook.html", page, status=422 if form.errors else 200)
