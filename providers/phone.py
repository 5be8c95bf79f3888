"""Phone numbers as reported by SMS providers, brought to E.164 where that can be known."""

from __future__ import annotations

import unicodedata

import phonenumbers

_SEPARATORS = str.maketrans("", "", " \t-().‐‑‒–—−ー")
_SHORTEST = 7
_LONGEST = 15  # E.164


def to_e164(number: str, country: str = "") -> str:
    """Return ``number`` as "+" and digits, or unchanged where that can't be known (short codes, sender names).

    Without ``country`` bare digits are taken as an international number, as Vonage sends them, unless they start
    with 0. With ``country`` (ISO 3166, e.g. "JP") a national form such as 090-1234-5678 is understood as well.
    """
    digits = unicodedata.normalize("NFKC", number).translate(_SEPARATORS)
    if digits.startswith("+"):
        return digits if _is_international(digits[1:]) else number
    if country and digits.isdigit() and (national := _national(digits, country)):
        return national
    return f"+{digits}" if _is_international(digits) else number


def _is_international(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and _SHORTEST <= len(digits) <= _LONGEST and digits[0] != "0"


def _national(digits: str, country: str) -> str:
    try:
        parsed = phonenumbers.parse(digits, country.upper())
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(parsed):
        return ""
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
