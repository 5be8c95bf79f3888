"""The AND/OR filter as a form: groups of conditions, edited without script, one round trip for a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from django.http import QueryDict
from django.utils.translation import gettext as _

from deliveries.conditions import FIELDS, MOST_GROUPS, OPS
from deliveries.web.filterbar import PLACE, Choice, query_without

# A condition that has no value yet is no filter: it waits in the address beside the ones that are.
DRAFT = "draft"
_OWN = re.compile(r"b-(group|field|op|value|do|add-[0-9]+)")


class Draft(NamedTuple):
    """A row as the form has it, right or wrong."""

    group: str
    field: str
    op: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One condition as controls; ``index`` is its place in the form, by which it is removed."""

    index: int
    field: str
    label: str
    ops: list[Choice]
    control: str
    choices: list[Choice]
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    number: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Builder:
    """``kept`` are the list's other parameters; ``next_group`` is 0 when there may be no further one."""

    groups: list[Group]
    next_group: int
    fields: list[Choice]
    kept: list[tuple[str, str]]


def edited(data: QueryDict) -> str | None:
    """Return the query that a submitted form means, for the list's address; None where none was submitted."""
    if not any(_OWN.fullmatch(name) for name in data):
        return None
    rows = _after(data.get("b-do", ""), _submitted(data), data)
    others = [name for name in data if _OWN.fullmatch(name)]
    query = QueryDict(query_without(data, *others, *PLACE, "c", DRAFT), mutable=True)
    query.setlist("c", [".".join(row) for row in rows if row.text.strip()])
    query.setlist(DRAFT, [".".join(row[:3]) for row in rows if not row.text.strip()])
    return query.urlencode()


def builder(data: QueryDict, names: Mapping[str, str]) -> Builder:
    """Return the form for an address; ``names`` are those of the connections, by their ids."""
    rows = [row for row in map(_draft, [*data.getlist("c"), *data.getlist(DRAFT)]) if row]
    groups: dict[int, list[Row]] = {}
    for index, row in enumerate(sorted(rows, key=lambda row: row.group)):
        groups.setdefault(int(row.group), []).append(_row(index, row, names))
    last = max(groups, default=0)
    return Builder(
        groups=[Group(number, rows) for number, rows in groups.items()],
        next_group=last + 1 if last < MOST_GROUPS else 0,
        fields=[Choice(name, str(field.label), None, chosen=False) for name, field in FIELDS.items()],
        kept=_kept(data),
    )


def _kept(data: QueryDict) -> list[tuple[str, str]]:
    left_out = {"c", DRAFT, *PLACE}
    return [(name, value) for name, values in data.lists() if name not in left_out for value in values if value]


def _submitted(data: QueryDict) -> list[Draft]:
    columns = [data.getlist(f"b-{name}") for name in ("group", "field", "op", "value")]
    return [Draft(*row) for row in zip_longest(*columns, fillvalue="")]


def _after(act: str, rows: list[Draft], data: QueryDict) -> list[Draft]:
    """The rows after the button that was pressed: ``remove-<index>`` or ``add-<group>``."""
    verb, _dash, number = act.partition("-")
    if verb == "remove":
        return [row for index, row in enumerate(rows) if str(index) != number]
    field = FIELDS.get(name := data.get(f"b-add-{number}", ""))
    return [*rows, Draft(number, name, field.ops[0], "")] if verb == "add" and field else rows


def _draft(text: str) -> Draft | None:
    group, field, op, value = [*text.split(".", 3), "", "", ""][:4]
    known = group in {str(number) for number in range(1, MOST_GROUPS + 1)} and field in FIELDS
    return Draft(group, field, op, value) if known else None


def _row(index: int, row: Draft, names: Mapping[str, str]) -> Row:
    field = FIELDS[row.field]
    choices = names if row.field == "connection" else field.choices() if field.choices else {}
    return Row(
        index=index,
        field=row.field,
        label=str(field.label),
        ops=[Choice(op, str(OPS[op]), None, op == row.op) for op in field.ops],
        control="select" if choices else field.control,
        choices=_options(choices, row.text),
        text=row.text,
    )


def _options(choices: Mapping[str, str], chosen: str) -> list[Choice]:
    return [
        Choice("", _("Choose"), None, chosen=False),
        *(Choice(v, label, None, v == chosen) for v, label in choices.items()),
    ]
