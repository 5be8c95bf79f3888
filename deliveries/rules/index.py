"""Finds rules fast: all reply patterns in one automaton, verdicts and status codes in dictionaries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final, Literal

import re2

from deliveries.enums import Channel, Kind
from deliveries.rules import Family, Rule, load_family
from deliveries.rules.text import words_of

# The automaton of the patterns grows with the replies it has seen; this is its limit.
_AUTOMATON_BYTES: Final = 256 << 20
_SHAPES_KEPT: Final = 8_192
_WORDS_KEPT: Final = 65_536
# Stand-ins for words that no pattern knows.
_UNKNOWN, _HOST, _IP_ADDRESS, _NUMBER = b"x", b"x_x", b"0_0_0_0", b"0"
# To find the letters that a pattern has in a row: what is no letter, what is optional, runs of letters and classes.
_NOT_LETTERS: Final = re.compile(rb"\\.|\[\^[^\]]*\]|\{[\d,]*\}")
_OPTIONAL: Final = re.compile(rb"(?:[a-z0_]|\[[a-z]+\])[?*]")
_RUNS: Final = re.compile(rb"(?:[a-z0_]|\[[a-z]+\])+")
_CLASS: Final = re.compile(rb"\[[a-z]+\]")
_WITH_VERDICTS: Final = frozenset({"sendgrid", "ses", "lineworks", "twilio", "vonage", "smpp", "email_send", "checks"})


class TextRules:
    """The rules of one family that look at words. A text is read once; the order of the rules decides."""

    def __init__(self, family: Family) -> None:
        self._rules = tuple(rule for rule in family.rule if rule.text)
        self._for: dict[int, int] = {}  # number of a pattern → place of its rule
        self._against: dict[int, int] = {}
        patterns: list[bytes] = []
        for place, rule in enumerate(self._rules):
            for sources, numbers in ((rule.text, self._for), (rule.unless, self._against)):
                if sources:
                    numbers[len(patterns)] = place
                    patterns.append(b"|".join(map(family.pattern, sources)))
        self._automaton = _automaton(patterns)
        self._known = _Vocabulary(b" ".join(patterns), family.pattern(family.names))
        # Most replies differ from others only in words that no pattern knows.
        self._matching = lru_cache(maxsize=_SHAPES_KEPT)(self._match)

    def _match(self, text: bytes) -> tuple[Rule, ...]:
        found: list[int] = self._automaton.Match(text) or []
        against = {self._against[number] for number in found if number in self._against}
        places = sorted(self._for[number] for number in found if number in self._for)
        return tuple(self._rules[place] for place in places if place not in against)

    def matching(self, reply: str) -> tuple[Rule, ...]:
        """The rules whose words are in the reply, first the one that decides."""
        return self._matching(b" ".join(map(self._known.__getitem__, words_of(reply)))) if reply else ()


class _Vocabulary(dict[bytes, bytes]):
    """Word → itself if a pattern may know it, else a stand-in: so names, ids and queue numbers do not multiply shapes.

    It may keep too many words, never too few: letters that patterns have in a row are kept wherever they occur if they
    are four or more, at the beginning of a word if they are three, and as whole words if they are fewer.
    """

    def __init__(self, patterns: bytes, names: bytes) -> None:
        super().__init__()
        runs = sorted(set(_RUNS.findall(_OPTIONAL.sub(b" ", _NOT_LETTERS.sub(b" ", patterns)))))
        of_length: list[list[bytes]] = [[b"^$"] for _ in range(5)]
        for run in runs:
            of_length[min(len(_CLASS.sub(b"x", run)), 4)].append(run)
        short, three, long = of_length[1] + of_length[2], of_length[3], of_length[4]
        self._parts = _automaton([b"^(?:%s)$|^(?:%s)|%s" % (b"|".join(short), b"|".join(three), b"|".join(long))])
        self._digit_words = tuple(run for run in runs if b"0" in run and len(run) > 1)
        self._names = _automaton([names or b"^$"])

    def __missing__(self, word: bytes) -> bytes:
        if b"0" in word and word.strip(b"0_"):  # mostly an id: not worth remembering
            if word.startswith(self._digit_words) or not word.isascii():
                return word
            return _HOST if b"_" in word else _UNKNOWN
        known = self._look_up(word)
        if len(self) < _WORDS_KEPT:
            self[word] = known
        return known

    def _look_up(self, word: bytes) -> bytes:
        if not word.strip(b"0_"):
            return _IP_ADDRESS if word.count(b"_") == 3 else _NUMBER  # noqa: PLR2004 -- four parts
        if b"_" in word:
            return word if self._names.Match(word) else _HOST
        return word if word == b";" or not word.isascii() or self._parts.Match(word) else _UNKNOWN


def _automaton(patterns: list[bytes]) -> re2.Set:
    options = re2.Options()
    options.max_mem = _AUTOMATON_BYTES
    options.encoding = re2.Options.Encoding.LATIN1  # on bytes: nothing to decode
    options.never_capture = True
    made = re2.Set.SearchSet(options)
    for pattern in patterns:
        made.Add(pattern)
    made.Compile()
    return made


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
def by_verdict(provider: str, verdict: str) -> tuple[Rule | None, Rule | None]:
    """The provider's specific and its general rule for a verdict.

    Each is the one for exactly this verdict, else for its code, for its status, or by regular expression.
    """
    if provider not in _WITH_VERDICTS:
        return None, None
    return _by_verdict(provider, verdict, general=False), _by_verdict(provider, verdict, general=True)


def _by_verdict(provider: str, verdict: str, *, general: bool) -> Rule | None:
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
