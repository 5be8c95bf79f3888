"""What stands above the error list: tabs, the filter's choices, and the filters at work as removable chips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.http import QueryDict
from django.utils.formats import date_format
from django.utils.translation import get_language, gettext_lazy, pgettext
from django.utils.translation import gettext as _

from deliveries import conditions, explain, words
from deliveries.enums import Actionable, Channel, Persistence, State
from deliveries.queries import UNDELIVERED_STATES, Count, Facets

# Where in the list a page is, as opposed to what is in the list.
PLACE = ("cursor", "size")

# The filters that the bar itself shows, in its order; others come from links, and are chips only.
CHIP_NAMES: Mapping[str, Any] = {
    "q": gettext_lazy("Search"),
    "state": gettext_lazy("State"),
    "code": gettext_lazy("Cause"),
    "reason": gettext_lazy("Reason"),
    "persistence": gettext_lazy("Persistence"),
    "actionable": gettext_lazy("Who can act"),
    "connection": gettext_lazy("Source"),
    "c": gettext_lazy("Conditions"),
    "undelivered": gettext_lazy("Status"),
    "channel": gettext_lazy("Channel"),
    "notice": gettext_lazy("Notice"),
    "domain": gettext_lazy("Receiving domain"),
    "from": gettext_lazy("From"),
    "to": gettext_lazy("To"),
    "recipient": gettext_lazy("Recipient"),
    "provider_message_id": gettext_lazy("Provider's message id"),
    "open": gettext_lazy("On the error list"),
}


@dataclass(frozen=True, slots=True)
class Tab:
    channel: Channel
    label: str
    count: int
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter at work, in words, with the query of the list without it."""

    name: str
    label: str
    value: str
    query: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a filter; ``count`` is how many rows of the tab have it, None where that is not kept."""

    value: str
    label: str
    count: int | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class Picker:
    """A filter of which several values can be chosen."""

    name: str
    label: str
    choices: list[Choice]

    @property
    def chosen(self) -> list[Choice]:
        return [choice for choice in self.choices if choice.chosen]


def query_without(data: QueryDict, *names: str, **values: str) -> str:
    """Return the query string without some parameters and without empty ones, with others set."""
    changed = QueryDict(mutable=True)
    for name, given in data.lists():
        if name not in names and name not in values:
            changed.setlist(name, [value for value in given if value])
    for name, value in values.items():
        changed[name] = value
    return changed.urlencode()


def tabs(data: QueryDict, counts: Mapping[Channel, int], current: Channel) -> list[Tab]:
    """Return the channels; changing between them keeps every filter."""
    return [
        Tab(
            channel=channel,
            label=str(words.CHANNELS[channel]),
            count=counts[channel],
            query=query_without(data, *PLACE, channel=channel.value),
            current=channel == current,
        )
        for channel in Channel
    ]


def pickers(facets: Facets, chosen: Mapping[str, Any], connection_names: Mapping[str, str]) -> list[Picker]:
    """Return the filters of several values, with what the tab holds and what was chosen although it holds none."""
    return [
        _picker("state", facets.states, chosen, _state_name),
        _picker("code", facets.codes, chosen, code_name),
        _picker("connection", facets.connections, chosen, lambda value: connection_names.get(value, value)),
    ]


def _picker(name: str, counts: Sequence[Count], chosen: Mapping[str, Any], label: Callable[[str], str]) -> Picker:
    values = [str(value) for value in chosen.get(name, [])]
    held = {count.value: count.n for count in counts}
    shown = [*held, *(value for value in values if value not in held)]
    choices = [Choice(value, label(value), held.get(value, 0), value in values) for value in shown]
    return Picker(name, str(CHIP_NAMES[name]), choices)


def channel_choices(chosen: Mapping[str, Any]) -> list[Choice]:
    return _select(words.CHANNELS, chosen.get("channel"))


def persistence_choices(chosen: Mapping[str, Any]) -> list[Choice]:
    return _select(words.PERSISTENCES, chosen.get("persistence"))


def actionable_choices(chosen: Mapping[str, Any]) -> list[Choice]:
    return _select(words.ACTIONABLES, chosen.get("actionable"))


def _select(labels: Mapping[Any, Any], chosen: str | None) -> list[Choice]:
    return [Choice(value.value, str(label), None, value == chosen) for value, label in labels.items()]


def chips(
    data: QueryDict,
    chosen: Mapping[str, Any],
    connection_names: Mapping[str, str],
    left_out: Collection[str] = ("channel",),
) -> list[Chip]:
    """Return the filters at work, each with the query that takes it away; what tabs show is left out."""
    return [
        Chip(name, str(label), _in_words(name, chosen[name], connection_names), query_without(data, *PLACE, name))
        for name, label in CHIP_NAMES.items()
        if name in chosen and name not in left_out
    ]


def _in_words(name: str, value: Any, connection_names: Mapping[str, str]) -> str:
    if isinstance(value, date):
        return date_format(value, pgettext("date format", "j M Y"))
    if name == "state":
        return _states_in_words(value)
    if name == "c":
        return conditions.in_words(value, connection_names)
    if name == "connection":
        return _listed(connection_names.get(str(item), str(item)) for item in value)
    if name in _VALUE_WORDS:
        return _listed(map(_VALUE_WORDS[name], value if isinstance(value, list) else [value]))
    return str(value)


def _states_in_words(states: Iterable[str]) -> str:
    chosen = {State(state) for state in states}
    if chosen == UNDELIVERED_STATES:
        return _("all but deferred")
    return _listed(map(_state_name, states))


def _state_name(state: str) -> str:
    return str(words.STATES[State(state)])


def code_name(code: str) -> str:
    return explain.code_label(code, get_language() or "en")


def reason_name(reason: str) -> str:
    return explain.reason_label(reason, get_language() or "en")


def _listed(texts: Iterable[str]) -> str:
    return pgettext("between the items of a list", ", ").join(texts)


_VALUE_WORDS: Mapping[str, Callable[[str], str]] = {
    "channel": lambda value: str(words.CHANNELS[Channel(value)]),
    "undelivered": lambda value: str(words.UNDELIVERED[value]),
    "code": code_name,
    "reason": reason_name,
    "persistence": lambda value: str(words.PERSISTENCES[Persistence(value)]),
    "actionable": lambda value: str(words.ACTIONABLES[Actionable(value)]),
    "open": lambda value: _("yes") if value == "true" else _("no"),
}
