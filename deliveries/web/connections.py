"""The sources: their list, connecting a provider, and one connection with everything that can be done to it."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deliveries import accounts, pace, quarantine, selftest, sending_check
from deliveries import connections as verbs
from deliveries.connections import ConnectionInputError
from deliveries.models import Connection, ConnectionEvent
from deliveries.sources import Source, find_source, list_shares, list_sources
from deliveries.tell import tell_workers
from deliveries.web.forms import ConnectionForm, RouteForm, SecretForm
from deliveries.web.request import TenantRequest, posted
from deliveries.web.steps import place_of_url, steps_of
from deliveries.web.words import expected_kinds
from notifyguard.accounts.permissions import may, tenant_page
from notifyguard.accounts.tenants import list_tenants
from providers.base import Provider
from providers.registry import PROVIDERS, SENDERS, get_provider

RECENT_EVENTS = 20


@tenant_page("browse")
@require_safe
def connection_list(request: TenantRequest) -> HttpResponse:
    return render(request, "connections/list.html", {"sources": list_sources(), "shares": list_shares()})


@tenant_page("configure")
@require_safe
def connection_choose(request: TenantRequest) -> HttpResponse:
    """The first step of connecting: which provider."""
    return render(request, "connections/choose.html", {"providers": PROVIDERS.values()})


@tenant_page("configure")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_new(request: TenantRequest, provider: str) -> HttpResponse:
    """The second step: the provider's fields. It leads to the connection's page, which shows the URL to paste."""
    if provider not in PROVIDERS:
        raise Http404
    chosen = get_provider(provider)
    sharing = request.tenant.is_operator and bool(chosen.route_keys)
    form = ConnectionForm(chosen, posted(request), is_new=True, sharing=sharing, initial={"name": chosen.label})
    if form.is_valid():
        row = _create(request, form)
        if row:
            next_page = "connection_sending" if "sending" in request.POST else "connection"
            return redirect(next_page, request.tenant.slug, row.id)
    page = {"form": form, "provider": chosen, "place": place_of_url(provider), "can_send": provider in SENDERS}
    return render(request, "connections/new.html", page, status=_status(form))


@tenant_page("browse")
@require_safe
def connection_detail(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    return show(request, find(connection_id))


@tenant_page("browse")
@require_safe
def connection_first_event(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """The part of a connection's page that waits for the first event; 204 while there is nothing new to read out."""
    source = find(connection_id)
    if request.GET.get("known") == _news(source):
        return HttpResponse(status=204)
    return render(request, "connections/_first_event.html", _arrivals(source))


