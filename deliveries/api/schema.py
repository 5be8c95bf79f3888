"""What the OpenAPI schema says beyond the serializers: the token, the parameters, the problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from deliveries.api.problems import CONTENT_TYPE
from deliveries.api.serializers import ProblemSerializer
from deliveries.enums import Actionable, Channel, Persistence, State
from deliveries.words import UNDELIVERED

MOST_ROWS = 200
USUAL_ROWS = 50

_MEANINGS = {
    400: "A parameter is not valid or not known.",
    401: "There is no token, or it is not a live one.",
    403: "The role of the token does not allow it.",
    404: "There is nothing at this address that the token may see.",
    405: "This method is not answered here.",
    406: "Only JSON is answered.",
    409: "It does not go together with how things stand; `detail` says why.",
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """``Authorization: Bearer ng_…``."""

    target_class = "deliveries.api.auth.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API token of the tenant (ng_…)."}


def problems(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    return {
        (status, CONTENT_TYPE): OpenApiResponse(ProblemSerializer, description=_MEANINGS[status]) for status in statuses
    }


def page_of(name: str, row: type[serializers.Serializer[Any]]) -> dict[Any, Any]:
    """The answers of a list: a page of such rows, or a problem."""
    page = inline_serializer(
        name,
        {
            "results": row(many=True),
            "next": serializers.URLField(allow_null=True, help_text="The older page; null on the last one."),
            "previous": serializers.URLField(allow_null=True, help_text="The newer page; null on the first one."),
        },
    )
    return {200: page, **problems(400, 401, 403, 405, 406)}


def _one_of(name: str, values: Iterable[str], description: str, *, many: bool = False) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, enum=list(values), many=many, description=description)


PAGING = [
    OpenApiParameter("cursor", OpenApiTypes.STR, description="Where to go on: take it from `next` or `previous`."),
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": USUAL_ROWS},
        description="Rows a page.",
    ),
]
LANGUAGE = OpenApiParameter(
    "Accept-Language",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="Language of labels, explanations and actions: en or ja; the tenant's own without it.",
)
FILTERS = [
    _one_of("open", ["true", "false"], "`true`: the Notification Error List, newest failure first."),
    _one_of("channel", Channel, "One channel."),
    _one_of("state", State, "Any of these states.", many=True),
    OpenApiParameter("code", OpenApiTypes.STR, many=True, description="Any of these reason codes."),
    OpenApiParameter("reason", OpenApiTypes.STR, many=True, description="Any of these reasons."),
    _one_of("persistence", Persistence, "Permanent or temporary failures."),
    _one_of("actionable", Actionable, "Can the tenant do something about it?"),
    OpenApiParameter("connection", OpenApiTypes.UUID, many=True, description="Any of these connections."),
    OpenApiParameter("domain", OpenApiTypes.STR, description="Receiving domain, exactly."),
    OpenApiParameter(
        "recipient", OpenApiTypes.STR, description="Address, number or LINE WORKS id, exactly, in any case."
    ),
    OpenApiParameter("notice", OpenApiTypes.UUID, description="The deliveries of one notice, by its id."),
    _one_of("undelivered", UNDELIVERED, "One status of the undelivered report; `any`: all but what is still tried."),
    OpenApiParameter(
        "c",
        OpenApiTypes.STR,
        many=True,
        description="Conditions, each `group.field.operator.value`, for example `1.state.is.bounced`: within a group"
        " all must hold, between groups any.",
    ),
    OpenApiParameter("provider_message_id", OpenApiTypes.STR, description="The provider's message id, exactly."),
    OpenApiParameter(
        "q",
        OpenApiTypes.STR,
        description="Beginning of a recipient, title, name, provider's message id, or id of a delivery or notice.",
    ),
    OpenApiParameter("from", OpenApiTypes.DATE, description="First day, in the tenant's time zone."),
    OpenApiParameter("to", OpenApiTypes.DATE, description="Last day, in the tenant's time zone."),
]
