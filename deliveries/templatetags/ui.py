"""What every page's templates share: icons, states in words, times in the tenant's zone, the navigation."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import cache
from typing import Any

from django import template
from django.http import HttpRequest
from django.template import Context
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import get_language, gettext_lazy, pgettext
from django.utils.translation import gettext as _

from deliveries import words
from deliveries.enums import Actionable, Channel, Kind, Persistence, State
from deliveries.state import STATES
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import may, tenants_of

register = template.Library()

TONES: dict[State, str] = {
    State.QUEUED: "slate",
    State.ACCEPTED: "slate",
    State.DEFERRED: "info",
    State.DELIVERED: "success",
    State.BOUNCED: "danger",
    State.BLOCKED: "warning",
    State.DROPPED: "plum",
    State.SPAM_REPORT: "rose",
    State.UNDELIVERED: "brick",
    State.EXPIRED: "caution",
    State.REJECTED: "teal",
    State.FAILED: "graphite",
}

# Kinds that say nothing about the delivery itself have no state of their own to take a colour from.
ASIDE = frozenset(kind for kind, state in STATES.items() if state == State.ACCEPTED)


@dataclass(frozen=True, slots=True)
class NavItem:
    label: str
    url: str
    current: bool
    behind_more: bool


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """Draw an icon of ``static/img/icons.svg``; the word beside it carries the meaning."""
    markup = '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>'
    return format_html(markup, static("img/icons.svg"), name)


@register.simple_tag
def state_badge(state: str) -> SafeString:
    """Show a state by word, icon and colour."""
    return _state_badge(State(state), get_language())


@cache  # a list shows dozens, of eleven kinds in two languages
def _state_badge(state: State, _language: str) -> SafeString:
    shown = {"word": words.STATES[state], "icon_name": state.value, "tone": TONES[state]}
    return render_to_string("components/state.html", shown)


@register.filter
def state_word(state: str) -> str:
    return str(words.STATES[State(state)])


@register.filter
def state_tone(state: str) -> str:
    return TONES[State(state)]


@register.filter
def kind_word(kind: str) -> str:
    return str(words.KINDS[Kind(kind)])


@register.filter
def kind_tone(kind: str) -> str:
    return "slate" if Kind(kind) in ASIDE else TONES[STATES[Kind(kind)]]


@register.filter
def persistence_word(persistence: str) -> str:
    return str(words.PERSISTENCES[Persistence(persistence)])


@register.filter
def actionable_word(actionable: str) -> str:
    return str(words.ACTIONABLES[Actionable(actionable)])


@register.filter
def channel_word(channel: str) -> str:
    return str(words.CHANNELS[Channel(channel)])


@register.simple_tag(takes_context=True)
def exact(context: Context, moment: datetime) -> SafeString:
    """Write a moment to the second, in the tenant's zone."""
    local = timezone.localtime(moment, _zone(context))
    return _time(local, exact_text(local))


@register.simple_tag(takes_context=True)
def ago(context: Context, moment: datetime) -> SafeString:
    """Write how long ago a moment was; the exact time in the tenant's zone is its title."""
    text = _("just now") if (timezone.now() - moment).total_seconds() < 60 else _ago_text(moment)  # noqa: PLR2004
    return _timed(context, moment, text)


@register.simple_tag(takes_context=True)
def until(context: Context, moment: datetime) -> SafeString:
    """Write how long a moment is still away; the exact time in the tenant's zone is its title."""
    # Django joins with a comma that its Japanese catalogue leaves as it is.
    left = timeuntil(moment, depth=2).replace(", ", pgettext("between days and hours", ", "))
    return _timed(context, moment, left)


@register.simple_tag(takes_context=True)
def minute(context: Context, moment: datetime) -> SafeString:
    """Write a moment to the minute, in the tenant's zone, the year only where it is not this one."""
    local = timezone.localtime(moment, _zone(context))
    this_year = local.year == timezone.localtime(timezone.now(), _zone(context)).year
    pattern = pgettext("date format", "j M H:i") if this_year else pgettext("date format", "j M Y H:i")
    return _time(local, date_format(local, pattern))


