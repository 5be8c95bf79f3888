"""The undelivered notifications report: what did not arrive, by status and days, with what mends it on each row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from deliveries import explain, queries, words
from deliveries.enums import Channel, State
from deliveries.filters import DeliveryFilter
from deliveries.models import Delivery
from deliveries.paging import BadCursor, keyset_page
from deliveries.web import filterbar
from deliveries.web.filterbar import PLACE, query_without
from deliveries.web.listing import field_errors, page_or_fragment, pages, size_of
from deliveries.web.request import TenantRequest
from deliveries.web.rows import title_of
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page

DAYS = 30
TYPED = ("q", "from", "to", "size", "channel", "undelivered")


@dataclass(frozen=True, slots=True)
class Status:
    value: str
    label: str
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One undelivered notice. ``contact_query`` begins a new contact where the recipient belongs to none."""

    delivery: Delivery
    title: str
    url: str
    cause: str
    next_step: str
    contact_query: str


@require_safe
@tenant_page("browse")
def undelivered(request: TenantRequest) -> HttpResponse:
    """Answer with the page, or with its list alone where htmx asks; an address that makes no sense gets 422.

    Without days in the address it shows the last 30, which are what the number on top counts.
    """
    tenant, data = request.tenant, _with_defaults(request.GET, request.tenant)
    listed = DeliveryFilter(data, queries.error_list(tenant.id), tenant=tenant)
    valid = listed.form.is_valid()
    context = _bar(tenant, listed, data)
    if not valid:
        return _answer(request, context, status=422)
    size = size_of(data)
    try:
        page = keyset_page(listed.qs, field="failed_at", cursor=data.get("cursor"), size=size)
    except BadCursor as error:
        return _answer(request, context | {"cursor_error": str(error)}, status=422)
    context |= {"rows": _rows(page.rows, slug=tenant.slug, back=request.GET.urlencode()), **pages(data, page, size)}
    return _answer(request, context)


def _with_defaults(given: QueryDict, tenant: Tenant) -> QueryDict:
    data = given.copy()
    if not data.get("undelivered"):
        data["undelivered"] = words.ANY
    if not (data.get("from") or data.get("to")):
        data["from"] = _usual_day(tenant)
    return data


def _usual_day(tenant: Tenant) -> str:
    """The first of the days that the number counts."""
    return (timezone.now().astimezone(tenant.zone).date() - timedelta(days=DAYS - 1)).isoformat()


def _answer(request: TenantRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return page_or_fragment(request, context, page="report/report.html", fragment="report/_report.html", status=status)


def _bar(tenant: Tenant, listed: DeliveryFilter, data: QueryDict) -> dict[str, Any]:
    """What stands above the rows."""
    chosen = listed.chosen()
    names = {str(source.connection_id): source.name for source in queries.sources(tenant.id)}
    return {
        "days": DAYS,
        "is_usual": data.get("from") == _usual_day(tenant) and not data.get("to"),
        "number": queries.undelivered_number(tenant, DAYS),
        "statuses": _statuses(data, chosen),
        "channels": filterbar.channel_choices(chosen),
        "typed": {name: data.get(name, "") for name in TYPED},
        "chips": filterbar.chips(data, chosen, names, left_out=("undelivered", "from")),
        "conditions": data.getlist("c"),
        "field_errors": field_errors(listed),
        "first_query": query_without(data, "cursor"),
        "selection": query_without(data, *PLACE),
    }


def _statuses(data: QueryDict, chosen: Mapping[str, Any]) -> list[Status]:
    """The tabs; changing between them keeps every filter."""
    current = chosen.get("undelivered")
    return [
        Status(value, str(label), query_without(data, *PLACE, undelivered=value), value == current)
        for value, label in words.UNDELIVERED.items()
    ]


def _rows(deliveries: Iterable[Delivery], *, slug: str, back: str) -> list[ReportRow]:
    language = get_language() or "en"
    place = urlencode({"list": "undelivered", "back": back})
    return [
        ReportRow(
            delivery=row,
            title=title_of(row),
            url=f"{reverse('delivery', args=[slug, row.id])}?{place}",
            cause=explain.cause(row.code or "", row.reason or "", language),
            next_step=explain.next_step(row.code or "", row.reason or "", State(row.state), language),
            contact_query=urlencode({_CONTACT_FIELDS[Channel(row.channel)]: row.recipient, "name": row.name}),
        )
        for row in deliveries
    ]


_CONTACT_FIELDS: Mapping[Channel, str] = {
    Channel.EMAIL: "email",
    Channel.SMS: "phone",
    Channel.LINEWORKS: "lineworks_id",
}
