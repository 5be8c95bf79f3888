"""Tells whether a connection's key and settings can work at all, before any request has come."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Mapping, Sequence

from django.utils.translation import gettext as _

from providers.base import ConnectionConfig, VerificationError
from providers.signatures import KeyUnusableError, load_ecdsa_key
from providers.sns import listed, sns_host
from providers.vonage import signature_method


class ConnectionInputError(ValueError):
    """A connection's settings are incomplete or wrong; the message names the field, and so does ``field``."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def check_usable(provider: str, secrets: Sequence[str], plain: Mapping[str, str]) -> None:
    """Raise ``ConnectionInputError`` for a value that no genuine request could ever agree with.

    Whether a well-formed key is the right one only a request can show (``deliveries.selftest``). ``secrets`` may be
    empty where only the plain settings are looked at. The messages hold no secret.
    """
    check = _CHECKS.get(provider)
    if check:
        check(secrets, plain)


def _check_sendgrid(secrets: Sequence[str], _plain: Mapping[str, str]) -> None:
    for key in secrets:
        try:
            load_ecdsa_key(key)
        except KeyUnusableError as error:
            message = _("This is no SendGrid verification key: it is one line of 124 characters and begins with MFkw.")
            raise ConnectionInputError(message, "public_key") from error


def _check_ses(_secrets: Sequence[str], plain: Mapping[str, str]) -> None:
    topics = listed(plain.get("topic", ""))
    if not topics or not all(map(sns_host, topics)):
        message = _("This is no ARN of an SNS topic, such as arn:aws:sns:ap-northeast-1:123456789012:mail-events.")
        raise ConnectionInputError(message, "topic")


def _check_vonage(_secrets: Sequence[str], plain: Mapping[str, str]) -> None:
    try:
        signature_method(ConnectionConfig(settings=plain))
    except VerificationError as error:
        message = _("This signature method is not known: use md5hash, md5, sha1, sha256 or sha512.")
        raise ConnectionInputError(message, "signature_method") from error


def _check_smpp(_secrets: Sequence[str], plain: Mapping[str, str]) -> None:
    zone, country = plain.get("timezone", ""), plain.get("country", "")
    if zone and zone not in zoneinfo.available_timezones():
        raise ConnectionInputError(_("This is not a time zone: use a name such as Asia/Tokyo."), "timezone")
    if country and not re.fullmatch("[A-Za-z]{2}", country):
        raise ConnectionInputError(_("This is not a country: use two letters such as JP."), "country")


_CHECKS: dict[str, Callable[[Sequence[str], Mapping[str, str]], None]] = {
    "sendgrid": _check_sendgrid,
    "ses": _check_ses,
    "vonage": _check_vonage,
    "smpp": _check_smpp,
}
