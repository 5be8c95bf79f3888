"""Looks at what is to be sent before it leaves: recipient, content and channel settings; pure functions, no look-ups.

A finding's verdict is ``check/<CODE>`` or ``check/<CODE>/<detail>``; deliveries/rules/checks.toml gives it its texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from deliveries.enums import Channel
from deliveries.typos import suggest

__all__ = [
    "ADDRESS_FIELDS",
    "Checked",
    "Finding",
    "check_content",
    "check_recipient",
    "check_settings",
    "is_blank",
    "lineworks_domains",
    "suggest",
]

ADDRESS_FIELDS: Final = {Channel.EMAIL: "email", Channel.SMS: "phone", Channel.LINEWORKS: "lineworks_id"}
LONGEST = 320  # what a recipient's column holds; a person may type anything

_DASHES: Final = str.maketrans(dict.fromkeys("‐‑‒–—―−ー─", "-"))
_SEPARATORS: Final = str.maketrans("", "", "-() .\t\N{NO-BREAK SPACE}")
_NUMBER_CHARACTERS: Final = re.compile(r"[0-9+\-(). \t]*")
_PLACEHOLDER: Final = re.compile(r"\{\{.*\}\}|\$\{.*\}|\{%.*%\}|<%.*%>|%\w+%|\*\|.*\|\*|\[\[.*\]\]|\{\w+\}", re.DOTALL)
_TAG: Final = re.compile(r"<(style|script|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE)
_SHOWS_WITHOUT_TEXT: Final = re.compile(r"<(?:img|video|picture|svg)\b", re.IGNORECASE)
_BLANK_ENTITY: Final = re.compile(r"&(?:nbsp|zwnj|zwj|#0*(?:160|8203|8204|8205)|#x0*(?:a0|200[bcd]));", re.IGNORECASE)
_INVISIBLE: Final = str.maketrans("", "", "\u200b\u200c\u200d\u2060\ufeff")

_JAPAN_CODE = 81
# A national number that begins so is one of a mobile phone; it has ten digits (eleven with the leading 0).
_JAPAN_MOBILE: Final = ("60", "70", "80", "90")
_JAPAN_MOBILE_DIGITS = 10
# Most numbers are of this form, and the library takes ten times as long to say the same. The pattern is its own.
_JAPAN: Final[Any] = PhoneMetadata.metadata_for_region("JP")
_JAPAN_MOBILE_NUMBER: Final = re.compile(rf"(\+81|81)?0?({_JAPAN.mobile.national_number_pattern})")
_TAKES_SMS: Final = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


_LONGEST_EMAIL: Final = 254
_LONGEST_LOCAL: Final = 64
_DOT_ATOM: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)  # RFC 5322 3.2.3
# Full-width and other letters outside ASCII before the "@" are typing errors here: no provider of ours takes them.
# Old addresses of Japanese carriers with dots in a row work in quotation marks. No domain is looked up.
_validate: Final = partial(
    validate_email,
    check_deliverability=False,
    allow_smtputf8=False,
    allow_quoted_local=True,
    strict=True,
    test_environment=True,
)


class Finding(NamedTuple):
    """What is wrong. ``detail`` is the verdict's last part, if it has one; ``field`` is where to put it right."""

    verdict: str
    detail: str
    field: str

    @property
    def code(self) -> str:
        return self.verdict.split("/")[1]


class Checked(NamedTuple):
    """A recipient as it goes to the provider; as it was given, without blanks around it, if there is a finding."""

    recipient: str
    finding: Finding | None


def check_recipient(
    channel: Channel,
    recipient: str,
    *,
    region: str = "JP",
    domains: Collection[str] = (),
    countries: Collection[str] = (),
) -> Checked:
    """Return the recipient in its normal form: domain in lower case and punycode, number in E.164.

    ``region`` is the country of numbers written without one. ``domains`` are those of the LINE WORKS account and
    ``countries`` (ISO 3166) those that SMS may go to; empty: all.
    """
    given = recipient.strip()
    if _is_placeholder(given):
        return _refused(channel, given, "RECIPIENT_FIELD_INVALID")
    if channel == Channel.EMAIL:
        return _check_email(given)
    if channel == Channel.SMS:
        return _check_number(given, region.upper(), countries)
    return _check_lineworks(given, domains)


