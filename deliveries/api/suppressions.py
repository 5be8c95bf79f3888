"""The suppression list over the API: who is on it, adding a recipient, and removing an entry with a reason."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, QueryDict
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import suppress
from deliveries.api.acting import ActingView, valid
from deliveries.api.problems import BadBody, BadParameters
from deliveries.api.schema import LANGUAGE, PAGING, page_of, problems
from deliveries.api.serializers import TextOrNull
from deliveries.api.views import PAGING_PARAMETERS, page_of_rows, refuse_unknown
from deliveries.enums import Channel, ProviderState, SuppressionReason
from deliveries.models import Suppression
from deliveries.suppress import LONGEST_TEXT, SuppressionInputError
from notifyguard.accounts.audit import Actor

FILTERS = frozenset({"recipient", "channel", "reason", "removed"})
TRUE_OR_FALSE = ("true", "false")


class SuppressionSerializer(serializers.Serializer[Any]):
    """A recipient that nothing is sent to, or was not until the entry was removed."""

    id = serializers.UUIDField()
    channel = serializers.ChoiceField(choices=list(Channel))
    recipient = serializers.CharField()
    reason = serializers.ChoiceField(choices=list(SuppressionReason))
    code = TextOrNull(help_text="Reason code of the failure behind it.")
    since = serializers.DateTimeField(help_text="When the failure occurred, or the entry was made by hand.")
    event = serializers.UUIDField(source="event_id", allow_null=True, help_text="The event that it follows from.")
    note = serializers.CharField()
    created_by = TextOrNull(help_text="Who entered it; null: NotifyGuard by itself.")
    removed_at = serializers.DateTimeField(allow_null=True, help_text="Null while it is on the list.")
    removed_by = TextOrNull(help_text="Null also where the recipient subscribed again.")
    removal_reason = serializers.CharField()
    provider_state = TextOrNull(
        help_text=f"How the removal stands at the provider: {', '.join(ProviderState)}; null while it is on the list."
    )
    provider_answer = serializers.CharField(help_text="What came of it at the provider, as a key and its detail.")


class NewSuppressionSerializer(serializers.Serializer[Any]):
    """Whom not to send to, on which channel."""

    channel = serializers.ChoiceField(choices=list(Channel))
    recipient = serializers.CharField(max_length=320, help_text="Numbers without a country are the tenant's own.")
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=LONGEST_TEXT)


class RemovalSerializer(serializers.Serializer[Any]):
    """Why an entry is removed."""

    reason = serializers.CharField(max_length=LONGEST_TEXT, help_text="In your own words; kept in the audit log.")
    consent = serializers.BooleanField(
        required=False,
        default=False,
        help_text="The recipient wants notices again: needed after spam_report and unsubscribed.",
    )


@extend_schema_view(
    get=extend_schema(
        operation_id="list_suppressions",
        parameters=[
            OpenApiParameter("recipient", OpenApiTypes.STR, description="Exactly, in any case."),
            OpenApiParameter("channel", OpenApiTypes.STR, enum=list(Channel), description="One channel."),
            OpenApiParameter("reason", OpenApiTypes.STR, enum=list(SuppressionReason), description="One reason."),
            OpenApiParameter(
                "removed", OpenApiTypes.STR, enum=list(TRUE_OR_FALSE), description="`true`: the removed entries."
            ),
            *PAGING,
            LANGUAGE,
        ],
        responses=page_of("Suppressions", SuppressionSerializer),
    ),
    post=extend_schema(
        operation_id="add_suppression",
        parameters=[LANGUAGE],
        request=NewSuppressionSerializer,
        responses={
            200: OpenApiResponse(SuppressionSerializer, description="It was on the list already."),
            201: OpenApiResponse(SuppressionSerializer, description="Added."),
            **problems(400, 401, 403, 405, 406),
        },
    ),
)
class SuppressionsView(ActingView):
    """The tenant's suppression list, newest first."""

    http_method_names = ["get", "head", "options", "post"]

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, FILTERS | PAGING_PARAMETERS)
        page = page_of_rows(_filtered(parameters), "first_at", parameters)
        return self.page_body(page, SuppressionSerializer(page.rows, many=True).data)

    def post(self, request: Request) -> Response:
        return self.act(request, "correct", lambda actor: self._add(request.data, actor))

    def _add(self, body: object, actor: Actor) -> Response:
        fields = valid(NewSuppressionSerializer, body)
        try:
            entry, is_new = suppress.add_by_hand(**fields, actor=actor, region=self.tenant.region)
        except SuppressionInputError as error:
            raise _bad(error) from error
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return Response(SuppressionSerializer(entry).data, status=status)


@extend_schema_view(
    get=extend_schema(
        operation_id="read_suppression",
        parameters=[LANGUAGE],
        responses={200: SuppressionSerializer, **problems(400, 401, 403, 404, 405, 406)},
    ),
    delete=extend_schema(
        operation_id="remove_suppression",
        parameters=[LANGUAGE],
        request=RemovalSerializer,
        responses={
            200: OpenApiResponse(SuppressionSerializer, description="Removed; it stays readable, with who and why."),
            **problems(400, 401, 403, 404, 405, 406),
        },
    ),
)
class SuppressionView(ActingView):
    """One entry. `DELETE` takes the recipient off the list, and then off the provider's own lists."""

    http_method_names = ["get", "head", "options", "delete"]

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, frozenset())
        return dict(SuppressionSerializer(self._entry()).data)

    def delete(self, request: Request, suppression_id: object) -> Response:
        return self.act(request, "clear", lambda actor: self._remove(request.data, actor))

    def _remove(self, body: object, actor: Actor) -> Response:
        entry = self._entry()
        fields = valid(RemovalSerializer, body)
        try:
            suppress.remove(entry, actor=actor, **fields)
        except SuppressionInputError as error:
            raise _bad(error) from error
        return Response(SuppressionSerializer(entry).data)

    def _entry(self) -> Suppression:
        found: Suppression | None = Suppression.objects.filter(id=self.kwargs["suppression_id"]).first()
        if found is None:
            raise Http404
        return found


def _filtered(parameters: QueryDict) -> QuerySet[Suppression]:
    rows = suppress.list_entries(
        removed=_one_of("removed", parameters, TRUE_OR_FALSE) == "true",
        channel=_one_of("channel", parameters, list(Channel)),
        reason=_one_of("reason", parameters, list(SuppressionReason)),
    )
    recipient = parameters.get("recipient")
    return rows.filter(recipient_key__in=suppress.key_forms(recipient)) if recipient else rows


def _one_of(name: str, parameters: QueryDict, values: list[Any] | tuple[str, ...]) -> str:
    given = parameters.get(name, "")
    if given and given not in values:
        raise BadParameters({name: [_("Use one of: %(values)s.") % {"values": ", ".join(values)}]})
    return given


def _bad(error: SuppressionInputError) -> BadBody:
    return BadBody({error.field or "body": [str(error)]})
