"""What every filtered list of deliveries shares: page or fragment, page sizes, and what is wrong with a filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from deliveries.filters import DeliveryFilter
from deliveries.models import Delivery
from deliveries.paging import Page
from deliveries.web.filterbar import PLACE, query_without
from deliveries.web.request import TenantRequest

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


def page_or_fragment(
    request: TenantRequest, context: Mapping[str, Any], *, page: str, fragment: str, status: int = 200
) -> HttpResponse:
    """Render the page, or its list alone where htmx asks.

    Without a history cache htmx fetches the page again on "back", and then it needs all of it.
    """
    htmx = HtmxDetails(request)
    alone = bool(htmx) and not htmx.history_restore_request
    response = render(request, fragment if alone else page, {**context, "fragment": alone}, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-History-Restore-Request"])
    return response


def field_errors(listed: DeliveryFilter) -> list[FieldError]:
    fields = listed.form.fields
    return [
        FieldError(str(fields[name].label) if name in fields else "", text)
        for name, texts in listed.form.errors.items()
        for text in texts
    ]


def size_of(data: QueryDict) -> int:
    """The page size asked for, or the usual one: a wrong number is no reason to refuse a list."""
    asked = data.get("size", "")
    return next((number for number in SIZES if str(number) == asked), SIZES[0])


def pages(data: QueryDict, page: Page[Delivery], size: int) -> dict[str, Any]:
    """What the pager and the download show."""
    return {
        "is_first": page.first,
        "next_query": query_without(data, cursor=page.next) if page.next else "",
        "previous_query": query_without(data, cursor=page.previous) if page.previous else "",
        "sizes": [Size(number, query_without(data, "cursor", size=str(number)), number == size) for number in SIZES],
        "export_query": query_without(data, *PLACE),
    }
