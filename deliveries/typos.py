"""Guesses what was meant by an email address with a typing error in its domain; a hint for people, never a decision."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

# Where many people have their mailbox; the first is preferred where two are equally near.
_MAILBOXES: Final = (
    *("gmail.com", "yahoo.co.jp", "docomo.ne.jp", "ezweb.ne.jp", "au.com", "softbank.ne.jp", "i.softbank.jp"),
    *("icloud.com", "hotmail.com", "outlook.jp", "outlook.com", "yahoo.com", "hotmail.co.jp", "live.jp"),
    *("nifty.com", "biglobe.ne.jp", "ymobile.ne.jp", "yahoo.ne.jp", "rakuten.jp", "uqmobile.jp", "ybb.ne.jp"),
    *("ocn.ne.jp", "plala.or.jp", "infoseek.jp", "excite.co.jp", "vodafone.ne.jp", "disney.ne.jp", "willcom.com"),
    *("me.com", "mac.com", "msn.com", "live.com", "aol.com", "gmx.de", "gmx.net", "web.de", "proton.me"),
    *("protonmail.com", "zoho.com", "googlemail.com", "ymail.com", "mail.com", "comcast.net", "qq.com", "163.com"),
    *("naver.com", "hanmail.net", "yandex.ru", "mail.ru", "rocketmail.com", "y-mobile.ne.jp", "so-net.ne.jp"),
    *("dion.ne.jp", "jcom.home.ne.jp", "jcom.zaq.ne.jp", "asahi-net.or.jp", "dream.jp", "goo.jp", "mineo.jp"),
)
# Domains of others that look like a slip of one above.
_OTHERS: Final = frozenset(
    {
        *("email.com", "fmail.com", "hmail.com", "inbox.com", "gmx.com", "gmx.at", "gmx.ch", "mail.de", "mail.jp"),
        *("yahoo.fr", "yahoo.de", "yahoo.es", "yahoo.it", "yahoo.in", "yahoo.ca", "yahoo.com.br", "yahoo.com.tw"),
        *("yahoo.co.uk", "yahoo.co.kr", "yahoo.co.in", "yahoo.co.id", "hotmail.co.uk", "hotmail.fr", "hotmail.de"),
        *("hotmail.it", "hotmail.es", "hotmail.be", "outlook.fr", "outlook.de", "outlook.es", "outlook.it"),
        *("outlook.kr", "live.fr", "live.nl", "live.ca", "live.co.uk", "aol.jp", "aol.de", "ac.jp", "softbank.co.jp"),
        *("softbank.jp", "docomo.co.jp", "126.com", "139.com", "189.cn", "qq.cn", "mac.jp", "au.jp", "me.jp"),
    }
)
# Of these there is one domain only, whatever is written after the first dot.
_ONLY: Final = {
    "gmail": "gmail.com",
    "docomo": "docomo.ne.jp",
    "ezweb": "ezweb.ne.jp",
    "icloud": "icloud.com",
}
_ENDINGS: Final = {
    **dict.fromkeys(("con", "cmo", "ocm", "comm", "vom", "xom", "cpm", "coom", "cim", "conm", "clm", "cxom"), "com"),
    **dict.fromkeys(("ner", "nte", "met", "bet", "ntt"), "net"),
    **dict.fromkeys(("jpp", "jpn", "lp"), "jp"),
}
_SECOND_LEVELS: Final = ("co", "ne", "or", "ac", "go")
# The shorter a name, the more real ones are near it.
_SHORTEST_FOR_ONE = 8
_SHORTEST_FOR_TWO = 10
_LONGEST_NAME = max(map(len, _MAILBOXES)) + 2
_KNOWN: Final = frozenset(_MAILBOXES) | _OTHERS
_UNDOTTED: Final = {domain.replace(".", ""): domain for domain in reversed(_MAILBOXES)}


def suggest(address: str) -> str:
    """Return what an address was probably meant to be ("taro@gmial.com" → "taro@gmail.com"), "" if nothing is near.

    Never for a domain that is known itself. Full-width characters and commas for dots are put right on the way.
    """
    written = "".join(unicodedata.normalize("NFKC", address).split()).replace("。", ".")
    local, at, domain = written.rpartition("@")
    if not (local and at and domain):
        return ""
    meant = _meant(domain.lower())
    changed = f"{local}@{meant or domain}"
    return changed if meant or (written != address.strip() and written.isascii()) else ""


@lru_cache(maxsize=65_536)
def _meant(domain: str) -> str:
    """The domain that was meant, "" if this one may well be right."""
    if domain in _KNOWN:
        return ""
    dotted = domain.replace(",", ".").replace("..", ".").strip(".")
    if dotted in _KNOWN:
        return dotted
    name, _, ending = dotted.partition(".")
    near = _UNDOTTED.get(dotted) or (ending and _ONLY.get(name)) or _nearest(dotted)
    repaired = near or _with_repaired_ending(dotted)
    return repaired if repaired != domain else ""


def _with_repaired_ending(domain: str) -> str:
    name, _, ending = domain.rpartition(".")
    if name and ending in _ENDINGS:
        return f"{name}.{_ENDINGS[ending]}"
    for second in _SECOND_LEVELS:  # examplecojp has no dot to go by, example.cojp has
        if name and ending == f"{second}jp":
            return f"{name}.{second}.jp"
    return domain


def _nearest(domain: str) -> str:
    if not _SHORTEST_FOR_ONE - 1 <= len(domain) <= _LONGEST_NAME:
        return ""
    candidates = {known for form in _thinned(domain) for known in _BY_THINNED.get(form, ())}
    near = [(distance(domain, known), _MAILBOXES.index(known), known) for known in candidates]
    allowed = [found for found in near if found[0] <= _allowed(found[2])]
    return min(allowed)[2] if allowed else ""


def _allowed(known: str) -> int:
    if len(known) < _SHORTEST_FOR_ONE:
        return 0
    return 1 if len(known) < _SHORTEST_FOR_TWO else 2


def _thinned(word: str) -> set[str]:
    """The word with up to two letters taken out: two words within that distance have one of these in common."""
    once = {word[:place] + word[place + 1 :] for place in range(len(word))}
    twice = {less[:place] + less[place + 1 :] for less in once for place in range(len(less))}
    return {word} | once | twice


def distance(one: str, other: str) -> int:
    """Return how many letters to insert, delete, change or swap with their neighbour (optimal string alignment)."""
    before_last: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        before_last, last = last, row
    return last[-1]


def _index() -> dict[str, tuple[str, ...]]:
    index: dict[str, tuple[str, ...]] = {}
    for known in _MAILBOXES:
        if _allowed(known):
            for form in _thinned(known):
                index[form] = (*index.get(form, ()), known)
    return index


_BY_THINNED: Final = _index()
