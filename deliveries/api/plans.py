"""Resending over the API: one delivery, many as a plan, and what the tenant's product says of what it was asked for."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import Http404, QueryDict
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import asking, attempts, plans, queries
from deliveries.accounts import find_account
from deliveries.api.acting import ActingView, valid
from deliveries.api.problems import BadBody
from deliveries.api.schema import LANGUAGE, PAGING, page_of, problems
from deliveries.api.serializers import TextOrNull
from deliveries.api.views import PAGING_PARAMETERS, TenantView, page_of_rows, refuse_unknown
from deliveries.attempts import AttemptRefusedError
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, Outcome, PlanStatus
from deliveries.models import Attempt, Delivery, ResendPlan
from deliveries.plans import MOST_IDS, MOST_PER_MINUTE, PlanError, PlanStateError
from notifyguard.accounts.audit import Actor


class NotNow(exceptions.APIException):
    """409: what is asked for does not go together with how things stand; ``detail`` says why."""

    status_code = HTTPStatus.CONFLICT


class AttemptSerializer(serializers.Serializer[Any]):
    """One hand-over of a delivery to a provider, waiting, under way or done."""

    id = serializers.UUIDField()
    delivery = serializers.UUIDField(source="delivery_id")
    plan = serializers.UUIDField(source="plan_id", allow_null=True)
    why = serializers.ChoiceField(choices=[(one.value, one.value) for one in AttemptWhy])
    status = serializers.CharField(help_text=f"One of: {', '.join(AttemptStatus)}.")
    outcome = TextOrNull(help_text=f"What it came to: {', '.join(Outcome)}; null while that is open.")
    channel = serializers.ChoiceField(choices=[(one.value, one.value) for one in Channel])
    recipient = serializers.CharField(help_text="Empty: the contact's address when its turn comes.")
    number = serializers.IntegerField(help_text="Of the delivery's attempts; 0 until it is handed over.")
    answer = serializers.CharField(help_text="The provider's own words.")
    provider_message_id = serializers.CharField()
    due_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)


class ResendSerializer(serializers.Serializer[Any]):
    """How to send one delivery again."""

    connection = serializers.UUIDField(required=False, help_text="Through this connection instead of the usual one.")
    recipient = serializers.CharField(required=False, allow_blank=True, default="", max_length=320)
    insist = serializers.BooleanField(
        required=False, default=False, help_text="Also where an attempt without an answer may have been sent."
    )


class NewPlanSerializer(serializers.Serializer[Any]):
    """What to send again: `deliveries` by their ids, or all that `filter` finds on the error list."""

    filter = serializers.CharField(
        required=False, allow_blank=True, max_length=4000, help_text="Parameters of the list of deliveries, as a query."
    )
    deliveries = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=MOST_IDS)
    other_way = serializers.CharField(
        required=False, default="", allow_blank=True, help_text=f"Through this channel instead: {', '.join(Channel)}."
    )
    newest_of_kind = serializers.BooleanField(required=False, default=False)
    include_stale = serializers.BooleanField(required=False, default=False)
    per_minute = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MOST_PER_MINUTE,
        help_text="Slower than the accounts allow.",
    )

    def validate_other_way(self, value: str) -> str:
        if value and value not in set(Channel):
            raise serializers.ValidationError(_("There is no such channel to send through."))
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("filter" in attrs) == ("deliveries" in attrs):
            raise serializers.ValidationError({"filter": [_("Give either a filter or deliveries.")]})
        return attrs


class PlanSerializer(serializers.Serializer[Any]):
    """A bulk resend: frozen, previewed, approved, and what came of it."""

    id = serializers.UUIDField()
    status = serializers.CharField(help_text=f"One of: {', '.join(PlanStatus)}.")
    other_way = serializers.CharField(help_text="The channel that it goes through; empty: the one that failed.")
    newest_of_kind = serializers.BooleanField()
    include_stale = serializers.BooleanField()
    per_minute = serializers.IntegerField(allow_null=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    approved_by = TextOrNull()
    approved_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class PlanDetailSerializer(PlanSerializer):
    """The same, with its counts."""

    total = serializers.SerializerMethodField(help_text="Rows that are frozen.")
    done = serializers.SerializerMethodField(help_text="Rows that have an outcome.")
    preview = serializers.SerializerMethodField(help_text="What the rows would have come to when they were frozen.")
    outcomes = serializers.SerializerMethodField(help_text="What the rows came to so far.")

    def get_total(self, plan: ResendPlan) -> int:
        return plans.progress(plan).total

    def get_done(self, plan: ResendPlan) -> int:
        return plans.progress(plan).done

    def get_preview(self, plan: ResendPlan) -> dict[str, int]:
        return {str(name): n for name, n in plans.previewed(plan)}

    def get_outcomes(self, plan: ResendPlan) -> dict[str, int]:
        return {str(name): n for name, n in plans.progress(plan).outcomes}


class ReportSerializer(serializers.Serializer[Any]):
    """What the product did with an attempt that it was asked for: one of the two."""

    provider_message_id = serializers.CharField(
        required=False, max_length=200, help_text="It was sent: the provider's answer, by which its reports are known."
    )
    refused = serializers.CharField(required=False, max_length=1000, help_text="It will not be sent: why.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("provider_message_id" in attrs) == ("refused" in attrs):
            raise serializers.ValidationError({"provider_message_id": [_("Give either this or refused.")]})
        return attrs


class _ResendingView(ActingView, ABC):
    """Takes calls that send something; what does not go together with how things stand is answered 409."""

    def resend(self, request: Request, act: Callable[[Actor], Response]) -> Response:
        try:
            return self.act(request, "send", act)
        except (AttemptRefusedError, PlanStateError) as error:
            raise NotNow(str(error)) from error


@extend_schema_view(
    post=extend_schema(
        operation_id="resend_delivery",
        parameters=[LANGUAGE],
        request=ResendSerializer,
        responses={
            201: OpenApiResponse(AttemptSerializer, description="Queued; it goes within seconds."),
            **problems(400, 401, 403, 404, 405, 406, 409),
        },
    )
)
class ResendView(_ResendingView):
    """Send one delivery again."""

    right = "send"

    def post(self, request: Request, **_route: Any) -> Response:
        return self.resend(request, lambda actor: self._resend(request.data, actor))

    def _resend(self, body: object, actor: Actor) -> Response:
        found, fields = self._delivery(), valid(ResendSerializer, body)
        account = find_account(fields["connection"]) if "connection" in fields else None
        if "connection" in fields and account is None:
            raise BadBody({"connection": [_("There is no such connection to send through.")]})
        attempt = attempts.queue_attempt(
            found,
            why=AttemptWhy.OTHER_WAY if account else AttemptWhy.RESEND,
            actor=actor,
            recipient=fields["recipient"],
            account=account,
            allow_unknown=fields["insist"],
        )
        return Response(AttemptSerializer(attempt).data, status=HTTPStatus.CREATED)

    def _delivery(self) -> Delivery:
        found = queries.delivery(self.tenant.id, self.kwargs["delivery_id"])
        if found is None:
            raise Http404
        return found


@extend_schema_view(
    post=extend_schema(
        operation_id="report_attempt",
        parameters=[LANGUAGE],
        request=ReportSerializer,
        responses={200: AttemptSerializer, **problems(400, 401, 403, 404, 405, 406, 409)},
    )
)
class AttemptView(_ResendingView):
    """What the tenant's product did with an attempt that it was asked for."""

    right = "send"

    def post(self, request: Request, **_route: Any) -> Response:
        return self.resend(request, lambda _actor: self._report(request.data))

    def _report(self, body: object) -> Response:
        fields = valid(ReportSerializer, body)
        attempt = Attempt.objects.filter(id=self.kwargs["attempt_id"]).first()
        if attempt is None:
            raise Http404
        if "refused" in fields:
            asking.refused_by_product(attempt, fields["refused"])
        else:
            asking.sent_by_product(attempt, fields["provider_message_id"])
        attempt.refresh_from_db()
        return Response(AttemptSerializer(attempt).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="list_resends", parameters=[*PAGING, LANGUAGE], responses=page_of("Resends", PlanSerializer)
    ),
    post=extend_schema(
        operation_id="start_resend",
        parameters=[LANGUAGE],
        request=NewPlanSerializer,
        responses={
            202: OpenApiResponse(PlanDetailSerializer, description="It is being prepared; nothing is sent yet."),
            **problems(400, 401, 403, 405, 406),
        },
    ),
)
class PlansView(_ResendingView):
    """The bulk resends, newest first."""

    http_method_names = ["get", "head", "options", "post"]

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, PAGING_PARAMETERS)
        page = page_of_rows(plans.plans(), "received_at", parameters)
        return self.page_body(page, PlanSerializer(page.rows, many=True).data)

    def post(self, request: Request) -> Response:
        return self.resend(request, lambda actor: self._start(request.data, actor))

    def _start(self, body: object, actor: Actor) -> Response:
        fields = valid(NewPlanSerializer, body)
        name = "filter" if "filter" in fields else "deliveries"
        selection = fields.pop(name)
        try:
            plan = plans.start(selection, tenant=self.tenant, actor=actor, **fields)
        except PlanError as error:
            raise BadBody({name: [str(error)]}) from error
        return Response(PlanDetailSerializer(plan).data, status=HTTPStatus.ACCEPTED)


