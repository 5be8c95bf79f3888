"""Amazon SES v2: SendEmail, the account suppression list, and event publishing through SNS.

Source: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
"""

from __future__ import annotations

import base64
import binascii
import email
import email.policy
import re
import secrets
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from providers.sandbox import magic, ses
from providers.sandbox.calls import Answer, Call, json_answer, list_of, object_of, text_of
from providers.sandbox.config import SesAccount
from providers.sandbox.magic import Fate
from providers.sandbox.outbox import Post
from providers.sandbox.sent import Notice
from providers.sandbox.suppressed import Entry, Suppressed
from providers.sandbox.world import World

RECIPIENTS_LIMIT = 50
GIVES_UP_AFTER = timedelta(hours=14)

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([a-z0-9-]+)/")
_IN_BRACKETS = re.compile(r"<([^<>]+)>\s*\Z")
_TYPES = {
    400: ("BadRequestException", "The request is not valid."),
    403: ("UnrecognizedClientException", "The security token included in the request is invalid."),
    404: ("NotFoundException", "The resource does not exist."),
    429: ("TooManyRequestsException", "Maximum sending rate exceeded."),
    500: ("InternalServiceErrorException", "Internal service error."),
    503: ("ServiceUnavailable", "Service unavailable."),
}


class _Mail(NamedTuple):
    """What events say about the message they belong to."""

    message_id: str
    accepted_at: float
    sender: str
    subject: str
    destination: list[str]
    tags: dict[str, list[str]]
    region: str


class _Step(NamedTuple):
    """An event that follows the acceptance by ``after`` delays; ``kind`` names its object."""

    after: float
    kind: str
    fields: Mapping[str, Any]


class _Event(NamedTuple):
    mail: _Mail
    recipient: str
    number: int
    step: _Step


def _bounce(kind: str, subtype: str, status: str, words: str, by: str = "mx.example") -> _Step:
    report = {"action": "failed", "status": status, "diagnosticCode": words}
    fields = {"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": report, "reportingMTA": f"dns; {by}"}
    return _Step(2, "bounce", fields)


def _delay(after: float) -> _Step:
    report = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"}
    fields = {"delayType": "TransientCommunicationFailure", "delayedRecipients": report}
    return _Step(after, "deliveryDelay", {**fields, "reportingMTA": "a8-70.smtp-out.sandbox.example"})


def _delivery(after: float) -> _Step:
    words = {"processingTimeMillis": 1499, "smtpResponse": "250 2.6.0 Message received"}
    return _Step(after, "delivery", {**words, "reportingMTA": "a8-70.smtp-out.sandbox.example"})


