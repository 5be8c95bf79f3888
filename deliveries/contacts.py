"""Who a recipient is: keeping people and their addresses, finding them, and gathering what did not reach them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import phonenumbers
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.checks import ADDRESS_FIELDS, Finding, check_recipient, lineworks_domains, suggest
from deliveries.enums import Channel
from deliveries.filters import starts_with
from deliveries.gather import recipient_key
from deliveries.models import Connection, Contact, Delivery
from notifyguard.accounts import audit
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import current_tenant_id
from providers.phone import to_e164

Value = str | bool
Values = Mapping[str, Value]

FIELDS: Final = ("external_id", "name", "email", "phone", "lineworks_id", "language", "no_address")
CHANNELS: Final = {field: channel for channel, field in ADDRESS_FIELDS.items()}
KEYS: Final = {"email": "email_key", "phone": "phone", "lineworks_id": "lineworks_key"}
LIMITS: Final = {"external_id": 100, "name": 200, "email": 320, "phone": 32, "lineworks_id": 254, "language": 8}
# Such a number is one, though perhaps no SMS reaches it: it is kept, with the finding beside it.
_KEPT_DETAILS: Final = frozenset({"not_mobile", "unassigned_range", "country_not_allowed"})
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,4})?")

_NUMBER_ERRORS: Final[dict[str, str | Promise]] = {
    "bad_characters": gettext_lazy("The number holds other characters: write digits only, such as 090-1234-5678."),
    "bad_international_prefix": gettext_lazy(
        "Write “+” and the country code in place of 00, such as +81 90 1234 5678."
    ),
    "not_a_number": gettext_lazy("This is no phone number: write it like 090-1234-5678 or +81 90 1234 5678."),
    "incomplete": gettext_lazy("The number has too few digits: ask for those that are missing."),
    "too_long": gettext_lazy("The number has too many digits: check it."),
}


class ContactInputError(ValueError):
    """A value that no contact can have; ``message`` says what to do and holds nothing of the value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Change(NamedTuple):
    """One field of a contact, before and after."""

    field: str
    before: Value
    after: Value


class Remark(NamedTuple):
    """What there is to say about one address: what the check before sending finds, and what may have been meant."""

    finding: Finding | None
    hint: str


# ---------------------------------------------------------------- keeping


def create(values: Values, *, actor: audit.Actor) -> Contact:
    """Keep a new contact. Raises ``ContactInputError``, also for an id that another contact has."""
    contact = Contact(**normalise(values, region=region()))
    if not any(getattr(contact, field) for field in FIELDS):
        raise ContactInputError("name", _("Enter at least a name, an id or an address."))
    fill_keys(contact)
    _save(contact, force_insert=True)
    audit.record(
        actor, "contact.created", object_type="contact", object_id=contact.id, after=_without_empty(values_of(contact))
    )
    return contact


def change(contact: Contact, values: Values, *, actor: audit.Actor) -> list[Change]:
    """Change the given fields and return what changed; failures at an address that is left behind stay the person's.

    Raises ``ContactInputError``.
    """
    normal = normalise(values, region=region())
    contact.refresh_from_db(from_queryset=Contact.objects.select_for_update())
    changes = differences(contact, normal)
    if not changes:
        return []
    for field, before, _after in changes:
        if field in CHANNELS and before:
            adopt_failures(contact, CHANNELS[field], recipient_key(str(before)), actor)
    for field, _before, after in changes:
        setattr(contact, field, after)
    contact.updated_at = timezone.now()
    fill_keys(contact)
    _save(contact)
    audit.record(
        actor,
        "contact.changed",
        object_type="contact",
        object_id=contact.id,
        before={item.field: item.before for item in changes},
        after={item.field: item.after for item in changes},
    )
    return changes


def correct(contact: Contact, field: str, value: str, actor: audit.Actor) -> Change | None:
    """Change one address where its failure is shown; returns what changed, None if it was so already.

    ``field`` is email, phone or lineworks_id. Raises ``ContactInputError``.
    """
    if field not in CHANNELS:
        raise ContactInputError(field, _("Only an address, a number or a LINE WORKS ID can be corrected."))
    return next(iter(change(contact, {field: value}, actor=actor)), None)


