"""Vonage delivery receipts (SMS API) and message status callbacks (Messages API): signature check and translation.

Sources: https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts,
https://developer.vonage.com/en/getting-started/concepts/signing-messages,
https://developer.vonage.com/en/messages/concepts/signed-webhooks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime

from providers import payload
from providers.base import Channel, ConnectionConfig, Event, Field, Kind, Parsed, Request, VerificationError
from providers.callback import (
    Item,
    address,
    as_object,
    attempt_of,
    is_fresh,
    items_of,
    query_as_body,
    read_items,
    secrets_of,
    text,
    time_of,
    word,
)
from providers.payload import RAW_LIMIT, UnreadableError
from providers.phone import to_e164
from providers.signatures import hmac_matches

DEFAULT_METHOD = "sha256"
METHODS = ("md5hash", "md5", "sha1", "sha256", "sha512")

_SMS_WORDS = {
    "accepted": Kind.ACCEPTED,
    "buffered": Kind.DEFERRED,
    "delivered": Kind.DELIVERED,
    "expired": Kind.EXPIRED,
    "unknown": Kind.NO_RECEIPT,
}
_MESSAGES_WORDS = {
    "submitted": Kind.ACCEPTED,
    "delivered": Kind.DELIVERED,
    "read": Kind.ENGAGED,
}
# Failure words whose code says nothing more. "undeliverable": Vonage could not connect to the messaging provider.
_FAILURE_WORDS = {
    "failed": Kind.UNDELIVERED,
    "rejected": Kind.REJECTED,
    "undeliverable": Kind.FAILED,
}
_CODES: dict[str, Kind] = {
    str(code): kind
    for kind, codes in {
        Kind.UNDELIVERED: (
            *(1, 2, 3, 4, 5, 7, 8, 11, 12, 14, 15, 99),
            *(1180, 1190, 1200, 1220, 1230, 1250, 1260, 1280, 1290, 1300, 1310, 1330),
        ),
        Kind.REJECTED: (6, 9, 10, 13, 50, 51, 52, 53, 54, 1050, 1210, 1240, 1270),
        Kind.FAILED: (
            *(1000, 1010, 1020, 1021, 1022, 1030, 1040, 1060, 1070, 1080, 1090, 1100, 1120, 1130, 1140, 1150, 1160),
            *(1170, 1331),
        ),
        Kind.EXPIRED: (1360,),
    }.items()
    for code in codes
}
_BASE64URL = str.maketrans("-_", "+/")
_CODE_IN_TYPE = re.compile(r"#(\d{3,5})\Z")


class Vonage:
    """Vonage SMS: receipts of the SMS API, status callbacks of the Messages API."""

    name = "vonage"
    label = "Vonage"
    channel = Channel.SMS
    fields = (
        Field("signature_secret", "Signature secret", secret=True, help="API Settings in the Vonage dashboard."),
        Field(
            "signature_method",
            "Signature method",
            required=False,
            help="As in API Settings: md5hash, md5, sha1, sha256 (default) or sha512; all but md5hash are HMAC.",
        ),
        Field("api_key", "API key", required=False, help="If set, callbacks of other API keys are refused."),
    )
    route_keys = ("api_key", "sender")
    kept_headers = ("content-type",)

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Check the JWT of the Messages API if there is one, else the ``sig`` parameter of the SMS API.

        Unsigned callbacks are refused. Of a GET only the query counts, and only it may be read (``query_as_body``).
        Reasons: ``signature_missing``, ``algorithm_unknown``, ``key_unusable``, ``signature_wrong``,
        ``timestamp_stale``, ``account_wrong``.
        """
        request = query_as_body(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            _verify_token(token.strip(), request, config)
        else:
            _verify_parameters(request, config)

    def parse(
        self, body: bytes, headers: Mapping[str, str], config: ConnectionConfig, received_at: datetime
    ) -> list[Parsed]:
        """Read receipts and status callbacks, told apart by ``message_uuid``.

        ``message-timestamp`` is the time of the push, new on each retry, so it is no part of an event's identity.
        """
        return read_items(body, headers, lambda item: _event(item, config, received_at))

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """A connection that reports anything also reports deliveries: every status goes to the same URL."""
        return (Kind.DELIVERED,) if seen and Kind.DELIVERED not in seen else ()


def signed_text(params: Item) -> str:
    """Return what the ``sig`` parameter covers: ``&name=value`` of all others by name, "&" and "=" in values as "_"."""
    return "".join(
        f"&{name}={_plain(params[name]).replace('&', '_').replace('=', '_')}"
        for name in sorted(params)
        if name != "sig"
    )


def signature_method(config: ConnectionConfig) -> str:
    """Return the configured method; the dashboard's "SHA-256 HMAC signature" and "sha256hash" both mean sha256.

    Raises ``VerificationError`` for a word that is not known.
    """
    word = re.sub(r"[^a-z0-9]", "", config.settings.get("signature_method", "").lower()) or DEFAULT_METHOD
    word = word.removesuffix("signature").removesuffix("hmac")
    method = word if word in METHODS else word.removesuffix("hash")
    if method not in METHODS:
        raise VerificationError("algorithm_unknown", "The connection's signature method is not known.")
    return method


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return str(value)


def _verify_parameters(request: Request, config: ConnectionConfig) -> None:
    try:
        # One signature covers one receipt: of an array it would leave all but one open.
        (item,) = items_of(request.body, request.headers)
        params = as_object(item)
    except ValueError as error:
        raise VerificationError("signature_missing", "The request has no readable parameters.") from error
    signature = text(params, "sig")
    if not signature:
        raise VerificationError("signature_missing", "The sig parameter is missing.")
    method, covered = signature_method(config), signed_text(params)
    if not any(_parameters_match(method, secret, covered, signature) for secret in secrets_of(config)):
        raise VerificationError("signature_wrong", "The signature does not match the parameters.")
    if not is_fresh(text(params, "timestamp"), request.received_at):
        raise VerificationError("timestamp_stale", "The signed timestamp is missing or more than five minutes off.")
    _check_api_key(text(params, "api-key"), config)


def _parameters_match(method: str, secret: str, covered: str, signature: str) -> bool:
    if method != "md5hash":
        return hmac_matches(secret, covered.encode(), signature, method, "hex")
    # The provider's oldest scheme and its default: a plain hash of the parameters followed by the secret.
    expected = hashlib.md5((covered + secret).encode(), usedforsecurity=False).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.lower().encode())


