"""The suppression list: who is not sent to and why, one entry with its removal, and adding a recipient by hand."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.functional import Promise
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.middleware import HtmxDetails

from deliveries import explain, suppress, unlist, words
from deliveries.codes import CODES
from deliveries.enums import Channel, ProviderState, SuppressionReason
from deliveries.models import Suppression
from deliveries.paging import BadCursor, Page, keyset_page
from deliveries.suppress import CONSENT_REASONS, LONGEST_TEXT, SuppressionInputError
from deliveries.web.filterbar import query_without
from deliveries.web.forms import PlainForm
from deliveries.web.request import TenantRequest, posted
from deliveries.web.rows import title_of
from notifyguard.accounts.models import Role
from notifyguard.accounts.people import list_people
from notifyguard.accounts.permissions import may, tenant_page
from providers.registry import LISTS, get_provider

PAGE_SIZE = 50
REMOVED = "removed"

REASONS: Final[dict[SuppressionReason, str | Promise]] = {
    SuppressionReason.BOUNCE: pgettext_lazy("suppression", "Could not be reached"),
    SuppressionReason.SPAM_REPORT: pgettext_lazy("suppression", "Spam report"),
    SuppressionReason.UNSUBSCRIBED: pgettext_lazy("suppression", "Unsubscribed"),
    SuppressionReason.INVALID: pgettext_lazy("suppression", "Not a valid recipient"),
    SuppressionReason.MANUAL: pgettext_lazy("suppression", "Added by hand"),
}
# Tone and icon of the badge; the word carries the meaning.
_LOOKS: Final[dict[SuppressionReason, tuple[str, str]]] = {
    SuppressionReason.BOUNCE: ("danger", "bounced"),
    SuppressionReason.SPAM_REPORT: ("rose", "spam_report"),
    SuppressionReason.UNSUBSCRIBED: ("plum", "unsubscribed"),
    SuppressionReason.INVALID: ("brick", "rejected"),
    SuppressionReason.MANUAL: ("slate", "person"),
}
_WHY: Final[dict[SuppressionReason, str | Promise]] = {
    SuppressionReason.BOUNCE: _lazy("A notice to %(recipient)s could not be delivered, so no more are sent there."),
    SuppressionReason.SPAM_REPORT: _lazy("%(recipient)s reported a notice as spam, so no more are sent there."),
    SuppressionReason.UNSUBSCRIBED: _lazy("%(recipient)s unsubscribed, so no more notices are sent there."),
    SuppressionReason.INVALID: _lazy("%(recipient)s is not a valid recipient, so nothing is sent there."),
    SuppressionReason.MANUAL: _lazy("%(person)s put %(recipient)s on the list, so nothing is sent there."),
}
CONSENTED: Final = _lazy("The recipient has consented to receive notices again")
PROVIDER_STATES: Final[dict[ProviderState, str | Promise]] = {
    ProviderState.NOT_NEEDED: pgettext_lazy("at the provider", "Nothing to do"),
    ProviderState.REMOVING: pgettext_lazy("at the provider", "Being removed"),
    ProviderState.REMOVED: pgettext_lazy("at the provider", "Removed"),
    ProviderState.FAILED: pgettext_lazy("at the provider", "Not removed"),
}


class FilterForm(PlainForm):
    """What the list is narrowed down by; it lives in the address."""

    tab = forms.ChoiceField(choices=[*((channel.value, "") for channel in Channel), (REMOVED, "")], required=False)
    reason = forms.ChoiceField(
        label=_lazy("Reason"),
        choices=[("", _lazy("Any")), *((str(key), word) for key, word in REASONS.items())],
        required=False,
    )
    q = forms.CharField(label=_lazy("Search"), max_length=320, required=False)


class AddForm(PlainForm):
    """Whom not to send to, on which channel."""

    channel = forms.ChoiceField(
        label=_lazy("Channel"), choices=[(channel.value, word) for channel, word in words.CHANNELS.items()]
    )
    recipient = forms.CharField(
        label=_lazy("Recipient"), max_length=320, help_text=_lazy("Email address, mobile number or LINE WORKS ID.")
    )
    note = forms.CharField(
        label=_lazy("Note"),
        required=False,
        max_length=LONGEST_TEXT,
        help_text=_lazy("Why, for whoever finds this entry later."),
    )


class RemovalForm(PlainForm):
    """Why an entry is removed and, after a complaint or an unsubscription, that the recipient has consented."""

    reason = forms.CharField(
        label=_lazy("Why is it removed?"),
        max_length=LONGEST_TEXT,
        help_text=_lazy("For example: the mailbox was full and has room again. It is kept in the audit log."),
    )

    def __init__(self, entry: Suppression, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if entry.reason in CONSENT_REASONS:
            self.fields["consent"] = forms.BooleanField(
                label=CONSENTED,
                error_messages={"required": _("Without the recipient's consent the entry stays on the list.")},
            )


@dataclass(frozen=True, slots=True)
class Row:
    """An entry as lists show it."""

    entry: Suppression
    word: str
    tone: str
    icon: str
    cause: str
    provider_word: str


@dataclass(frozen=True, slots=True)
class Tab:
    label: str
    icon: str
    query: str
    current: bool


# ---------------------------------------------------------------- the list


@tenant_page("browse")
@require_safe
def suppression_list(request: TenantRequest) -> HttpResponse:
    """Answer with the page, or its list alone where htmx asks; an address that makes no sense gets 422."""
    form = FilterForm(request.GET)
    valid = form.is_valid()
    tab = form.cleaned_data.get("tab") or _first_tab()
    context = {"form": form, "tab": tab, "tabs": _tabs(request.GET, tab), "cleared": f"tab={tab}"}
    if not valid:
        return _answer(request, context | {"problem": _("The filter cannot be used as it is")}, status=422)
    try:
        page = _page(form, tab, request.GET.get("cursor"))
    except BadCursor as error:
        return _answer(request, context | {"problem": str(error)}, status=422)
    return _answer(request, context | _results(request.GET, page, form))


def _answer(request: TenantRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    # As the error list's: without a history cache htmx fetches the whole page on "back".
    htmx = HtmxDetails(request)
    fragment = bool(htmx) and not htmx.history_restore_request
    template = "suppressions/_list.html" if fragment else "suppressions/list.html"
    response = render(request, template, context | {"fragment": fragment}, status=status)
    patch_vary_headers(response, ["HX-Request", "HX-History-Restore-Request"])
    return response


def _first_tab() -> str:
    """The first channel that has an entry: an empty tab would look like an empty list."""
    found = (channel for channel in Channel if suppress.list_entries(removed=False, channel=channel).exists())
    return next(found, Channel.EMAIL).value


def _tabs(data: QueryDict, current: str) -> list[Tab]:
    """Changing between tabs keeps the filter."""
    labels = {channel.value: (str(words.CHANNELS[channel]), channel.value) for channel in Channel}
    labels[REMOVED] = (_("Removed from the list"), "check")
    return [
        Tab(label, icon, query_without(data, "cursor", tab=name), name == current)
        for name, (label, icon) in labels.items()
    ]


def _page(form: FilterForm, tab: str, cursor: str | None) -> Page[Suppression]:
    is_removed = tab == REMOVED
    rows = suppress.list_entries(
        removed=is_removed,
        channel="" if is_removed else tab,
        reason=form.cleaned_data["reason"],
        prefix=form.cleaned_data["q"],
    )
    return keyset_page(rows, field="first_at", cursor=cursor, size=PAGE_SIZE)


def _results(data: QueryDict, page: Page[Suppression], form: FilterForm) -> dict[str, Any]:
    is_filtered = bool(form.cleaned_data["q"] or form.cleaned_data["reason"])
    return {
        "rows": [_row(entry) for entry in page.rows],
        "is_filtered": is_filtered,
        "is_first": page.first,
        "first_query": query_without(data, "cursor"),
        "next_query": query_without(data, cursor=page.next) if page.next else "",
        "previous_query": query_without(data, cursor=page.previous) if page.previous else "",
    }


def _row(entry: Suppression) -> Row:
    reason = SuppressionReason(entry.reason)
    named = entry.code if reason not in CONSENT_REASONS else ""  # the wish itself says why, whatever the provider did
    cause = explain.code_label(named, get_language() or "en") if named else entry.note
    provider_word = str(PROVIDER_STATES[ProviderState(entry.provider_state)]) if entry.provider_state else ""
    return Row(entry, str(REASONS[reason]), *_LOOKS[reason], cause, provider_word)


# ---------------------------------------------------------------- one entry


@tenant_page("browse")
@require_safe
def suppression(request: TenantRequest, suppression_id: uuid.UUID) -> HttpResponse:
    """Show one entry: why, what it does, where it came from, and what removing it does."""
    entry = _find(suppression_id)
    return _entry_page(request, entry, RemovalForm(entry))


@tenant_page("browse")
@require_safe
def suppression_provider(request: TenantRequest, suppression_id: uuid.UUID) -> HttpResponse:
    """The part of a removed entry's page that tells how the removal stands at the provider; asked for by htmx."""
    entry = _find(suppression_id)
    if entry.provider_state == ProviderState.REMOVING and request.GET.get("known") == entry.provider_answer:
        return HttpResponse(status=204)
    return render(request, "suppressions/_provider.html", _at_provider(entry))


