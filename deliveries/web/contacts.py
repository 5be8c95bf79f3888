"""The contacts: their list with a search, one person with what is wrong and what did not arrive, and the forms."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deliveries import contacts as verbs
from deliveries import explain
from deliveries.classify import Report, classify
from deliveries.contacts import CHANNELS, LIMITS, Change, ContactInputError, Remark
from deliveries.enums import Channel, Kind, State
from deliveries.models import Contact
from deliveries.paging import BadCursor, keyset_page
from deliveries.web.filterbar import query_without
from deliveries.web.forms import PlainForm
from deliveries.web.request import TenantRequest, posted
from deliveries.web.rows import error_rows
from notifyguard.accounts.permissions import may, tenant_page

PAGE_SIZE = 25
MOST_FAILURES = 50

LABELS = {
    "external_id": gettext_lazy("Your own id"),
    "name": gettext_lazy("Name"),
    "email": gettext_lazy("Email address"),
    "phone": gettext_lazy("Mobile number"),
    "lineworks_id": gettext_lazy("LINE WORKS ID"),
    "language": gettext_lazy("Language"),
    "no_address": gettext_lazy("No address"),
}


class ContactForm(PlainForm):
    """All of a contact. What can be an address is decided by the verb, which names the field."""

    name = forms.CharField(label=LABELS["name"], max_length=LIMITS["name"], required=False)
    email = forms.CharField(
        label=LABELS["email"],
        max_length=LIMITS["email"],
        required=False,
        widget=forms.TextInput({"inputmode": "email", "autocomplete": "off", "spellcheck": "false"}),
    )
    phone = forms.CharField(
        label=LABELS["phone"],
        max_length=LIMITS["phone"],
        required=False,
        help_text=gettext_lazy("Such as 090-1234-5678, or +44 7400 123456 for another country."),
        widget=forms.TextInput({"inputmode": "tel", "autocomplete": "off"}),
    )
    lineworks_id = forms.CharField(
        label=LABELS["lineworks_id"],
        max_length=LIMITS["lineworks_id"],
        required=False,
        help_text=gettext_lazy("The login ID, such as taro@example."),
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    external_id = forms.CharField(
        label=LABELS["external_id"],
        max_length=LIMITS["external_id"],
        required=False,
        help_text=gettext_lazy("The person's id in your own system, by which imports and the API find them."),
    )
    language = forms.ChoiceField(
        label=LABELS["language"],
        required=False,
        choices=[("", gettext_lazy("not known")), ("en", "English"), ("ja", "日本語")],
    )
    no_address = forms.BooleanField(
        label=LABELS["no_address"],
        required=False,
        help_text=gettext_lazy("Known to have none: nothing is sent to this person, whatever is entered above."),
    )

    def keep_language(self, language: str) -> None:
        """Offer a language that came by API or import, so that saving does not lose it."""
        field = self.fields["language"]
        if language not in dict(field.choices):  # type: ignore[attr-defined]
            field.choices = [*field.choices, (language, language)]  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a person as the page shows it; ``cause`` and ``step`` are empty where nothing is wrong."""

    field: str
    channel: Channel
    label: str
    value: str
    cause: str
    step: str
    hint: str


