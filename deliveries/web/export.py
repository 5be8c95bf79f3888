"""The download of what the error list shows."""

from __future__ import annotations

from django import forms
from django.forms.utils import ErrorDict
from django.http import HttpResponse, HttpResponseBase
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from deliveries import queries
from deliveries.export import Encoding, Format, Shape, export_response
from deliveries.filters import DeliveryFilter
from deliveries.web.request import TenantRequest
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page


class ShapeForm(forms.Form):
    """``format`` and ``encoding``, each with a default that current programs open."""

    format = forms.ChoiceField(
        choices=[(fmt.value, fmt.value) for fmt in Format],
        required=False,
        error_messages={"invalid_choice": _("There is no format “%(value)s”: use csv or tsv.")},
    )
    encoding = forms.ChoiceField(
        choices=[(encoding.value, encoding.value) for encoding in Encoding],
        required=False,
        error_messages={"invalid_choice": _("There is no encoding “%(value)s”: use utf-8 or cp932.")},
    )


@require_GET
@tenant_page("export")
def error_export(request: TenantRequest) -> HttpResponseBase:
    """Answer with the file, in the person's language; with 422 and the reasons if the address makes no sense."""
    chosen = DeliveryFilter(request.GET, queries.error_list(request.tenant.id), tenant=request.tenant)
    shape = ShapeForm(request.GET)
    if not (chosen.is_valid() and shape.is_valid()):
        return refusal(chosen.errors, shape.errors)
    return export_response(
        request.actor,
        request.tenant,
        chosen,
        shape_of(shape, request.tenant),
    )


def shape_of(shape: ShapeForm, tenant: Tenant) -> Shape:
    """Return how the file is to be written, by a valid form, in the person's language."""
    return Shape(
        fmt=Format(shape.cleaned_data["format"] or Format.CSV),
        encoding=Encoding(shape.cleaned_data["encoding"] or Encoding.UTF8),
        language=get_language() or tenant.language,
    )


def refusal(*forms_errors: ErrorDict) -> HttpResponse:
    """Say in plain text what is wrong with the address of a download."""
    lines = [
        f"{name}: {message}" for errors in forms_errors for name, messages in errors.items() for message in messages
    ]
    return HttpResponse("\n".join(lines), status=422, content_type="text/plain; charset=utf-8")
