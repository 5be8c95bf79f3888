"""The support ticket pack of one delivery: shown, copied, or downloaded as a text file."""

from __future__ import annotations

import uuid

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from deliveries import queries
from deliveries.attempts import attempts_of
from deliveries.headers import LIMIT
from deliveries.models import Delivery
from deliveries.ticket import Ticket, write
from deliveries.web.forms import PlainForm
from deliveries.web.request import TenantRequest, posted
from deliveries.web.rows import title_of
from notifyguard.accounts.permissions import tenant_page
from providers.registry import get_provider


class TicketForm(PlainForm):
    headers = forms.CharField(
        label=_("Headers of the message, from somebody who received it"),
        required=False,
        max_length=LIMIT,
        widget=forms.Textarea(attrs={"rows": 6, "class": "paste", "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("They go into the text above and are not kept."),
        error_messages={"max_length": _("This is too long: paste the headers only, without what is attached.")},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page("browse")
def ticket(request: TenantRequest, delivery_id: uuid.UUID) -> HttpResponse:
    """Show the text, or with ``download`` send it as a file; a POST adds pasted headers, which are not stored."""
    found = queries.delivery(request.tenant.id, delivery_id)
    if found is None:
        raise Http404
    form = TicketForm(posted(request))
    valid = form.is_valid()
    text = write(_ticket(request, found, form.cleaned_data.get("headers", "") if valid else ""))
    if "download" in request.GET or (valid and "download" in request.POST):
        return _file(found, text)
    context = {"delivery": found, "title": title_of(found), "text": text, "form": form}
    return render(request, "log/ticket.html", context, status=422 if form.is_bound and not valid else 200)


def _ticket(request: TenantRequest, found: Delivery, headers: str) -> Ticket:
    names = {source.connection_id: source.name for source in queries.sources(request.tenant.id)}
    return Ticket(
        delivery=found,
        attempts=attempts_of(found)[::-1],
        timeline=queries.timeline(found),
        provider=get_provider(found.provider).label,
        connection=names.get(found.connection_id, ""),
        zone=request.tenant.zone,
        language=get_language() or request.tenant.language,
        headers=headers,
    )


def _file(found: Delivery, text: str) -> HttpResponse:
    disposition = {
        "Content-Disposition": f'attachment; filename="ticket-{found.id}.txt"',
        "Cache-Control": "no-store",
    }
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=disposition)
