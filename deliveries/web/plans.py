"""Bulk resends: begin one from a list, look at its preview, let it go, follow it, stop it, and see what came of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language, ngettext, pgettext_lazy
from django.views.decorators.http import require_POST, require_safe

from deliveries import attempts, plans
from deliveries.accounts import sending_accounts
from deliveries.contacts import address_of
from deliveries.enums import AttemptStatus, Channel, Outcome, PlanStatus
from deliveries.models import Attempt, Contact, Delivery, ResendPlan
from deliveries.paging import BadCursor, keyset_page
from deliveries.plan_results import results
from deliveries.plan_rows import IDS
from deliveries.plans import PlanError, PlanStateError
from deliveries.web.request import TenantRequest
from deliveries.web.rows import title_of
from notifyguard.accounts import audit
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

ROWS = 50
MINUTES_TOO_MANY = 120  # from then on people count in hours

STATUSES: dict[PlanStatus, tuple[_StrPromise, str]] = {
    PlanStatus.PREPARING: (pgettext_lazy("resend", "Being prepared"), "info"),
    PlanStatus.READY: (pgettext_lazy("resend", "Waits for approval"), "warning"),
    PlanStatus.RUNNING: (pgettext_lazy("resend", "Running"), "info"),
    PlanStatus.PAUSED: (pgettext_lazy("resend", "Paused"), "caution"),
    PlanStatus.CANCELLED: (pgettext_lazy("resend", "Cancelled"), "graphite"),
    PlanStatus.DONE: (pgettext_lazy("resend", "Done"), "success"),
    PlanStatus.FAILED: (pgettext_lazy("resend", "Failed"), "danger"),
}
_STEPS = {"approve": plans.approve, "pause": plans.pause, "continue": plans.go_on, "cancel": plans.cancel}


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A plan in the list."""

    plan: ResendPlan
    word: str
    tone: str


@dataclass(frozen=True, slots=True)
class Line:
    """One outcome of a table: how many rows, in words, and the address that shows them."""

    outcome: str
    word: str
    n: int
    url: str
    goes: bool


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One row of a plan. ``aim`` is where it went or would go now."""

    attempt: Attempt
    delivery: Delivery
    title: str
    url: str
    aim: str
    word: str
    is_open_question: bool


@require_safe
@tenant_page("browse")
def plan_list(request: TenantRequest) -> HttpResponse:
    """All bulk resends, newest first."""
    try:
        page = keyset_page(plans.plans(), field="received_at", cursor=request.GET.get("cursor"), size=ROWS)
    except BadCursor as error:
        raise Http404(str(error)) from error
    rows = [PlanLine(row, *_words(row)) for row in page.rows]
    return render(request, "plans/list.html", {"rows": rows, "page": page})


@require_POST
@tenant_page("send")
def plan_new(request: TenantRequest) -> HttpResponse:
    """Begin a resend of the ``delivery`` ids that were ticked, or of all that ``selection``, a list's query, finds.

    With ``all`` the ticks do not count. ``instead_of`` names a plan that this one replaces before its approval.
    """
    data = request.POST
    try:
        made = plans.start(
            _selection(data),
            tenant=request.tenant,
            actor=request.actor,
            other_way=data.get("other_way", ""),
            newest_of_kind="newest_of_kind" in data,
            include_stale="include_stale" in data,
            per_minute=_number(data.get("per_minute", "")),
        )
    except PlanError as error:
        messages.error(request, str(error))
        return redirect(_came_from(request))
    _discard(request, data.get("instead_of", ""))
    return redirect("plan", request.tenant.slug, made.id)


@require_safe
@tenant_page("browse")
def plan(request: TenantRequest, plan_id: uuid.UUID) -> HttpResponse:
    """One resend: its preview, its progress or what came of it, and its rows."""
    found = _find(plan_id)
    return render(request, "plans/detail.html", _standing(request, found) | _rows(request, found))


@require_POST
@tenant_page("send")
def plan_step(request: TenantRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Approve, pause, continue or cancel, as ``act`` says."""
    found, step = _find(plan_id), _STEPS.get(request.POST.get("act", ""))
    if step is None:
        raise Http404
    try:
        step(found, actor=request.actor)
    except PlanStateError as error:
        messages.warning(request, str(error))
    return redirect("plan", request.tenant.slug, plan_id)


@require_safe
@tenant_page("export")
def plan_results(request: TenantRequest, plan_id: uuid.UUID) -> HttpResponseBase:
    """The result as a file, one line a row."""
    found = _find(plan_id)
    audit.record(request.actor, "plan.exported", object_type="plan", object_id=found.id)
    return StreamingHttpResponse(
        results(found, request.tenant, get_language() or request.tenant.language),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="resend-{found.id}.csv"',
            "Cache-Control": "no-store",
        },
    )


def _words(row: ResendPlan) -> tuple[str, str]:
    word, tone = STATUSES[PlanStatus(row.status)]
    return str(word), tone


def _find(plan_id: uuid.UUID) -> ResendPlan:
    found = plans.find(plan_id)
    if found is None:
        raise Http404
    return found