def check_content(
    channel: Channel, *, sender: str = "", text: str = "", html: str = "", title: str = ""
) -> Finding | None:
    """Return what keeps a notice from being sent: no sender address, or nothing to read.

    Only email needs a sender address of its own. In a chat message or an SMS the title is part of the text.
    """
    if channel == Channel.EMAIL and is_blank(sender):
        return _finding("SENDER_ADDRESS_BLANK", "", "sender")
    parts = (text, _visible(html)) if channel == Channel.EMAIL else (text, _visible(html), title)
    return _finding("BODY_BLANK", "", "text") if all(map(is_blank, parts)) else None


def check_settings(provider: str, values: Mapping[str, str]) -> Finding | None:
    """Return what disagrees in a channel's settings, as far as that can be told without calling the provider."""
    if provider != "lineworks":
        return None
    bot_id, domain_id = values.get("bot_id", "").strip(), values.get("domain_id", "").strip()
    if bot_id and not _is_number(bot_id):
        return _finding("LINEWORKS_BOT_NOT_FOUND", "", "bot_id")
    if domain_id and not _is_number(domain_id):
        return _finding("LINEWORKS_DOMAIN_INVALID", "", "domain_id")
    return _check_service_account(values)


def lineworks_domains(values: Mapping[str, str]) -> frozenset[str]:
    """Return the organisation's login domains out of a connection's settings."""
    listed = f"{values.get('domains', '')},{values.get('domain', '')}"
    return frozenset(name.lower().removeprefix("@") for name in re.split(r"[\s,、]+", listed) if name)


def is_blank(text: str) -> bool:
    """Tell whether there is nothing to see: blanks and characters without a width only."""
    return not text.translate(_INVISIBLE).strip()


# ---------------------------------------------------------------- recipients


def _check_email(given: str) -> Checked:
    if not given:
        return _refused(Channel.EMAIL, given, "NO_ADDRESS")
    if "@" not in given and _is_name_or_number(given):
        return _refused(Channel.EMAIL, given, "RECIPIENT_FIELD_INVALID")
    local, _, domain = given.rpartition("@")
    local, domain = _normal_local(local), _normal_domain(domain.lower())
    if not (local and domain) or len(local) + len(domain) >= _LONGEST_EMAIL:
        return _refused(Channel.EMAIL, given, "INVALID_EMAIL_ADDRESS")
    return Checked(f"{local}@{domain}", None)


def _normal_local(local: str) -> str:
    """What stands before the "@" as it is sent; "" if nothing can be called so. Most are plain words with dots."""
    if len(local) <= _LONGEST_LOCAL and _DOT_ATOM.fullmatch(local):
        return local
    try:
        return _validate(f"{local}@x.example").local_part
    except EmailNotValidError:
        return ""


@lru_cache(maxsize=65_536)
def _normal_domain(domain: str) -> str:
    """The domain as it is sent, in punycode; "" if there can be none of that name."""
    try:
        return _validate(f"x@{domain}").ascii_domain or ""
    except EmailNotValidError:
        return ""


def _is_name_or_number(given: str) -> bool:
    """A person's name or a phone number: the address was looked for in the wrong field."""
    return " " in given or not given.isascii() or _NUMBER_CHARACTERS.fullmatch(given) is not None


def _check_lineworks(given: str, domains: Collection[str]) -> Checked:
    if not given:
        return _refused(Channel.LINEWORKS, given, "NO_ADDRESS")
    if any(map(str.isspace, given)):
        return _refused(Channel.LINEWORKS, given, "RECIPIENT_FIELD_INVALID")
    _, at, domain = given.rpartition("@")
    if at and domains and domain.lower() not in {name.lower() for name in domains}:
        return _refused(Channel.LINEWORKS, given, "LINEWORKS_USER_OUTSIDE_DOMAIN")
    return Checked(given, None)