@tenant_page("clear")
@require_POST
def suppression_remove(request: TenantRequest, suppression_id: uuid.UUID) -> HttpResponse:
    """Take an entry off the list; its page then shows how that goes on at the provider."""
    entry = _find(suppression_id)
    form = RemovalForm(entry, request.POST)
    if form.is_valid() and _remove(request, entry, form):
        said = _("%(recipient)s is off the list. Nothing is sent again by itself.") % {"recipient": entry.recipient}
        messages.success(request, said)
        return redirect("suppression", request.tenant.slug, entry.id)
    return _entry_page(request, entry, form, status=422)


@tenant_page("correct")
@require_http_methods(["GET", "HEAD", "POST"])
def suppression_add(request: TenantRequest) -> HttpResponse:
    """Put a recipient on the list by hand."""
    form = AddForm(posted(request), initial={"channel": request.GET.get("channel", Channel.EMAIL)})
    entry = _add(request, form) if form.is_valid() else None
    if entry:
        return redirect("suppression", request.tenant.slug, entry.id)
    return render(request, "suppressions/add.html", {"form": form}, status=422 if form.errors else 200)


def _find(suppression_id: uuid.UUID) -> Suppression:
    found: Suppression | None = Suppression.objects.filter(id=suppression_id).first()
    if found is None:
        raise Http404
    return found


