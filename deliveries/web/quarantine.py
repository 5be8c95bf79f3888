"""The operator's page of held events: those of shared connections whose organisation is not known yet."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from deliveries.models import Connection
from deliveries.quarantine import Held, list_held
from deliveries.web.connections import add_route_and_release
from deliveries.web.forms import HeldForm
from deliveries.web.request import TenantRequest
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page
from notifyguard.accounts.tenants import list_tenants


@tenant_page("browse")
@require_safe
def held_list(request: TenantRequest) -> HttpResponse:
    """The held events by connection and route value."""
    _operator_only(request)
    return _page(request)


@tenant_page("configure")
@require_POST
def held_route(request: TenantRequest) -> HttpResponse:
    """Lead a held value to an organisation and release its events."""
    _operator_only(request)
    form = HeldForm(list_tenants(), request.POST)
    if form.is_valid():
        connection = Connection.objects.filter(id=form.cleaned_data["connection"], shared=True).first()
        if connection is None:
            raise Http404
        if add_route_and_release(request, connection, form):
            return redirect("quarantine", request.tenant.slug)
    return _page(request, returned=form)


def _operator_only(request: TenantRequest) -> None:
    if not request.tenant.is_operator:
        raise Http404


def _page(request: TenantRequest, returned: HeldForm | None = None) -> HttpResponse:
    """Show the groups, each with its form; the one that came back with errors keeps them."""
    tenants = list_tenants()
    groups = [(held, _form_of(held, number, tenants, returned)) for number, held in enumerate(list_held())]
    return render(request, "operator/quarantine.html", {"groups": groups}, status=422 if returned else 200)


def _form_of(held: Held, number: int, tenants: list[Tenant], returned: HeldForm | None) -> HeldForm:
    if returned and _is_about(returned, held):
        return returned
    return HeldForm(
        tenants, initial={"connection": held.connection.id, "value": held.value}, auto_id=f"held{number}_%s"
    )


def _is_about(form: HeldForm, held: Held) -> bool:
    return form.data.get("connection") == str(held.connection.id) and form.data.get("value") == held.value
