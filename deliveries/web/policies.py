"""Settings: how temporary failures are tried again by themselves, code by code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, gettext_lazy, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from deliveries import explain, retry
from deliveries.codes import CODES
from deliveries.enums import Retry
from deliveries.retry import DEFAULTS, Policy, PolicyInputError, longest_wait
from deliveries.web.request import TenantRequest, posted
from notifyguard.accounts.permissions import tenant_page

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

MINUTE, HOUR = 60, 3600

WHEN: dict[Retry, _StrPromise] = {
    Retry.NOW: pgettext_lazy("retry", "soon"),
    Retry.LATER: pgettext_lazy("retry", "later"),
    Retry.NEXT_DAY: pgettext_lazy("retry", "after midnight"),
}


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy in words."""

    policy: Policy
    name: str
    label: str
    when: str
    waits: str


class PolicyForm(forms.Form):
    """A policy as people write it: waits in minutes."""

    enabled = forms.BooleanField(required=False, label=gettext_lazy("Try again by itself"))
    tries = forms.IntegerField(
        label=gettext_lazy("Tries at most"),
        min_value=1,
        max_value=retry.MOST_TRIES,
        help_text=gettext_lazy("Beside the first one."),
    )
    first_wait = forms.IntegerField(
        label=gettext_lazy("First wait, in minutes"),
        min_value=1,
        max_value=retry.LONGEST_WAIT_S // MINUTE,
        help_text=gettext_lazy(
            "At most; each try comes at a random moment within its wait, so that they do not all come at once."
        ),
    )
    factor = forms.FloatField(
        label=gettext_lazy("Each wait is longer by the factor"), min_value=1.0, max_value=retry.MOST_FACTOR
    )
    longest_wait = forms.IntegerField(
        label=gettext_lazy("Longest wait, in minutes"), min_value=1, max_value=retry.LONGEST_WAIT_S // MINUTE
    )


@require_safe
@tenant_page("configure")
def retry_list(request: TenantRequest) -> HttpResponse:
    """All codes that are ever tried again, each with its policy in words."""
    rows = [_row(policy) for policy in retry.policies().values()]
    return render(request, "settings/retry.html", {"rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page("configure")
def retry_edit(request: TenantRequest, code: str) -> HttpResponse:
    """Change the policy of one code."""
    if code not in DEFAULTS:
        raise Http404
    policy = retry.policies()[code]
    form = PolicyForm(posted(request), initial=_initial(policy))
    if form.is_valid() and _save(request, policy, form):
        messages.success(request, _("The policy is saved. It holds for failures from now on."))
        return redirect("retry", request.tenant.slug)
    page = {"form": form, "row": _row(policy)}
    return render(request, "settings/retry_edit.html", page, status=422 if form.errors else 200)


def _save(request: TenantRequest, policy: Policy, form: PolicyForm) -> bool:
    given = form.cleaned_data
    wanted = replace(
        policy,
        enabled=given["enabled"],
        tries=given["tries"],
        first_wait_s=given["first_wait"] * MINUTE,
        factor=given["factor"],
        longest_wait_s=given["longest_wait"] * MINUTE,
    )
    try:
        retry.set_policy(wanted, actor=request.actor)
    except PolicyInputError as error:
        form.add_error(error.field.removesuffix("_s"), str(error))
        return False
    return True


def _initial(policy: Policy) -> dict[str, Any]:
    return {
        "enabled": policy.enabled,
        "tries": policy.tries,
        "first_wait": policy.first_wait_s // MINUTE,
        "factor": policy.factor,
        "longest_wait": policy.longest_wait_s // MINUTE,
    }


def _row(policy: Policy) -> PolicyRow:
    waits = (int(longest_wait(policy, tried).total_seconds()) for tried in range(policy.tries))
    return PolicyRow(
        policy=policy,
        name=CODES[policy.code].name,
        label=explain.code_label(policy.code, get_language() or "en"),
        when=str(WHEN[policy.retry]),
        waits=pgettext("between the items of a list", ", ").join(map(_length, waits)),
    )


def _length(seconds: int) -> str:
    if seconds < 2 * HOUR:
        return ngettext("%(n)d minute", "%(n)d minutes", seconds // MINUTE) % {"n": seconds // MINUTE}
    return ngettext("%(n)d hour", "%(n)d hours", seconds // HOUR) % {"n": seconds // HOUR}
