"""SQL for "begins with" and "is" on what people search deliveries by: each answered by an index."""

from __future__ import annotations

import uuid
from typing import NamedTuple

from django.db.models import BooleanField, F, Func, Q, Value

from deliveries.gather import recipient_key
from deliveries.models import Contact

# A beginning that fits more contacts than this finds the deliveries of the first ones only.
MOST_PEOPLE = 500

_ID_GROUP, _ID_DIGITS = 8, 32


class People(NamedTuple):
    """Contacts: their ids, and all their addresses in the form in which recipients are compared."""

    ids: list[uuid.UUID]
    recipient_keys: list[str]


def starts_with(column: str, prefix: str) -> Func:
    """SQL for "begins with" that an index answers even under row-level security.

    LIKE is not leakproof, so under a policy it never reaches an index; the byte-wise comparisons of
    ``varchar_pattern_ops`` are, and do. Nothing in the prefix needs escaping.
    """
    bounds = [_byte_wise(column, "~>=~", prefix)]
    if (end := _first_after(prefix)) is not None:
        bounds.append(_byte_wise(column, "~<~", end))
    return Func(*bounds, template="(%(expressions)s)", arg_joiner=" AND ", output_field=BooleanField())


def _byte_wise(column: str, operator: str, text: str) -> Func:
    return Func(
        F(column), Value(text), template="%(expressions)s", arg_joiner=f" {operator} ", output_field=BooleanField()
    )


def _first_after(prefix: str) -> str | None:
    """The first text after all that begin with ``prefix``, by code point as UTF-8 sorts; None: there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    last = stem[-1]
    # Between these two lie the surrogates, which are no characters.
    return stem[:-1] + ("\ue000" if last == "\ud7ff" else chr(ord(last) + 1))


def title_begins(text: str, *, on_error_list: bool) -> Q:
    """SQL for a title that begins so, in any case; the index over all deliveries leaves out those without one."""
    begins = Q(starts_with("title_key", text.lower()))
    return begins if on_error_list else begins & ~Q(title_key="")


def name_begins(text: str) -> Q:
    """SQL for a recipient's name that begins so; the index leaves out deliveries without one."""
    return Q(starts_with("name", text)) & ~Q(name="")


def recipient_forms(text: str) -> list[str]:
    """The forms under which a recipient may be stored; in a URL a number's plus sign often arrives as a space."""
    key = recipient_key(text)
    return [key, f"+{key}"] if key.isascii() and key.isdigit() else [key]


def recipient_begins(text: str) -> Q:
    found = Q()
    for form in recipient_forms(text):
        found |= Q(starts_with("recipient_key", form))
    return found


def id_begins(text: str) -> Q:
    """SQL for a delivery or a notice whose id begins so, with its first eight digits at least."""
    digits = text.strip().replace("-", "").lower()
    if not (_ID_GROUP <= len(digits) <= _ID_DIGITS and set(digits) <= set("0123456789abcdef")):
        return Q()
    bounds = uuid.UUID(digits.ljust(_ID_DIGITS, "0")), uuid.UUID(digits.ljust(_ID_DIGITS, "f"))
    return Q(id__range=bounds) | Q(notice_id__range=bounds)


def anything_begins(text: str, tenant_id: uuid.UUID, *, on_error_list: bool) -> Q:
    """SQL for a title, person, recipient, message id, delivery id or notice id that begins so.

    Among all deliveries, people are looked up as contacts as well: their names count in any case, and so do notices
    to any of their addresses that were never linked to them.
    """
    found = title_begins(text, on_error_list=on_error_list) | Q(starts_with("provider_message_id", text))
    found |= recipient_begins(text) | id_begins(text)
    if on_error_list:
        return found | Q(starts_with("name", text))
    people = people_named(tenant_id, text)
    return found | name_begins(text) | Q(contact_id__in=people.ids) | Q(recipient_key__in=people.recipient_keys)


def people_named(tenant_id: uuid.UUID, text: str) -> People:
    """Return the contacts whose name begins so, in any case, or whose id at the tenant it is."""
    name = text.strip().lower()
    wanted = Q(starts_with("name_key", name)) | (Q(external_id=text.strip()) & ~Q(external_id=""))
    found = Contact.objects.filter(wanted, tenant_id=tenant_id).order_by("name_key", "id")
    rows = list(found.values_list("id", "email_key", "phone", "lineworks_key")[:MOST_PEOPLE])
    return People([row[0] for row in rows], [key.lower() for row in rows for key in row[1:] if key])
