"""Twilio message status callbacks: signature check and translation of one callback into one event.

Source: https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, RequestValidator, get_signature_algorithm  # type: ignore[import-untyped]

from providers.base import (
    QUERY_HEADER,
    Channel,
    ConnectionConfig,
    Event,
    Field,
    Kind,
    Parsed,
    Request,
    VerificationError,
)
from providers.callback import (
    Item,
    address,
    as_object,
    is_json,
    items_of,
    query_as_body,
    read_items,
    secrets_of,
    text,
    word,
)
from providers.payload import KEY_LIMIT, RAW_LIMIT, UnreadableError
from providers.phone import to_e164

SIGNATURE_HEADER = "x-twilio-signature"
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"
# Twilio echoes nothing of a send but the query of its callback URL, which is signed with the rest of it.
ATTEMPT_PARAMETER = "ng_attempt"

_WORDS = {
    "queued": Kind.ACCEPTED,
    "accepted": Kind.ACCEPTED,
    "scheduled": Kind.ACCEPTED,
    "sending": Kind.ACCEPTED,
    "sent": Kind.ACCEPTED,
    "delivered": Kind.DELIVERED,
    "read": Kind.ENGAGED,
    "canceled": Kind.CANCELED,
}
# Failed and undelivered alike: the error code says where the message ended. A code that is not here leaves it with the
# carrier (undelivered), which is what both words mean to the person who waits for the message.
_CODES: dict[str, Kind] = {
    str(code): kind
    for kind, codes in {
        Kind.FAILED: (
            *(30001, 30002, 30010, 30011, 30012, 30013, 30014, 30015, 30016, 30019, 30020, 30021, 30028, 30029, 30030),
            *(30031, 30037, 30410, 30454),
            *(20003, 20005, 20404, 20429, 20500, 20503, 14107, 63017, 63018, 63038),
            *(21211, 21212, 21214, 21217, 21401, 21408, 21601, 21602, 21603, 21604, 21605, 21606, 21608, 21609, 21611),
            *(21612, 21614, 21615, 21616, 21617, 21618, 21619, 21620, 21621, 21622, 21623, 21624, 21626, 21627, 21631),
            *(21635, 21649, 21650, 21654, 21655, 21656, 21657, 21658, 21661, *range(21701, 21716), 21730),
        ),
        Kind.REJECTED: (
            *(21610, 30007, 30018, 30022, 30023, 30024, 30027, 30032, 30033, 30034, 30035, 30038, 30039, 30040, 30041),
            *(30043, *range(30440, 30450), 30450),
        ),
        Kind.EXPIRED: (30036,),
    }.items()
    for code in codes
}
_INCOMING = frozenset({"receiving", "received"})


class _Params(dict[str, list[str]]):
    """A form with repeated names, in the shape that the vendor's validator knows from Django."""

    def getlist(self, name: str) -> list[str]:
        return self[name]


