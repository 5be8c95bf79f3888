"""The Notification Error List: one tab a channel, a filter that lives in the address, keyset pages."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from deliveries import queries
from deliveries.attempts import latest, standing
from deliveries.enums import Channel
from deliveries.filters import DeliveryFilter
from deliveries.models import Attempt, Delivery
from deliveries.paging import BadCursor, Page, keyset_page
from deliveries.queries import Source
from deliveries.web import filterbar
from deliveries.web.builder import builder, edited
from deliveries.web.filterbar import query_without
from deliveries.web.listing import field_errors, page_or_fragment, pages, size_of
from deliveries.web.request import TenantRequest
from deliveries.web.rows import ErrorRow, error_rows
from deliveries.web.tried import ON_THE_WAY, tried
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page


@require_safe
@tenant_page("browse")
def error_list(request: TenantRequest) -> HttpResponse:
    """Answer with the page, or with its list alone where htmx asks; an address that makes no sense gets 422."""
    if (query := edited(request.GET)) is not None:
        return redirect(f"{request.path}?{query}")
    counts = queries.tab_counts(request.tenant.id)
    data = _with_channel(request.GET, counts, request.tenant)
    listed = DeliveryFilter(data, queries.error_list(request.tenant.id), tenant=request.tenant)
    sources = queries.sources(request.tenant.id)
    valid = listed.form.is_valid()
    context = _bar(request.tenant, listed, data, counts, sources)
    if not valid:
        return _answer(request, context, status=422)
    size = size_of(data)
    try:
        page = keyset_page(listed.qs, field="failed_at", cursor=data.get("cursor"), size=size)
    except BadCursor as error:
        return _answer(request, context | {"cursor_error": str(error)}, status=422)
    context |= _results(request.tenant, data, page, size) | _emptiness(context, data, page, sources)
    return _answer(request, context)


def _answer(request: TenantRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    page, fragment = "deliveries/error_list.html", "deliveries/_error_list.html"
    return page_or_fragment(request, context, page=page, fragment=fragment, status=status)


def _with_channel(given: QueryDict, counts: Mapping[Channel, int], tenant: Tenant) -> QueryDict:
    """The parameters with a channel: without one, the first channel that has such errors."""
    data = given.copy()
    if not data.get("channel"):
        matching = (channel for channel in Channel if counts[channel] and _has_match(data, channel, tenant))
        data["channel"] = next(matching, Channel.EMAIL).value
    return data


def _has_match(data: QueryDict, channel: Channel, tenant: Tenant) -> bool:
    asked = data.copy()
    asked["channel"] = channel.value
    return bool(DeliveryFilter(asked, queries.error_list(tenant.id), tenant=tenant).qs.exists())


def _bar(
    tenant: Tenant, listed: DeliveryFilter, data: QueryDict, counts: Mapping[Channel, int], sources: list[Source]
) -> dict[str, Any]:
    """What stands above the rows. Of an invalid filter, the valid part is shown as chosen and the rest as typed."""
    chosen = listed.chosen()
    channel = Channel(chosen.get("channel", Channel.EMAIL))
    facets = queries.facets(tenant.id, channel)
    names = {str(source.connection_id): source.name for source in sources}
    return {
        "channel": channel,
        "tabs": filterbar.tabs(data, counts, channel),
        "pickers": filterbar.pickers(facets, chosen, names),
        "persistences": filterbar.persistence_choices(chosen),
        "actionables": filterbar.actionable_choices(chosen),
        "domains": facets.domains,
        "typed": {name: data.get(name, "") for name in ("q", "domain", "from", "to", "size")},
        "chips": filterbar.chips(data, chosen, names),
        "builder": builder(data, names),
        "conditions": data.getlist("c"),
        "field_errors": field_errors(listed),
        "cleared": query_without(QueryDict(), channel=channel.value),
        "first_query": query_without(data, "cursor"),
    }


def _results(tenant: Tenant, data: QueryDict, page: Page[Delivery], size: int) -> dict[str, Any]:
    here, again = data.urlencode(), latest([row.id for row in page.rows])
    return {
        "rows": [_with_again(row, again) for row in error_rows(page.rows, slug=tenant.slug, back=here)],
        **pages(data, page, size),
    }


def _with_again(row: ErrorRow, again: Mapping[uuid.UUID, Attempt]) -> ErrorRow:
    """The row, and where a later attempt stands that has no verdict yet."""
    attempt = again.get(row.delivery.id)
    if attempt is None or standing(attempt, row.delivery) not in ON_THE_WAY:
        return row
    return replace(row, again=tried(attempt, row.delivery))


def _emptiness(
    context: Mapping[str, Any], data: QueryDict, page: Page[Delivery], sources: list[Source]
) -> dict[str, Any]:
    """Why there are no rows: silence is told apart from health, and a filter from either."""
    if page.rows:
        return {}
    if data.get("cursor"):
        return {"empty": "end"}
    if context["chips"]:
        return {"empty": "filtered"}
    heard = [source for source in sources if source.last_event_at]
    latest = max(heard, key=lambda source: source.last_event_at, default=None)  # type: ignore[arg-type, return-value]
    return {"empty": "nothing" if sources else "unconnected", "latest": latest}
