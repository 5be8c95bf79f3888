"""How many parts a text takes as SMS: what carriers charge for (3GPP TS 23.038, 23.040)."""

from __future__ import annotations

from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("^{}\\[~]|€\f")
# One message alone, and each part of several, which lose room to the header that joins them.
_GSM_ONE, _GSM_OF_SEVERAL = 160, 153
_UCS2_ONE, _UCS2_OF_SEVERAL = 70, 67


def parts_of(text: str) -> int:
    """Return the number of parts: GSM 7-bit where every character has a place in it, else UCS-2."""
    characters = frozenset(text)
    if characters <= _BASIC | _EXTENDED:
        return _parts(len(text) + sum(character in _EXTENDED for character in text), _GSM_ONE, _GSM_OF_SEVERAL)
    return _parts(len(text.encode("utf-16-be")) // 2, _UCS2_ONE, _UCS2_OF_SEVERAL)


def _parts(length: int, one: int, of_several: int) -> int:
    return 1 if length <= one else -(-length // of_several)
