"""SendGrid's mail/send body: reads it, and finds what SendGrid would find wrong with it, in its words.

Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from providers.sandbox import magic
from providers.sandbox.calls import Answer, json_answer, object_of

RECIPIENTS_LIMIT = 1000
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"

_ADDRESS = re.compile(r"[^@\s<>,;\"]{1,64}@[^@\s<>,;\"]+\.[^@\s<>,;\".]+")
_PEOPLE = "personalizations"
_UNVERIFIED = (
    "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved. "
    "Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity "
    "requirements"
)
_NO_SENDER = (
    "The from object must be provided for every email send. It is an object that requires the email parameter, "
    'but may also contain a name parameter.  e.g. {"email" : "example@example.com"}  or '
    '{"email" : "example@example.com", "name" : "Example Recipient"}.'
)
_NO_RECIPIENT = (
    "The to array is required for all personalization objects, and must have at least one email object with a valid "
    "email address."
)
_NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a template with a subject defined or if "
    "every personalization has a subject defined."
)
_NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined "
    "content block. We typically suggest both text/plain and text/html blocks are included, but only one block is "
    "required."
)
_REPEATED = (
    "Each email address in the personalization block should be unique between to, cc, and bcc. We found the first "
    "duplicate instance of [{address}] in the {at} field."
)


class Person(msgspec.Struct, frozen=True, gc=False):
    email: str | None = None


class Personalization(msgspec.Struct, frozen=True):
    to: list[Person] = []
    cc: list[Person] = []
    bcc: list[Person] = []
    subject: str | None = None
    custom_args: dict[str, str] = {}

    @property
    def kinds(self) -> tuple[tuple[str, list[Person]], ...]:
        return ("to", self.to), ("cc", self.cc), ("bcc", self.bcc)


class _Content(msgspec.Struct, frozen=True):
    value: str | None = None


class Mail(msgspec.Struct, frozen=True):
    """What of a message matters here."""

    sender: Person = msgspec.field(default=Person(), name="from")
    personalizations: list[Personalization] = []
    subject: str | None = None
    content: list[_Content] = []
    template_id: str | None = None
    custom_args: dict[str, str] = {}
    mail_settings: dict[str, Any] = {}

    @property
    def is_rehearsal(self) -> bool:
        """Tell whether SendGrid's own sandbox mode is on: such a message is checked and not sent."""
        return object_of(self.mail_settings.get("sandbox_mode")).get("enable") is True


_DECODER = msgspec.json.Decoder(Mail)
_PLACE = re.compile(r"at `\$\.?([^`]*)`\Z")


def decode(body: bytes) -> Mail | Answer:
    """Return the message, or the refusal of one that SendGrid would not take."""
    try:
        mail = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        return json_answer(400, {"errors": [_type_error(str(error))]})
    except (msgspec.DecodeError, RecursionError):
        return json_answer(400, {"errors": [error_of("Bad Request", None)]})
    errors = list(_errors(mail))
    if errors:
        return json_answer(400, {"errors": errors})
    if magic.is_unverified(mail.sender.email or ""):
        return json_answer(403, {"errors": [error_of(_UNVERIFIED, "from")]})
    return mail


def _type_error(words: str) -> dict[str, Any]:
    """Turn "Expected `str`, got `int` - at `$.personalizations[0].to[1].email`" into what SendGrid says."""
    place = _PLACE.search(words)
    field = re.sub(r"\[(\d+)\]", r".\1", place[1]).replace("[...]", "") if place else None
    expected = "string" if "`str" in words else "array" if "`array" in words else "object"
    return error_of(f"Invalid type. Expected: {expected}.", field)


def _errors(mail: Mail) -> Iterator[dict[str, Any]]:
    """Yield what SendGrid would find wrong with a message, in its words."""
    people = mail.personalizations
    if not mail.sender.email:
        yield error_of(_NO_SENDER, "from.email")
    elif not is_address(mail.sender.email):
        yield error_of("The from email does not contain a valid address.", "from.email")
    if not people:
        yield error_of("The personalizations field is required and must have at least one personalization.", _PEOPLE)
    for number, one in enumerate(people):
        # Most have one recipient and nothing wrong: a thousand of them are to take a few milliseconds.
        if len(one.to) != 1 or one.cc or one.bcc or not _is_good(one.to[0].email):
            yield from _errors_of_one(one, f"{_PEOPLE}.{number}")
    if not (mail.subject or mail.template_id or all(one.subject for one in people)):
        yield error_of(_NO_SUBJECT, "subject")
    yield from _content_errors(mail)
    if sum(len(one.to) + len(one.cc) + len(one.bcc) for one in people) > RECIPIENTS_LIMIT:
        yield error_of("There is a limit of 1000 total recipients (to + cc + bcc) per request.", _PEOPLE)


def _errors_of_one(personalization: Personalization, at: str) -> Iterator[dict[str, Any]]:
    if not personalization.to:
        yield error_of(_NO_RECIPIENT, f"{at}.to")
    seen = set()
    for kind, people in personalization.kinds:
        for number, person in enumerate(people):
            address = person.email or ""
            if not address:
                yield error_of(f"The {kind} email parameter is required.", f"{at}.{kind}.{number}.email")
            elif not _is_good(address):
                yield error_of("Does not contain a valid address.", f"{at}.{kind}.{number}.email")
            elif address.lower() in seen:
                yield error_of(_REPEATED.format(address=address, at=f"{at}.{kind}"), at)
            seen.add(address.lower())


def _content_errors(mail: Mail) -> Iterator[dict[str, Any]]:
    if not mail.content and not mail.template_id:
        yield error_of(_NO_CONTENT, "content")
    for number, content in enumerate(mail.content):
        if not content.value:
            message = "The content value must be a string at least one character in length."
            yield error_of(message, f"content.{number}.value")


def _is_good(address: str | None) -> bool:
    return bool(address) and is_address(address) and not magic.is_invalid(str(address))


def is_address(value: object) -> bool:
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def error_of(message: str, field: str | None) -> dict[str, Any]:
    return {"message": message, "field": field, "help": f"{HELP}#message.{field.split('.')[0]}" if field else None}
