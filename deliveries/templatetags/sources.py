"""Sources, account events and audited acts in words, for templates."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.translation import gettext

from deliveries.models import Connection
from deliveries.sources import SourceState
from deliveries.web.words import ACTIONS, AUDITED_NAMES, CONNECTION_EVENTS, OBJECTS, SOURCE_LOOKS, SOURCE_STATES
from notifyguard.accounts.models import Role
from providers.registry import PROVIDERS, get_provider

register = template.Library()

FIELD_LABELS = {field.name: field.label for provider in PROVIDERS.values() for field in provider.fields}


@register.inclusion_tag("components/state.html")
def source_badge(state: str) -> dict[str, Any]:
    tone, icon_name = SOURCE_LOOKS[SourceState(state)]
    return {"word": SOURCE_STATES[SourceState(state)], "icon_name": icon_name, "tone": tone}


@register.filter
def provider_label(name: str) -> str:
    return get_provider(name).label


@register.filter
def connection_event_word(kind: str) -> str:
    return str(CONNECTION_EVENTS.get(kind, kind))


@register.filter
def action_word(action: str) -> str:
    return str(ACTIONS.get(action, action))


@register.filter
def object_word(object_type: str) -> str:
    return str(OBJECTS.get(object_type, object_type))


@register.filter
def audited_name(name: str) -> str:
    if name in AUDITED_NAMES:
        return str(AUDITED_NAMES[name])
    return gettext(FIELD_LABELS[name]) if name in FIELD_LABELS else name


@register.filter
def audited_value(value: object, name: str) -> str:
    """Write an audited value as people know it: a role and a provider by their words, the rest as it is."""
    if name == "role":
        return role_word(str(value))
    if name == "provider":
        return provider_label(str(value))
    return gettext("yes") if value is True else str(value)


@register.filter
def role_word(role: str) -> str:
    return str(Role(role).label)


@register.filter
def name_of(connections: dict[object, Connection], connection_id: object) -> str:
    """Return the name of a connection by its id; empty if it is not among those given."""
    row = connections.get(connection_id)
    return row.name if row else ""
