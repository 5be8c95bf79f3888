"""The header reader: paste what a mail program calls the original message; nothing of it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import get_language, gettext, ngettext, pgettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from deliveries import queries
from deliveries.headers import LIMIT, Reading, read
from deliveries.web.forms import PlainForm
from deliveries.web.request import TenantRequest, posted
from notifyguard.accounts.permissions import tenant_page

MOST_MATCHES = 5
# A hop that takes longer is worth naming.
SLOW = timedelta(minutes=5)


class HeadersForm(PlainForm):
    text = forms.CharField(
        label=_("The original message, or its headers"),
        strip=False,
        max_length=LIMIT,
        widget=forms.Textarea(attrs={"rows": 12, "class": "paste", "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("In Gmail: open the message, choose Show original in the menu ⋮ and copy all of it."),
        error_messages={
            "required": _("Paste the headers of a message."),
            "max_length": _("This is too long: paste the headers only, without what is attached."),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page("browse")
def headers(request: TenantRequest) -> HttpResponse:
    """Show the form, and after a POST what the headers say; 422 where there is nothing to read."""
    form = HeadersForm(posted(request))
    context: dict[str, Any] = {"form": form}
    status = 200
    if form.is_bound:
        if form.is_valid():
            reading = read(form.cleaned_data["text"])
            if reading.is_empty:
                form.add_error("text", gettext("There are no headers in this text: paste the original message."))
            else:
                context |= _read(request, reading)
        status = 200 if form.is_valid() else 422
    return render(request, "headers/headers.html", context, status=status)


def _read(request: TenantRequest, reading: Reading) -> dict[str, Any]:
    return {
        "reading": reading,
        "verdict": ("" if (get_language() or "").startswith("ja") else " ").join([transit(reading), proof(reading)]),
        "tone": {"pass": "success", "fail": "danger"}.get(reading.trusted("dmarc"), "slate"),
        "hops": [(number, hop, duration(hop.delay)) for number, hop in enumerate(reading.hops, start=1)],
        "total": duration(reading.total),
        "matches": queries.deliveries_of_messages(request.tenant.id, reading.message_ids, MOST_MATCHES),
    }


def transit(reading: Reading) -> str:
    """Say in one sentence how long the message took, and where it was held up."""
    count = len(reading.hops)
    if not count:
        return gettext("The headers do not say which way the message took.")
    if reading.total is None or reading.total < timedelta():
        form = ngettext(
            "The message passed %(n)s server; how long it took cannot be told from their clocks.",
            "The message passed %(n)s servers; how long it took cannot be told from their clocks.",
            count,
        )
        return form % {"n": count}
    slowest = reading.slowest
    if slowest and slowest.delay and slowest.delay >= SLOW:
        form = gettext("The message took %(total)s, most of it (%(delay)s) before %(server)s took it.")
        names = {"delay": duration(slowest.delay), "server": slowest.by_host or gettext("an unnamed server")}
        return form % {"total": duration(reading.total), **names}
    form = ngettext(
        "The message took %(total)s over %(n)s server: it was not held up.",
        "The message took %(total)s over %(n)s servers: it was not held up.",
        count,
    )
    return form % {"total": duration(reading.total), "n": count}


def proof(reading: Reading) -> str:
    """Say in one sentence whether the receiving side could confirm the sender."""
    domain = reading.from_domain or gettext("the sender")
    spf, dkim, dmarc = (reading.trusted(method) for method in ("spf", "dkim", "dmarc"))
    if dmarc == "pass":
        return gettext("The receiving server confirmed that it comes from %(domain)s.") % {"domain": domain}
    if dmarc == "fail":
        form = gettext(
            "The receiving server could not confirm that it comes from %(domain)s (DMARC failed): set up SPF and DKIM "
            "of that domain for the service that sends."
        )
        return form % {"domain": domain}
    if not (spf or dkim):
        return gettext("The receiving server does not say whether it could confirm the sender.")
    if "pass" in (spf, dkim):
        form = gettext("%(methods)s passed, but without DMARC that does not prove that it comes from %(domain)s.")
        passed = [name for name, result in (("SPF", spf), ("DKIM", dkim)) if result == "pass"]
        return form % {"methods": pgettext("between the items of a list", ", ").join(passed), "domain": domain}
    return gettext("Neither SPF nor DKIM passed: the receiving server may take it for forged.")


def duration(span: timedelta | None) -> str:
    """Write a span in its two greatest units; "" for none."""
    if span is None:
        return ""
    sign, seconds = ("−" if span < timedelta() else ""), int(abs(span).total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    units = [
        (days, gettext("%(n)s d")),
        (hours, gettext("%(n)s h")),
        (minutes, gettext("%(n)s min")),
        (seconds % 60, gettext("%(n)s s")),
    ]
    first = next((index for index, (n, _form) in enumerate(units) if n), len(units) - 1)
    return sign + " ".join(form % {"n": n} for n, form in units[first : first + 2] if n or first == len(units) - 1)
