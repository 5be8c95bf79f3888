"""Brings replies into the one form that the text patterns are written for."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# More than this of a reply is not read: what a server has to say, it says at the beginning.
_READ: Final = 4_000

# What mail servers put before the reply they quote (Postfix, qmail, Exim) ...
_QUOTES: Final = (
    " said: ",
    "refused to talk to me: ",
    "remote host said:",
    "remote server replied:",
    " does not like recipient.",
)
_EXIM: Final = re.compile(
    r"smtp error from remote (?:mail ?server|mailer|server) (?:after|for) (?:initial |pipelined )*"
    r"(?P<command>mail|rcpt|end of data|data|text|\w+)(?: from| to)?(?: command)?(?::<[^>]*>)?(?: size=\d+)?[:,]?"
    r"(?: host:? \S+(?: ?[\[(][^\])]*[\])])?(?: reason)?:?)?"
)
# ... and after it.
_POSTFIX: Final = re.compile(r"\(in reply to (?:the )?(?P<command>end of data|mail|rcpt|data|\w+)[^)]*\)")
_QMAIL_END: Final = "giving up on "
# Which command was refused says whom the refusal is about, so it becomes a word.
_PHASES: Final = {
    "helo": " afterhelo",
    "ehlo": " afterhelo",
    "mail": " aftermail",
    "rcpt": " afterrcpt",
    "data": " afterdata",
    "end of data": " afterdata",
    "text": " afterdata",
}

# Apostrophes vanish ("doesn't" → "doesnt"), every digit is "0", other punctuation parts words, but for the full stop.
_PARTING: Final = bytes(range(32)) + b'_-<>"()[]{}=,;|/\\:?&!+~^%$'
_LETTERS: Final = bytes.maketrans(_PARTING + b"0123456789", b" " * len(_PARTING) + b"0" * 10)
_DROPPED: Final = b"'`#*"
# Codes that begin the lines of a reply of several lines ("550-5.1.1 …"): texts and codes are weighed apart.
_CODES: Final = frozenset({b"000", b"0_0_0", b"0_0_00", b"0_0_000", b"0_00_0"})


def fold(text: str) -> str:
    """Without accents (also Japanese voicing marks), full-width letters as plain ones; the case stays."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text.replace("’", "").replace("´", ""))
    return "".join(letter for letter in text if not unicodedata.combining(letter))


def words_of(reply: str) -> list[bytes]:
    """The words of a reply as patterns see them, in UTF-8.

    Lower case, no punctuation, no line codes and no quoting by other mail servers; every digit is "0". A full stop
    between sentences is the word ";", one inside a host name "_" (so that the words of a host name are never mistaken
    for the reply's), a mail address "theaddress", the refused command "afterhelo", "aftermail", "afterrcpt" or
    "afterdata".
    """
    text = reply[:_READ].lower()
    if "said: " in text or "remote" in text or "in reply to" in text or "to talk to me" in text or _QMAIL_END in text:
        text = _unquoted(text)
    raw = _addresses_masked(fold(text).encode(errors="replace").translate(_LETTERS, _DROPPED)).rstrip(b". ")
    if b".." in raw:
        raw = raw.replace(b"..", b" ")
    words = raw.replace(b". ", b" ; ").replace(b".", b"_").split()
    if "\n" in reply or reply[3:4] == "-":
        words = [word for word in words if word not in _CODES]
    return words


def _addresses_masked(raw: bytes) -> bytes:
    at = raw.find(b"@")
    while at >= 0:
        start, end = raw.rfind(b" ", 0, at) + 1, raw.find(b" ", at)
        raw = raw[:start] + b"theaddress" + (raw[end:] if end > 0 else b"")
        at = raw.find(b"@", start)
    return raw


def _unquoted(text: str) -> str:
    phase = ""
    for pattern in (_EXIM, _POSTFIX):
        if match := pattern.search(text):
            phase = _PHASES.get(match["command"], "")
            text = text[match.end() :] if pattern is _EXIM else text[: match.start()]
    for quote in _QUOTES:
        if quote in text:
            text = text.partition(quote)[2]
    return text.partition(_QMAIL_END)[0] + phase
