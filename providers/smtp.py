"""Reads reply codes, enhanced status codes and addresses out of what providers quote from mail servers."""

from __future__ import annotations

import re
from functools import lru_cache

# RFC 3463: class, subject, detail. Subjects stop at 7, which keeps version numbers ("exim 4.96.1") out;
# the look-arounds keep IP addresses out.
_ENHANCED = re.compile(r"(?<![\w.])[245]\.[0-7]\.\d{1,3}(?!\d|\.\d)")
# What nearly every reply looks like, with the "smtp;" of a DSN's Diagnostic-Code before it.
_USUAL = re.compile(r"\s*(?:smtp\s*;\s*)?([245]\d\d)[\s-]+#?([245]\.[0-7]\.\d{1,3})(?!\d|\.\d)", re.IGNORECASE)
_LEADING = re.compile(r"\s*(?:smtp\s*;\s*)?([245]\d\d)(?![\w.])", re.IGNORECASE)
# A reply that somebody else quotes: "host mx.example.net[192.0.2.1] said: 550 …", "returned '550 …".
_QUOTED = re.compile(r"(?:[:;'\"(<#]\s*|--\s*)([45]\d\d)(?=[\s-])")
_BEFORE_ENHANCED = re.compile(r"\b([45]\d\d)(?=[\s-]#?[45]\.[0-7]\.\d)")
_RFC822 = "rfc822;"
_STATUS_LIMIT = 64


def read_codes(status: str, text: str) -> tuple[str, str]:
    """Return the SMTP reply code and the enhanced status code, each "" when there is none.

    ``status`` is the provider's own field and may be either form ("550", "5.1.1"); ``text`` is the reply, perhaps
    wrapped, prefixed "smtp; " or quoted by another server. The reply code is that of the text, whose words it belongs
    to, else that of ``status``. The enhanced code is that of ``status``, because a provider that gave up may know more
    than the last reply says ("4.4.7", expired, after "421 4.7.0"), unless it is x.0.0, which says nothing. Of two
    codes in a text the first counts, since what follows it is a quotation; again a later one beats x.0.0.
    """
    status_reply, status_enhanced = _read_status(status[:_STATUS_LIMIT])
    usual = _USUAL.match(text)
    reply = (usual[1] if usual else _find_reply_code(text)) or status_reply
    if status_enhanced and not _says_nothing(status_enhanced):
        return reply, status_enhanced
    if usual and not _says_nothing(usual[2]):
        return reply, usual[2]
    return reply, _find_enhanced_code(text) or status_enhanced


@lru_cache(maxsize=4096)
def _read_status(status: str) -> tuple[str, str]:
    return _find_reply_code(status), _find_enhanced_code(status)


def _says_nothing(enhanced: str) -> bool:
    return enhanced.endswith(".0.0")


def _find_reply_code(text: str) -> str:
    found = _LEADING.match(text) or _QUOTED.search(text) or _BEFORE_ENHANCED.search(text)
    return found[1] if found else ""


def _find_enhanced_code(text: str) -> str:
    codes: list[str] = _ENHANCED.findall(text)
    return next((code for code in codes if not _says_nothing(code)), codes[0] if codes else "")


def clean_address(text: str) -> str:
    """Return the bare address: no display name, angle brackets or "rfc822;", the domain in lower case.

    The local part keeps its case: Amazon SES wants it back exactly as it was. Text without "@" is only trimmed.
    """
    if "<" in text:
        text = text[text.rfind("<") + 1 :].partition(">")[0]
    text = text.strip()
    if text[: len(_RFC822)].lower() == _RFC822:
        text = text[len(_RFC822) :].strip()
    local, at, domain = text.rpartition("@")
    return f"{local}@{domain.lower()}" if at else text


def domain_of(address: str) -> str:
    """Return the lower-case domain of an address that may have a display name, or ""."""
    local, at, domain = clean_address(address).rpartition("@")
    return domain if at and local else ""
