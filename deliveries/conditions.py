"""AND/OR conditions on deliveries as an address carries them: within a group all must hold, between groups any.

One condition is ``group.field.operator.value``, for example ``1.state.is.bounced``; ``filters.DeliveryFilter`` turns
them into a query.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.translation import get_language, gettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _

from deliveries import explain, words
from deliveries.codes import CODES, REASONS
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

MOST = 30
MOST_GROUPS = 9
LONGEST = 320

Value = str | int | date
Choices = Mapping[str, str]


class Op(StrEnum):
    IS = "is"
    NOT = "not"
    STARTS = "starts"
    AFTER = "after"  # that day or later
    BEFORE = "before"
    ATLEAST = "atleast"


OPS: Mapping[Op, _StrPromise] = {
    Op.IS: pgettext_lazy("condition", "is"),
    Op.NOT: pgettext_lazy("condition", "is not"),
    Op.STARTS: pgettext_lazy("condition", "begins with"),
    Op.AFTER: pgettext_lazy("condition", "is on or after"),
    Op.BEFORE: pgettext_lazy("condition", "is before"),
    Op.ATLEAST: pgettext_lazy("condition", "is at least"),
}


class BadCondition(ValueError):  # noqa: N818 -- as BadCursor: the page's word for it
    """A condition cannot be read; the message says what is wrong and what to write instead."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a condition can be about. ``private``: its values are about people, so audit entries leave them out."""

    label: _StrPromise
    ops: tuple[Op, ...]
    read: Callable[[str], Value]
    choices: Callable[[], Choices] | None = None
    private: bool = False
    control: str = "text"  # the kind of input that asks for a value


class Condition(NamedTuple):
    group: int
    field: str
    op: Op
    text: str
    value: Value

    def __str__(self) -> str:
        """As the address carries it."""
        return f"{self.group}.{self.field}.{self.op}.{self.text}"


def read_all(texts: Iterable[str]) -> list[Condition]:
    """Return the conditions, by group. Raises ``BadCondition`` for the first one that cannot be read."""
    conditions = sorted((read(text) for text in texts), key=lambda condition: condition.group)
    if len(conditions) > MOST:
        raise BadCondition(_("These are more than %(most)s conditions: use fewer.") % {"most": MOST})
    return conditions


def read(text: str) -> Condition:
    """Return one condition. Raises ``BadCondition``."""
    parts = text.split(".", 3)
    if len(parts) != 4:  # noqa: PLR2004 -- group, field, operator, value
        form = _("“%(text)s” is no condition: write group.field.operator.value, for example 1.state.is.bounced.")
        raise BadCondition(form % {"text": text})
    group, name, op, value = parts
    field = _field(name)
    number, operator = _group(group), _op(field, name, op)
    return Condition(number, name, operator, value, _value(field, name, value))


def grouped(conditions: Iterable[Condition]) -> list[list[Condition]]:
    """Return the conditions of each group that has any, in the order of the groups' numbers."""
    groups: dict[int, list[Condition]] = {}
    for condition in conditions:
        groups.setdefault(condition.group, []).append(condition)
    return [groups[number] for number in sorted(groups)]


def recorded(condition: Condition) -> str:
    """The condition as the audit log keeps it: that a person was asked for, not whom."""
    text = "…" if FIELDS[condition.field].private else condition.text
    return str(condition._replace(text=text))


def in_words(conditions: Iterable[Condition], names: Mapping[str, str]) -> str:
    """Say the conditions in one line; ``names`` are those of connections, by their ids."""
    both, either = pgettext_lazy("between conditions", " and "), pgettext_lazy("between conditions", " or ")
    said = [str(both).join(one_in_words(one, names) for one in group) for group in grouped(conditions)]
    return said[0] if len(said) == 1 else str(either).join(f"({group})" for group in said)


def one_in_words(condition: Condition, names: Mapping[str, str]) -> str:
    field = FIELDS[condition.field]
    choices = names if condition.field == "connection" else field.choices() if field.choices else {}
    form = pgettext_lazy("condition: name, comparison, value", "%(field)s %(op)s %(value)s")
    said = choices.get(condition.text, condition.text)
    return str(form) % {"field": field.label, "op": OPS[condition.op], "value": said}


