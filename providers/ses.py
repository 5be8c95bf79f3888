"""Amazon SES: reads event publishing and identity notifications that arrive through SNS (docs/providers/ses.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

import msgspec

from providers import payload, sns
from providers.base import Channel, ConnectionConfig, ConnectionEvent, Event, Field, Kind, Parsed, Request, Unparsed
from providers.payload import Item, UnreadableError, read_iso_time, text_of
from providers.smtp import clean_address, domain_of, read_codes
from providers.sns import confirm_subscription

__all__ = ["PROVIDER", "AmazonSes", "confirm_subscription"]

# What SES publishes, as plain text, when an event destination is set up.
VALIDATION_MESSAGE = "Successfully validated SNS topic"
VALIDATION_TYPE = "AmazonSnsSubscriptionSucceeded"

_SUBSCRIPTION_KINDS = {
    "SubscriptionConfirmation": "subscription_requested",
    "UnsubscribeConfirmation": "subscription_ended",
}

# SES did not try: the address is on a list, or the list management or address validation stopped it.
_NOT_TRIED = frozenset(
    {
        "Suppressed",
        "OnAccountSuppressionList",
        "OnTenantSuppressionList",
        "UnsubscribedRecipient",
        "EmailValidationSuppressed",
    }
)
_BOUNCE_KINDS: dict[str, Kind] = {
    **dict.fromkeys(_NOT_TRIED, Kind.DROPPED),
    "ContentRejected": Kind.BLOCKED,
    "AttachmentRejected": Kind.BLOCKED,
    "CustomTimeoutExceeded": Kind.EXPIRED,
}


class _Finding(msgspec.Struct, frozen=True, gc=False):
    """What an event says about all of its recipients; ``details`` is the object named for its type."""

    kind: Kind
    verdict: str
    details: Item
    recipients: list[Any]
    reply: str = ""
    deferred_until: datetime | None = None


class _Mail(msgspec.Struct, frozen=True, gc=False):
    """What an event says about the mail it is about."""

    message_id: str
    sender: str
    title: str
    attempt_ref: str
    route: str
    destination: list[Any]
    sent_at: object


def _read_bounce(event: Item, mail: _Mail) -> _Finding:
    bounce = _object(event, "bounce")
    subtype = text_of(bounce.get("bounceSubType"), payload.TEXT_LIMIT)
    verdict = f"{text_of(bounce.get('bounceType'), payload.TEXT_LIMIT)}/{subtype}"
    recipients = _own_recipients(bounce, "bouncedRecipients", mail)
    return _Finding(_BOUNCE_KINDS.get(subtype, Kind.BOUNCED), verdict, bounce, recipients)


def _read_complaint(event: Item, mail: _Mail) -> _Finding:
    complaint = _object(event, "complaint")
    subtype = text_of(complaint.get("complaintSubType"), payload.TEXT_LIMIT)
    feedback_type = text_of(complaint.get("complaintFeedbackType"), payload.TEXT_LIMIT)
    kind = Kind.SPAM_REPORT
    if subtype in _NOT_TRIED:
        kind = Kind.DROPPED
    elif not subtype and feedback_type == "not-spam":
        kind = Kind.ENGAGED  # the recipient took the mail out of the spam folder
    recipients = _own_recipients(complaint, "complainedRecipients", mail)
    return _Finding(kind, f"Complaint/{subtype or feedback_type}", complaint, recipients)


def _read_delay(event: Item, mail: _Mail) -> _Finding:
    delay = _object(event, "deliveryDelay")
    verdict = f"Delay/{text_of(delay.get('delayType'), payload.TEXT_LIMIT)}"
    until = read_iso_time(delay.get("expirationTime"))
    recipients = _own_recipients(delay, "delayedRecipients", mail)
    return _Finding(Kind.DEFERRED, verdict, delay, recipients, deferred_until=until)


def _read_delivery(event: Item, mail: _Mail) -> _Finding:
    delivery = _object(event, "delivery")
    recipients = _list(delivery, "recipients") or mail.destination
    return _Finding(Kind.DELIVERED, "Delivery", delivery, recipients, text_of(delivery.get("smtpResponse")))


def _read_send(_event: Item, mail: _Mail) -> _Finding:
    return _Finding(Kind.ACCEPTED, "Send", {}, mail.destination)


def _read_reject(event: Item, mail: _Mail) -> _Finding:
    reason = text_of(_object(event, "reject").get("reason"))
    return _Finding(Kind.DROPPED, "Reject", {}, mail.destination, reason)


def _read_rendering_failure(event: Item, mail: _Mail) -> _Finding:
    message = text_of(_object(event, "failure").get("errorMessage"))
    return _Finding(Kind.DROPPED, "RenderingFailure", {}, mail.destination, message)


def _read_open(event: Item, mail: _Mail) -> _Finding:
    return _engagement("Open", _object(event, "open"), mail)


def _read_click(event: Item, mail: _Mail) -> _Finding:
    return _engagement("Click", _object(event, "click"), mail)


def _engagement(word: str, details: Item, mail: _Mail) -> _Finding:
    # SES does not say which of several recipients it was.
    kind = Kind.ENGAGED if len(mail.destination) == 1 else Kind.UNKNOWN
    return _Finding(kind, word, details, mail.destination)


def _read_preferences(event: Item, mail: _Mail) -> _Finding:
    subscription = _object(event, "subscription")
    opted_out = _opts_out(_object(subscription, "newTopicPreferences"))
    kind = Kind.UNSUBSCRIBED if opted_out else Kind.RESUBSCRIBED
    return _Finding(kind, "Subscription", subscription, mail.destination)


def _opts_out(preferences: Item) -> bool:
    topics = _list(preferences, "topicSubscriptionStatus")
    out = any(isinstance(topic, dict) and topic.get("subscriptionStatus") == "OptOut" for topic in topics)
    return out or preferences.get("unsubscribeAll") is True


_READERS: dict[str, Callable[[Item, _Mail], _Finding]] = {
    "Bounce": _read_bounce,
    "Complaint": _read_complaint,
    "DeliveryDelay": _read_delay,
    "Delivery": _read_delivery,
    "Send": _read_send,
    "Reject": _read_reject,
    "Rendering Failure": _read_rendering_failure,
    "RenderingFailure": _read_rendering_failure,
    "Open": _read_open,
    "Click": _read_click,
    "Subscription": _read_preferences,
}


def _object(item: Item, key: str) -> Item:
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def _list(item: Item, key: str) -> list[Any]:
    value = item.get(key)
    return value if isinstance(value, list) else []


def _own_recipients(details: Item, key: str, mail: _Mail) -> list[Any]:
    """Return the recipients that the event itself names; the mail's only where there is no doubt which one."""
    return _list(details, key) or (mail.destination if len(mail.destination) == 1 else [])