def put(external_id: str, values: Values, *, actor: audit.Actor) -> tuple[Contact, bool]:
    """Create or replace the contact with that id; a field that is not given becomes empty. Returns (it, is new)."""
    external_id = str(normal_value("external_id", external_id, region=""))
    if not external_id:
        raise ContactInputError("external_id", _("Give the id of the person in your own system."))
    given: dict[str, Value] = dict.fromkeys(FIELDS, "")
    given |= {"no_address": False, **values, "external_id": external_id}
    contact = find(external_id)
    if contact is None:
        try:
            return create(given, actor=actor), True
        except ContactInputError as error:
            contact = find(external_id) if error.field == "external_id" else None
            if contact is None:  # nobody else made it meanwhile: the value itself is at fault
                raise
    change(contact, given, actor=actor)
    return contact, False


def remove(contact: Contact, *, actor: audit.Actor) -> None:
    """Forget a person; their deliveries stay, without the person."""
    Delivery.objects.filter(contact_id=contact.id).update(contact_id=None, name="")
    audit.record(actor, "contact.removed", object_type="contact", object_id=contact.id, before=_named(contact))
    contact.delete()


def adopt_failures(contact: Contact, channel: Channel, old_recipient_key: str, actor: audit.Actor) -> int:
    """Mark the deliveries to a former address as the person's, unless somebody else has that address; returns how many.

    So what failed there is still found, and can be sent to the new address.
    """
    others = Contact.objects.filter(**{_key_of(channel): old_recipient_key})
    if others.exclude(id=contact.id).exists():
        return 0
    theirs = Delivery.objects.filter(channel=channel, recipient_key=old_recipient_key, contact_id=None)
    adopted = theirs.update(contact_id=contact.id, name=contact.name)
    if adopted:
        after = {"channel": str(channel), "deliveries": adopted}
        audit.record(actor, "contact.failures_adopted", object_type="contact", object_id=contact.id, after=after)
    return adopted


# ---------------------------------------------------------------- finding


def find(external_id: str) -> Contact | None:
    found: Contact | None = Contact.objects.filter(external_id=external_id).first() if external_id else None
    return found


def contact_of(channel: Channel, recipient_key: str) -> Contact | None:
    """Return who has the address, the one that was changed last if several share it."""
    if not recipient_key:
        return None
    found = Contact.objects.filter(**{_key_of(channel): recipient_key})
    contact: Contact | None = found.order_by("-updated_at", "-id").first()
    return contact


def address_of(contact: Contact, channel: Channel) -> str:
    """Return where the person is reached through a channel; "" if they are not."""
    return "" if contact.no_address else str(getattr(contact, ADDRESS_FIELDS[channel]))


def listed() -> QuerySet[Contact]:
    """All contacts of the tenant; ``received_at`` is the paging's word for the time of the last change."""
    rows: QuerySet[Contact] = Contact.objects.annotate(received_at=F("updated_at"))
    return rows


def search(text: str) -> QuerySet[Contact]:
    """The contacts whose name, address or number begins so, or whose id it is."""
    wanted = Q(starts_with("name_key", name_key(text))) | Q(external_id=text.strip())
    key = recipient_key(text)
    for column in ("email_key", "lineworks_key"):
        wanted |= Q(starts_with(column, key))
    for number in _number_beginnings(text):
        wanted |= Q(starts_with("phone", number))
    return listed().filter(wanted)


def open_deliveries(contact: Contact) -> QuerySet[Delivery]:
    """Every open failure of a person, newest first: linked to them, or at an address that is or was theirs.

    A failure that is linked to somebody else who shares the address is that person's.
    """
    addresses = set(Delivery.objects.filter(contact_id=contact.id).values_list("channel", "recipient_key").distinct())
    addresses |= {
        (channel.value, recipient_key(str(getattr(contact, field))))
        for field, channel in CHANNELS.items()
        if getattr(contact, field)
    }
    theirs = Q(contact_id=contact.id)
    for channel_value, key in sorted(addresses):
        theirs |= Q(contact_id=None, channel=channel_value, recipient_key=key)
    return Delivery.objects.filter(theirs, error_state__isnull=False).order_by("-failed_at", "-id")


def remarks(contact: Contact) -> dict[str, Remark]:
    """Return what there is to say about each address that the contact has, by field."""
    domains = _account_domains() if contact.lineworks_id else frozenset()
    country = region()
    return {
        field: Remark(
            check_recipient(channel, value, region=country, domains=domains).finding,
            suggest(value) if field == "email" else "",
        )
        for field, channel in CHANNELS.items()
        if (value := str(getattr(contact, field)))
    }


# ---------------------------------------------------------------- values in their normal form


def region() -> str:
    """The country of the tenant's numbers that are written without one."""
    return str(Tenant.objects.values_list("region", flat=True).get(id=current_tenant_id()))