@register.filter
def breakable(address: str) -> SafeString:
    """Let a long address break before its domain rather than anywhere."""
    local, at, domain = address.rpartition("@")
    return format_html("{}<wbr>{}{}", local, at, domain) if local else format_html("{}", address)


@register.filter
def day(value: date) -> str:
    return date_format(value, pgettext("date format", "j M"))


@register.filter
def full_day(value: date) -> str:
    return date_format(value, pgettext("date format", "j M Y"))


@register.filter
def count(number: int) -> str:
    return f"{number:,}"


@register.filter
def in_future(moment: datetime | None) -> bool:
    return moment is not None and moment > timezone.now()


@register.simple_tag(takes_context=True)
def main_nav(context: Context) -> list[NavItem]:
    """Return the pages of the tenant at hand that the person may open."""
    tenant, role, request = context["tenant"], context["role"], context["request"]
    return [_nav_item(request, label, name, tenant) for label, name in _pages(tenant, role)]


@register.simple_tag(takes_context=True)
def my_tenants(context: Context) -> list[Tenant]:
    return tenants_of(context["request"].user.pk)


@register.simple_tag(takes_context=True)
def can(context: Context, right: str) -> bool:
    """Tell whether the person's role in the tenant at hand includes a right."""
    return may(context["role"], right)


# What people live in stands in the bar; the rest is behind "More" where the bar is wide.
_PAGES: tuple[tuple[Any, str, str], ...] = (
    (gettext_lazy("Dashboard"), "dashboard", "browse"),
    (gettext_lazy("Notification errors"), "error_list", "browse"),
    (gettext_lazy("Undelivered"), "undelivered", "browse"),
    (gettext_lazy("Mail log"), "mail_log", "browse"),
    (gettext_lazy("Resends"), "plans", "browse"),
    (gettext_lazy("Suppression list"), "suppressions", "browse"),
    (gettext_lazy("Contacts"), "contacts", "browse"),
    (gettext_lazy("Sources"), "connections", "browse"),
    (gettext_lazy("Unreadable items"), "unparsed", "browse"),
    (gettext_lazy("Header reader"), "headers", "browse"),
    (gettext_lazy("Quarantine"), "quarantine", "operate"),
    (gettext_lazy("Settings"), "settings", "configure"),
)
_BEHIND_MORE = frozenset({"connections", "unparsed", "headers", "quarantine", "settings"})


def _pages(tenant: Tenant, role: str) -> list[tuple[str, str]]:
    return [(str(label), name) for label, name, right in _PAGES if _opens(tenant, role, right)]


def _opens(tenant: Tenant, role: str, right: str) -> bool:
    return tenant.is_operator if right == "operate" else may(role, right)


def _nav_item(request: HttpRequest, label: str, name: str, tenant: Tenant) -> NavItem:
    """The dashboard's address begins every other one's, so only its own page is it."""
    url = reverse(name, args=[tenant.slug])
    current = request.path == url if name == "dashboard" else request.path.startswith(url)
    return NavItem(label, url, current, name in _BEHIND_MORE)


def _zone(context: Context) -> tzinfo:
    tenant = context.get("tenant")
    return zoneinfo.ZoneInfo(tenant.timezone) if tenant else UTC


def exact_text(local: datetime) -> str:
    return date_format(local, pgettext("date format", "j M Y H:i:s"))


def _ago_text(moment: datetime) -> str:
    return _("%(duration)s ago") % {"duration": timesince(moment, depth=1)}


def _timed(context: Context, moment: datetime, text: str) -> SafeString:
    local = timezone.localtime(moment, _zone(context))
    title = _("%(time)s (%(zone)s)") % {"time": exact_text(local), "zone": local.tzinfo}
    return format_html('<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="seconds"), title, text)


def _time(local: datetime, text: str) -> SafeString:
    return format_html('<time datetime="{}">{}</time>', local.isoformat(timespec="seconds"), text)