@tenant_page("configure")
@require_POST
def connection_test(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Run the self-test and show what it found on the connection's page."""
    source = find(connection_id)
    return show(request, source, checks=selftest.run(source.connection))


@tenant_page("configure")
@require_POST
def connection_secret(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Take a new key or secret; the one before it stays valid."""
    source = find(connection_id)
    field = verbs.secret_field(source.connection.provider)
    if field is None:
        raise Http404
    form = SecretForm(field, request.POST)
    if form.is_valid():
        try:
            verbs.rotate_secret(source.connection, form.cleaned_data["secret"], actor=request.actor)
        except ConnectionInputError as error:
            form.add_error("secret", str(error))
        else:
            messages.success(request, _("The new key is in use. The one before it stays valid until the next change."))
            return redirect("connection", request.tenant.slug, connection_id)
    return show(request, source, status=422, secret_form=form)


@tenant_page("configure")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_edit(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Change the name, the plain settings and, of a shared connection, the route key."""
    row = find(connection_id).connection
    initial = {**row.settings, "name": row.name, "route_by": row.route_by}
    form = ConnectionForm(
        get_provider(row.provider), posted(request), is_new=False, sharing=row.shared, initial=initial
    )
    if form.is_valid() and _change(request, row, form):
        messages.success(request, _("The settings are saved."))
        return redirect("connection", request.tenant.slug, connection_id)
    return render(request, "connections/edit.html", {"form": form, "connection": row}, status=_status(form))


@tenant_page("configure")
@require_POST
def connection_switch(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Switch a connection off or on; what it reported stays."""
    row = find(connection_id).connection
    is_on = "on" in request.POST
    verbs.switch_connection(row, on=is_on, actor=request.actor)
    said = _("The connection is on.") if is_on else _("The connection is off: its URL refuses all requests.")
    messages.success(request, said)
    return redirect("connection", request.tenant.slug, connection_id)


@tenant_page("configure")
@require_POST
def route_add(request: TenantRequest, connection_id: uuid.UUID) -> HttpResponse:
    """Lead a route value of a shared connection to an organisation, held events included."""
    source = _find_shared(connection_id)
    form = RouteForm(list_tenants(), request.POST)
    if form.is_valid() and add_route_and_release(request, source.connection, form):
        return redirect("connection", request.tenant.slug, connection_id)
    return show(request, source, status=422, route_form=form)


@tenant_page("configure")
@require_POST
def route_remove(request: TenantRequest, connection_id: uuid.UUID, route_id: uuid.UUID) -> HttpResponse:
    """End an organisation's share; later events of the value are held."""
    routes = verbs.routes_of(_find_shared(connection_id).connection)
    route = next((row for row in routes if row.id == route_id), None)
    if route is None:
        raise Http404
    verbs.remove_route(route, actor=request.actor)
    said = _("Events with “%(value)s” are no longer led to %(tenant)s: from now on they are held.")
    messages.success(request, said % {"value": route.value, "tenant": route.tenant.name})
    return redirect("connection", request.tenant.slug, connection_id)


def add_route_and_release(request: TenantRequest, connection: Connection, form: RouteForm) -> bool:
    """Add the route that a valid form asks for and release what was held for it; False puts an error on the form."""
    value = form.cleaned_data["value"].strip()
    tenant_id = uuid.UUID(form.cleaned_data["tenant"])
    try:
        verbs.add_route(connection, tenant_id=tenant_id, value=value, actor=request.actor)
    except ConnectionInputError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return False
    released = quarantine.release(connection, value, actor=request.actor)
    if released:
        owner = request.tenant.id
        transaction.on_commit(lambda: tell_workers(owner))
    tenant = dict(form.fields["tenant"].choices)[form.cleaned_data["tenant"]]  # type: ignore[attr-defined]
    said = ngettext(
        "Events with “%(value)s” go to %(tenant)s. %(count)d held event is on its way there.",
        "Events with “%(value)s” go to %(tenant)s. %(count)d held events are on their way there.",
        released,
    )
    messages.success(request, said % {"value": value, "tenant": tenant, "count": released})
    return True


def _create(request: TenantRequest, form: ConnectionForm) -> Connection | None:
    answers = form.cleaned_data
    try:
        return verbs.create_connection(
            provider=form.provider.name,
            name=answers["name"],
            values=form.provider_values(),
            actor=request.actor,
            shared=answers.get("shared", False),
            route_by=answers.get("route_by", ""),
            secret_later=True,
        )
    except ConnectionInputError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return None


def _change(request: TenantRequest, row: Connection, form: ConnectionForm) -> bool:
    try:
        verbs.change_connection(
            row,
            name=form.cleaned_data["name"],
            plain=form.provider_values(),
            route_by=form.cleaned_data.get("route_by", ""),
            actor=request.actor,
        )
    except ConnectionInputError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return False
    return True


def find(connection_id: uuid.UUID) -> Source:
    """Return the scope's connection. Raises ``Http404``."""
    source = find_source(connection_id)
    if source is None:
        raise Http404
    return source


def _find_shared(connection_id: uuid.UUID) -> Source:
    source = find(connection_id)
    if not source.connection.shared:
        raise Http404
    return source


def show(
    request: TenantRequest,
    source: Source,
    *,
    status: int = 200,
    checks: list[selftest.Check] | None = None,
    **forms: Any,
) -> HttpResponse:
    """Show a connection; ``forms`` are those that came back with errors."""
    row = source.connection
    provider = get_provider(row.provider)
    page = {
        **_arrivals(source),
        "provider": provider,
        "place": place_of_url(row.provider),
        "url": verbs.webhook_url(row),
        "steps": steps_of(row.provider),
        "settings": _settings(row, provider),
        "events": _recent_events(row),
        "checks": checks,
    }
    if row.provider in SENDERS:
        page |= {"sending": _sending(row), "budget": _budget(row)}
    if may(request.role, "configure"):
        page |= _forms(row)
    return render(request, "connections/detail.html", page | forms, status=status)


def _arrivals(source: Source) -> dict[str, Any]:
    """Return what a connection's page says of the requests that came."""
    row, expected = source.connection, expected_kinds(source.connection.provider)
    return {
        "source": source,
        "connection": row,
        "refusal": selftest.explain_refusal(row.last_rejected_reason),
        "kinds": [(kind, kind in row.seen_kinds) for kind in dict.fromkeys([*expected, *row.seen_kinds])],
        "news": _news(source),
    }


def _news(source: Source) -> str:
    row = source.connection
    return f"{source.state}-{row.rejected_count}-{'-'.join(sorted(row.seen_kinds))}"


def _recent_events(row: Connection) -> list[ConnectionEvent]:
    events = ConnectionEvent.objects.filter(connection_id=row.id).order_by("-occurred_at")
    return list(events[:RECENT_EVENTS])


def _sending(row: Connection) -> dict[str, Any]:
    """Return what a connection's page says of sending through it; of the secrets, that they are entered."""
    values = accounts.sending_values(row)
    used = [rival.id for rival in accounts.rivals(row)]
    return {
        "is_on": bool(values),
        "values": [
            (_(field.label), values[field.name])
            for field in SENDERS[row.provider].fields
            if not field.secret and field.name in values
        ],
        "is_first": used[:1] == [row.id],
        "has_rivals": row.id in used and len(used) > 1,
        "disagreement": sending_check.disagreement(row),
    }


def _budget(row: Connection) -> pace.Standing | None:
    """Return how the account stands that the connection sends through."""
    account = accounts.find_account(row.id)
    return pace.standing(account.pace_key) if account else None


def _settings(row: Connection, provider: Provider) -> list[tuple[str, str]]:
    """Return the plain settings with their labels, in the provider's order."""
    return [(_(field.label), row.settings[field.name]) for field in provider.fields if field.name in row.settings]


def _forms(row: Connection) -> dict[str, Any]:
    field = verbs.secret_field(row.provider)
    page: dict[str, Any] = {"lacks_key": field is not None and not verbs.secrets_of(row)}
    if field:
        page["secret_form"] = SecretForm(field)
    if row.shared:
        page |= {"routes": verbs.routes_of(row), "route_form": RouteForm(list_tenants())}
    return page


def _status(form: ConnectionForm) -> int:
    return 422 if form.errors else 200