def normalise(values: Values, *, region: str) -> dict[str, Value]:
    """Return the fields as they are kept. Raises ``ContactInputError`` for the first that can't be."""
    return {field: normal_value(field, value, region=region) for field, value in values.items()}


def normal_value(field: str, value: Value, *, region: str) -> Value:
    """Return one field as it is kept: blanks trimmed, an address as it is sent to. Raises ``ContactInputError``."""
    if field == "no_address":
        return bool(value)
    if field not in LIMITS:
        raise ContactInputError(field, _("There is no such field."))
    text = _cleaned(field, str(value))
    return _NORMAL[field](text, region) if text and field in _NORMAL else text


def name_key(name: str) -> str:
    """The form in which names are compared: width, case and blanks make no difference."""
    return " ".join(unicodedata.normalize("NFKC", name).lower().split())[: LIMITS["name"]]


def values_of(contact: Contact) -> dict[str, Value]:
    return {field: getattr(contact, field) for field in FIELDS}


def differences(contact: Contact, normal: Values) -> list[Change]:
    """Return what the normal values would change."""
    return [
        Change(field, getattr(contact, field), value)
        for field, value in normal.items()
        if getattr(contact, field) != value
    ]


def _cleaned(field: str, value: str) -> str:
    if _UNPRINTABLE.search(value):
        raise ContactInputError(field, _("This holds characters that can't be printed: type it again."))
    text = " ".join(value.split())
    if len(text) > LIMITS[field]:
        raise ContactInputError(field, _("This is too long: at most %(most)s characters.") % {"most": LIMITS[field]})
    return text


def _normal_email(text: str, _region: str) -> str:
    checked = check_recipient(Channel.EMAIL, text)
    if checked.finding:
        raise ContactInputError("email", _("This is no email address: it looks like name@example.com."))
    return checked.recipient


def _normal_number(text: str, region: str) -> str:
    recipient, finding = check_recipient(Channel.SMS, text, region=region)
    if finding is None:
        return recipient
    if finding.detail in _KEPT_DETAILS:
        return to_e164(text, region)
    raise ContactInputError("phone", str(_NUMBER_ERRORS.get(finding.detail, _NUMBER_ERRORS["not_a_number"])))


def _normal_lineworks_id(text: str, _region: str) -> str:
    if check_recipient(Channel.LINEWORKS, text).finding:
        raise ContactInputError("lineworks_id", _("This is no LINE WORKS ID: it has no blanks, like taro@example."))
    return text


def _normal_language(text: str, _region: str) -> str:
    language = text.lower().replace("_", "-")
    if not _LANGUAGE.fullmatch(language):
        raise ContactInputError("language", _("Write the language as a code, such as en or ja."))
    return language


_NORMAL: Final = {
    "email": _normal_email,
    "phone": _normal_number,
    "lineworks_id": _normal_lineworks_id,
    "language": _normal_language,
}


def fill_keys(contact: Contact) -> None:
    """Fill the forms in which a contact is compared, after its fields were set."""
    contact.email_key = recipient_key(contact.email)
    contact.lineworks_key = recipient_key(contact.lineworks_id)
    contact.name_key = name_key(contact.name)


def _save(contact: Contact, **how: Any) -> None:
    """Save; the database decides whether the id is taken."""
    try:
        with transaction.atomic():
            contact.save(**how)
    except IntegrityError as error:
        message = _("Another contact has this id: each id belongs to one person.")
        raise ContactInputError("external_id", message) from error


def _key_of(channel: Channel) -> str:
    return KEYS[ADDRESS_FIELDS[channel]]


def _number_beginnings(text: str) -> list[str]:
    """The forms in which a number that begins so may be kept: E.164, or as entered."""
    digits = re.sub(r"[^0-9+]", "", unicodedata.normalize("NFKC", text))
    if any(map(str.isalpha, text)) or not re.fullmatch(r"\+?[0-9]+", digits):
        return []
    if digits.startswith("+"):
        return [digits]
    code = phonenumbers.country_code_for_region(region())
    national = [f"+{code}{digits[1:]}"] if digits.startswith("0") and code else []
    return [digits, f"+{digits}", *national]


def _account_domains() -> frozenset[str]:
    settings = Connection.objects.filter(provider="lineworks").values_list("settings", flat=True)
    return frozenset().union(*map(lineworks_domains, settings))


def _without_empty(values: Values) -> dict[str, Value]:
    return {field: value for field, value in values.items() if value}


def _named(contact: Contact) -> dict[str, Value]:
    """What tells which person it was, once they are forgotten: their id, not their addresses."""
    return _without_empty({"external_id": contact.external_id})
