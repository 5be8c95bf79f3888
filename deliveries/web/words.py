"""Sources, account events and audited acts in the words that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from deliveries.sources import SourceState
from providers.base import Kind
from providers.registry import get_provider

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

SOURCE_STATES: dict[SourceState, _StrPromise] = {
    SourceState.OFF: pgettext_lazy("source", "Off"),
    SourceState.SUSPENDED: pgettext_lazy("source", "Account suspended"),
    SourceState.REJECTING: pgettext_lazy("source", "Rejecting requests"),
    SourceState.UNREADABLE: pgettext_lazy("source", "Unreadable requests"),
    SourceState.WAITING: pgettext_lazy("source", "Waiting for the first event"),
    SourceState.SILENT: pgettext_lazy("source", "Silent"),
    SourceState.HEALTHY: pgettext_lazy("source", "Healthy"),
}
# Tone and icon of the badge; the word carries the meaning.
SOURCE_LOOKS: dict[SourceState, tuple[str, str]] = {
    SourceState.OFF: ("slate", "canceled"),
    SourceState.SUSPENDED: ("danger", "blocked"),
    SourceState.REJECTING: ("danger", "rejected"),
    SourceState.UNREADABLE: ("warning", "unknown"),
    SourceState.WAITING: ("info", "deferred"),
    SourceState.SILENT: ("caution", "expired"),
    SourceState.HEALTHY: ("success", "check"),
}

CONNECTION_EVENTS: dict[str, _StrPromise] = {
    "account_status": _("The provider changed the account's status"),
    "subscription_requested": _("Amazon SNS asked to confirm the subscription"),
    "subscription_ended": _("Amazon SNS ended the subscription"),
    "test": _("The provider tested the connection"),
    "bot_message": _("Somebody wrote to the bot"),
    "bot_postback": _("Somebody pressed a button of the bot"),
    "bot_join": _("The bot was added to a talk room"),
    "bot_leave": _("The bot was removed from a talk room"),
    "bot_joined": _("Members entered a talk room of the bot"),
    "bot_left": _("Members left a talk room of the bot"),
    "bot_begin": _("A talk with the bot began"),
    "bot_end": _("Somebody left the talk with the bot"),
}

ACTIONS: dict[str, _StrPromise] = {
    "api_token.created": _("Created an API token"),
    "api_token.revoked": _("Revoked an API token"),
    "connection.created": _("Connected a provider"),
    "connection.preferred": _("Preferred a connection for sending"),
    "connection.changed": _("Changed a connection's settings"),
    "connection.secret_rotated": _("Entered a new key for a connection"),
    "connection.sends": _("Entered what a connection sends with"),
    "connection.sends_no_more": _("Stopped sending through a connection"),
    "connection.switched_off": _("Switched a connection off"),
    "connection.switched_on": _("Switched a connection on"),
    "mail_log.exported": _("Downloaded the mail log"),
    "delivery.resent": _("Sent a notice again"),
    "plan.approved": _("Approved a resend"),
    "plan.cancelled": _("Cancelled a resend"),
    "plan.continued": _("Continued a resend"),
    "plan.exported": _("Downloaded the result of a resend"),
    "plan.paused": _("Paused a resend"),
    "plan.started": _("Began a resend"),
    "resend_hook.changed": _("Changed where the product is asked"),
    "resend_hook.created": _("Entered where the product is asked"),
    "resend_hook.removed": _("Removed where the product is asked"),
    "resend_hook.secret_rotated": _("Made a new secret for asking the product"),
    "retry.changed": _("Changed how failures are tried again"),
    "person.added": _("Gave a person a role"),
    "person.link_created": _("Created a link to set a password"),
    "person.removed": _("Removed a person"),
    "person.role_changed": _("Changed a person's role"),
    "quarantine.released": _("Released held events"),
    "route.created": _("Led a route value to the organisation"),
    "route.removed": _("Ended a route to the organisation"),
    "tenant.changed": _("Changed the organisation's settings"),
    "tenant.created": _("Created the organisation"),
    "webhooks.retried": _("Put failed webhooks back in the queue"),
}

# What an audited state is made of, besides a provider's own fields.
AUDITED_NAMES: dict[str, _StrPromise] = {
    "body_days": _("Texts are kept for"),
    "connection": _("Connection"),
    "email": _("Email address"),
    "events": _("Events"),
    "expires_at": _("Expires"),
    "fields": _("Fields"),
    "language": _("Language"),
    "name": _("Name"),
    "provider": _("Provider"),
    "region": _("Country"),
    "role": _("Role"),
    "route_by": _("Route key"),
    "shared": _("Shared by several organisations"),
    "slug": _("Short name"),
    "sms_currency": _("Currency"),
    "sms_price": _("Price of an SMS part"),
    "timezone": _("Time zone"),
    "value": _("Value"),
    "webhooks": _("Webhooks"),
}

OBJECTS: dict[str, _StrPromise] = {
    "api_token": pgettext_lazy("object", "API token"),
    "connection": pgettext_lazy("object", "Connection"),
    "delivery": pgettext_lazy("object", "Delivery"),
    "inbox": pgettext_lazy("object", "Inbox"),
    "person": pgettext_lazy("object", "Person"),
    "plan": pgettext_lazy("object", "Resend"),
    "resend_hook": pgettext_lazy("object", "Product's address"),
    "retry_policy": pgettext_lazy("object", "Retry policy"),
    "route": pgettext_lazy("object", "Route"),
    "tenant": pgettext_lazy("object", "Organisation"),
}


def expected_kinds(provider: str) -> tuple[Kind, ...]:
    """Return the kinds of event that the page of a new connection ticks off as they arrive."""
    return get_provider(provider).missing_event_kinds(frozenset({Kind.ACCEPTED})) or (Kind.ACCEPTED, Kind.FAILED)