def _read_mail(event: Item, route_by: str) -> _Mail:
    mail = _object(event, "mail")
    tags = _object(mail, "tags")
    sender = clean_address(text_of(mail.get("source"), payload.ADDRESS_LIMIT))
    return _Mail(
        message_id=text_of(mail.get("messageId"), payload.KEY_LIMIT),
        sender=sender,
        title=_read_title(mail),
        attempt_ref=_tag(tags, "ng_attempt"),
        route=_read_route(route_by, tags, sender),
        destination=_list(mail, "destination"),
        sent_at=mail.get("timestamp"),
    )


def _tag(tags: Item, name: str) -> str:
    values = tags.get(name)
    return text_of(values[0] if isinstance(values, list) and values else values, payload.KEY_LIMIT)


def _read_route(route_by: str, tags: Item, sender: str) -> str:
    kind, _, name = route_by.partition(":")
    if kind == "tag":
        return _tag(tags, name)
    if kind == "configuration_set":
        return _tag(tags, "ses:configuration-set")
    return domain_of(sender) if kind == "domain" else ""


def _read_title(mail: Item) -> str:
    subject = text_of(_object(mail, "commonHeaders").get("subject")) or next(_subject_headers(mail), "")
    return _decode_words(subject)[: payload.TEXT_LIMIT] if subject else ""


def _subject_headers(mail: Item) -> Iterator[str]:
    for header in _list(mail, "headers"):
        if isinstance(header, dict) and text_of(header.get("name")).lower() == "subject":
            yield text_of(header.get("value"))


def _decode_words(subject: str) -> str:
    """Decode RFC 2047 words ("=?UTF-8?B?…?="); a subject that breaks their rules stays as it is."""
    if "=?" not in subject:
        return subject
    try:
        return payload.storable(str(make_header(decode_header(subject))))
    except (HeaderParseError, LookupError, ValueError):
        return subject


def _read_event(event: object, route_by: str, published_at: object, received_at: datetime) -> list[Parsed]:
    """Read one SES event. Raises ``UnreadableError`` with the predicate of a sentence about it."""
    if type(event) is not dict:
        raise UnreadableError("is not an object")
    word = text_of(event.get("eventType") or event.get("notificationType"), payload.TEXT_LIMIT)
    if not word:
        raise UnreadableError('has neither "eventType" nor "notificationType"')
    mail = _read_mail(event, route_by)
    if word == VALIDATION_TYPE:
        return [ConnectionEvent(kind="test", occurred_at=read_iso_time(published_at) or received_at, detail=word)]
    reader = _READERS.get(word)
    finding = reader(event, mail) if reader else _Finding(Kind.UNKNOWN, word, {}, mail.destination)
    occurred_at = _read_time([finding.details.get("timestamp"), mail.sent_at, published_at], received_at)
    parsed = [_read_recipient(recipient, finding, mail, occurred_at) for recipient in finding.recipients]
    if not parsed:
        raise UnreadableError(f'of type "{word}" names no recipient')
    return parsed


def _read_time(candidates: list[object], received_at: datetime) -> datetime:
    """Return the first time that is given: the event's own, the mail's, the publication's."""
    given = next((candidate for candidate in candidates if candidate), None)
    if given is None:
        raise UnreadableError('has no "timestamp"')
    at = read_iso_time(given)
    if at is None:
        raise UnreadableError('has a "timestamp" that is not an ISO 8601 time')
    return payload.check_time(at, received_at)


