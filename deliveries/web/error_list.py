"""The Notification Error List: one tab a channel, a filter that lives in the address, keyset pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe
from django_htmx.middleware import HtmxDetails

from deliveries import queries
from deliveries.enums import Channel
from deliveries.filters import DeliveryFilter
from deliveries.models import Delivery
from deliveries.paging import BadCursor, Page, keyset_page
from deliveries.queries import Source
from deliveries.web import filterbar
from deliveries.web.filterbar import query_without
from deliveries.web.request import TenantRequest
from deliveries.web.rows import error_rows
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page

SIZES = (25, 50, 100)


@dataclass(frozen=True, slots=True)
class Size:
    number: int
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class FieldError:
    label: str
    text: str


@require_safe
@tenant_page("browse")
def error_list(request: TenantRequest) -> HttpResponse:
    """Answer with the page, or with its list alone where htmx asks; an address that makes no sense gets 422."""
    counts = queries.tab_counts(request.tenant.id)
    data = _with_channel(request.GET, counts, request.tenant)
    listed = DeliveryFilter(data, queries.error_list(request.tenant.id), tenant=request.tenant)
    sources = queries.sources(request.tenant.id)
    valid = listed.form.is_valid()
    context = _bar(request.tenant, listed, data, counts, sources)
    if not valid:
        return _answer(request, context, status=422)
    size = _size(data)
    try:
        page = keyset_page(listed.qs, field="failed_at", cursor=data.get("cursor"), size=size)
    except BadCursor as error:
        return _answer(request, context | {"cursor_error": str(error)}, status=422)
    context |= _results(request.tenant, data, page, size) | _emptiness(context, data, page, sources)
    return _answer(request, context)


def _answer(request: TenantRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    # Without a history cache htmx fetches the page again on "back", and then it needs all of it.
    htmx = HtmxDetails(request)
    fragment = bool(htmx) and not htmx.history_restore_request
    template = "deliveries/_error_list.html" if fragment else "deliveries/error_list.html"
    response = render(request, template, context | {"fragment": fragment}, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-History-Restore-Request"])
    return response


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
        "field_errors": _field_errors(listed),
        "cleared": query_without(QueryDict(), channel=channel.value),
        "first_query": query_without(data, "cursor"),
    }


def _field_errors(listed: DeliveryFilter) -> list[FieldError]:
    fields = listed.form.fields
    return [
        FieldError(str(fields[name].label) if name in fields else "", text)
        for name, texts in listed.form.errors.items()
        for text in texts
    ]


def _results(tenant: Tenant, data: QueryDict, page: Page[Delivery], size: int) -> dict[str, Any]:
    here = data.urlencode()
    return {
        "rows": error_rows(page.rows, slug=tenant.slug, back=here),
        "is_first": page.first,
        "next_query": query_without(data, cursor=page.next) if page.next else "",
        "previous_query": query_without(data, cursor=page.previous) if page.previous else "",
        "sizes": [Size(number, query_without(data, "cursor", size=str(number)), number == size) for number in SIZES],
        "export_query": query_without(data, *filterbar.PLACE),
    }


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


def _size(data: QueryDict) -> int:
    """The page size asked for, or the usual one: a wrong number is no reason to refuse a list."""
    asked = data.get("size", "")
    return next((number for number in SIZES if str(number) == asked), SIZES[0])
