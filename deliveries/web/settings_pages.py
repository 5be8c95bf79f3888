"""The admin's settings: people, API tokens, the audit log and the organisation itself."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import F
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deliveries import tallies
from deliveries.paging import BadCursor, keyset_page
from deliveries.web.forms import ApiTokenForm, InviteForm, OrganisationForm, RoleForm
from deliveries.web.request import TenantRequest, posted
from notifyguard.accounts import api_tokens, audit, people
from notifyguard.accounts.models import AuditEntry, Membership, User
from notifyguard.accounts.people import PeopleError
from notifyguard.accounts.permissions import tenant_page
from notifyguard.accounts.tenants import CHANGEABLE, change_tenant

AUDIT_PAGE = 50


@tenant_page("configure")
@require_safe
def settings_index(request: TenantRequest) -> HttpResponse:
    return redirect("people", request.tenant.slug)


@tenant_page("configure")
@require_http_methods(["GET", "HEAD", "POST"])
def people_list(request: TenantRequest) -> HttpResponse:
    """The people of the organisation. Inviting one shows, once, the link to set a password."""
    form = InviteForm(posted(request))
    if form.is_valid():
        try:
            invited = people.invite(actor=request.actor, **form.cleaned_data)
        except PeopleError as error:
            form.add_error("email", str(error))
        else:
            return _invited(request, invited)
    return _people(request, form, status=422 if form.errors else 200)


@tenant_page("configure")
@require_POST
def person_role(request: TenantRequest, membership_id: uuid.UUID) -> HttpResponse:
    membership = _membership(membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        return _people(request, InviteForm(), status=422, problem=_("Choose one of the roles."))
    try:
        people.set_role(membership.user, form.cleaned_data["role"], actor=request.actor)
    except PeopleError as error:
        return _people(request, InviteForm(), status=422, problem=str(error))
    messages.success(request, _("The role of %(person)s is changed.") % {"person": membership.user})
    return redirect("people", request.tenant.slug)


@tenant_page("configure")
@require_POST
def person_remove(request: TenantRequest, membership_id: uuid.UUID) -> HttpResponse:
    membership = _membership(membership_id)
    try:
        people.remove(membership, actor=request.actor)
    except PeopleError as error:
        return _people(request, InviteForm(), status=422, problem=str(error))
    messages.success(request, _("%(person)s can no longer open this organisation.") % {"person": membership.user})
    own = membership.user_id == request.actor.user_id
    return redirect("home") if own else redirect("people", request.tenant.slug)


@tenant_page("configure")
@require_POST
def person_link(request: TenantRequest, membership_id: uuid.UUID) -> HttpResponse:
    """Make a new link for a person who has not set a password yet."""
    person = _membership(membership_id).user
    if not people.may_hand_over_password(person):
        raise Http404
    return _people(request, InviteForm(), handed=_link(request, person))


@tenant_page("configure")
@require_http_methods(["GET", "HEAD", "POST"])
def token_list(request: TenantRequest) -> HttpResponse:
    """The API tokens. A new one is shown on this answer and never again."""
    form, token = ApiTokenForm(posted(request)), ""
    if form.is_valid():
        _row, token = api_tokens.issue(
            name=form.cleaned_data["name"],
            role=form.cleaned_data["role"],
            expires_at=form.expires_at(),
            actor=request.actor,
        )
        form = ApiTokenForm()
    page = {"form": form, "token": token, "tokens": api_tokens.list_tokens()}
    return render(request, "settings/tokens.html", page, status=422 if form.errors else 200)


@tenant_page("configure")
@require_POST
def token_revoke(request: TenantRequest, token_id: uuid.UUID) -> HttpResponse:
    if not api_tokens.revoke(token_id, actor=request.actor):
        raise Http404
    messages.success(request, _("The token is revoked: the program that used it is refused from now on."))
    return redirect("api_tokens", request.tenant.slug)


@tenant_page("configure")
@require_safe
def audit_log(request: TenantRequest) -> HttpResponse:
    """Every change that a person, a token or the command line made, newest first."""
    entries = AuditEntry.objects.annotate(received_at=F("at"))  # a cursor's word for the time
    try:
        page = keyset_page(entries, field="received_at", cursor=request.GET.get("cursor"), size=AUDIT_PAGE)
    except BadCursor as error:
        raise Http404(str(error)) from error
    rows = [(entry, _difference(entry)) for entry in page.rows]
    return render(request, "settings/audit.html", {"page": page, "rows": rows})


@tenant_page("configure")
@require_http_methods(["GET", "HEAD", "POST"])
def organisation(request: TenantRequest) -> HttpResponse:
    """The organisation's own settings. A new time zone makes other days, so the day's counts are made anew."""
    tenant = request.tenant
    initial = {field: getattr(tenant, field) for field in CHANGEABLE}
    form = OrganisationForm(posted(request), initial=initial)
    if form.is_valid():
        if change_tenant(tenant, actor=request.actor, **form.cleaned_data):
            tallies.recount(tenant.id)
        messages.success(request, _("The settings are saved."))
        return redirect("organisation", tenant.slug)
    return render(request, "settings/organisation.html", {"form": form}, status=422 if form.errors else 200)


def _membership(membership_id: uuid.UUID) -> Membership:
    membership = people.find_membership_row(membership_id)
    if membership is None:
        raise Http404
    return membership


def _invited(request: TenantRequest, invited: people.Invited) -> HttpResponse:
    person = invited.membership.user
    if invited.is_new:
        return _people(request, InviteForm(), handed=_link(request, person))
    messages.success(request, _("%(person)s can open this organisation now.") % {"person": person})
    return redirect("people", request.tenant.slug)


def _link(request: TenantRequest, person: User) -> dict[str, str]:
    audit.record(request.actor, "person.link_created", object_type="person", object_id=person.pk)
    return {"person": str(person), "url": settings.PUBLIC_URL + people.password_path(person)}


def _people(request: TenantRequest, form: InviteForm, *, status: int = 200, **extra: Any) -> HttpResponse:
    rows = [
        (membership, RoleForm(initial={"role": membership.role}, auto_id=f"role{number}_%s"))
        for number, membership in enumerate(people.list_people())
    ]
    return render(request, "settings/people.html", {"form": form, "rows": rows, **extra}, status=status)


def _difference(entry: AuditEntry) -> list[tuple[str, Any, Any]]:
    """Return (name, before, after) of what changed; of what was made or removed, all of it that says something."""
    before, after = _flat(entry.before or {}), _flat(entry.after or {})
    names = dict.fromkeys([*before, *after])
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    """Put the names inside an object beside it, and leave out what is empty."""
    flat: dict[str, Any] = {}
    for name, value in state.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if value not in (None, "", False)}
