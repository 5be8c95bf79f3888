"""Twilio Programmable Messaging: creating a message, and the status callbacks that follow.

Source: https://www.twilio.com/docs/messaging/api/message-resource
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from providers.sandbox import magic, twilio
from providers.sandbox.calls import Answer, Call, json_answer
from providers.sandbox.config import REVOKED, TwilioAccount
from providers.sandbox.magic import Fate
from providers.sandbox.outbox import Post
from providers.sandbox.sent import Notice
from providers.sandbox.world import World

TEXT_LIMIT = 1600

_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_CODES = {
    401: (20003, "Authenticate"),
    404: (20404, "The requested resource was not found"),
    429: (20429, "Too Many Requests"),
    503: (20503, "Service Unavailable"),
}
_REFUSALS = {
    Fate.HANDOVER: (21606, "The 'From' phone number provided is not a valid message-capable Twilio phone number"),
    Fate.OPTED_OUT: (21610, "Attempt to send to unsubscribed recipient"),
}


class _Step(NamedTuple):
    after: float
    status: str
    error_code: str = ""


class _Event(NamedTuple):
    url: str
    secret: str
    params: Mapping[str, str]


_SENT = _Step(1, "sent")
_COURSES: dict[Fate, tuple[_Step, ...]] = {
    Fate.UNDELIVERED: (_SENT, _Step(2, "undelivered", "30005")),
    Fate.REJECTED: (_Step(2, "undelivered", "30007"),),
    Fate.EXPIRED: (_Step(2, "undelivered", "30036"),),
    Fate.ACCEPTED: (_SENT,),  # where a carrier gives no receipt it stays so for ever
}
_ARRIVES = (_SENT, _Step(2, "delivered"))


class TwilioRoutes:
    """Everything under /2010-04-01/Accounts/."""

    name = "twilio"

    def __init__(self, world: World) -> None:
        self._world = world

    def purpose(self, call: Call) -> str:
        return "send" if call.method == "POST" and call.path.endswith("/Messages.json") else "other"

    def refusal(self, status: int) -> Answer:
        return _error(status, *_CODES.get(status, (20500, "Internal Server Error")))

    def answer(self, call: Call) -> Answer:
        sid, secret = call.basic
        account = self._world.accounts.find(TwilioAccount, sid) if sid else None
        if account is None or secret in ("", REVOKED) or account.auth_token not in ("", secret):
            return self.refusal(401)
        match call.method, call.parts[2:]:
            case "POST", [named, "Messages.json"]:
                return self._send(call.form, named, account, secret)
            case "GET", [named] if named.endswith(".json"):
                words = {"sid": named.removesuffix(".json"), "status": "active", "type": "Full"}
                return json_answer(200, {**words, "friendly_name": "Sandbox"})
        return self.refusal(404)

    def _send(self, form: Mapping[str, str], account_sid: str, account: TwilioAccount, secret: str) -> Answer:
        fault = _fault(form)
        if fault:
            return _error(400, *fault)
        to = form["To"]
        fates = {magic.of_number(to)}
        status = magic.refused_status(fates)
        if status:
            return self.refusal(status)
        sid, callback = f"SM{secrets.token_hex(16)}", form.get("StatusCallback", "")
        attempt_ref = dict(parse_qsl(urlsplit(callback).query)).get("ng_attempt", "")
        self._world.sent.record(self.name, sid, [Notice(to, attempt_ref, form.get("Body", ""))])
        if callback:
            self._report(account, callback, secret, _common(form, account_sid, sid))
        return magic.bend(json_answer(201, _message(form, account_sid, sid)), fates, self._world.config.slow_s)

    def _report(self, account: TwilioAccount, callback: str, secret: str, common: Mapping[str, str]) -> None:
        delay_s, outbox = self._world.config.delay_s, self._world.outbox(account, _pack)
        url = callback.partition("#")[0]
        for step in _COURSES.get(magic.of_number(common["To"]), _ARRIVES):
            params = {**common, "MessageStatus": step.status, "SmsStatus": step.status}
            if step.error_code:
                params["ErrorCode"] = step.error_code
            if step.status != "sent":
                done = datetime.fromtimestamp(time.time() + step.after * delay_s, UTC)
                params["RawDlrDoneDate"] = done.strftime("%y%m%d%H%M")
            outbox.add([_Event(url, secret, params)], step.after * delay_s)


def _fault(form: Mapping[str, str]) -> tuple[int, str] | None:
    """Return code and words of the refusal of a message that Twilio would not take."""
    to, text, sender = form.get("To", ""), form.get("Body", ""), form.get("From") or form.get("MessagingServiceSid")
    checks = (
        (not to, 21604, "A 'To' phone number is required."),
        (not sender, 21603, "A 'From' phone number is required."),
        (not text and not form.get("ContentSid"), 21602, "Message body is required."),
        (len(text) > TEXT_LIMIT, 21617, "The concatenated message body exceeds the 1600 character limit."),
        (not _NUMBER.fullmatch(to), 21211, f"Invalid 'To' Phone Number: {to}"),
        (not _is_callback(form.get("StatusCallback", "")), 21609, "The 'StatusCallback' URL is not a valid URL."),
    )
    found = next(((code, words) for wrong, code, words in checks if wrong), None)
    return found or _REFUSALS.get(magic.of_number(to))


def _is_callback(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return not url or (parts.scheme in ("http", "https") and bool(parts.netloc) and "_" not in parts.netloc)


def _common(form: Mapping[str, str], account_sid: str, sid: str) -> dict[str, str]:
    sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
    return {
        "MessageSid": sid,
        "SmsSid": sid,
        "AccountSid": account_sid,
        "ApiVersion": "2010-04-01",
        "To": form["To"],
        "From": sender or "+15005550006",
        **({"MessagingServiceSid": service} if service else {}),
    }


def _message(form: Mapping[str, str], account_sid: str, sid: str) -> dict[str, object]:
    """Return the message resource as it is when it has just been made."""
    date, path = format_datetime(datetime.now(UTC)), f"/2010-04-01/Accounts/{account_sid}/Messages/{sid}"
    service = form.get("MessagingServiceSid")
    return {
        "sid": sid,
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "direction": "outbound-api",
        "to": form["To"],
        "from": form.get("From"),
        "messaging_service_sid": service,
        "body": form.get("Body", ""),
        "status": "accepted" if service else "queued",
        "error_code": None,
        "error_message": None,
        "num_segments": "1",
        "num_media": "0",
        "price": None,
        "price_unit": "USD",
        "date_created": date,
        "date_updated": date,
        "date_sent": None,
        "uri": f"{path}.json",
        "subresource_uris": {"media": f"{path}/Media.json"},
    }


def _pack(events: Sequence[_Event]) -> list[Post]:
    return [
        Post(event.url, urlencode(event.params).encode(), twilio.sign_form(event.url, event.params, event.secret))
        for event in events
    ]


def _error(status: int, code: int, message: str) -> Answer:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return json_answer(status, {"code": code, "message": message, "more_info": more, "status": status})
