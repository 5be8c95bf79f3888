"""One delivery: why the notice did not arrive, what to do next, and everything the provider said about it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import get_language, gettext_lazy, pgettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from deliveries import explain, queries
from deliveries.attempts import attempts_of
from deliveries.classify import Verdict
from deliveries.codes import CODES
from deliveries.enums import Kind, State
from deliveries.gather import OWN_REPORT
from deliveries.models import Attempt, Delivery, Event
from deliveries.queries import TimelineEntry, tries, tries_until
from deliveries.web.request import TenantRequest
from deliveries.web.resend import acts
from deliveries.web.rows import title_of
from deliveries.web.tried import Tried, tried
from notifyguard.accounts.permissions import tenant_page
from providers.registry import get_provider

# The two clocks are different ones, so a smaller gap says nothing.
LATE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Step:
    """One event on the timeline. ``is_late``: it came to us noticeably later than it happened."""

    event: Event
    kind: Kind
    verdict: Verdict | None
    is_late: bool

    @property
    def at(self) -> datetime:
        return self.event.occurred_at


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt of ours on the timeline."""

    tried: Tried

    @property
    def at(self) -> datetime:
        return self.tried.attempt.sent_at or self.tried.attempt.created_at


@require_safe
@tenant_page("browse")
def delivery(request: TenantRequest, delivery_id: uuid.UUID) -> HttpResponse:
    """Show one delivery: the sentence, what to do, and its timeline with the newest event first."""
    found = queries.delivery(request.tenant.id, delivery_id)
    if found is None:
        raise Http404
    made = attempts_of(found)
    context = {
        **acts(request, found, made),
        "delivery": found,
        "title": title_of(found),
        "tries": tries(found),
        "tries_until": tries_until(found),
        "timeline": _timeline(found, made),
        "provider": get_provider(found.provider).label,
        "source": _source_name(request.tenant.id, found),
        "for_administrator": _for_administrator(found, request.tenant.zone),
        "back": _list_address(request, found),
        "back_name": _LISTS[_list_name(request)],
        "back_query": request.GET.get("back", ""),
        "last": tried(made[0], found, forecasts=True) if made else None,
        "is_waiting": found.state == State.ACCEPTED,
        "is_deferred": found.state == State.DEFERRED,
    }
    return render(request, "deliveries/delivery.html", context | _explained(found, request.tenant.zone))


def _explained(found: Delivery, zone: tzinfo) -> dict[str, Any]:
    """What the delivery's code and reason mean, in the language at hand."""
    language = get_language() or "en"
    code, reason = found.code or "", found.reason or ""
    until = tries_until(found)
    sentence = explain.sentence(
        recipient=found.recipient,
        title=found.title,
        state=State(found.state),
        code=code,
        reason=reason,
        language=language,
        provider=get_provider(found.provider).label,
        deferred_until=_in_words(until, zone) if until else "",
    )
    known = CODES.get(code)
    return {
        "sentence": sentence,
        "actionable": known.actionable if known else "",
        "code_name": known.name if known else code,
        "reason_name": explain.reason_label(reason, language),
        **_guidance(found, language),
    }


def _guidance(found: Delivery, language: str) -> dict[str, Any]:
    """The steps to take, and apart from them the warning that they may not help."""
    steps = explain.guidance(found.code or "", found.reason or "", found.domain, language)
    warning = explain.REMOVAL_WARNING[language]
    return {"steps": [step for step in steps if step != warning], "warning": warning if warning in steps else ""}


def _in_words(moment: datetime, zone: tzinfo) -> str:
    return date_format(moment.astimezone(zone), pgettext("date format", "j M H:i"))


def _step(entry: TimelineEntry) -> Step:
    is_late = entry.event.received_at - entry.event.occurred_at > LATE
    return Step(entry.event, entry.kind, entry.verdict, is_late)


def _timeline(found: Delivery, made: Sequence[Attempt]) -> list[Step | Try]:
    """What the provider reported and what we did, the newest first."""
    told = queries.timeline(found)
    if made:  # the attempt itself says that it was accepted, with the provider's answer
        told = [entry for entry in told if entry.event.raw_index != OWN_REPORT or entry.kind != Kind.ACCEPTED]
    steps: list[Step | Try] = [_step(entry) for entry in told]
    steps += [Try(tried(attempt, found)) for attempt in reversed(made)]
    return sorted(steps, key=lambda step: step.at, reverse=True)


def _source_name(tenant_id: uuid.UUID, found: Delivery) -> str:
    names = {source.connection_id: source.name for source in queries.sources(tenant_id)}
    return names.get(found.connection_id, "")


def _list_address(request: TenantRequest, found: Delivery) -> str:
    """The list that the person came from, its filter kept; without one, the error list's tab of its channel."""
    name = _list_name(request)
    query = QueryDict(request.GET.get("back", ""))
    if not query and name == "error_list":
        query = QueryDict(f"channel={found.channel}")
    return f"{reverse(name, args=[request.tenant.slug])}?{query.urlencode()}"


def _list_name(request: TenantRequest) -> str:
    asked = request.GET.get("list", "")
    return asked if asked in _LISTS else "error_list"


_LISTS = {
    "error_list": gettext_lazy("Notification errors"),
    "mail_log": gettext_lazy("Mail log"),
    "undelivered": gettext_lazy("Undelivered"),
}


def _for_administrator(found: Delivery, zone: tzinfo) -> str:
    """What the administrator of the receiving side needs to find the message in their logs, as plain text."""
    facts = [
        (_("Recipient"), found.recipient),
        (_("Sender"), found.sender),
        (_("Title"), found.title),
        (_("Time"), found.occurred_at.astimezone(zone).isoformat(sep=" ", timespec="seconds")),
        (_("Sent through"), get_provider(found.provider).label),
        (_("Provider's message id"), found.provider_message_id),
        (_("Answer of the receiving side"), found.reply),
    ]
    return "\n".join(_("%(name)s: %(value)s") % {"name": name, "value": value} for name, value in facts if value)