class Twilio:
    """Twilio Programmable Messaging, status callbacks."""

    name = "twilio"
    label = "Twilio"
    channel = Channel.SMS
    fields = (
        Field(
            "auth_token",
            "Auth Token",
            secret=True,
            help="Of the account that sends. For webhooks signed with a SharedKey: the secret of that SharedKey.",
        ),
        Field(
            "account_sid",
            "Account SID",
            required=False,
            help="Starts with AC. If set, callbacks of other accounts are refused.",
        ),
    )
    route_keys = ("account", "sender")
    kept_headers = ("content-type", "i-twilio-idempotency-token", QUERY_HEADER)

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Check the signature over the public URL and the parameters, or over the URL with the hash of a JSON body.

        A GET carries its parameters in the URL; its body is not covered, so it must not be read (``query_as_body``).
        Reasons: ``signature_missing``, ``algorithm_unknown``, ``key_unusable``, ``signature_wrong``, ``account_wrong``.
        """
        signature = request.headers.get(SIGNATURE_HEADER)
        if not signature:
            raise VerificationError("signature_missing", "The X-Twilio-Signature header is missing.")
        algorithm = get_signature_algorithm(request.headers.get(SETTINGS_HEADER, "")).upper()
        if algorithm not in (HMAC_SHA1, HMAC_SHA256):
            raise VerificationError("algorithm_unknown", "The signature algorithm is not known.")
        signed = _signed_part(request)
        validators = [RequestValidator(secret) for secret in secrets_of(config)]
        if not any(validator.validate(request.url, signed, signature, algorithm) for validator in validators):
            raise VerificationError("signature_wrong", "The signature does not match the request.")
        _check_account(request, config)

    def parse(
        self, body: bytes, headers: Mapping[str, str], config: ConnectionConfig, received_at: datetime
    ) -> list[Parsed]:
        """Read one callback. It carries no time, so the event's identity is message, status and error code."""
        reference = parse_qs(headers.get(QUERY_HEADER, "")).get(ATTEMPT_PARAMETER, [""])[0][:KEY_LIMIT]
        return read_items(body, headers, lambda item: _event(item, config, received_at, reference))

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """A connection that reports anything also reports deliveries: every status goes to the same URL."""
        return (Kind.DELIVERED,) if seen and Kind.DELIVERED not in seen else ()


def _signed_part(request: Request) -> _Params | str:
    """Return what the signature covers besides the URL: nothing for GET, the parameters, or the JSON text."""
    if request.method == "GET":
        return _Params()
    if not is_json(request.body, request.headers):
        return _Params(parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    # The validator raises TypeError for a text body without a hash in the URL, and skips the body for a dict.
    if "bodySHA256" not in parse_qs(urlsplit(request.url).query):
        raise VerificationError("signature_missing", "The URL has no bodySHA256, so the JSON body is not signed.")
    try:
        return request.body.decode()
    except UnicodeDecodeError as error:
        raise VerificationError("signature_wrong", "The JSON body is not UTF-8.") from error


def _check_account(request: Request, config: ConnectionConfig) -> None:
    expected = config.settings.get("account_sid", "")
    if not expected:
        return
    carrying = query_as_body(request)
    try:
        found = [text(as_object(value), "AccountSid") for value in items_of(carrying.body, carrying.headers)]
    except UnreadableError as error:
        raise VerificationError("account_wrong", "The callback names no account.") from error
    if any(account != expected for account in found):
        raise VerificationError("account_wrong", "The callback belongs to another Twilio account.")


def _event(item: Item, config: ConnectionConfig, received_at: datetime, reference: str) -> Event:
    sid = text(item, "MessageSid", "SmsSid")
    status = word(item, "MessageStatus", "SmsStatus").lower()
    recipient = address(item, "To")
    if not (sid and status):
        raise UnreadableError("names no message (MessageSid) or no status (MessageStatus)")
    if status in _INCOMING:
        raise UnreadableError("is an incoming message, not the status of a sent one")
    if not recipient:
        raise UnreadableError("names no recipient (To)")
    code = word(item, "ErrorCode")
    return Event(
        kind=_kind(status, code),
        recipient=to_e164(recipient),
        occurred_at=received_at,
        verdict=f"{status}/{code}",
        reply=text(item, "ErrorMessage", "ChannelStatusMessage", limit=RAW_LIMIT),
        provider_event_id=f"~{sid}/{status}/{code}",
        provider_message_id=sid,
        attempt_ref=text(item, ATTEMPT_PARAMETER) or reference,
        sender=address(item, "From"),
        route=_route(item, config),
    )


def _kind(status: str, code: str) -> Kind:
    if status in ("failed", "undelivered"):
        return _CODES.get(code, Kind.UNDELIVERED)
    return _WORDS.get(status, Kind.UNKNOWN)


def _route(item: Item, config: ConnectionConfig) -> str:
    if config.route_by == "account":
        return text(item, "AccountSid")
    return address(item, "From") if config.route_by == "sender" else ""


PROVIDER = Twilio()
