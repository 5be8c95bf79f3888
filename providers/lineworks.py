"""LINE WORKS: callbacks of a bot, and reports of the answers that the bot API gave to the product's own sends.

LINE WORKS reports no delivery: all that can fail is in the answer to the send call, so the product posts that answer
here (see docs/providers/lineworks.md). Source of the callbacks: https://developers.worksmobile.com/en/docs/bot-callback
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache, partial

from providers import payload
from providers.base import (
    Channel,
    ConnectionConfig,
    ConnectionEvent,
    Event,
    Field,
    Kind,
    Parsed,
    Request,
    Unparsed,
    VerificationError,
)
from providers.callback import Item, address, read_each, secrets_of, text, time_of, word
from providers.payload import TEXT_LIMIT, UnreadableError
from providers.signatures import hmac_matches

SIGNATURE_HEADER = "x-works-signature"
BOT_HEADER = "x-works-botid"

_CALLBACKS = frozenset({"message", "postback", "join", "leave", "joined", "left", "begin", "end"})

_STATUS = re.compile(r"[1-5]\d\d", re.ASCII)
# What an error's text names. Descriptions may come in the account's language; addresses are taken out before.
_ADDRESS = re.compile(r"\S*@\S*")
_SCOPE = re.compile(r"scope|not allowed api|スコープ", re.IGNORECASE)
_DAILY = re.compile(r"daily|per day|1日|日次", re.IGNORECASE)
_ROOM = re.compile(r"channel|トークルーム", re.IGNORECASE)
_DOMAIN = re.compile(r"domain|tenant|ドメイン|テナント", re.IGNORECASE)
_BOT = re.compile(r"(?<![a-z])bot(?![a-z])", re.IGNORECASE)


class LineWorks:
    """One bot of a LINE WORKS account."""

    name = "lineworks"
    label = "LINE WORKS"
    channel = Channel.LINEWORKS
    fields = (
        Field("bot_secret", "Bot Secret", secret=True, help="Of the bot, in the LINE WORKS Developer Console."),
        Field("bot_id", "Bot ID", required=False, help="If set, callbacks of other bots are refused."),
        Field(
            "domains",
            "Login ID domains",
            required=False,
            help="Of the organisation, separated by commas, e.g. example.com, sales.example.com. Tells foreign IDs.",
        ),
        Field("domain_id", "Domain ID", required=False, help="The number of the organisation's domain."),
    )
    route_keys = ("domain_id", "bot_id")
    kept_headers = ("content-type", BOT_HEADER)

    def verify(self, request: Request, config: ConnectionConfig) -> None:
        """Check ``X-WORKS-Signature``, Base64 of HMAC-SHA256 over the raw body under the Bot Secret, and the bot.

        Reasons: ``signature_missing``, ``key_unusable``, ``signature_wrong``, ``account_wrong``.
        """
        signature = request.headers.get(SIGNATURE_HEADER)
        if not signature:
            raise VerificationError("signature_missing", "The X-WORKS-Signature header is missing.")
        if not any(hmac_matches(secret, request.body, signature, "sha256", "base64") for secret in secrets_of(config)):
            raise VerificationError("signature_wrong", "The signature does not match the body.")
        # LINE WORKS always names the bot; a program that reports answers need not.
        bot_id, expected = request.headers.get(BOT_HEADER, ""), config.settings.get("bot_id", "")
        if bot_id and expected and bot_id.strip() != expected:
            raise VerificationError("account_wrong", "The callback belongs to another bot.")

    def parse(
        self, body: bytes, headers: Mapping[str, str], config: ConnectionConfig, received_at: datetime
    ) -> list[Parsed]:
        """Read a callback, or one or more reports: an object, an array, or an array under ``results``."""
        try:
            value = payload.load(body)
        except UnreadableError as error:
            return [Unparsed(reason=str(error), raw=payload.excerpt(body))]
        if isinstance(value, dict) and isinstance(value.get("results"), list):
            value = value["results"]
        read = partial(_read, config=config, bot_id=headers.get(BOT_HEADER, ""), received_at=received_at)
        return read_each(value if isinstance(value, list) else [value], read)

    def missing_event_kinds(self, seen: frozenset[Kind]) -> tuple[Kind, ...]:
        """Unknown: LINE WORKS reports no deliveries, and a product may report refusals only."""
        return ()


def _read(item: Item, config: ConnectionConfig, bot_id: str, received_at: datetime) -> Parsed:
    source = item.get("source")
    if isinstance(source, dict) and "type" in item:
        return _callback(item, source, received_at)
    return _report(item, config, bot_id, received_at)


def _callback(item: Item, source: Item, received_at: datetime) -> ConnectionEvent:
    kind = word(item, "type")
    if kind not in _CALLBACKS:
        raise UnreadableError("is a callback of a type that is not known")
    return ConnectionEvent(
        kind=f"bot_{kind}",
        occurred_at=time_of(item, "issuedTime", received_at) or received_at,
        detail=_detail(item)[:TEXT_LIMIT],
        data={"user_id": text(source, "userId"), "channel_id": text(source, "channelId")},
    )


def _detail(item: Item) -> str:
    """Return what a person needs to see: a button's data, who came or went, what sort of message; never its words."""
    content, members = item.get("content"), item.get("members")
    if isinstance(content, dict):
        return text(content, "postback") or text(content, "type")
    if isinstance(members, list):
        return ", ".join(member for member in members if isinstance(member, str))
    return text(item, "data")


