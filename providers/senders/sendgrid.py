"""Sends through SendGrid's Mail Send API, up to a thousand notices a call, and reads its suppression lists."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import quote

from providers import payload
from providers.base import Channel, Field
from providers.payload import Item, UnreadableError, text_of
from providers.senders.outcome import (
    PER_MINUTE,
    clip,
    error_of_status,
    hush,
    missing,
    no_list_answer,
    not_connected,
    of_exception,
    of_status,
    only_refusal,
    phrase,
    value,
)
from providers.sending import Accepted, Account, Budget, Listed, Outgoing, Refused, SendResult, Sent, TryLater

_ACCEPTED: Final = 202
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_SEND_SCOPE: Final = "mail.send"
# Which of the call's notices an error is about.
_PLACE = re.compile(r"personalizations\.(\d+)(?=\.|\Z)")
# SendGrid refuses names that could be read as two recipients.
_NOT_IN_NAMES = str.maketrans(";,", "  ")
# Where each list's entry is. Blocks are a log only, they stop nothing, but they tell why a receiver refused.
_LISTS: Final[Mapping[str, str]] = {
    "bounces": "suppression/bounces",
    "blocks": "suppression/blocks",
    "invalid_emails": "suppression/invalid_emails",
    "spam_reports": "suppression/spam_reports",
    "global_unsubscribes": "asm/suppressions/global",
}

hush("python_http_client")


class SendGridSender:
    """A SendGrid account or subuser, by its API key."""

    name = "sendgrid"
    channel = Channel.EMAIL
    fields: tuple[Field, ...] = (
        Field(
            "api_key", "API key", secret=True, help="With the permissions Mail Send and, for its lists, Suppressions."
        ),
        Field("sender", "Sender address", help="Of a verified sender or an authenticated domain."),
        Field("sender_name", "Sender name", required=False),
        Field("region", "Region", required=False, help="eu for a subuser in the EU; else global."),
        PER_MINUTE,
    )
    batch = 1000
    at_once = 4
    per_minute = 600

    def account_key(self, account: Account) -> str:
        """Return a digest of the API key: SendGrid does not say in a send whose key it is."""
        return hashlib.sha256(value(account, "api_key").encode()).hexdigest()[:32]

    def send(self, notices: Sequence[Outgoing], account: Account) -> Sent:
        """Send with one call. Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send."""
        if name := missing(self.fields, account):
            return Sent(results=[_not_set(name)] * len(notices))
        return _post(notices, account)

    def probe(self, account: Account) -> Refused | TryLater | None:
        """Ask for the key's scopes, which also tells whether the key is valid."""
        if name := missing(self.fields, account):
            return _not_set(name)
        status, headers, body = _call("get", "scopes", account)
        if not status:
            return not_connected()
        if status != 200:  # noqa: PLR2004
            return only_refusal(_result(status, headers, body))
        scopes = _object(body).get("scopes")
        if isinstance(scopes, list) and _SEND_SCOPE in scopes:
            return None
        return Refused(verdict="403", answer=f"The API key lacks the scope {_SEND_SCOPE}.")

    def listed(self, recipient: str, account: Account) -> list[Listed]:
        """Return the recipient's entries on SendGrid's five lists; a call each."""
        return [
            Listed(list_name=name, recipient=recipient, reason=clip(text_of(entry.get("reason"))))
            for name in _LISTS
            for entry in _entries(name, recipient, account)
        ]

    def unlist(self, entry: Listed, account: Account) -> None:
        """Delete one entry of one list."""
        _list_call("delete", entry.list_name, entry.recipient, account)


def _post(notices: Sequence[Outgoing], account: Account) -> Sent:
    from python_http_client.exceptions import HTTPError  # type: ignore[import-untyped]  # noqa: PLC0415 -- as _client

    try:
        answer = _client(account).mail.send.post(request_body=_mail(notices, account))
    except HTTPError as error:
        return _refused(notices, error.status_code, _lower(error.headers), error.body)
    except URLError:  # raised until the whole request is written, so there is nothing that could be acted on
        return Sent(results=[not_connected()] * len(notices))
    except Exception as error:  # noqa: BLE001 -- whatever the client makes of a broken answer
        return Sent(results=[of_exception(error)] * len(notices))
    headers = _lower(answer.headers)
    if answer.status_code != _ACCEPTED:
        return Sent(results=[_result(answer.status_code, headers, answer.body)] * len(notices))
    accepted = Accepted(provider_message_id=headers.get("x-message-id", ""), answer=phrase(_ACCEPTED))
    return Sent(results=[accepted] * len(notices), budget=_budget(headers))


def _client(account: Account) -> Any:
    """Return a client of this call alone: the vendor's keeps the headers of one call for the next."""
    # A process that only takes webhooks never sends, and the client takes a quarter of a second to import.
    from sendgrid import SendGridAPIClient  # noqa: PLC0415

    api = SendGridAPIClient(value(account, "api_key"))
    if account.api_url:
        api = SendGridAPIClient(value(account, "api_key"), host=account.api_url.rstrip("/"))
    elif value(account, "region").lower() == "eu":
        api.set_sendgrid_data_residency("eu")
    api.client.timeout = account.timeout_s  # it has none by default
    return api.client


