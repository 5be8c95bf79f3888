"""Looks at what a connection sends with: do its settings agree, and does the provider let it send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from deliveries import accounts
from deliveries.checks import Finding, check_settings
from deliveries.codes import CODES
from deliveries.models import Connection
from deliveries.selftest import Check
from providers.sending import Refused, TryLater

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

PROBE_TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Settings that can't work together. ``field`` of the sending form is where to put it right."""

    field: str
    message: str
    what_to_do: str


def disagreement(connection: Connection) -> Disagreement | None:
    """Return what is wrong with the settings, as far as that can be told without asking the provider."""
    values = accounts.sending_values(connection)
    if not values:
        return None
    finding = check_settings(connection.provider, {**connection.settings, **values})
    return _in_words(finding) if finding else _other_bot(connection, values.get("bot_id", ""))


def run(connection: Connection) -> list[Check]:
    """Check the settings, and then ask the provider, which takes up to ``PROBE_TIMEOUT_S`` a call; sends nothing."""
    wrong = disagreement(connection)
    if wrong:
        return [Check(_("Settings"), False, wrong.message, wrong.what_to_do)]
    return [Check(_("Settings"), True, _("Everything that sending needs is entered.")), _account_check(connection)]


def _in_words(finding: Finding) -> Disagreement:
    code, language = CODES[finding.code], get_language() or "en"
    return Disagreement(finding.field, code.explanation[language], code.action[language])


def _other_bot(connection: Connection, bot_id: str) -> Disagreement | None:
    receiving = connection.settings.get("bot_id", "")
    if not (bot_id and receiving) or bot_id == receiving:
        return None
    return Disagreement(
        "bot_id",
        _("The bot that sends is not the one whose callbacks are taken here."),
        _("Enter the same Bot ID for both, or connect the other bot by itself."),
    )


def _account_check(connection: Connection) -> Check:
    found = accounts.probe(connection, timeout_s=PROBE_TIMEOUT_S)
    if found is None:
        return Check(_("Account"), True, _("The provider lets this connection send."))
    message, what_to_do = _words(found)
    said = "" if found.verdict == _NO_ANSWER else _("The provider's words: %(words)s") % {"words": found.answer}
    ok = False if isinstance(found, Refused) or not said else None
    return Check(_("Account"), ok, f"{message} {said}".strip(), str(what_to_do))


def _words(found: Refused | TryLater) -> tuple[_StrPromise, _StrPromise]:
    if isinstance(found, TryLater) and found.verdict != _NO_ANSWER:
        return _NOT_NOW
    return next((words for pattern, words in _ANSWERS if re.match(pattern, found.verdict)), _OTHER)


_NO_ANSWER = "network"
_CREDENTIALS = (
    gettext_lazy("The provider does not accept the credentials."),
    gettext_lazy("Enter them again, as the provider's console shows them."),
)
_PERMISSION = (
    gettext_lazy("The credentials are right, but they do not permit sending."),
    gettext_lazy("Give the key or the app the permission to send in the provider's console."),
)
_DOMAIN = (
    gettext_lazy("The service account or the domain is another organisation's."),
    gettext_lazy("Enter the service account and the domain of the organisation that the app belongs to."),
)
_BOT = (
    gettext_lazy("LINE WORKS does not know this bot, or the app may not use it."),
    gettext_lazy("Enter the Bot ID as the Developer Console shows it, and see that the bot is not deleted."),
)
_NETWORK = (
    gettext_lazy("No connection to the provider could be made."),
    gettext_lazy("See whether this server may reach the provider over HTTPS, then check again."),
)
_NO_CREDIT = (
    gettext_lazy("The account is suspended, or has no credit left."),
    gettext_lazy("See to the account in the provider's console."),
)
_OTHER = (
    gettext_lazy("The provider does not let this connection send."),
    gettext_lazy("Correct what the provider's words name, then check again."),
)
_NOT_NOW = (
    gettext_lazy("The provider can't tell at the moment."),
    gettext_lazy("Check again in a few minutes."),
)
# What a probe's verdict begins with (docs/classification.md): the first that matches.
_ANSWERS = (
    (_NO_ANSWER, _NETWORK),
    (r".*\+domain", _DOMAIN),
    (r".*\+bot", _BOT),
    (r".*\+scope|token invalid_scope|403$|403 AccessDenied", _PERMISSION),
    (
        r"token |401|403 (InvalidClientTokenId|SignatureDoesNotMatch|UnrecognizedClient)|failed/20003|send 4$",
        _CREDENTIALS,
    ),
    (r"failed/20005|send 9$|.*SendingPaused", _NO_CREDIT),
)
