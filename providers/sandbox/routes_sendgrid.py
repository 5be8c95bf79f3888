"""SendGrid's v3 API: mail/send, suppression lists, and the Event Webhook that follows.

Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send
"""

from __future__ import annotations

import base64
import math
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from providers.sandbox import magic, sendgrid
from providers.sandbox.calls import Answer, Call, json_answer, list_of, object_of
from providers.sandbox.config import SendGridAccount
from providers.sandbox.magic import Fate
from providers.sandbox.outbox import Post
from providers.sandbox.sendgrid_mail import Mail, decode, error_of, is_address
from providers.sandbox.sent import Notice
from providers.sandbox.suppressed import Entry, Suppressed
from providers.sandbox.world import World

BODY_LIMIT = 30 * 1024 * 1024
GLOBAL = "global"  # global unsubscribes

_REASONS = {
    "bounces": "Bounced Address",
    "spam_reports": "Spam Reporting Address",
    "invalid_emails": "Invalid",
    GLOBAL: "Unsubscribed Address",
}
_WORDS = {
    400: "Bad Request",
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    404: "not found",
    413: "content too large",
    429: "too many requests",
}


class _Step(NamedTuple):
    """An event that follows the acceptance by ``after`` delays."""

    after: float
    fields: Mapping[str, Any]


class _Recipient(NamedTuple):
    address: str
    number: int  # among the recipients of the call
    arguments: Mapping[str, str]
    fate: Fate


class _Event(NamedTuple):
    message_id: str
    accepted_at: float
    recipient: _Recipient
    number: int  # among the events of its recipient
    step: _Step


def _bounce(kind: str, bounce_class: str, status: str, reason: str) -> dict[str, Any]:
    words = {"event": "bounce", "type": kind, "bounce_classification": bounce_class, "status": status}
    return {**words, "reason": reason, "ip": "192.0.2.10", "tls": 1}


def _deferral(attempt: int) -> dict[str, Any]:
    words = {"event": "deferred", "attempt": str(attempt), "ip": "192.0.2.10", "tls": 1}
    return {**words, "response": "451 4.7.1 Greylisted, please try again later"}


_PROCESSED = _Step(1, {"event": "processed"})
_DELIVERED = {"event": "delivered", "ip": "192.0.2.10", "tls": 1, "response": "250 2.0.0 OK"}
_HARD = "550 5.1.1 The email account that you tried to reach does not exist"
_FULL = "552 5.2.2 The mailbox is over its quota"
_LISTED = "554 5.7.1 Service unavailable; client host [192.0.2.10] is on a block list"
_COURSES: dict[str, tuple[_Step, ...]] = {
    Fate.BOUNCE: (_PROCESSED, _Step(2, _bounce("bounce", "Invalid Address", "5.1.1", _HARD))),
    Fate.SOFTBOUNCE: (_PROCESSED, _Step(2, _bounce("blocked", "Mailbox Unavailable", "5.2.2", _FULL))),
    Fate.BLOCKED: (_PROCESSED, _Step(2, _bounce("blocked", "Reputation", "5.7.1", _LISTED))),
    Fate.DEFERRED: (_PROCESSED, _Step(2, _deferral(0)), _Step(4, _deferral(1)), _Step(10, _DELIVERED)),
    Fate.DEFERRED_FOREVER: (_PROCESSED, _Step(2, _deferral(0)), _Step(4, _deferral(1))),
    Fate.SPAM: (_PROCESSED, _Step(2, _DELIVERED), _Step(4, {"event": "spamreport"})),
    Fate.ACCEPTED: (_PROCESSED,),
    # An address on one of the lists is dropped before it is processed; the key is the list's name.
    **{name: (_Step(1, {"event": "dropped", "reason": reason}),) for name, reason in _REASONS.items()},
}
_ARRIVES = (_PROCESSED, _Step(2, _DELIVERED))
_ENTERS = {
    Fate.BOUNCE: ("bounces", _HARD, "5.1.1"),
    Fate.SPAM: ("spam_reports", "", ""),
    Fate.SOFTBOUNCE: ("blocks", _FULL, "5.2.2"),
    Fate.BLOCKED: ("blocks", _LISTED, "5.7.1"),
}


