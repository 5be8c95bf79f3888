"""Tests a connection from its public URL to its event types, and says what is wrong and what to do about it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from deliveries.connections import secret_field, secrets_of, webhook_url
from deliveries.credentials import ConnectionInputError, check_usable
from deliveries.models import Connection, ConnectionEvent
from deliveries.sources import Source, find_source, is_after
from providers import http
from providers.base import Kind
from providers.registry import get_provider

PROBE_TIMEOUT_S = 5.0
REDIRECTS = range(300, 400)
# A quiet account need not have bounced yet: for so long a missing event type is only worth mentioning.
QUIET_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``ok`` is None where it can't be known yet; ``what_to_do`` is empty where nothing is to be done."""

    name: str
    ok: bool | None
    message: str
    what_to_do: str = ""


def run(connection: Connection) -> list[Check]:
    """Run the three checks of a connection in its scope: can it be reached, does the key fit, do all events come.

    Makes one call to our own public URL, which takes up to ``PROBE_TIMEOUT_S``; changes nothing.
    """
    source = find_source(connection.id)
    if source is None:
        raise Connection.DoesNotExist
    return [_reachability(connection), _key(source), _event_types(source)]


# Reachability: the address of this installation as a provider sees it.


def _reachability(connection: Connection) -> Check:
    if connection.disabled_at:
        return _unreachable(
            _("The connection is switched off: its URL refuses all requests."), _("Switch it on again.")
        )
    nonce = secrets.token_urlsafe(16)
    try:
        answer = http.request(
            "GET",
            f"{webhook_url(connection)}?notifyguard_probe={nonce}",
            timeout_s=PROBE_TIMEOUT_S,
            max_bytes=1_000,
            allow_loopback=settings.ALLOW_LOOPBACK,
        )
    except http.HttpError as error:
        message, what_to_do = _FAILURES.get(error.reason, _FAILURES["disconnected"])
        return _unreachable(str(message) % {"url": settings.PUBLIC_URL}, str(what_to_do))
    return _judge_answer(answer, nonce)


def _judge_answer(answer: http.Response, nonce: str) -> Check:
    if answer.status in REDIRECTS:
        message = _("The webhook URL answered with a redirect (HTTP %(status)s), which providers do not follow.")
        what_to_do = _("Set PUBLIC_URL to the address that the redirect leads to, with the right scheme and host.")
        return _unreachable(message % {"status": answer.status}, what_to_do)
    if answer.status != HTTPStatus.OK:
        message = _(
            "The webhook URL answered HTTP %(status)s instead of 200: something in front of NotifyGuard refuses."
        )
        what_to_do = _("Let requests to /webhooks/ pass the proxy or firewall without a login and without changes.")
        return _unreachable(message % {"status": answer.status}, what_to_do)
    if answer.body.decode("utf-8", "replace").strip() != nonce:
        message = _("Another server answered at the webhook URL, not this installation.")
        what_to_do = _("See where the host name in PUBLIC_URL leads, and which server the proxy hands /webhooks/ to.")
        return _unreachable(message, what_to_do)
    return Check(_("Reachable"), True, _("The webhook URL answers from its public address."))


def _unreachable(message: str, what_to_do: str) -> Check:
    return Check(_("Reachable"), False, message, what_to_do)


_SET_PUBLIC_URL = gettext_lazy("Set PUBLIC_URL to the address under which the internet reaches this installation.")
_FAILURES = {
    "url": (gettext_lazy("The public URL %(url)s is not a web address."), _SET_PUBLIC_URL),
    "unresolvable": (
        gettext_lazy("The host name in %(url)s is not known to the DNS: no provider can find it."),
        gettext_lazy("Correct PUBLIC_URL, or add the DNS record and wait until it has spread."),
    ),
    "address_refused": (
        gettext_lazy("The host name in %(url)s leads to a private address, which a provider can't reach."),
        _SET_PUBLIC_URL,
    ),
    "connect": (
        gettext_lazy("Nothing accepts connections at %(url)s: the port is closed."),
        gettext_lazy("Start the web server or the proxy, and open the port in the firewall."),
    ),
    "timeout": (
        gettext_lazy("%(url)s did not answer within five seconds."),
        gettext_lazy("See whether a firewall drops the requests, and whether the web server has free workers."),
    ),
    "tls": (
        gettext_lazy(
            "No trusted TLS connection to %(url)s came about: the certificate is wrong, expired or incomplete."
        ),
        gettext_lazy("Renew the certificate for this host name and serve it with its chain."),
    ),
    "disconnected": (
        gettext_lazy("The connection to %(url)s broke off before an answer came."),
        gettext_lazy("Look at the log of the proxy or the web server for the request to /webhooks/."),
    ),
}