def _mail(notices: Sequence[Outgoing], account: Account) -> Item:
    """Return the call's body. SendGrid wants plain text before HTML, and no part empty."""
    first = notices[0]
    parts = (("text/plain", first.text or ("" if first.html else first.title)), ("text/html", first.html))
    return {
        "personalizations": [_personalization(notice, account.route_by) for notice in notices],
        "from": _party(first.sender or value(account, "sender"), first.sender_name or value(account, "sender_name")),
        "subject": first.title,
        "content": [{"type": kind, "value": text} for kind, text in parts if text],
    }


def _personalization(notice: Outgoing, route_by: str) -> Item:
    arguments = {"ng_attempt": notice.attempt_ref}
    kind, _, name = route_by.partition(":")
    if kind == "custom" and notice.route:
        arguments[name] = notice.route
    return {"to": [_party(notice.recipient, notice.name.translate(_NOT_IN_NAMES))], "custom_args": arguments}


def _party(address: str, name: str) -> Item:
    return {"email": address, "name": name} if name else {"email": address}


def _refused(notices: Sequence[Outgoing], status: int, headers: Mapping[str, str], body: bytes) -> Sent:
    """Give each notice its part of a refusal: SendGrid refuses a whole call for one wrong address in it."""
    named = _named(_errors(body), len(notices)) if status == _BAD_REQUEST else {}
    if not named:
        return Sent(results=[_result(status, headers, body)] * len(notices), budget=_budget(headers))
    again = TryLater(verdict=str(status), answer=phrase(status), wait_s=0.0)
    return Sent(results=[named.get(place, again) for place in range(len(notices))], budget=_budget(headers))


def _named(errors: Sequence[Item], count: int) -> dict[int, Refused]:
    """Return the refusals by place; none if any error is about the call as a whole."""
    found: dict[int, Refused] = {}
    for error in errors:
        place = _PLACE.match(text_of(error.get("field")))
        if not place or int(place[1][:6]) >= count:
            return {}
        found.setdefault(int(place[1]), Refused(verdict=str(_BAD_REQUEST), answer=clip(_BAD_REQUEST, _words(error))))
    return found


def _result(status: int, headers: Mapping[str, str], body: bytes) -> SendResult:
    words = " ".join(map(_words, _errors(body)))
    return of_status(status, str(status), clip(status, words) if words else phrase(status), _wait(headers))


def _words(error: Item) -> str:
    """Return message and field. The place in our call says nothing to who reads it, so it is always 0."""
    message, field = text_of(error.get("message")), text_of(error.get("field"))
    return _PLACE.sub("personalizations.0", f"{message} {field}" if field not in ("", "null") else message)


def _errors(body: bytes) -> list[Item]:
    errors = _object(body).get("errors")
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def _object(body: bytes) -> Item:
    loaded = _loaded(body)
    return loaded if isinstance(loaded, dict) else {}


def _loaded(body: bytes) -> Any:
    try:
        return payload.load(body)
    except UnreadableError:
        return None


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(text) for name, text in dict(headers or {}).items()}


def _wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the window renews; the header has the time of day."""
    reset = headers.get("x-ratelimit-reset", "")
    if not (reset.isascii() and reset.isdigit()):
        return None
    return max(0.0, float(reset[:12]) - time.time())


def _budget(headers: Mapping[str, str]) -> Budget | None:
    limit, remaining = headers.get("x-ratelimit-limit", ""), headers.get("x-ratelimit-remaining", "")
    wait_s = _wait(headers)
    if wait_s is None or not (limit.isdecimal() and remaining.isdecimal()):
        return None
    return Budget(limit=int(limit[:9]), remaining=int(remaining[:9]), reset_s=wait_s)


def _not_set(name: str) -> Refused:
    return Refused(verdict="401", answer=f"{name} is missing.")


def _entries(list_name: str, recipient: str, account: Account) -> list[Item]:
    """Return what a list has for the recipient: an array of entries, or one object, which may be empty."""
    found = _loaded(_list_call("get", list_name, recipient, account))
    entries = found if isinstance(found, list) else [found]
    return [entry for entry in entries if isinstance(entry, dict) and entry]


def _list_call(method: str, list_name: str, recipient: str, account: Account) -> bytes:
    """Return the body of a success, and nothing for an entry that is not there. Raises ``HttpError``."""
    # The client puts path parts into the URL as they are: an address with a slash would name another resource.
    status, headers, body = _call(method, f"{_LISTS[list_name]}/{quote(recipient, safe='')}", account)
    if not status:
        raise no_list_answer()
    if status == _NOT_FOUND:
        return b""
    if status not in range(200, 300):
        raise error_of_status(status, _wait(headers))
    return body


def _call(method: str, path: str, account: Account) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of a call that may be repeated; status 0 without an answer."""
    from python_http_client.exceptions import HTTPError  # noqa: PLC0415 -- as _client

    try:
        answer = getattr(_client(account)._(path), method)()
    except HTTPError as error:
        return error.status_code, _lower(error.headers), error.body
    except Exception:  # noqa: BLE001 -- whatever the client makes of a broken answer
        return 0, {}, b""
    return answer.status_code, _lower(answer.headers), answer.body


SENDER = SendGridSender()
