"""Reads the headers of an email as its recipient sees them: the way it took, and whether its sender is proven.

Pure: text in, dataclasses out. Nothing in a header can be relied on but what the receiving side's own servers wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import HeaderParser
from email.utils import parseaddr, parsedate_to_datetime
from typing import Final

LIMIT: Final = 256 * 1024  # characters
MOST_HOPS: Final = 100
MOST_RESULTS: Final = 100
LONGEST_VALUE: Final = 1000

# A hop that ends this much before it began was timed by clocks that disagree; less is rounding.
SKEW: Final = timedelta(seconds=-1)

_FIRST_LINE: Final = re.compile(
    r"^(?:Delivered-To|X-Original-To|Return-Path|Received|X-Received|Authentication-Results|ARC-[A-Za-z-]+|"
    r"DKIM-Signature|X-[A-Za-z0-9-]+|From|To|Subject|Date|Message-ID|MIME-Version)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_HOST: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.IGNORECASE)
_PLACE: Final = {
    word: re.compile(rf"(?:^|\s){word}\s+([^\s();]{{1,255}})", re.IGNORECASE) for word in ("from", "by", "with")
}
_ENCRYPTED: Final = re.compile(r"\b(?:version=)?TLS\s?v?1[._]?[0-3]?|\bcipher=|\bSSL", re.IGNORECASE)
_ENCRYPTED_PROTOCOLS: Final = frozenset({"ESMTPS", "ESMTPSA", "UTF8SMTPS", "UTF8SMTPSA", "LMTPS", "LMTPSA", "SMTPS"})
_PLAIN_PROTOCOLS: Final = frozenset({"SMTP", "ESMTP", "ESMTPA", "UTF8SMTP", "UTF8SMTPA"})
_METHOD: Final = re.compile(r"([a-z][a-z0-9_-]{0,30})(?:/[0-9]+)?\s*=\s*([a-z]{1,20})", re.IGNORECASE)
_PROPERTY: Final = re.compile(
    r"([a-z]{1,20}\.[a-z0-9_-]{1,40}|reason)\s*=\s*(\"[^\"]{0,300}\"|[^\s;]{1,300})", re.IGNORECASE
)
_SECOND_LEVEL: Final = frozenset(
    ["ac", "ad", "co", "com", "ed", "edu", "go", "gov", "gr", "lg", "mil", "ne", "net", "or", "org"]
)

_ISO_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9:]{8})(?:\.[0-9]+)? ?([+-][0-9]{4}|Z)")
_FRACTION: Final = re.compile(r"(:[0-9]{2})\.[0-9]+")

METHODS: Final = ("spf", "dkim", "dmarc", "arc")
# What of the headers is shown as it is, in this order.
FACTS: Final = ("From", "Return-Path", "Reply-To", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe")
# By these a provider finds the message in its own logs.
PROVIDER_IDS: Final = (
    *("X-SG-EID", "X-SG-ID", "X-Entity-ID", "X-SES-Outgoing", "Feedback-ID", "X-Mailgun-Sid"),
    *("X-MS-Exchange-Organization-Network-Message-Id", "X-Google-Smtp-Source"),
)


Items = list[tuple[str, str]]  # name in lower case, value on one line; as they stand, the last written first


@dataclass(frozen=True, slots=True)
class Hop:
    """One hand-over between two servers. ``delay`` since the hop before it, None where a time cannot be read.

    ``is_skewed``: the clocks of the two disagree, so that the delay is not to be believed. ``is_encrypted`` is None
    where the server does not say.
    """

    from_host: str
    by_host: str
    protocol: str
    is_encrypted: bool | None
    at: datetime | None
    delay: timedelta | None = None
    is_skewed: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What one server says to have found of one method; ``is_trusted``: it is the receiving side's own.

    ``is_sealed``: it stands in an ARC header, by which servers pass on what they found.
    """

    server: str
    method: str
    result: str
    about: str
    is_trusted: bool
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What the headers say. ``hops`` in the order in which the message went."""

    facts: Mapping[str, str]
    provider_ids: Mapping[str, str]
    hops: Sequence[Hop]
    results: Sequence[Result]

    @property
    def is_empty(self) -> bool:
        return not (self.facts or self.hops or self.results)

    @property
    def total(self) -> timedelta | None:
        """How long it was on its way, by the first and the last clock; None where one is missing."""
        times = [hop.at for hop in self.hops if hop.at]
        return times[-1] - times[0] if len(times) > 1 else None

    @property
    def slowest(self) -> Hop | None:
        """The hop with the longest delay that can be believed."""
        timed = [hop for hop in self.hops if hop.delay and not hop.is_skewed]
        return max(timed, key=lambda hop: hop.delay or timedelta(), default=None)

    @property
    def from_domain(self) -> str:
        return parseaddr(self.facts.get("From", ""))[1].rpartition("@")[2].lower()

    @property
    def message_ids(self) -> list[str]:
        """The forms in which a provider's report may name the message: SendGrid and SES put theirs before the @."""
        whole = self.facts.get("Message-ID", "").strip().strip("<>")
        return [one for one in (whole, whole.partition("@")[0], f"<{whole}>") if one.strip("<>")]

    def trusted(self, method: str) -> str:
        """Return the receiving side's result for a method: "pass" if any of several passed, "" without one."""
        found = [one.result for one in self.results if one.method == method and one.is_trusted and not one.is_sealed]
        return "pass" if "pass" in found else found[0] if found else ""


