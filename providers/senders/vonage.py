"""Sends SMS through Vonage's SMS API, a notice a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from providers.base import Channel, Field, Kind
from providers.callback import ATTEMPT_PREFIX, Item, text, word
from providers.senders.outcome import (
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
from providers.sending import Accepted, Account, NoAnswer, Outgoing, Refused, SendResult, Sent, TryLater

# https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms: statuses of the answer's messages.
_TAKEN: Final = "0"
_TOO_OFTEN: Final = frozenset({"1", "10"})
_TROUBLE: Final = "5"
_INVALID: Final = "3"
_BARRED: Final = "7"
_OF_HTTP: Final = {401: "4", 403: "4", 429: "1", 500: "5"}
_NAMES_TO = re.compile(r"""\bto param|\bparam(?:eter)?s?\W+to\b|['"`]to['"`]""", re.IGNORECASE)
_CALLBACK_LIMIT: Final = 100
# GSM 03.38, basic table and extension: whatever else a text holds, it has to be sent as Unicode.
_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà\f^{}\\[~]|€"
)

hush("vonage")


class VonageSender:
    """A Vonage API key."""

    name = "vonage"
    channel = Channel.SMS
    fields = (
        Field("api_key", "API key"),
        Field("api_secret", "API secret", secret=True),
        Field("sender", "Sender", help="Number, or up to 11 letters and digits where the country allows it."),
        PER_MINUTE,
    )
    batch = 1
    at_once = 4
    per_minute = 600

    def account_key(self, account: Account) -> str:
        """Return the API key: Vonage counts calls by it."""
        return value(account, "api_key")

    def send(self, notices: Sequence[Outgoing], account: Account) -> Sent:
        """Send one notice. Source: https://developer.vonage.com/en/api/sms."""
        answer = _try(account, lambda client: client.post(*_request(client, notices[0], account)))
        return Sent(results=[_read(answer) if isinstance(answer, dict) else answer])

    def probe(self, account: Account) -> Refused | TryLater | None:
        """Ask for the balance, which also tells whether key and secret are right."""
        answer = _try(account, lambda client: client.get(client.rest_host, "/account/get-balance", auth_type="basic"))
        if not isinstance(answer, dict):
            return only_refusal(answer)
        balance = answer.get("value")
        if isinstance(balance, (int, float)) and balance <= 0:
            return Refused(verdict="send 9", answer="There is no credit left.")
        return None


def _try(account: Account, call: Callable[[Any], Any]) -> Any:
    """Return the answer's object, or the ``SendResult`` of anything else."""
    # A process that only takes webhooks never sends, and the client takes half a second to import.
    from vonage_http_client.errors import HttpRequestError  # type: ignore[import-untyped]  # noqa: PLC0415

    from providers.senders import vonage_http  # noqa: PLC0415

    if name := missing(SENDER.fields, account):
        return Refused(verdict="send 4", answer=f"{name} is missing.")
    key, secret = value(account, "api_key"), value(account, "api_secret")
    client = vonage_http.client(key, secret, timeout_s=account.timeout_s, api_url=account.api_url)
    try:
        answer = call(client)
    except HttpRequestError as error:
        return _refused_by_status(error.response.status_code)
    except Exception as error:  # noqa: BLE001 -- whatever the client makes of a broken answer
        return of_exception(error)
    return answer if isinstance(answer, dict) else NoAnswer(verdict="send", answer="The answer can't be read.")


def _request(client: Any, notice: Outgoing, account: Account) -> tuple[str, str, dict[str, Any], str, str]:
    """Return what the client's own ``Sms.send`` posts; that keeps only one status of a refused message."""
    from vonage_sms import SmsMessage  # type: ignore[import-untyped]  # noqa: PLC0415 -- as _try

    words = notice.text or notice.title
    message = SmsMessage(
        to=notice.recipient.removeprefix("+"),
        from_=(notice.sender or value(account, "sender")).removeprefix("+"),
        text=words,
        type="text" if _GSM.issuperset(words) else "unicode",
        client_ref=f"{ATTEMPT_PREFIX}{notice.attempt_ref}",
        # A longer one is refused; the account's own URL stands in for it.
        callback=account.callback_url if 0 < len(account.callback_url) <= _CALLBACK_LIMIT else None,
    )
    return client.rest_host, "/sms/json", message.model_dump(by_alias=True, exclude_none=True), "basic", "form"


def _read(answer: Item) -> SendResult:
    """Read the statuses of a message's parts: HTTP 200 stands for refused ones as well."""
    messages = answer.get("messages")
    found = messages if isinstance(messages, list) else []
    parts = [part for part in found if isinstance(part, dict) and word(part, "status")]
    refused = [part for part in parts if word(part, "status") != _TAKEN]
    if not parts:
        return NoAnswer(verdict="send", answer="The answer has no message.")
    if not refused:
        return Accepted(provider_message_id=text(parts[0], "message-id"), answer=phrase(200))
    result = _refused(refused[0])
    if len(refused) == len(parts):
        return result
    # A part of the text is on its way, so the rest must not be sent again as if nothing were.
    count = f"{len(refused)} of {len(parts)} parts refused:"
    return NoAnswer(verdict=result.verdict, answer=clip(count, result.answer))


def _refused(part: Item) -> Refused | TryLater:
    status, words = word(part, "status"), text(part, "error-text")
    verdict, answer = f"send {status}", clip(status, words)
    if status in _TOO_OFTEN:
        return TryLater(verdict=verdict, answer=answer, wait_s=_wait(words), account_wide=True)
    if status == _TROUBLE:
        return TryLater(verdict=verdict, answer=answer)
    if status == _BARRED:
        return Refused(verdict=verdict, answer=answer, kind=Kind.DROPPED)
    # The parameter that is wrong tells a bad number from a setting of ours.
    about_recipient = status == _INVALID and _NAMES_TO.search(words)
    return Refused(verdict=f"{verdict} to" if about_recipient else verdict, answer=answer)


def _wait(words: str) -> float | None:
    """Return the seconds of "please wait [ 250 ] and retry", which are given as milliseconds."""
    number = words.partition("[")[2].partition("]")[0].strip()
    return int(number[:6]) / 1000 if number.isascii() and number.isdigit() else None


def _refused_by_status(status: int) -> SendResult:
    return of_status(status, f"send {_OF_HTTP.get(status, f'HTTP {status}')}", phrase(status))


SENDER = VonageSender()