@extend_schema_view(
    get=extend_schema(
        operation_id="read_resend",
        parameters=[LANGUAGE],
        responses={200: PlanDetailSerializer, **problems(400, 401, 403, 404, 405, 406)},
    )
)
class PlanView(TenantView):
    """One bulk resend with its counts."""

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, frozenset())
        return dict(PlanDetailSerializer(_plan(self.kwargs)).data)


@extend_schema_view(
    post=extend_schema(
        operation_id="step_resend",
        parameters=[LANGUAGE],
        request=None,
        responses={200: PlanDetailSerializer, **problems(400, 401, 403, 404, 405, 406, 409)},
    )
)
class PlanStepView(_ResendingView):
    """Approve, pause, continue or cancel a bulk resend."""

    right = "send"

    _STEPS = {"approve": plans.approve, "pause": plans.pause, "continue": plans.go_on, "cancel": plans.cancel}

    def post(self, request: Request, **_route: Any) -> Response:
        return self.resend(request, self._step)

    def _step(self, actor: Actor) -> Response:
        plan, step = _plan(self.kwargs), self._STEPS.get(self.kwargs["step"])
        if step is None:
            raise Http404
        step(plan, actor=actor)
        return Response(PlanDetailSerializer(plan).data)


def _plan(route: dict[str, Any]) -> ResendPlan:
    found = plans.find(route["plan_id"])
    if found is None:
        raise Http404
    return found