def _add(request: TenantRequest, form: AddForm) -> Suppression | None:
    try:
        entry, is_new = suppress.add_by_hand(**form.cleaned_data, actor=request.actor, region=request.tenant.region)
    except SuppressionInputError as error:
        form.add_error(error.field or None, str(error))
        return None
    if not is_new:
        messages.info(request, _("%(recipient)s is on the list already.") % {"recipient": entry.recipient})
    return entry


def _remove(request: TenantRequest, entry: Suppression, form: RemovalForm) -> bool:
    try:
        suppress.remove(entry, actor=request.actor, **form.cleaned_data)
    except SuppressionInputError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return False
    return True


def _entry_page(request: TenantRequest, entry: Suppression, form: RemovalForm, status: int = 200) -> HttpResponse:
    behind = suppress.delivery_behind(entry)
    listed = suppress.suppressed(entry.channel, [entry.recipient_key]).get(entry.recipient_key)
    context = {
        "row": _row(entry),
        "sentence": _sentence(entry),
        "again": listed if listed and listed.id != entry.id else None,
        "delivery": behind,
        "delivery_title": title_of(behind) if behind else "",
        "errors_url": _errors_url(request, entry),
        **_explained(entry),
        **_at_provider(entry),
    }
    if entry.removed_at is None:
        context |= {"form": form, "checks": _checks(entry), "needs_consent": entry.reason in CONSENT_REASONS}
        if not may(request.role, "clear"):
            context |= _whom_to_ask(request, entry)
    return render(request, "suppressions/entry.html", context, status=status)


def _sentence(entry: Suppression) -> str:
    named = {"recipient": entry.recipient, "person": entry.created_by}
    if entry.removed_at is None:
        return str(_WHY[SuppressionReason(entry.reason)]) % named
    if not entry.removed_by:
        return _("%(recipient)s subscribed again, so the unsubscription no longer holds.") % named
    return _("%(recipient)s was taken off the list.") % named


def _explained(entry: Suppression) -> dict[str, str]:
    """What the code of the failure means, in the language at hand, while it is what keeps notices back."""
    code = CODES.get(entry.code)
    if code is None:
        return {}
    holds = entry.removed_at is None and entry.reason not in CONSENT_REASONS
    return {"code_name": code.name, "explanation": code.explanation[get_language() or "en"] if holds else ""}


def _checks(entry: Suppression) -> list[str]:
    """The check-list before a removal; outside email only the question whether the recipient is right makes sense."""
    is_email = entry.channel == Channel.EMAIL
    checks = explain.REMOVAL_CHECKS if is_email else (explain.REMOVAL_CHECKS[2],)
    return [check[get_language() or "en"] for check in checks]


def _at_provider(entry: Suppression) -> dict[str, Any]:
    name = suppress.provider_behind(entry)
    return {
        "entry": entry,
        "provider": get_provider(name).label if name else "",
        "keeps_a_list": name in LISTS,
        "provider_answer": unlist.explain(entry.provider_answer),
    }


def _errors_url(request: TenantRequest, entry: Suppression) -> str:
    """The error list of this recipient: what was dropped meanwhile can be sent again from there."""
    query = QueryDict(mutable=True)
    query.update({"channel": entry.channel, "recipient": entry.recipient_key})
    return f"{reverse('error_list', args=[request.tenant.slug])}?{query.urlencode()}"


def _whom_to_ask(request: TenantRequest, entry: Suppression) -> dict[str, Any]:
    """Who may remove the entry, and a request to send them."""
    address = request.build_absolute_uri(reverse("suppression", args=[request.tenant.slug, entry.id]))
    asked = _("Please remove %(recipient)s from the suppression list: %(address)s")
    checks = [str(CONSENTED)] if entry.reason in CONSENT_REASONS else _checks(entry)
    lines = [asked % {"recipient": entry.recipient, "address": address}, *(f"- {check}" for check in checks)]
    return {"support": [str(row.user) for row in list_people() if row.role == Role.SUPPORT], "ask": "\n".join(lines)}