def _check_number(given: str, region: str, countries: Collection[str]) -> Checked:
    """The first rule that hits decides; the order is part of the rules."""
    text = unicodedata.normalize("NFKC", given).translate(_DASHES).strip()
    if "@" in text or (text and _has_no_digit_but_letters(text)):
        return _refused(Channel.SMS, given, "RECIPIENT_FIELD_INVALID")
    if detail := _wrongly_written(text):
        return _refused(Channel.SMS, given, "INVALID_MOBILE_NUMBER", detail)
    if plain := _plain_number(text, region, countries):
        return Checked(plain, None)
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return _refused(Channel.SMS, given, "INVALID_MOBILE_NUMBER", "not_a_number")
    if detail := _not_mobile_in_japan(number) or _not_mobile(number) or _not_allowed(number, countries):
        return _refused(Channel.SMS, given, "INVALID_MOBILE_NUMBER", detail)
    return Checked(phonenumbers.format_number(number, PhoneNumberFormat.E164), None)


def _has_no_digit_but_letters(text: str) -> bool:
    return not any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _wrongly_written(text: str) -> str:
    if not text:
        return "empty"
    if not _NUMBER_CHARACTERS.fullmatch(text):  # libphonenumber would turn letters into digits
        return "bad_characters"
    # Japan's exit code is 010, which the library understands.
    return "bad_international_prefix" if text.translate(_SEPARATORS).startswith("00") else ""


def _plain_number(text: str, region: str, countries: Collection[str]) -> str:
    """A Japanese mobile number in E.164; "" for whatever needs a closer look."""
    found = _JAPAN_MOBILE_NUMBER.fullmatch(text.translate(_SEPARATORS))
    if found is None or not (region == "JP" or found[1] == "+81") or (countries and "JP" not in countries):
        return ""
    return f"+81{found[2]}"


def _not_mobile_in_japan(number: PhoneNumber) -> str:
    """For libphonenumber 0601234567 is a valid personal number; it is a mobile number that lacks a digit."""
    national = phonenumbers.national_significant_number(number)
    if number.country_code != _JAPAN_CODE or not national.startswith(_JAPAN_MOBILE):
        return ""
    if len(national) != _JAPAN_MOBILE_DIGITS:
        return "incomplete" if len(national) < _JAPAN_MOBILE_DIGITS else "too_long"
    return "not_mobile" if national[2] == "0" else ""


def _not_mobile(number: PhoneNumber) -> str:
    kind = phonenumbers.number_type(number)
    if kind in _TAKES_SMS:
        return ""
    possible = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.MOBILE)
    if possible == ValidationResult.TOO_LONG:
        return "too_long"
    if kind != PhoneNumberType.UNKNOWN:
        return "not_mobile"
    return "incomplete" if possible == ValidationResult.TOO_SHORT else "unassigned_range"


def _not_allowed(number: PhoneNumber, countries: Collection[str]) -> str:
    return "country_not_allowed" if countries and phonenumbers.region_code_for_number(number) not in countries else ""


def _is_placeholder(given: str) -> bool:
    """A template's field that nothing was put into."""
    return _PLACEHOLDER.search(given) is not None


def _refused(channel: Channel, given: str, code: str, detail: str = "") -> Checked:
    return Checked(given[:LONGEST], _finding(code, detail, ADDRESS_FIELDS[channel]))


def _finding(code: str, detail: str, field: str) -> Finding:
    return Finding("/".join(filter(None, ("check", code, detail))), detail, field)


# ---------------------------------------------------------------- content and settings


def _visible(html: str) -> str:
    if _SHOWS_WITHOUT_TEXT.search(html):
        return html
    return _BLANK_ENTITY.sub(" ", _TAG.sub(" ", html))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _check_service_account(values: Mapping[str, str]) -> Finding | None:
    """A service account belongs to one organisation: xxxxx.serviceaccount@<its domain>."""
    account, domains = values.get("service_account", "").strip(), lineworks_domains(values)
    if not account:
        return None
    _, at, domain = account.rpartition("@")
    if not at or (domains and domain.lower() not in domains):
        return _finding("LINEWORKS_DOMAIN_INVALID", "", "service_account")
    return None