def _verify_token(token: str, request: Request, config: ConnectionConfig) -> None:
    claims = _claims(token, config)
    if not is_fresh(text(claims, "iat"), request.received_at):
        raise VerificationError("timestamp_stale", "The token's iat is missing or more than five minutes off.")
    expected = hashlib.sha256(request.body).hexdigest()
    if not hmac.compare_digest(expected.encode(), text(claims, "payload_hash").lower().encode()):
        raise VerificationError("signature_wrong", "The token's payload_hash is not that of the body.")
    _check_api_key(text(claims, "api_key"), config)


def _claims(token: str, config: ConnectionConfig) -> Item:
    """Return the claims of a token signed by HS256, whatever algorithm it names. Raises ``VerificationError``."""
    signed, _, signature = token.rpartition(".")
    covered = signed.encode("utf-8", "replace")
    if not any(
        hmac_matches(secret, covered, _standard(signature), "sha256", "base64") for secret in secrets_of(config)
    ):
        raise VerificationError("signature_wrong", "The token in the Authorization header does not match.")
    try:
        return as_object(payload.load(base64.b64decode(_standard(signed.partition(".")[2]))))
    except ValueError as error:
        raise VerificationError("signature_wrong", "The token in the Authorization header has no claims.") from error


def _standard(base64url: str) -> str:
    return base64url.translate(_BASE64URL) + "=" * (-len(base64url) % 4)


def _check_api_key(found: str, config: ConnectionConfig) -> None:
    expected = config.settings.get("api_key", "")
    if expected and found != expected:
        raise VerificationError("account_wrong", "The callback belongs to another API key.")


def _event(item: Item, config: ConnectionConfig, received_at: datetime) -> Event:
    read = _status_callback if "message_uuid" in item else _receipt
    return read(item, config, received_at)


def _receipt(item: Item, config: ConnectionConfig, received_at: datetime) -> Event:
    # msisdn is the recipient and to the sender: the reverse of what the names suggest.
    message_id, recipient, status = text(item, "messageId"), address(item, "msisdn"), word(item, "status").lower()
    if not status:
        raise UnreadableError("has no status, so it is not a delivery receipt")
    if not (message_id and recipient):
        raise UnreadableError("names no message (messageId) or no recipient (msisdn)")
    code = word(item, "err-code")
    return Event(
        kind=_SMS_WORDS.get(status) or _failure(status, code),
        recipient=to_e164(recipient),
        occurred_at=time_of(item, "message-timestamp", received_at) or received_at,
        verdict=f"{status}/{code}",
        provider_event_id=f"~{message_id}/{status}/{code}/{word(item, 'scts')}",
        provider_message_id=message_id,
        attempt_ref=attempt_of(item, "client-ref"),
        sender=address(item, "to"),
        route=_route(text(item, "api-key"), address(item, "to"), config),
    )


def _status_callback(item: Item, config: ConnectionConfig, received_at: datetime) -> Event:
    message_id, recipient, status = text(item, "message_uuid"), _party(item, "to"), word(item, "status").lower()
    if not status:
        raise UnreadableError("has no status, so it is not a message status")
    if not (message_id and recipient):
        raise UnreadableError("names no message (message_uuid) or no recipient (to)")
    error = item.get("error")
    code, reply = _error(error) if isinstance(error, dict) else ("", "")
    return Event(
        kind=_MESSAGES_WORDS.get(status) or _failure(status, code),
        recipient=to_e164(recipient),
        occurred_at=time_of(item, "timestamp", received_at) or received_at,
        verdict=f"{status}/{code}",
        reply=reply,
        provider_event_id=f"~{message_id}/{status}/{code}",
        provider_message_id=message_id,
        attempt_ref=attempt_of(item, "client_ref"),
        sender=_party(item, "from"),
        route=_route("", _party(item, "from"), config),
    )


def _failure(status: str, code: str) -> Kind:
    by_word = _FAILURE_WORDS.get(status)
    return _CODES.get(code, by_word) if by_word else Kind.UNKNOWN


def _error(error: Item) -> tuple[str, str]:
    """Return the number, from ``title``, the fragment of ``type`` or the older ``code``, and the text of an error."""
    title, fragment = word(error, "title"), _CODE_IN_TYPE.search(text(error, "type"))
    number = title if title.isdigit() else fragment[1] if fragment else word(error, "code")
    return number, text(error, "detail", "reason", limit=RAW_LIMIT)


def _party(item: Item, name: str) -> str:
    """Return a number, also in the older shape ``{"type": "sms", "number": "…"}``."""
    value = item.get(name)
    return address(value, "number", "id") if isinstance(value, dict) else address(item, name)


def _route(api_key: str, sender: str, config: ConnectionConfig) -> str:
    return {"api_key": api_key, "sender": sender}.get(config.route_by, "")


PROVIDER = Vonage()
