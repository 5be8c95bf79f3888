"""Finds rules fast: all reply patterns in one automaton, verdicts and status codes in dictionaries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final, Literal

import re2

from deliveries.enums import Channel, Kind
from deliveries.rules import Family, Rule, load_family
from deliveries.rules.text import normalise

# The automaton of the patterns grows with the replies it has seen; this is its limit.
_AUTOMATON_BYTES: Final = 256 << 20
_SHAPES_KEPT: Final = 16_384
_WITH_VERDICTS: Final = frozenset({"sendgrid", "ses", "lineworks", "twilio", "vonage", "smpp", "email_send"})


class TextRules:
    """The rules of one family that look at words. A text is read once; the order of the rules decides."""

    def __init__(self, family: Family) -> None:
        options = re2.Options()
        options.max_mem = _AUTOMATON_BYTES
        options.encoding = re2.Options.Encoding.LATIN1  # on bytes: nothing to decode
        options.never_capture = True
        self._automaton = re2.Set.SearchSet(options)
        self._rules = tuple(rule for rule in family.rule if rule.text)
        self._for: dict[int, int] = {}  # number of a pattern → place of its rule
        self._against: dict[int, int] = {}
        for place, rule in enumerate(self._rules):
            self._add(family, rule.text, self._for, place)
            self._add(family, rule.unless, self._against, place)
        self._automaton.Compile()
        # Most replies differ from others in nothing but addresses and numbers, which normalising takes away.
        self._matching = lru_cache(maxsize=_SHAPES_KEPT)(self._match)

    def _add(self, family: Family, patterns: tuple[str, ...], numbers: dict[int, int], place: int) -> None:
        if patterns:
            numbers[self._automaton.Add(b"|".join(map(family.pattern, patterns)))] = place

    def _match(self, text: bytes) -> tuple[Rule, ...]:
        found: list[int] = self._automaton.Match(text) or []
        against = {self._against[number] for number in found if number in self._against}
        places = sorted(self._for[number] for number in found if number in self._for)
        return tuple(self._rules[place] for place in places if place not in against)

    def matching(self, reply: str) -> tuple[Rule, ...]:
        """The rules whose words are in the reply, first the one that decides."""
        return self._matching(normalise(reply)) if reply else ()


@cache
def text_rules(family: str) -> TextRules:
    return TextRules(load_family(family))


def fits(rule: Rule, smtp_code: str, enhanced_code: str) -> bool:
    """Tell whether a text rule's conditions on the codes hold."""
    if rule.digit and rule.digit != (enhanced_code or smtp_code)[:1]:
        return False
    return not rule.enhanced or any(key in rule.enhanced for key in _enhanced_keys(enhanced_code))


@lru_cache(maxsize=4096)
def by_enhanced_code(code: str, *, general: bool) -> Rule | None:
    return _first(_by_status(general=general, field="enhanced"), _enhanced_keys(code))


@lru_cache(maxsize=1024)
def by_smtp_code(code: str, *, general: bool) -> Rule | None:
    return _first(_by_status(general=general, field="smtp"), (code, f"{code[:1]}*"))


@lru_cache(maxsize=4096)
def by_verdict(provider: str, verdict: str, *, general: bool) -> Rule | None:
    """The provider's rule for a verdict: for exactly it, for its code, for its status, or by regular expression."""
    if provider not in _WITH_VERDICTS:
        return None
    exact, patterns = _by_provider(provider, general=general)
    status, slash, code = verdict.partition("/")
    found = _first(exact, (verdict, f"*/{code}" if slash else "", f"{status}/*"))
    return found or next((rule for pattern, rule in patterns if pattern.search(verdict)), None)


@cache
def by_kind(kind: Kind, channel: Channel) -> Rule | None:
    for rule in load_family("kinds").rule:
        if kind in rule.kinds and (not rule.channels or channel in rule.channels):
            return rule
    return None


def _enhanced_keys(code: str) -> tuple[str, ...]:
    """The ways in which a rule can name an enhanced status code, the closest first."""
    digit, _, rest = code.partition(".")
    subject = rest.partition(".")[0]
    return (code, f"X.{rest}", f"{digit}.{subject}.*", f"X.{subject}.*", f"{digit}.*") if code else ()


@cache
def _by_status(*, general: bool, field: Literal["enhanced", "smtp"]) -> dict[str, Rule]:
    rules = [rule for rule in load_family("email_status").rule if rule.general == general]
    return {key: rule for rule in reversed(rules) for key in getattr(rule, field)}


@cache
def _by_provider(provider: str, *, general: bool) -> tuple[dict[str, Rule], list[tuple[re.Pattern[str], Rule]]]:
    rules = [rule for rule in load_family(provider).rule if rule.general == general]
    exact = {key: rule for rule in reversed(rules) for key in rule.verdict}
    return exact, [(re.compile(pattern), rule) for rule in rules for pattern in rule.like]


def _first(index: dict[str, Rule], keys: Iterable[str]) -> Rule | None:
    return next((index[key] for key in keys if key in index), None)
