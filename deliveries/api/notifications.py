"""Notices over the API: one is registered with its recipients, sent or followed, and looked up again."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import Http404, QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import notices
from deliveries.api.acting import ActingView, valid
from deliveries.api.problems import BadBody
from deliveries.api.schema import LANGUAGE, problems
from deliveries.api.serializers import DeliverySerializer
from deliveries.api.views import TenantView, refuse_unknown
from deliveries.enums import Channel
from deliveries.models import Delivery, Notice
from deliveries.notices import MOST_RECIPIENTS, KeyReusedError, NewNotice, NewRecipient, NoticeError
from deliveries.tell import tell
from notifyguard.accounts.audit import Actor

LONGEST_BODY = 500_000
MOST_ANSWERED = 1000


class RecipientSerializer(serializers.Serializer[Any]):
    """Whom a notice is for: a contact by the tenant's own id, or an address."""

    contact = serializers.CharField(required=False, max_length=100, help_text="The tenant's own id of a contact.")
    recipient = serializers.CharField(
        required=False, max_length=320, help_text="Address, mobile number or LINE WORKS id; else the contact's own."
    )
    name = serializers.CharField(required=False, max_length=200)
    provider_message_id = serializers.CharField(
        required=False, max_length=200, help_text="With `send: false`: what the provider answered, if it is known."
    )


class NewNoticeSerializer(serializers.Serializer[Any]):
    """A notice to be sent, or, with `send: false`, one that the tenant's own product sends and we follow."""

    channel = serializers.ChoiceField(choices=[(one.value, one.value) for one in Channel])
    recipients = RecipientSerializer(many=True, min_length=1, max_length=MOST_RECIPIENTS)  # type: ignore[call-arg]
    title = serializers.CharField(required=False, allow_blank=True, max_length=500, help_text="The subject.")
    text = serializers.CharField(required=False, allow_blank=True, max_length=LONGEST_BODY, trim_whitespace=False)
    html = serializers.CharField(required=False, allow_blank=True, max_length=LONGEST_BODY, trim_whitespace=False)
    kind = serializers.CharField(
        required=False, max_length=100, help_text="The tenant's own sort of notice; the newest of each can be resent."
    )
    sender = serializers.CharField(required=False, allow_blank=True, max_length=320)
    sender_name = serializers.CharField(required=False, allow_blank=True, max_length=200)
    connection = serializers.UUIDField(required=False, help_text="Which connection to send through.")
    use_by = serializers.DateTimeField(required=False, help_text="Later than this it is not sent any more.")
    idempotency_key = serializers.CharField(required=False, max_length=200)
    send = serializers.BooleanField(required=False, default=True)


class RegisteredSerializer(serializers.Serializer[Any]):
    """One recipient's delivery, as registered."""

    id = serializers.UUIDField()
    recipient = serializers.CharField()
    state = serializers.CharField()
    attempt_ref = serializers.SerializerMethodField(
        help_text="Pass it on to the provider (custom argument or tag ng_attempt) where the message id is not known."
    )

    def get_attempt_ref(self, row: Delivery) -> str:
        return row.id.hex


class NoticeSerializer(serializers.Serializer[Any]):
    """A notice and its deliveries."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    kind = serializers.CharField()
    created_at = serializers.DateTimeField()
    use_by = serializers.DateTimeField(allow_null=True)
    deliveries = RegisteredSerializer(many=True)


@extend_schema_view(
    post=extend_schema(
        operation_id="create_notification",
        parameters=[
            LANGUAGE,
            OpenApiParameter(
                "Idempotency-Key",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="The same key with the same request makes nothing twice; in place of the field.",
            ),
        ],
        request=NewNoticeSerializer,
        responses={
            200: OpenApiResponse(NoticeSerializer, description="Registered before, with the same idempotency key."),
            201: OpenApiResponse(NoticeSerializer, description="Registered."),
            **problems(400, 401, 403, 405, 406, 409),
        },
    )
)
class NotificationsView(ActingView):
    """Register a notice for one or many recipients. What it comes to is read from its deliveries."""

    right = "send"

    def post(self, request: Request) -> Response:
        return self.act(request, self.right, lambda actor: self._register(_new_notice(request), actor))

    def _register(self, new: NewNotice, actor: Actor) -> Response:
        try:
            found = notices.register(new, tenant=self.tenant, created_by=actor.name)
        except NoticeError as error:
            raise BadBody({error.field: [str(error)]}) from error
        except KeyReusedError as error:
            raise KeyReused(str(error)) from error
        if new.send and found.is_new:
            transaction.on_commit(lambda: tell("deliveries.send_queued", str(self.tenant.id)))
        status = HTTPStatus.CREATED if found.is_new else HTTPStatus.OK
        return Response(_as_told(found.notice, found.deliveries), status=status)


@extend_schema_view(
    get=extend_schema(
        operation_id="read_notification",
        parameters=[LANGUAGE],
        responses={
            200: OpenApiResponse(NoticeSerializer, description=f"With its first {MOST_ANSWERED} deliveries."),
            **problems(400, 401, 403, 404, 405, 406),
        },
    )
)
class NotificationView(TenantView):
    """One notice with its deliveries and their states."""

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, frozenset())
        notice = Notice.objects.filter(id=self.kwargs["notice_id"]).first()
        if notice is None:
            raise Http404
        rows = list(notices.deliveries_of(notice)[:MOST_ANSWERED])
        return {**_as_told(notice, rows), "deliveries": DeliverySerializer(rows, many=True).data}


class KeyReused(exceptions.APIException):
    """409: the idempotency key belongs to another request."""

    status_code = HTTPStatus.CONFLICT


def _as_told(notice: Notice, rows: list[Delivery]) -> dict[str, Any]:
    values = {name: getattr(notice, name) for name in ("id", "title", "kind", "created_at", "use_by")}
    return dict(NoticeSerializer({**values, "deliveries": rows}).data)


def _new_notice(request: Request) -> NewNotice:
    values = valid(NewNoticeSerializer, request.data)
    values["idempotency_key"] = values.get("idempotency_key") or request.headers.get("Idempotency-Key", "")[:200]
    values["channel"] = Channel(values["channel"])
    values["recipients"] = tuple(NewRecipient(**one) for one in values["recipients"])
    connection = values.pop("connection", None)
    return NewNotice(**values, connection=uuid.UUID(str(connection)) if connection else None)