_SEND = _Step(1, "send", {})
_COMPLAINT = _Step(
    4,
    "complaint",
    {"complaintSubType": None, "complaintFeedbackType": "abuse", "userAgent": "Sandbox-Feedback/1.0"},
)
_ON_LIST = (
    "Amazon SES did not send the message to this address because it is on the suppression list for your account. "
    "For more information about removing addresses from the suppression list, see the Amazon SES Developer Guide"
)
_OVER_QUOTA = "smtp; 452 4.2.2 The email account that you tried to reach is over quota"
_COURSES: dict[str, tuple[_Step, ...]] = {
    Fate.BOUNCE: (_SEND, _bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown")),
    Fate.SOFTBOUNCE: (_SEND, _bounce("Transient", "MailboxFull", "4.2.2", _OVER_QUOTA)),
    Fate.BLOCKED: (_SEND, _bounce("Transient", "ContentRejected", "5.7.1", "smtp; 550 5.7.1 Message refused as spam")),
    Fate.DEFERRED: (_SEND, _delay(2), _delay(4), _delivery(10)),
    Fate.DEFERRED_FOREVER: (_SEND, _delay(2), _delay(4)),
    Fate.SPAM: (_SEND, _delivery(2), _COMPLAINT),
    Fate.ACCEPTED: (_SEND,),
    "listed": (_SEND, _bounce("Permanent", "OnAccountSuppressionList", "5.1.1", _ON_LIST, "amazonses.com")),
}
_ARRIVES = (_SEND, _delivery(2))
_ENTERS = {Fate.BOUNCE: "BOUNCE", Fate.SPAM: "COMPLAINT"}
# How each kind of event names the recipients it is about.
_RECIPIENTS = {
    "bounce": "bouncedRecipients",
    "deliveryDelay": "delayedRecipients",
    "complaint": "complainedRecipients",
}


class SesRoutes:
    """Everything under /v2/email/."""

    name = "ses"

    def __init__(self, world: World) -> None:
        self._world = world
        self._forget()
        world.on_reset(self._forget)

    def _forget(self) -> None:
        self._suppressed: dict[str, Suppressed] = defaultdict(
            partial(Suppressed, ("BOUNCE", "COMPLAINT"), (), "BOUNCE", "", "")
        )

    def purpose(self, call: Call) -> str:
        return "send" if call.path == "/v2/email/outbound-emails" else "other"

    def refusal(self, status: int) -> Answer:
        return _error(status, *_TYPES.get(status, _TYPES[500 if status >= HTTPStatus.INTERNAL_SERVER_ERROR else 400]))

    def answer(self, call: Call) -> Answer:
        named = _CREDENTIAL.search(call.headers.get("authorization", ""))
        account = self._world.accounts.find(SesAccount, named[1]) if named else None
        if named is None or account is None:
            return self.refusal(403)
        suppressed = self._suppressed[account.credential]
        match call.method, call.parts[2:]:
            case "POST", ["outbound-emails"]:
                return self._send(call, account, named[2])
            case "GET", ["account"]:
                quota = {"Max24HourSend": 50_000, "MaxSendRate": 14, "SentLast24Hours": 0}
                words = {"EnforcementStatus": "HEALTHY", "SendingEnabled": True, "ProductionAccessEnabled": True}
                return json_answer(200, {**words, "SendQuota": quota})
            case "PUT", ["suppression", "addresses"]:
                return self._suppress(object_of(call.json()), suppressed)
            case method, ["suppression", "addresses", *address]:
                return _list(method, "".join(address), suppressed)
        return self.refusal(404)

    def _suppress(self, body: Mapping[str, Any], suppressed: Suppressed) -> Answer:
        address, reason = text_of(body.get("EmailAddress")), text_of(body.get("Reason"))
        if not address or reason not in suppressed.names:
            return self.refusal(400)
        for name in suppressed.names:
            suppressed.remove(name, address)
        suppressed.add(reason, address)
        return json_answer(200, {})

    def _send(self, call: Call, account: SesAccount, region: str) -> Answer:
        mail = _read(object_of(call.json()), region)
        if isinstance(mail, Answer):
            return mail
        if magic.is_unverified(mail.sender):
            words = (
                f"Email address is not verified. The following identities failed the check in region {region.upper()}: "
            )
            return _error(400, "MessageRejected", words + mail.sender)
        fates = {magic.of_address(address) for address in mail.destination}
        status = magic.refused_status(fates)
        if status:
            return self.refusal(status)
        notice = Notice(mail.destination[0], mail.tags.get("ng_attempt", [""])[0], mail.subject)
        self._world.sent.record(self.name, mail.message_id, [notice])
        self._report(account, mail)
        return magic.bend(json_answer(200, {"MessageId": mail.message_id}), fates, self._world.config.slow_s)

    def _report(self, account: SesAccount, mail: _Mail) -> None:
        delay_s, suppressed = self._world.config.delay_s, self._suppressed[account.credential]
        outcomes = {address: _outcome(address, suppressed) for address in mail.destination}
        if not account.url:
            return
        outbox = self._world.outbox(account, partial(_pack, account, self._world.signer, delay_s))
        for address, outcome in outcomes.items():
            for number, step in enumerate(_COURSES.get(outcome, _ARRIVES)):
                # One "Send" stands for all recipients of a message.
                if step is not _SEND or address == mail.destination[0]:
                    outbox.add([_Event(mail, address, number, step)], step.after * delay_s)


def _read(body: Mapping[str, Any], region: str) -> _Mail | Answer:
    """Return the message, or the refusal of a call that SES would not take."""
    to = object_of(body.get("Destination"))
    destination = [bare(text_of(address)) for kind in _DESTINATIONS for address in list_of(to.get(kind))]
    content = object_of(body.get("Content"))
    headers = _raw_headers(object_of(content.get("Raw")).get("Data"))
    sender = bare(text_of(body.get("FromEmailAddress")) or headers.get("from", ""))
    destination = destination or [bare(part) for part in headers.get("to", "").split(",") if part.strip()]
    simple = object_of(content.get("Simple"))
    fault = _fault(sender, destination, has_body=bool(headers or simple.get("Body") or content.get("Template")))
    if fault:
        return _error(400, "BadRequestException", fault)
    subject = text_of(object_of(simple.get("Subject")).get("Data")) or headers.get("subject", "")
    message_id = f"0107{secrets.token_hex(6)}-{uuid.uuid4()}-000000"
    return _Mail(message_id, time.time(), sender, subject, destination, _tags(body, sender), region)


def _fault(sender: str, destination: list[str], *, has_body: bool) -> str:
    """Return what SES would say against a message, or nothing."""
    checks = (
        (not has_body, "The message body is missing."),
        (not sender, "Missing required header 'From'."),
        (not destination, "Missing required header 'To'."),
        (len(destination) > RECIPIENTS_LIMIT, "Recipient count exceeds 50."),
        (not all("@" in address.strip("@") for address in destination), "Missing final '@domain'"),
        (any(map(_is_bad, destination)), "Local address contains control or whitespace"),
    )
    return next((words for wrong, words in checks if wrong), "")


def _is_bad(address: str) -> bool:
    return re.search(r"\s", address) is not None or magic.of_address(address) == Fate.INVALID


_DESTINATIONS = ("ToAddresses", "CcAddresses", "BccAddresses")


def _tags(body: Mapping[str, Any], sender: str) -> dict[str, list[str]]:
    own = {
        text_of(tag.get("Name")): [text_of(tag.get("Value"))] for tag in map(object_of, list_of(body.get("EmailTags")))
    }
    given = text_of(body.get("ConfigurationSetName"))
    return {
        "ses:operation": ["SendEmail"],
        **({"ses:configuration-set": [given]} if given else {}),
        "ses:from-domain": [sender.partition("@")[2]],
        **own,
    }


def _raw_headers(data: object) -> dict[str, str]:
    try:
        raw = base64.b64decode(data) if isinstance(data, str) else b""
    except binascii.Error:
        raw = b""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return {name.lower(): str(value) for name, value in message.items()}


def bare(address: str) -> str:
    """Return the address of "Name <address>"."""
    inside = _IN_BRACKETS.search(address)
    return (inside[1] if inside else address).strip()


def _outcome(address: str, suppressed: Suppressed) -> str:
    if suppressed.where(address):
        return "listed"
    fate = magic.of_address(address)
    if fate in _ENTERS:
        suppressed.add(_ENTERS[fate], address)
    return fate


def _listed(suppressed: Suppressed, address: str) -> str:
    """Return the reason for which exactly this address is listed: the list tells upper from lower case."""
    reason = suppressed.where(address)
    found = suppressed.find(reason, address) if reason else None
    return reason if found and found.address == address else ""


def _list(method: str, address: str, suppressed: Suppressed) -> Answer:
    """Read the suppression list, or read or remove one address."""
    if not address:
        entries = [_entry(reason, entry) for reason in suppressed.names for entry in suppressed.entries(reason)]
        return json_answer(200, {"SuppressedDestinationSummaries": entries})
    reason = _listed(suppressed, address)
    found = suppressed.find(reason, address) if reason else None
    if found is None:
        words = "The email address does not exist on your suppression list."
        return _error(404, "NotFoundException", words)
    if method == "DELETE":
        suppressed.remove(reason, address)
        return json_answer(200, {})
    return json_answer(200, {"SuppressedDestination": _entry(reason, found)})


def _entry(reason: str, entry: Entry) -> dict[str, Any]:
    return {"EmailAddress": entry.address, "Reason": reason, "LastUpdateTime": entry.at}


def _pack(account: SesAccount, signer: ses.Signer, delay_s: float, events: Sequence[_Event]) -> list[Post]:
    posts = []
    for event in events:
        message = msgspec.json.encode(_message(event, delay_s)).decode()
        body = ses.notification(signer, account.topic, message, datetime.now(UTC))
        posts.append(Post(account.url, body, ses.headers(body)))
    return posts


def _message(event: _Event, delay_s: float) -> dict[str, Any]:
    """Return an event as SES publishes it."""
    mail, step = event.mail, event.step
    return {
        "eventType": step.kind[0].upper() + step.kind[1:],
        "mail": {
            "timestamp": _iso(mail.accepted_at),
            "source": mail.sender,
            "sendingAccountId": "123456789012",
            "messageId": mail.message_id,
            "destination": mail.destination,
            "headersTruncated": False,
            "headers": [{"name": "From", "value": mail.sender}, {"name": "Subject", "value": mail.subject}],
            "commonHeaders": {"from": [mail.sender], "to": mail.destination, "subject": mail.subject},
            "tags": mail.tags,
        },
        step.kind: _details(event, mail.accepted_at + step.after * delay_s) if step is not _SEND else {},
    }


def _details(event: _Event, at: float) -> dict[str, Any]:
    kind, fields = event.step.kind, dict(event.step.fields)
    if kind == "delivery":
        fields["recipients"] = [event.recipient]
    else:
        name = _RECIPIENTS[kind]
        fields[name] = [{"emailAddress": event.recipient, **fields.get(name, {})}]
    if kind == "deliveryDelay":
        fields["expirationTime"] = _iso(event.mail.accepted_at + GIVES_UP_AFTER.total_seconds())
    if kind in ("bounce", "complaint"):
        feedback = uuid.uuid5(uuid.NAMESPACE_OID, f"{event.mail.message_id} {event.recipient} {event.number}")
        fields["feedbackId"] = f"0107{event.mail.message_id[4:16]}-{feedback}-000000"
    return {**fields, "timestamp": _iso(at)}


def _iso(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _error(status: int, word: str, message: str) -> Answer:
    return json_answer(status, {"message": message}, {"x-amzn-ErrorType": word})