class SendGridRoutes:
    """Everything under /v3/."""

    name = "sendgrid"

    def __init__(self, world: World) -> None:
        self._world = world
        self._forget()
        world.on_reset(self._forget)

    def _forget(self) -> None:
        lists = partial(Suppressed, tuple(_REASONS), ("blocks",), "bounces", _HARD, "5.1.1")
        self._suppressed: dict[str, Suppressed] = defaultdict(lists)

    def purpose(self, call: Call) -> str:
        return "send" if call.path == "/v3/mail/send" else "other"

    def refusal(self, status: int) -> Answer:
        headers = {}
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            reset = str(math.ceil(time.time()) + 1)
            headers = {"X-RateLimit-Limit": "600", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        return json_answer(status, {"errors": [error_of(_WORDS.get(status, "internal error"), None)]}, headers)

    def answer(self, call: Call) -> Answer:
        account = self._world.accounts.find(SendGridAccount, call.bearer) if call.bearer else None
        if account is None:
            return self.refusal(401)
        suppressed = self._suppressed[account.credential]
        match call.method, call.parts[1:]:
            case "POST", ["mail", "send"]:
                return self._send(call, account)
            case "GET", ["scopes"]:
                return json_answer(200, {"scopes": ["mail.send", "suppression.read", "suppression.delete"]})
            case _, ["asm", "suppressions", "global", *address]:
                return _global(call, "".join(address), suppressed) or self.refusal(404)
            case _, ["suppression", name, *address] if name in suppressed.names:
                return _list(call.method, name, "".join(address), suppressed) or self.refusal(404)
        return self.refusal(404)

    def _send(self, call: Call, account: SendGridAccount) -> Answer:
        if len(call.body) > BODY_LIMIT:
            return self.refusal(413)
        mail = decode(call.body)
        if isinstance(mail, Answer):
            return mail
        recipients = list(_recipients(mail))
        fates = {recipient.fate for recipient in recipients}
        status = magic.refused_status(fates)
        if status:
            return self.refusal(status)
        if mail.is_rehearsal:
            return Answer(200)
        message_id = secrets.token_urlsafe(16)
        self._world.sent.record(self.name, message_id, _notices(mail))
        self._report(account, message_id, recipients)
        return magic.bend(Answer(202, headers={"X-Message-Id": message_id}), fates, self._world.config.slow_s)

    def _report(self, account: SendGridAccount, message_id: str, recipients: Iterable[_Recipient]) -> None:
        """Hand over the events of a message, those of all recipients who fare alike at once."""
        now, delay_s, suppressed = time.time(), self._world.config.delay_s, self._suppressed[account.credential]
        alike: dict[str, list[_Recipient]] = defaultdict(list)
        for recipient in recipients:
            alike[_outcome(recipient, suppressed)].append(recipient)
        if not account.url:
            return
        outbox = self._world.outbox(account, partial(_pack, account, delay_s))
        for outcome, group in alike.items():
            for number, step in enumerate(_COURSES.get(outcome, _ARRIVES)):
                events = [_Event(message_id, now, recipient, number, step) for recipient in group]
                outbox.add(events, step.after * delay_s)


def _outcome(recipient: _Recipient, suppressed: Suppressed) -> str:
    """Return what becomes of a message: a fate, or the list that keeps it from being tried."""
    found = suppressed.where(recipient.address)
    if not found and recipient.fate in _ENTERS:
        name, reason, status = _ENTERS[recipient.fate]
        suppressed.add(name, recipient.address, reason, status)
    return found or recipient.fate


def _recipients(mail: Mail) -> Iterator[_Recipient]:
    number = 0
    for one in mail.personalizations:
        arguments = {**mail.custom_args, **one.custom_args} if mail.custom_args else one.custom_args
        for _, people in one.kinds:
            for person in people:
                address = person.email or ""
                yield _Recipient(address, number, arguments, magic.of_address(address))
                number += 1


def _notices(mail: Mail) -> Iterator[Notice]:
    """Yield one notice for each personalization: whoever else it goes to gets a copy."""
    shared = mail.custom_args.get("ng_attempt", "")
    for one in mail.personalizations:
        yield Notice(one.to[0].email or "", one.custom_args.get("ng_attempt", shared), mail.subject or "")


def _pack(account: SendGridAccount, delay_s: float, events: Sequence[_Event]) -> list[Post]:
    body = msgspec.json.encode([_item(event, delay_s) for event in events]) + b"\r\n"
    headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "SendGrid Event API"}
    if account.private_key:
        headers = sendgrid.sign(account.private_key, body, datetime.now(UTC))
    return [Post(account.url, body, headers, len(events))]


def _item(event: _Event, delay_s: float) -> dict[str, Any]:
    """Return an event as SendGrid writes it; of a custom argument with the name of a field the field wins."""
    message_id, (address, number, arguments, _) = event.message_id, event.recipient
    event_id = f"{event.step.fields['event']}-{event.number}-50485195-{message_id}-{number}"
    return {
        **arguments,
        "email": address,
        "timestamp": int(event.accepted_at + event.step.after * delay_s),
        "sg_event_id": base64.urlsafe_b64encode(event_id.encode()).decode().rstrip("="),
        "sg_message_id": f"{message_id}.recvd-sandbox-0-1-{number:X}.0",
        "smtp-id": f"<{message_id}@geopod-ismtpd-0>",
        **event.step.fields,
    }


def _list(method: str, name: str, address: str, suppressed: Suppressed) -> Answer | None:
    """Read one of the lists, or read or remove one address of it; None for what is not there."""
    if method == "DELETE":
        return Answer(204) if suppressed.remove(name, address) else None
    found = suppressed.find(name, address)
    entries = ([found] if found else []) if address else suppressed.entries(name)
    return json_answer(200, [_entry(name, entry) for entry in entries])


def _global(call: Call, address: str, suppressed: Suppressed) -> Answer | None:
    """Add addresses to the global unsubscribes, or read or remove one."""
    if not address:
        return _unsubscribe(call, suppressed) if call.method == "POST" else None
    if call.method == "DELETE":
        suppressed.remove(GLOBAL, address)
        return Answer(204)
    return json_answer(200, {"recipient_email": address} if suppressed.find(GLOBAL, address) else {})


def _unsubscribe(call: Call, suppressed: Suppressed) -> Answer:
    addresses = [address for address in list_of(object_of(call.json()).get("recipient_emails")) if is_address(address)]
    for address in addresses:
        suppressed.add(GLOBAL, address)
    return json_answer(201, {"recipient_emails": addresses})


def _entry(name: str, entry: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {"created": int(entry.at), "email": entry.address}
    if name == "spam_reports":
        return {**fields, "ip": "192.0.2.10"}
    return {**fields, "reason": entry.reason, **({"status": entry.status} if name != "invalid_emails" else {})}