def _report(item: Item, config: ConnectionConfig, bot_id: str, received_at: datetime) -> Event:
    user_id, channel_id, notice_id = address(item, "user_id"), address(item, "channel_id"), text(item, "notice_id")
    if not (user_id or channel_id):
        raise UnreadableError("is neither a callback nor a report: it has no user_id and no channel_id")
    kind, verdict, reply = read_answer(item, config.settings.get("domains", ""))
    sent_at = time_of(item, "sent_at", received_at)
    return Event(
        kind=kind,
        recipient=user_id or channel_id,
        occurred_at=sent_at or received_at,
        verdict=verdict,
        reply=reply,
        provider_event_id="" if sent_at else f"~{notice_id}/{user_id or channel_id}/{verdict}",
        provider_message_id=notice_id,
        sender=text(item, "bot_id") or bot_id,
        title=text(item, "title", limit=TEXT_LIMIT),
        route=_route(item, config, bot_id),
    )


def read_answer(item: Item, domains: str) -> tuple[Kind, str, str]:
    """Return kind, verdict and the API's words of an answer to a send, in the form of a report on it.

    ``domains`` are the organisation's, separated by commas. Raises ``UnreadableError`` for a status that is none.
    """
    code, description = word(item, "code").upper(), text(item, "description", limit=payload.RAW_LIMIT)
    status, failure = word(item, "status"), word(item, "error")
    token_error, token_words = _token_error(item)
    if token_error:
        return Kind.FAILED, f"token {token_error}", _joined(status, token_error, description or token_words)
    if not status:
        if not failure:
            raise UnreadableError("has neither an HTTP status nor an error")
        return Kind.FAILED, "network", _joined(failure, description)
    if not _STATUS.fullmatch(status):
        raise UnreadableError("has a status that is not an HTTP status")
    reply = _joined(status, code, description)
    if status.startswith("2"):
        return Kind.ACCEPTED, _joined(status, code), reply
    return Kind.FAILED, _joined(status, code, *_flags(item, status, f"{code} {description}", domains)), reply


def _flags(item: Item, status: str, words: str, domains: str) -> list[str]:
    """Return what the answer's header and words say beyond its status and code, in a fixed order."""
    user_id = address(item, "user_id")
    words = _ADDRESS.sub("", words)
    challenge = _header(item, "www-authenticate").lower()
    found = {
        "+scope": "insufficient_scope" in challenge or (status in ("401", "403") and bool(_SCOPE.search(words))),
        "+daily": bool(_DAILY.search(words)),
        "+foreign": is_foreign(user_id, domains),
        "+room": (not user_id and bool(address(item, "channel_id"))) or bool(_ROOM.search(words)),
        "+domain": bool(_DOMAIN.search(words)),
        "+bot": bool(_BOT.search(words)),
    }
    return [flag for flag, applies in found.items() if applies]


def is_foreign(user_id: str, domains: str) -> bool:
    """Tell whether a login ID is of a domain that is not the organisation's. Of a resource ID it can't be known."""
    domain = user_id.rpartition("@")[2].lower() if "@" in user_id else ""
    own = _domains(domains)
    return bool(domain and own) and domain not in own


@lru_cache(maxsize=1024)
def _domains(setting: str) -> frozenset[str]:
    return frozenset(name.strip().lstrip("@").lower() for name in setting.split(",")) - {""}


def _header(item: Item, name: str) -> str:
    headers = item.get("headers")
    if not isinstance(headers, dict):
        return ""
    return next((text(headers, key) for key in headers if key.lower() == name), "")


def _token_error(item: Item) -> tuple[str, str]:
    """Return word and text of an error of RFC 6749, given as its word or as the token endpoint's whole answer."""
    answer = item.get("token_error")
    if isinstance(answer, dict):
        return word(answer, "error").lower(), text(answer, "error_description", limit=payload.RAW_LIMIT)
    return word(item, "token_error").lower(), ""


def _joined(*words: str) -> str:
    return " ".join(filter(None, words))


def _route(item: Item, config: ConnectionConfig, bot_id: str) -> str:
    if config.route_by == "domain_id":
        return text(item, "domain_id")
    return (text(item, "bot_id") or bot_id) if config.route_by == "bot_id" else ""


PROVIDER = LineWorks()