def read(text: str) -> Reading:
    """Read pasted headers, or a whole message; what cannot be read is left out. Never raises.

    At most ``LIMIT`` characters are looked at.
    """
    items = _items(HeaderParser().parsestr(_from_first_header(text[:LIMIT])))
    received = [(index, value) for index, (name, value) in enumerate(items) if name == "received"][:MOST_HOPS]
    hops = [(index, _hop(value)) for index, value in received]
    return Reading(
        facts=_named(items, FACTS),
        provider_ids=_named(items, PROVIDER_IDS),
        hops=_timed([hop for _index, hop in reversed(hops)]),
        results=_results(items, hops),
    )


def _from_first_header(text: str) -> str:
    """Leave out what a mail program puts above the headers, for example Gmail's table of "Original message"."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    start = _FIRST_LINE.search(text)
    return text[start.start() :] if start else ""


def _items(message: Message) -> Items:
    return [(name.lower(), _flat(value)) for name, value in message.raw_items()]


def _flat(value: object) -> str:
    return " ".join(str(value).split())


def _named(items: Items, names: Iterable[str]) -> dict[str, str]:
    """The first value of each header that is there, decoded."""
    first = dict(reversed(items))
    return {name: value for name in names if (value := _decoded(first.get(name.lower(), "")))}


def _decoded(value: str) -> str:
    try:
        decoded = str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        decoded = value
    return _flat(decoded.encode("utf-8", "replace").decode())[:LONGEST_VALUE]


# --- The way it took


def _hop(value: str) -> Hop:
    said, _semicolon, date = value.rpartition(";") if ";" in value else (value, "", value)
    bare = _without_comments(said)
    from_host, by_host, protocol = (_placed(bare, word) for word in ("from", "by", "with"))
    return Hop(from_host, by_host, protocol.upper(), _encrypted(protocol.upper(), said), _time(date))


def _placed(said: str, word: str) -> str:
    found = _PLACE[word].search(said)
    return found[1].lower() if found else ""


def _encrypted(protocol: str, said: str) -> bool | None:
    if protocol in _ENCRYPTED_PROTOCOLS or _ENCRYPTED.search(said):
        return True
    return False if protocol in _PLAIN_PROTOCOLS else None


def _time(text: str) -> datetime | None:
    """The time of a hop. SendGrid's own servers write it in ISO's order."""
    try:
        iso = _ISO_TIME.search(text)
        bare = _FRACTION.sub(r"\1", _without_comments(text).strip())
        at = datetime.fromisoformat("{}T{}{}".format(*iso.groups())) if iso else parsedate_to_datetime(bare)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _timed(hops: Sequence[Hop]) -> list[Hop]:
    """Give each hop its delay since the last one before it whose time is known."""
    timed: list[Hop] = []
    before: datetime | None = None
    for hop in hops:
        delay = hop.at - before if hop.at and before else None
        skewed = delay is not None and delay < SKEW
        timed.append(Hop(hop.from_host, hop.by_host, hop.protocol, hop.is_encrypted, hop.at, delay, skewed))
        before = hop.at or before
    return timed


def _without_comments(text: str) -> str:
    """RFC 5322 comments nest, and parentheses in quoted strings are none; unbalanced ones end with the text."""
    kept, depth, quoted = [], 0, False
    for character in text:
        if character == '"' and not depth:
            quoted = not quoted
        elif character == "(" and not quoted:
            depth += 1
            continue
        elif character == ")" and depth and not quoted:
            depth -= 1
            kept.append(" ")
            continue
        if not depth:
            kept.append(character)
    return "".join(kept)


# --- Whether its sender is proven


def _results(items: Items, received: Sequence[tuple[int, Hop]]) -> list[Result]:
    own, border = _receiving_side(received)
    found: list[Result] = []
    for index, (name, value) in enumerate(items):
        if name in {"authentication-results", "arc-authentication-results"} and len(found) < MOST_RESULTS:
            found += _read_results(value, own if index < border else frozenset(), sealed=name.startswith("arc"))
    return found


def _receiving_side(received: Sequence[tuple[int, Hop]]) -> tuple[frozenset[str], int]:
    """The organisation that received the message, and at which header what its own servers wrote ends.

    Each server writes above what it was given. From the top down, the receiving side's servers hand over among
    themselves until one took the message from outside; whatever stands below the next ``Received`` came with it, and
    the sender could have written it (RFC 8601, 7.1).
    """
    named = [(index, hop) for index, hop in received if _HOST.fullmatch(hop.by_host)]
    if not named:
        return frozenset(), 0
    own = organisation(named[0][1].by_host)
    entry = next((index for index, hop in named if organisation(hop.from_host) != own), named[-1][0])
    below = [index for index, _hop in received if index > entry]
    return frozenset({own}), below[0] if below else LIMIT


def organisation(host: str) -> str:
    """The domain that a host belongs to, by the usual shapes of domains: "mx1.example.co.jp" → "example.co.jp"."""
    labels = host.lower().strip("[].").split(".")
    size = 3 if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL else 2  # noqa: PLR2004
    return ".".join(labels[-size:])


def _read_results(value: str, own: frozenset[str], *, sealed: bool) -> list[Result]:
    parts = [part.strip() for part in _without_comments(value).split(";")]
    if sealed:
        parts = [part for part in parts if not re.fullmatch(r"i\s*=\s*[0-9]{1,3}", part)]
    # Microsoft leaves the server's name out.
    server = "" if not parts or _METHOD.match(parts[0]) else parts.pop(0).split(" ")[0].lower()[:255]
    trusted = bool(own) and (organisation(server) in own if server else not sealed)
    return [
        Result(server, found[1].lower(), found[2].lower(), _about(part), trusted, sealed)
        for part in parts
        if (found := _METHOD.match(part)) and found[1].lower() in METHODS
    ]


def _about(part: str) -> str:
    """What a result is about: the domain or address that was looked at."""
    said = {name.lower(): value.strip('"') for name, value in _PROPERTY.findall(part)}
    wanted = ("header.d", "header.i", "header.from", "smtp.mailfrom", "smtp.helo", "reason")
    return next((said[name] for name in wanted if name in said), "")
