"""Sends SMS through Twilio's Messages resource, a notice a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from providers.base import Channel, Field, Kind
from providers.senders.outcome import (
    DAILY_WAIT_S,
    PER_MINUTE,
    clip,
    hush,
    missing,
    of_exception,
    of_status,
    only_refusal,
    phrase,
    value,
)
from providers.sending import Accepted, Account, Outgoing, Refused, SendResult, Sent, TryLater
from providers.twilio import ATTEMPT_PARAMETER

# https://www.twilio.com/docs/api/errors: what says how much or how often, not that the message is wrong.
_TOO_OFTEN: Final = frozenset({20429, 21611, 14107, 63017, 63018})
_DAY_USED_UP: Final = frozenset({63038, 30454})
_TROUBLE: Final = frozenset({20500, 20503, 21730})
_OPTED_OUT: Final = 21610
# What a status means where the body has no code, e.g. an answer of a proxy of Twilio's.
_CODES_OF_STATUS: Final = {401: 20003, 403: 20003, 404: 20404, 429: 20429, 500: 20500, 503: 20503}
# Repeat a status callback whatever went wrong; by default Twilio does so only if it could not connect
# (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides). It is neither sent nor signed.
_RETRY_POLICY: Final = "#rc=5&rp=all"
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")  # an alphanumeric sender ID may begin with MG too
_FIRST_CODE: Final = 10_000
_ACTIVE: Final = "active"

hush("twilio.http_client")


class TwilioSender:
    """A Twilio account or subaccount."""

    name = "twilio"
    channel = Channel.SMS
    fields = (
        Field("account_sid", "Account SID", help="Starts with AC."),
        Field("auth_token", "Auth Token", secret=True),
        Field("sender", "Sender", help="Number with +, alphanumeric sender ID, or Messaging Service SID (MG…)."),
        PER_MINUTE,
    )
    batch = 1
    at_once = 4
    per_minute = 600

    def account_key(self, account: Account) -> str:
        """Return the account's SID: Twilio counts calls by account."""
        return value(account, "account_sid")

    def send(self, notices: Sequence[Outgoing], account: Account) -> Sent:
        """Send one notice. Source: https://www.twilio.com/docs/messaging/api/message-resource."""
        made = _try(account, lambda client: client.messages.create(**_message(notices[0], account)))
        if not hasattr(made, "sid"):
            return Sent(results=[made])
        return Sent(results=[Accepted(provider_message_id=made.sid or "", answer=clip(phrase(201), made.status))])

    def probe(self, account: Account) -> Refused | TryLater | None:
        """Ask for the account and whether it is active."""
        sid = value(account, "account_sid")
        found = _try(account, lambda client: client.api.v2010.accounts(sid).fetch())
        if not hasattr(found, "sid"):
            return only_refusal(found)
        if found.status == _ACTIVE:
            return None
        return Refused(verdict="failed/20005", answer=clip("The account is", found.status))


def _try(account: Account, call: Callable[[Any], Any]) -> Any:
    """Return what the client's call returns, or the ``SendResult`` of what it raises."""
    # A process that only takes webhooks never sends, and the client takes a quarter of a second to import.
    from twilio.base.exceptions import TwilioRestException, TwilioServiceException  # type: ignore[import-untyped]  # noqa: PLC0415

    if name := missing(SENDER.fields, account):
        return Refused(verdict="failed/20003", answer=f"{name} is missing.")
    try:
        return call(_client(account))
    except TwilioRestException as error:
        return _result(error.status, error.code, str(error.msg or ""))
    except TwilioServiceException as error:  # the newer form of an error, all of it as the body has it
        return _result(error.status, error.code, clip(error.title, error.detail or ""))
    except Exception as error:  # noqa: BLE001 -- whatever the client makes of a broken answer
        return of_exception(error)


def _client(account: Account) -> Any:
    """Return a client of this call alone. A connection kept open may end just as the next request leaves on it."""
    from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]  # noqa: PLC0415 -- as _try
    from twilio.rest import Client  # type: ignore[import-untyped]  # noqa: PLC0415

    http = TwilioHttpClient(timeout=account.timeout_s, max_retries=0)
    # An environment of ours: else it takes region, edge and missing keys from that of the process.
    client = Client(
        value(account, "account_sid"), value(account, "auth_token"), http_client=http, environment={"TWILIO_EDGE": ""}
    )
    if account.api_url:
        client.api.base_url = account.api_url
    return client


def _message(notice: Outgoing, account: Account) -> dict[str, str]:
    sender = notice.sender or value(account, "sender")
    message = {
        "to": notice.recipient,
        "messaging_service_sid" if _SERVICE.fullmatch(sender) else "from_": sender,
        "body": notice.text or notice.title,
    }
    if account.callback_url:
        message["status_callback"] = _callback(account.callback_url, notice.attempt_ref)
    return message


def _callback(url: str, attempt_ref: str) -> str:
    """Return the URL for one message, by which its callbacks name the attempt."""
    return f"{url}{'&' if '?' in url else '?'}{ATTEMPT_PARAMETER}={quote(attempt_ref)}{_RETRY_POLICY}"


def _result(found: object, said: object, message: str) -> SendResult:
    """Read an error; status and code are as the body has them, whatever that is."""
    status = found if isinstance(found, int) else 0
    # Without a code in the body the client passes the status off as one.
    code = said if isinstance(said, int) and said >= _FIRST_CODE else _CODES_OF_STATUS.get(status)
    verdict, answer = f"failed/{code or status}", clip(status, code or "", message)
    if code == _OPTED_OUT:
        return Refused(verdict=verdict, answer=answer, kind=Kind.DROPPED)
    if code in _DAY_USED_UP:
        return TryLater(verdict=verdict, answer=answer, wait_s=DAILY_WAIT_S, account_wide=True)
    if code in _TOO_OFTEN:
        return TryLater(verdict=verdict, answer=answer, account_wide=True)
    if code in _TROUBLE and status != 504:  # noqa: PLR2004
        return TryLater(verdict=verdict, answer=answer)
    return of_status(status, verdict, answer)


SENDER = TwilioSender()
