"""Sending through a connection: its credentials, the check of them, which one is used first, and an end to it."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from deliveries import accounts, sending_check
from deliveries.connections import ConnectionInputError
from deliveries.models import Connection
from deliveries.web import connections
from deliveries.web.forms import SendingForm
from deliveries.web.request import TenantRequest, posted
from notifyguard.accounts.permissions import tenant_page
from providers.registry import SENDERS


@tenant_page("configure")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_sending(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Enter or change what a connection sends with. Secrets that are entered already are not shown."""
    row = _find(connection_id)
    values = accounts.sending_values(row)
    form = SendingForm(SENDERS[row.provider].fields, values.keys(), posted(request), initial=_shown(row, values))
    if form.is_valid() and _save(request, row, form):
        messages.success(request, _("The connection can send now. Check it before you rely on it."))
        return _back(request, row)
    page = {"form": form, "connection": row, "is_on": bool(values)}
    return render(request, "connections/sending.html", page, status=422 if form.errors else 200)


@tenant_page("configure")
@require_POST
def connection_sending_check(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Ask the provider whether the connection could send, and show the answer on the connection's page."""
    row = _find(connection_id, sends=True)
    found = sending_check.run(row)
    return connections.show(request, connections.find(connection_id), checks=found, checks_title=_("Sending"))


@tenant_page("configure")
@require_POST
def connection_sending_prefer(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    row = _find(connection_id, sends=True)
    accounts.prefer(row, actor=request.actor)
    messages.success(request, _("From now on “%(name)s” is used first.") % {"name": row.name})
    return _back(request, row)


@tenant_page("configure")
@require_POST
def connection_sending_stop(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Forget what a connection sends with; it goes on receiving reports."""
    row = _find(connection_id, sends=True)
    accounts.set_sending(row, {}, actor=request.actor)
    messages.success(request, _("Nothing is sent through this connection any more. Its reports still arrive."))
    return _back(request, row)


def _find(connection_id: uuid.UUID, *, sends: bool = False) -> Connection:
    row = connections.find(connection_id).connection
    if row.provider not in SENDERS or (sends and row.sending_sealed is None):
        raise Http404
    return row


def _shown(row: Connection, values: dict[str, str]) -> dict[str, str]:
    """Return the form's first content; what the connection knows already is not asked for twice."""
    known = row.settings | {"domain": row.settings.get("domains", "")}
    shown = values or known
    return {
        field.name: shown[field.name]
        for field in SENDERS[row.provider].fields
        if not field.secret and field.name in shown
    }


def _save(request: TenantRequest, row: Connection, form: SendingForm) -> bool:
    try:
        accounts.set_sending(row, form.cleaned_data, actor=request.actor)
    except ConnectionInputError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return False
    return True


def _back(request: TenantRequest, row: Connection) -> HttpResponse:
    return redirect(f"{reverse('connection', args=[request.tenant.slug, row.id])}#sending")