@require_safe
@tenant_page("browse")
def contact_list(request: TenantRequest) -> HttpResponse:
    """The contacts, the one that was changed last first; ``q`` is the beginning of a name, address or number."""
    text = request.GET.get("q", "").strip()[: LIMITS["email"]]
    found = verbs.search(text) if text else verbs.listed()
    try:
        page = keyset_page(found, field="received_at", cursor=request.GET.get("cursor"), size=PAGE_SIZE)
    except BadCursor as error:
        raise Http404(str(error)) from error
    context = {
        "page": page,
        "q": text,
        "next_query": query_without(request.GET, cursor=page.next or ""),
        "previous_query": query_without(request.GET, cursor=page.previous or ""),
        "first_query": query_without(request.GET, "cursor"),
    }
    return render(request, "contacts/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page("correct")
def contact_new(request: TenantRequest) -> HttpResponse:
    form = ContactForm(posted(request), initial={"language": request.tenant.language})
    if form.is_valid():
        try:
            contact = verbs.create(form.cleaned_data, actor=request.actor)
        except ContactInputError as error:
            _tell(form, error)
        else:
            messages.success(request, _("The contact is saved."))
            return redirect("contact", request.tenant.slug, contact.id)
    return render(request, "contacts/new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@tenant_page("browse")
def contact(request: TenantRequest, contact_id: uuid.UUID) -> HttpResponse:
    return _page(request, _find(contact_id))


@require_POST
@tenant_page("correct")
def contact_edit(request: TenantRequest, contact_id: uuid.UUID) -> HttpResponse:
    """Save the form of a person's page; with errors it comes back on that page."""
    found = _find(contact_id)
    form = ContactForm(request.POST)
    form.keep_language(found.language)
    if form.is_valid():
        try:
            changes = verbs.change(found, form.cleaned_data, actor=request.actor)
        except ContactInputError as error:
            _tell(form, error)
        else:
            messages.success(request, _said(changes))
            return redirect("contact", request.tenant.slug, contact_id)
    return _page(request, found, form=form, status=422)


@require_POST
@tenant_page("correct")
def contact_hint(request: TenantRequest, contact_id: uuid.UUID) -> HttpResponse:
    """Take the address that was probably meant; the hint is made anew, so nothing else can be put in its place."""
    found = _find(contact_id)
    hint = verbs.remarks(found)["email"].hint if found.email else ""
    if hint:
        try:
            verbs.correct(found, "email", hint, request.actor)
        except ContactInputError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, _("The address is now %(address)s.") % {"address": found.email})
    return redirect("contact", request.tenant.slug, contact_id)


@require_POST
@tenant_page("correct")
def contact_no_address(request: TenantRequest, contact_id: uuid.UUID) -> HttpResponse:
    """Mark a person as one who has no address, or as one who has."""
    found = _find(contact_id)
    has_none = "on" in request.POST
    verbs.change(found, {"no_address": has_none}, actor=request.actor)
    said = _("Nothing is sent to this person any more.") if has_none else _("This person is sent to again.")
    messages.success(request, said)
    return redirect("contact", request.tenant.slug, contact_id)


@require_POST
@tenant_page("correct")
def contact_remove(request: TenantRequest, contact_id: uuid.UUID) -> HttpResponse:
    """Forget a person; what was sent to them stays in the log without their name."""
    verbs.remove(_find(contact_id), actor=request.actor)
    messages.success(request, _("The contact is deleted. The deliveries stay, without the name."))
    return redirect("contacts", request.tenant.slug)


def _find(contact_id: uuid.UUID) -> Contact:
    found: Contact | None = Contact.objects.filter(id=contact_id).first()
    if found is None:
        raise Http404
    return found


def _page(
    request: TenantRequest, found: Contact, *, form: ContactForm | None = None, status: int = 200
) -> HttpResponse:
    open_rows = list(verbs.open_deliveries(found)[: MOST_FAILURES + 1])
    context: dict[str, Any] = {
        "contact": found,
        "title": found.name or found.external_id or _("(no name)"),
        "addresses": _addresses(found),
        "rows": error_rows(open_rows[:MOST_FAILURES], slug=request.tenant.slug, back=""),
        "has_more": len(open_rows) > MOST_FAILURES,
    }
    if may(request.role, "correct"):
        context["form"] = form or _form_of(found)
    return render(request, "contacts/contact.html", context, status=status)


def _form_of(found: Contact) -> ContactForm:
    form = ContactForm(initial=verbs.values_of(found))
    form.keep_language(found.language)
    return form


def _addresses(found: Contact) -> list[Address]:
    remarks = verbs.remarks(found)
    return [_address(field, str(getattr(found, field)), remarks.get(field)) for field in CHANNELS]


def _address(field: str, value: str, remark: Remark | None) -> Address:
    channel = CHANNELS[field]
    finding = remark.finding if remark else None
    told = classify(Report(channel, "", Kind.FAILED, finding.verdict)) if finding else None
    language = get_language() or "en"
    return Address(
        field=field,
        channel=channel,
        label=str(LABELS[field]),
        value=value,
        cause=explain.cause(told.code, told.reason, language) if told else "",
        step=explain.next_step(told.code, told.reason, State.FAILED, language) if told else "",
        hint=remark.hint if remark else "",
    )


def _tell(form: ContactForm, error: ContactInputError) -> None:
    form.add_error(error.field if error.field in form.fields else None, error.message)


def _said(changes: list[Change]) -> str:
    if not changes:
        return _("Nothing was changed.")
    if any(change.field in CHANNELS for change in changes):
        return _("The contact is saved. Failures at a former address stay on this page and can be sent again.")
    return _("The contact is saved.")
