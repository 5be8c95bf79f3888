"""The REST API: deliveries, the error list, and what could not be read, each for the tenant of the token."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any, Literal, cast

from django.db.models import QuerySet
from django.http import Http404, QueryDict
from django.utils import translation
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries import queries
from deliveries.api.problems import BadParameters
from deliveries.api.schema import FILTERS, LANGUAGE, MOST_ROWS, PAGING, USUAL_ROWS, page_of, problems
from deliveries.api.serializers import (
    DeliveryDetailSerializer,
    DeliverySerializer,
    EventSerializer,
    UnparsedSerializer,
)
from deliveries.filters import DeliveryFilter
from deliveries.paging import BadCursor, Page, TimeField, keyset_page
from notifyguard.accounts.models import ApiToken, Tenant
from notifyguard.accounts.tenancy import tenant_scope

PAGING_PARAMETERS = frozenset({"cursor", "limit"})
FILTER_PARAMETERS = frozenset(DeliveryFilter.base_filters)


class AcceptHeaderOnly(DefaultContentNegotiation):
    """A ``format`` parameter is not the framework's to read: it is one more that the API does not know."""

    def filter_renderers(self, renderers: Any, _format: str) -> Any:
        return renderers


class TenantView(APIView, ABC):
    """Answers in the scope of the token's tenant and in the caller's language; ``right`` is what the role needs."""

    right = "browse"
    http_method_names = ["get", "head", "options"]
    content_negotiation_class = AcceptHeaderOnly

    tenant: Tenant

    def get(self, request: Request, **_route: Any) -> Response:
        self.tenant = cast(ApiToken, request.auth).tenant
        language = language_of(request, self.tenant)
        with tenant_scope(self.tenant.id), translation.override(language):
            answer = self.answer(request.query_params)
        return Response(answer, headers={"Content-Language": language})

    @abstractmethod
    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        """Return the body of the answer; raise ``BadParameters`` or ``Http404``."""

    def page_body(self, page: Page[Any], results: Any) -> dict[str, Any]:
        return {
            "results": results,
            "next": self._page_url(page.next),
            "previous": self._page_url(page.previous),
        }

    def _page_url(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        parameters = self.request.query_params.copy()
        parameters["cursor"] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{parameters.urlencode()}")


@extend_schema_view(
    get=extend_schema(
        operation_id="list_deliveries",
        parameters=[*FILTERS, *PAGING, LANGUAGE],
        responses=page_of("Deliveries", DeliverySerializer),
    )
)
class DeliveriesView(TenantView):
    """The tenant's deliveries, newest first. With `open=true`: the Notification Error List.

    Days, and the order, are about the time of the failure on the error list, else about the first hand-over.
    """

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, FILTER_PARAMETERS | PAGING_PARAMETERS)
        on_error_list = parameters.get("open", "").lower() == "true"
        rows = queries.error_list(self.tenant.id) if on_error_list else queries.all_deliveries(self.tenant.id)
        field: Literal["failed_at", "first_at"] = "failed_at" if on_error_list else "first_at"
        chosen = DeliveryFilter(parameters, rows, tenant=self.tenant, time_field=field)
        if not chosen.is_valid():
            raise BadParameters(chosen.errors)
        page = page_of_rows(chosen.qs.defer(None), field, parameters)
        return self.page_body(page, DeliverySerializer(page.rows, many=True).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="read_delivery",
        parameters=[LANGUAGE],
        responses={200: DeliveryDetailSerializer, **problems(400, 401, 403, 404, 405, 406)},
    )
)
class DeliveryView(TenantView):
    """One delivery with its timeline."""

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, frozenset())
        row = queries.delivery(self.tenant.id, self.kwargs["delivery_id"])
        if row is None:
            raise Http404
        events = EventSerializer(queries.timeline(row), many=True).data
        return {**DeliverySerializer(row).data, "events": events}


@extend_schema_view(
    get=extend_schema(
        operation_id="list_unparsed",
        parameters=[*PAGING, LANGUAGE],
        responses=page_of("UnparsedItems", UnparsedSerializer),
    )
)
class UnparsedView(TenantView):
    """What could not be read of the webhooks of the tenant's own connections, newest first, and why."""

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, PAGING_PARAMETERS)
        page = page_of_rows(queries.unparsed(self.tenant.id), "received_at", parameters)
        return self.page_body(page, UnparsedSerializer(page.rows, many=True).data)


@extend_schema(exclude=True)
class NothingHereView(TenantView):
    """Any other address below the API: a problem like every other, not a page for people."""

    def answer(self, _parameters: QueryDict) -> dict[str, Any]:
        raise Http404


def refuse_unknown(parameters: QueryDict, known: frozenset[str]) -> None:
    """A mistyped filter must not answer with everything."""
    if unknown := sorted(parameters.keys() - known):
        text = _("There is no such parameter here. Known are: %(known)s.")
        message = text % {"known": ", ".join(sorted(known)) or "-"}
        raise BadParameters({name: [message] for name in unknown})


def page_of_rows(rows: QuerySet[Any], field: TimeField, parameters: QueryDict) -> Page[Any]:
    size = _limit(parameters)
    try:
        return keyset_page(rows, field=field, cursor=parameters.get("cursor"), size=size)
    except BadCursor as error:
        raise BadParameters({"cursor": [str(error)]}) from error


def _limit(parameters: QueryDict) -> int:
    text = parameters.get("limit") or str(USUAL_ROWS)
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MOST_ROWS:
        raise BadParameters({"limit": [_("Give a number from 1 to %(most)s.") % {"most": MOST_ROWS}]})
    return int(text)


def language_of(request: Request, tenant: Tenant) -> str:
    """What the caller accepts, as Django understood it; without a wish the tenant's own language."""
    if "Accept-Language" in request.headers:
        return translation.get_language() or tenant.language
    return tenant.language