def _read_recipient(recipient: object, finding: _Finding, mail: _Mail, occurred_at: datetime) -> Parsed:
    report = recipient if type(recipient) is dict else {"emailAddress": recipient}
    address = clean_address(text_of(report.get("emailAddress")))
    if not address or len(address) > payload.ADDRESS_LIMIT:
        reason = f'A recipient of the SES event "{finding.verdict}" has no usable address.'
        return Unparsed(reason=reason, raw=payload.excerpt(recipient))
    reply = text_of(report.get("diagnosticCode"))
    smtp_code, enhanced_code = read_codes(text_of(report.get("status")), reply)
    return Event(
        kind=finding.kind,
        recipient=address,
        occurred_at=occurred_at,
        verdict=finding.verdict,
        reply=reply or finding.reply,
        smtp_code=smtp_code,
        enhanced_code=enhanced_code,
        provider_event_id=text_of(finding.details.get("feedbackId"), payload.KEY_LIMIT),
        provider_message_id=mail.message_id,
        attempt_ref=mail.attempt_ref,
        sender=mail.sender,
        title=mail.title,
        route=mail.route,
        deferred_until=finding.deferred_until,
    )


def _read_notification(envelope: Item, route_by: str, received_at: datetime) -> list[Parsed]:
    message = text_of(envelope.get("Message"))
    if message.startswith(VALIDATION_MESSAGE):
        at = read_iso_time(envelope.get("Timestamp")) or received_at
        return [ConnectionEvent(kind="test", occurred_at=at, detail=message[: payload.TEXT_LIMIT].strip())]
    try:
        event = payload.load(message.encode())
    except UnreadableError:
        return [Unparsed(reason="The Message of the SNS notification is not JSON.", raw=message[: payload.RAW_LIMIT])]
    try:
        return _read_event(event, route_by, envelope.get("Timestamp"), received_at)
    except UnreadableError as error:
        return [Unparsed(reason=f"The SES event {error}.", raw=payload.excerpt(event))]


def _read_subscription(envelope: Item, kind: str, received_at: datetime) -> list[Parsed]:
    data = {
        "topic": text_of(envelope.get("TopicArn"), payload.KEY_LIMIT),
        "token": text_of(envelope.get("Token")),
        "subscribe_url": text_of(envelope.get("SubscribeURL")),
    }
    at = read_iso_time(envelope.get("Timestamp")) or received_at
    return [ConnectionEvent(kind=kind, occurred_at=at, detail=data["topic"], data=data)]


class AmazonSes:
    """One SNS topic, or several, to which Amazon SES publishes."""

    name = "ses"
    label = "Amazon SES"
    channel = Channel.EMAIL
    fields: tuple[Field, ...] = (
        Field(
            name="topic",
            label="SNS topic ARN",
            help="For example arn:aws:sns:ap-northeast-1:123456789012:mail-events; several are separated by commas.",
        ),
    )
    route_keys: tuple[str, ...] = ("tag:<name>", "domain", "configuration_set")
    kept_headers: tuple[str, ...] = (
        "x-amz-sns-message-type",
        "x-amz-sns-message-id",
        "x-amz-sns-topic-arn",
        "x-amz-sns-subscription-arn",
    )

    def __init__(self, certificates: sns.CertificateStore | None = None) -> None:
        self._certificates = certificates or sns.CertificateStore()

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Check topic, age, certificate and signature of the SNS envelope; see ``sns.verify``.

        Reasons: ``envelope_unreadable``, ``raw_delivery``, ``signature_missing``, ``topic_unknown``,
        ``timestamp_stale``, ``signature_version``, ``certificate_url``, ``certificate_unusable``,
        ``certificate_expired``, ``signature_wrong`` and ``certificate_unavailable``, which is trouble of our own:
        answer it with 503, since SNS never repeats what got a 4xx.
        """
        sns.verify(request, config, self._certificates)

    def parse(
        self,
        body: bytes,
        headers: Mapping[str, str],
        config: ConnectionConfig,
        received_at: datetime,
    ) -> list[Parsed]:
        """Read one SNS message: an event for each recipient, or what SNS says about the subscription."""
        try:
            envelope = payload.load(body)
        except UnreadableError as error:
            return [Unparsed(reason=str(error), raw=payload.excerpt(body))]
        if type(envelope) is not dict:
            return [Unparsed(reason="The body is not an SNS message.", raw=payload.excerpt(body))]
        kind = _SUBSCRIPTION_KINDS.get(text_of(envelope.get("Type")))
        if kind:
            return _read_subscription(envelope, kind, received_at)
        return _read_notification(envelope, config.route_by, received_at)

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """Return the event types that may be missing at the event destination; nothing before the first event.

        A quiet account need not have bounced yet, so this is a hint, not a finding.
        """
        expected = (Kind.DELIVERED, Kind.BOUNCED, Kind.DEFERRED, Kind.DROPPED)
        return tuple(kind for kind in expected if kind not in seen) if seen else ()


PROVIDER = AmazonSes()
