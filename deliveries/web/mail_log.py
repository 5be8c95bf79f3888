"""The mail log: every notice handed over or waiting, with what the provider answered and what came later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_safe

from deliveries import attempts, queries, words
from deliveries.enums import AttemptStatus, Kind, State
from deliveries.export import export_response
from deliveries.filters import DeliveryFilter
from deliveries.models import Attempt, Delivery
from deliveries.paging import BadCursor, keyset_page
from deliveries.queries import tries, tries_from, tries_until
from deliveries.web import filterbar
from deliveries.web.builder import builder, edited
from deliveries.web.export import ShapeForm, refusal, shape_of
from deliveries.web.filterbar import Choice, Picker, query_without
from deliveries.web.listing import field_errors, page_or_fragment, pages, size_of
from deliveries.web.request import TenantRequest
from deliveries.web.rows import title_of
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page

TYPED = ("q", "from", "to", "size", "channel")


@dataclass(frozen=True, slots=True)
class Clock:
    """How long the provider goes on trying, in hours: all of them, and those that are left."""

    until: datetime
    hours: int
    left: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """One delivery: what was answered when it was last handed over, and what was reported.

    ``is_unanswered``: the report is of an earlier hand-over; nothing came of the last one yet.
    """

    delivery: Delivery
    title: str
    url: str
    answer: str
    answered_at: datetime | None
    is_unanswered: bool
    later: Kind | None
    tries: int
    clock: Clock | None


@require_safe
@tenant_page("browse")
def mail_log(request: TenantRequest) -> HttpResponse:
    """Answer with the page, or with its list alone where htmx asks; an address that makes no sense gets 422."""
    if (query := edited(request.GET)) is not None:
        return redirect(f"{request.path}?{query}")
    data, tenant = request.GET, request.tenant
    listed = _listed(data, tenant)
    valid = listed.form.is_valid()
    context = _bar(tenant, listed, data)
    if not valid:
        return _answer(request, context, status=422)
    size = size_of(data)
    try:
        page = keyset_page(listed.qs, field="first_at", cursor=data.get("cursor"), size=size)
    except BadCursor as error:
        return _answer(request, context | {"cursor_error": str(error)}, status=422)
    context |= {"rows": _rows(page.rows, slug=tenant.slug, back=data.urlencode()), **pages(data, page, size)}
    return _answer(request, context)


@require_GET
@tenant_page("export")
def mail_log_export(request: TenantRequest) -> HttpResponseBase:
    """Answer with the file, in the person's language; with 422 and the reasons if the address makes no sense."""
    chosen, shape = _listed(request.GET, request.tenant), ShapeForm(request.GET)
    if not (chosen.is_valid() and shape.is_valid()):
        return refusal(chosen.errors, shape.errors)
    return export_response(request.actor, request.tenant, chosen, shape_of(shape, request.tenant))


def _listed(data: QueryDict, tenant: Tenant) -> DeliveryFilter:
    return DeliveryFilter(data, queries.all_deliveries(tenant.id), tenant=tenant, time_field="first_at")


def _answer(request: TenantRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    return page_or_fragment(request, context, page="log/mail_log.html", fragment="log/_mail_log.html", status=status)


def _bar(tenant: Tenant, listed: DeliveryFilter, data: QueryDict) -> dict[str, Any]:
    """What stands above the rows."""
    chosen = listed.chosen()
    names = {str(source.connection_id): source.name for source in queries.sources(tenant.id)}
    states = {state.value: str(word) for state, word in words.STATES.items()}
    return {
        "pickers": [_picker("state", states, chosen), _picker("connection", names, chosen)],
        "channels": filterbar.channel_choices(chosen),
        "typed": {name: data.get(name, "") for name in TYPED},
        "chips": filterbar.chips(data, chosen, names, left_out=()),
        "builder": builder(data, names),
        "conditions": data.getlist("c"),
        "field_errors": field_errors(listed),
        "first_query": query_without(data, "cursor"),
    }


def _picker(name: str, labels: Mapping[str, str], chosen: Mapping[str, Any]) -> Picker:
    picked = {str(value) for value in chosen.get(name, [])}
    choices = [Choice(value, label, None, value in picked) for value, label in labels.items()]
    return Picker(name, str(filterbar.CHIP_NAMES[name]), choices)


def _rows(deliveries: Iterable[Delivery], *, slug: str, back: str) -> list[LogRow]:
    rows = list(deliveries)
    newest = attempts.latest([row.id for row in rows])
    place = urlencode({"list": "mail_log", "back": back})
    return [
        LogRow(
            delivery=row,
            title=title_of(row),
            url=f"{reverse('delivery', args=[slug, row.id])}?{place}",
            answer=answer_of(newest.get(row.id)),
            answered_at=newest[row.id].answered_at if row.id in newest else None,
            is_unanswered=attempts.is_unanswered(row, newest.get(row.id)),
            later=Kind(row.kind) if row.kind not in {"", Kind.ACCEPTED} else None,
            tries=tries(row),
            clock=clock_of(row),
        )
        for row in rows
    ]


def answer_of(attempt: Attempt | None) -> str:
    """Return what the provider answered to a hand-over, or how it stands without an answer; "": it was not ours."""
    if attempt is None:
        return ""
    return attempt.answer or str(words.ATTEMPT_STATUSES[AttemptStatus(attempt.status)])


def clock_of(row: Delivery) -> Clock | None:
    """Return the clock of a deferred notice; None for others, and where the provider does not say how long it tries."""
    until, began = tries_until(row), tries_from(row)
    if until is None or began is None or row.state != State.DEFERRED:
        return None
    hours = _hours(until - began)
    return Clock(until, hours=hours, left=min(max(_hours(until - timezone.now()), 0), hours))


def _hours(span: timedelta) -> int:
    return int(span.total_seconds() // 3600)