# The key: is it one at all, and is it the sender's.


def _key(source: Source) -> Check:
    connection = source.connection
    keys = secrets_of(connection)
    if secret_field(connection.provider) and not keys:
        return Check(_("Key"), False, *explain_refusal("key_unusable"))
    try:
        check_usable(connection.provider, keys, connection.settings)
    except ConnectionInputError as error:
        return Check(_("Key"), False, str(error), _("Enter it again, as the provider shows it."))
    if is_after(connection.last_rejected_at, source.heard_at):
        return _refusals(connection)
    subscription = _SUBSCRIPTIONS.get(connection.provider)
    if subscription and (found := subscription(source)):
        return found
    latest = max(filter(None, (source.heard_at, source.unreadable_at)), default=None)
    if latest is None:
        message = _("No request has arrived yet, so the key has not been tried.")
        return Check(
            _("Key"), None, message, _("Follow the steps above, then send a test from the provider's console.")
        )
    message = _("The last genuine request came %(ago)s: the key is the sender's.")
    return Check(_("Key"), True, message % {"ago": naturaltime(latest)})


def _refusals(connection: Connection) -> Check:
    message, what_to_do = explain_refusal(connection.last_rejected_reason)
    count = ngettext(
        "%(count)d request has been refused, the last one %(ago)s.",
        "%(count)d requests have been refused, the last one %(ago)s.",
        connection.rejected_count,
    ) % {"count": connection.rejected_count, "ago": naturaltime(connection.last_rejected_at or timezone.now())}
    return Check(_("Key"), False, f"{count} {message}", what_to_do)


def explain_refusal(reason: str) -> tuple[str, str]:
    """Return why a provider's ``verify`` refused requests, in words, and what to do; empty texts for no reason."""
    if not reason:
        return "", ""
    if reason not in _REFUSALS:
        return _("They were not genuine (%(reason)s).") % {"reason": reason}, ""
    message, what_to_do = _REFUSALS[reason]
    return str(message), str(what_to_do)


_ENTER_KEY = gettext_lazy("Copy the key from the provider's console and enter it under “Key”.")
_CLOCK = (
    gettext_lazy("They were signed too long ago or in the future."),
    gettext_lazy("Set the clock of this server and of the sender by a time server."),
)
_CERTIFICATE = (
    gettext_lazy("The certificate of the signature could not be used."),
    gettext_lazy("Let this server reach sns.<region>.amazonaws.com over HTTPS; events of other regions are refused."),
)
_REFUSALS = {
    "signature_wrong": (
        gettext_lazy("The signature did not match: the key here is not the one of the sender."),
        _ENTER_KEY,
    ),
    "key_unusable": (gettext_lazy("No usable key is entered here, so no signature can be checked."), _ENTER_KEY),
    "signature_missing": (
        gettext_lazy("They carried no signature."),
        gettext_lazy("Switch signing on in the provider's console: NotifyGuard takes signed requests only."),
    ),
    "timestamp_stale": _CLOCK,
    "account_wrong": (
        gettext_lazy("They were signed for another account or bot than the one entered here."),
        gettext_lazy("Correct the account in this connection's settings, or the URL in the other account's console."),
    ),
    "topic_unknown": (
        gettext_lazy("They came from an SNS topic that is not entered here."),
        gettext_lazy(
            "Enter the ARN of the topic in this connection's settings, or end the other topic's subscription."
        ),
    ),
    "raw_delivery": (
        gettext_lazy("Raw message delivery is on for this subscription: such messages carry no signature."),
        gettext_lazy("Switch raw message delivery off for this subscription in the Amazon SNS console."),
    ),
    "envelope_unreadable": (
        gettext_lazy("They were not messages of Amazon SNS."),
        gettext_lazy("See who else posts to this URL; Amazon SNS itself needs nothing changed."),
    ),
    "algorithm_unknown": (
        gettext_lazy("They were signed by a method that is not known."),
        gettext_lazy("Choose HMAC SHA-256 as the signature method in the provider's console."),
    ),
    "signature_version": (
        gettext_lazy("They were signed by a method that is not known."),
        gettext_lazy("Set the topic's SignatureVersion to 2 in the Amazon SNS console."),
    ),
    "certificate_url": _CERTIFICATE,
    "certificate_unavailable": _CERTIFICATE,
    "certificate_unusable": _CERTIFICATE,
    "certificate_expired": _CERTIFICATE,
}