def _selection(data: QueryDict) -> str | list[uuid.UUID]:
    ids = data.getlist("delivery")
    if "all" in data or (not ids and "selection" in data and "chosen" not in data):
        return data.get("selection", "")
    try:
        return [uuid.UUID(text) for text in ids]
    except ValueError as error:
        raise Http404 from error


def _number(text: str) -> int | None:
    """The number that was typed; what is none is refused like one out of range."""
    if not text.strip():
        return None
    return int(text) if text.isascii() and text.isdigit() else -1


def _came_from(request: TenantRequest) -> str:
    """The list that the form was on: only ever one of ours."""
    given = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(given, {request.get_host()}, require_https=request.is_secure()):
        return given
    return reverse("error_list", args=[request.tenant.slug])


def _discard(request: TenantRequest, plan_id: str) -> None:
    if not plan_id:
        return
    try:
        plans.cancel(_find(uuid.UUID(plan_id)), actor=request.actor)
    except (ValueError, PlanStateError):  # PlanStateError is one too; approved meanwhile, or no id: leave it alone
        return


def _standing(request: TenantRequest, found: ResendPlan) -> dict[str, Any]:
    """What the upper part shows, which is fetched again while the plan moves."""
    status = PlanStatus(found.status)
    word, tone = _words(found)
    previewed, made = plans.preview(found, request.tenant), plans.progress(found)
    ended = status in (PlanStatus.DONE, PlanStatus.CANCELLED)
    return {
        "plan": found,
        "status_word": word,
        "status_tone": tone,
        "preview": previewed,
        "progress": made,
        "duration": _in_words(previewed.duration),
        "left": _in_words(made.left) if made.left else "",
        "lines": _lines(request, found, made.outcomes if ended else previewed.outcomes),
        "ended_lines": _lines(request, found, made.outcomes),
        "is_moving": status in (PlanStatus.PREPARING, PlanStatus.RUNNING)
        or (status == PlanStatus.CANCELLED and found.finished_at is None),
        "has_ended": ended,
        "lacks_text": any(outcome == Outcome.NO_BODY for outcome, _n in previewed.outcomes),
        "chosen_by_hand": found.selection.startswith(IDS),
        "selection_url": f"{reverse('error_list', args=[request.tenant.slug])}?{found.selection}",
        "selection_ids": _ids(found),
        "channels": _channels(),
        "scarce": [speed for speed in previewed.speeds if speed.standing and speed.standing.is_scarce],
    }


def _in_words(length: timedelta) -> str:
    """Write a length of time roughly, as people say it."""
    minutes = max(1, round(length.total_seconds() / 60))
    if minutes < MINUTES_TOO_MANY:
        return ngettext("about %(n)d minute", "about %(n)d minutes", minutes) % {"n": minutes}
    hours = round(minutes / 60)
    return ngettext("about %(n)d hour", "about %(n)d hours", hours) % {"n": hours}


def _ids(found: ResendPlan) -> list[str]:
    return found.selection.removeprefix(IDS).split(",") if found.selection.startswith(IDS) else []


def _channels() -> list[Channel]:
    return list(dict.fromkeys(one.channel for one in sending_accounts()))


def _lines(request: TenantRequest, found: ResendPlan, counts: list[tuple[Outcome, int]]) -> list[Line]:
    here = reverse("plan", args=[request.tenant.slug, found.id])
    return [
        Line(
            outcome=outcome,
            word=str(attempts.OUTCOMES[outcome]),
            n=n,
            url=f"{here}?outcome={outcome}#rows",
            goes=outcome in (Outcome.READY, Outcome.ASK),
        )
        for outcome, n in counts
    ]


def _rows(request: TenantRequest, found: ResendPlan) -> dict[str, Any]:
    """A page of the plan's rows, with the outcome that is asked for."""
    if found.status == PlanStatus.PREPARING:
        return {}
    wanted = request.GET.get("outcome", "")
    wanted = wanted if wanted in set(Outcome) else ""
    listed = plans.rows(found, wanted)
    if place := _place(request.GET.get("after", "")):
        listed = listed.filter(delivery_id__lt=place)
    shown = list(listed.select_related("delivery")[: ROWS + 1])
    more = shown[ROWS - 1].delivery_id if len(shown) > ROWS else None
    people = Contact.objects.in_bulk({one.delivery.contact_id for one in shown if one.delivery.contact_id})
    return {
        "rows": [_row(one, people.get(one.delivery.contact_id), request.tenant) for one in shown[:ROWS]],
        "wanted": wanted,
        "wanted_word": attempts.OUTCOMES[Outcome(wanted)] if wanted else "",
        "is_first": place is None,
        "more": more,
    }


def _place(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if text else None
    except ValueError as error:
        raise Http404 from error


def _row(attempt: Attempt, contact: Contact | None, tenant: Tenant) -> PlanRow:
    delivery = attempt.delivery
    present = address_of(contact, Channel(attempt.channel)) if contact else delivery.recipient
    return PlanRow(
        attempt=attempt,
        delivery=delivery,
        title=title_of(delivery),
        url=reverse("delivery", args=[tenant.slug, delivery.id]),
        aim=attempt.recipient or present,
        word=str(attempts.OUTCOMES[Outcome(attempt.outcome)]) if attempt.outcome else "",
        is_open_question=attempt.status == AttemptStatus.QUEUED,
    )