def _group(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) == 1 and text != "0":
        return int(text)
    message = _("“%(group)s” is no group: use a number from 1 to %(most)s.")
    raise BadCondition(message % {"group": text, "most": MOST_GROUPS})


def _field(name: str) -> Field:
    if name in FIELDS:
        return FIELDS[name]
    message = _("There is no field “%(field)s”: use one of %(known)s.")
    raise BadCondition(message % {"field": name, "known": ", ".join(FIELDS)})


def _op(field: Field, name: str, text: str) -> Op:
    if text in field.ops:
        return Op(text)
    message = _("“%(field)s” cannot be compared by “%(op)s”: use one of %(known)s.")
    raise BadCondition(message % {"field": name, "op": text, "known": ", ".join(field.ops)})


def _value(field: Field, name: str, text: str) -> Value:
    if not text.strip() or len(text) > LONGEST or "\0" in text:
        message = _("“%(field)s” needs a value of at most %(most)s characters.")
        raise BadCondition(message % {"field": name, "most": LONGEST})
    if field.choices is not None and text not in (choices := field.choices()):
        message = _("“%(field)s” is never “%(value)s”: use one of %(known)s.")
        raise BadCondition(message % {"field": name, "value": text, "known": ", ".join(choices)})
    return field.read(text)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if len(text) == len("2026-11-30") else None
    except ValueError:
        day = None
    # Beyond these a time zone's offset would leave what a date can be.
    if day is None or not date(1970, 1, 1) <= day <= date(9998, 12, 31):
        message = _("“%(text)s” is no day: write year-month-day, for example 2026-11-30.")
        raise BadCondition(message % {"text": text})
    return day


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < len(text) <= 4:  # noqa: PLR2004 -- the column holds 32,767
        return int(text)
    raise BadCondition(_("“%(text)s” is no number from 0 to 9999.") % {"text": text})


def _id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        message = _("“%(text)s” is no id, for example 0198c2a4-5f7e-7d31-9c55-0c8b0f6d2b11.")
        raise BadCondition(message % {"text": text}) from error


def _of(labels: Mapping[Any, _StrPromise]) -> Callable[[], Choices]:
    return lambda: {str(value): str(label) for value, label in labels.items()}


def _codes() -> Choices:
    language = get_language() or "en"
    return {code: explain.code_label(code, language) for code in CODES}


def _reasons() -> Choices:
    language = get_language() or "en"
    return {reason: explain.reason_label(reason, language) for reason in REASONS}


def _providers() -> Choices:
    return {name: provider.label for name, provider in PROVIDERS.items()}


_EQUAL = (Op.IS, Op.NOT)
_TEXT = (Op.STARTS, Op.IS, Op.NOT)
_DAYS = (Op.AFTER, Op.BEFORE)

FIELDS: Mapping[str, Field] = {
    "state": Field(gettext_lazy("State"), _EQUAL, str, _of(words.STATES)),
    "channel": Field(gettext_lazy("Channel"), _EQUAL, str, _of(words.CHANNELS)),
    "code": Field(gettext_lazy("Cause"), _EQUAL, str, _codes),
    "reason": Field(gettext_lazy("Reason"), _EQUAL, str, _reasons),
    "persistence": Field(gettext_lazy("Persistence"), _EQUAL, str, _of(words.PERSISTENCES)),
    "domain": Field(gettext_lazy("Receiving domain"), _EQUAL, str),
    "recipient": Field(gettext_lazy("Recipient"), _TEXT, str, private=True),
    "title": Field(gettext_lazy("Title"), _TEXT, str),
    "name": Field(gettext_lazy("Name"), _TEXT, str, private=True),
    "connection": Field(gettext_lazy("Source"), _EQUAL, _id),
    "provider": Field(gettext_lazy("Provider"), _EQUAL, str, _providers),
    "first_at": Field(gettext_lazy("Handed over"), _DAYS, _day, control="date"),
    "failed_at": Field(gettext_lazy("Failed"), _DAYS, _day, control="date"),
    "attempts": Field(gettext_lazy("Hand-overs"), (Op.ATLEAST,), _number, control="number"),
}