def _sns_subscription(source: Source) -> Check | None:
    """Tell a subscription that is ended, refused or not yet confirmed; None when there is nothing to say."""
    said = ConnectionEvent.objects.filter(connection_id=source.connection.id, kind__startswith="subscription_")
    last = said.order_by("-occurred_at").first()
    if last is None or is_after(source.heard_at, last.received_at):
        return None
    if last.kind == "subscription_ended":
        message = _("Amazon SNS has ended the subscription of this URL: no events come any more.")
        return Check(_("Key"), False, message, _("Create the subscription again in the Amazon SNS console."))
    if last.handled_at is None:
        return Check(_("Key"), None, _("Amazon SNS has asked to confirm the subscription; that is being done."))
    if last.detail.startswith("Amazon SNS refused"):
        what_to_do = _("Choose “Request confirmation” for the subscription in the Amazon SNS console.")
        return Check(_("Key"), False, last.detail, what_to_do)
    message = _("The subscription is confirmed; no event has come through it yet.")
    return Check(_("Key"), True, message)


_SUBSCRIPTIONS: dict[str, Callable[[Source], Check | None]] = {"ses": _sns_subscription}


# Event types: what a working connection would have shown by now.


def _event_types(source: Source) -> Check:
    connection = source.connection
    seen = frozenset(Kind(kind) for kind in connection.seen_kinds if kind in set(Kind))
    if not seen:
        what_to_do = _("Send a message through %(provider)s and see it arrive here.")
        label = get_provider(connection.provider).label
        return Check(_("Event types"), None, _("No event has been read yet."), what_to_do % {"provider": label})
    missing = get_provider(connection.provider).missing_event_kinds(seen)
    if not missing:
        return Check(_("Event types"), True, _("Every kind of event that matters has been seen."))
    names = ", ".join(tick_name(connection.provider, kind) for kind in missing)
    is_old = timezone.now() - connection.created_at > QUIET_FOR
    return Check(
        _("Event types"),
        False if is_old or Kind.DELIVERED in missing else None,
        _("Not seen so far: %(names)s.") % {"names": names},
        _("See that %(names)s are ticked in the provider's console. If they are, there is nothing to do.")
        % {"names": names},
    )


# The ticks as the providers' consoles name them.
_TICKS = {
    "sendgrid": {
        Kind.ACCEPTED: "Processed",
        Kind.DELIVERED: "Delivered",
        Kind.BOUNCED: "Bounced",
        Kind.DEFERRED: "Deferred",
        Kind.DROPPED: "Dropped",
        Kind.SPAM_REPORT: "Spam Reports",
    },
    "ses": {
        Kind.ACCEPTED: "Sends",
        Kind.DELIVERED: "Deliveries",
        Kind.BOUNCED: "Hard bounces",
        Kind.DEFERRED: "Delivery delays",
        Kind.DROPPED: "Rejects",
        Kind.SPAM_REPORT: "Complaints",
    },
}


def tick_name(provider: str, kind: Kind) -> str:
    """Return what the provider's console calls a kind of event."""
    return _TICKS.get(provider, {}).get(kind, str(kind))
