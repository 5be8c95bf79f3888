"""The contacts over the API: read, create or replace, and forget a person by the tenant's own id."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import Http404, QueryDict
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import contacts
from deliveries.api.acting import ActingView
from deliveries.api.problems import BadBody
from deliveries.api.schema import LANGUAGE, PAGING, page_of, problems
from deliveries.api.views import PAGING_PARAMETERS, TenantView, page_of_rows, refuse_unknown
from deliveries.contacts import LIMITS, ContactInputError, Remark
from deliveries.models import Contact
from notifyguard.accounts.audit import Actor


class RemarkSerializer(serializers.Serializer[Any]):
    """What there is to say about one address."""

    code = serializers.CharField(help_text="Reason code that sending there would end with; empty if it can be sent to.")
    detail = serializers.CharField(help_text="What exactly is wrong, e.g. not_mobile; may be empty.")
    hint = serializers.CharField(help_text="What was probably meant, e.g. taro@gmail.com for taro@gmial.com.")


class ContactSerializer(serializers.Serializer[Any]):
    """A person and where to reach them; an empty text: there is no such address."""

    id = serializers.UUIDField(read_only=True)
    external_id = serializers.CharField(read_only=True, help_text="The tenant's own id.")
    name = serializers.CharField(required=False, max_length=LIMITS["name"])
    email = serializers.CharField(required=False, max_length=LIMITS["email"])
    phone = serializers.CharField(
        required=False, max_length=LIMITS["phone"], help_text="E.164; without a country, one of the tenant's own."
    )
    lineworks_id = serializers.CharField(required=False, max_length=LIMITS["lineworks_id"])
    language = serializers.CharField(required=False, max_length=LIMITS["language"], help_text="Such as en or ja.")
    no_address = serializers.BooleanField(required=False, help_text="Known to have none: never sent to.")
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)


class ContactDetailSerializer(ContactSerializer):
    """The same, with what there is to say about the addresses."""

    remarks = serializers.SerializerMethodField(help_text="By field; only fields with something to say.")

    @extend_schema_field(serializers.DictField(child=RemarkSerializer()))
    def get_remarks(self, contact: Contact) -> dict[str, dict[str, str]]:
        told = {field: _told(remark) for field, remark in contacts.remarks(contact).items()}
        return {field: remark for field, remark in told.items() if any(remark.values())}


def _told(remark: Remark) -> dict[str, str]:
    finding = remark.finding
    return {
        "code": finding.code if finding else "",
        "detail": finding.detail if finding else "",
        "hint": remark.hint,
    }


WRITABLE = frozenset(name for name, field in ContactSerializer().fields.items() if not field.read_only)


@extend_schema_view(
    get=extend_schema(
        operation_id="list_contacts",
        parameters=[
            OpenApiParameter("q", OpenApiTypes.STR, description="Beginning of a name, address or number, or an id."),
            *PAGING,
            LANGUAGE,
        ],
        responses=page_of("Contacts", ContactSerializer),
    )
)
class ContactsView(TenantView):
    """The tenant's contacts, the one that was changed last first."""

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, PAGING_PARAMETERS | {"q"})
        text = parameters.get("q", "")
        rows = contacts.search(text) if text.strip() else contacts.listed()
        page = page_of_rows(rows, "received_at", parameters)
        return self.page_body(page, ContactSerializer(page.rows, many=True).data)


@extend_schema_view(
    get=extend_schema(
        operation_id="read_contact",
        parameters=[LANGUAGE],
        responses={200: ContactDetailSerializer, **problems(400, 401, 403, 404, 405, 406)},
    ),
    put=extend_schema(
        operation_id="put_contact",
        parameters=[LANGUAGE],
        request=ContactSerializer,
        responses={
            200: OpenApiResponse(ContactDetailSerializer, description="Replaced."),
            201: OpenApiResponse(ContactDetailSerializer, description="Created."),
            **problems(400, 401, 403, 405, 406),
        },
    ),
    delete=extend_schema(
        operation_id="delete_contact",
        parameters=[LANGUAGE],
        responses={204: OpenApiResponse(description="Forgotten."), **problems(401, 403, 404, 405, 406)},
    ),
)
class ContactView(ActingView):
    """One contact by the tenant's own id. `PUT` creates or replaces it: a field that is left out becomes empty."""

    http_method_names = ["get", "head", "options", "put", "delete"]

    def answer(self, parameters: QueryDict) -> dict[str, Any]:
        refuse_unknown(parameters, frozenset())
        return dict(ContactDetailSerializer(self._contact()).data)

    def put(self, request: Request, external_id: str) -> Response:
        return self.act(request, "correct", lambda actor: self._put(external_id, _fields(request.data), actor))

    def delete(self, request: Request, external_id: str) -> Response:
        return self.act(request, "correct", self._delete)

    def _put(self, external_id: str, fields: dict[str, str | bool], actor: Actor) -> Response:
        try:
            contact, is_new = contacts.put(external_id, fields, actor=actor)
        except ContactInputError as error:
            raise BadBody({error.field: [error.message]}) from error
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return Response(ContactDetailSerializer(contact).data, status=status)

    def _delete(self, actor: Actor) -> Response:
        contacts.remove(self._contact(), actor=actor)
        return Response(status=HTTPStatus.NO_CONTENT)

    def _contact(self) -> Contact:
        contact = contacts.find(self.kwargs["external_id"])
        if contact is None:
            raise Http404
        return contact


def _fields(body: object) -> dict[str, str | bool]:
    """The fields of a request's body, null for an empty one. Raises ``BadBody`` for any other."""
    if not isinstance(body, dict):
        raise BadBody({"body": [_("Send one JSON object with the contact's fields.")]})
    fields: dict[str, str | bool] = {}
    for name, value in body.items():
        if name not in WRITABLE:
            known = ", ".join(sorted(WRITABLE))
            text = _("There is no such field to set. Known are: %(known)s.")
            raise BadBody({str(name): [text % {"known": known}]})
        wanted = bool if name == "no_address" else str
        if value is not None and not isinstance(value, wanted):
            raise BadBody({name: [_("Give true or false.") if wanted is bool else _("Give a text.")]})
        fields[name] = value if value is not None else wanted()
    return fields
