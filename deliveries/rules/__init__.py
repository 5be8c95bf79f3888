"""Loads the classification rules, which are data in the TOML files beside this module, and checks them once.

``RULES_VERSION`` counts every change that can alter a verdict; it is stored with each verdict.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from deliveries.codes import CODES, REASONS
from deliveries.enums import Channel, Kind, Persistence, Retry, Suppress
from deliveries.rules.text import fold

RULES_VERSION: Final = 3

FAMILIES: Final = (
    "email_replies",
    "email_status",
    "email_send",
    "sendgrid",
    "ses",
    "lineworks",
    "twilio",
    "vonage",
    "smpp",
    "checks",
    "kinds",
)
_WORD: Final = re.compile(r"<(\w+)>")


class RuleError(ValueError):
    """A rule file contradicts itself or names what does not exist."""


class Rule(msgspec.Struct, frozen=True, eq=False, kw_only=True, forbid_unknown_fields=True):
    """One condition and what it means. All conditions that are given must hold; of each, any entry will do."""

    id: str  # stable: stored with every verdict
    source: str  # the standard, document or page that says so
    example: str  # in our own words: a reply, status, verdict or kind that this rule decides

    # What it means; what is empty is taken from the reason, then from the code (deliveries/codes.py).
    reason: str = ""
    code: str = ""
    persistence: Persistence | None = None
    suppress: Suppress | None = None
    retry: Retry | None = None

    kinds: tuple[Kind, ...] = ()
    channels: tuple[Channel, ...] = ()
    verdict: tuple[str, ...] = ()  # the provider's verdict; "status/*" and "*/code" leave one half open
    like: tuple[str, ...] = ()  # regular expressions in the provider's verdict
    text: tuple[str, ...] = ()  # RE2 patterns in the normalised reply
    unless: tuple[str, ...] = ()  # patterns that must not be in it
    digit: Literal["", "4", "5"] = ""  # class of the reply's codes
    enhanced: tuple[str, ...] = ()  # "5.1.1"; "X.1.1" for every class; "X.7.*", "5.*"
    smtp: tuple[str, ...] = ()  # "552"; "5*"

    general: bool = False  # states no cause, or only hints at one: weighs after everything that does
    refined_by: tuple[str, ...] = ()  # codes of the reply's words that may replace this verdict


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of rules; ``words`` are the building blocks of its patterns."""

    family: str
    channel: Channel | None = None
    provider: str = ""
    words: dict[str, str] = {}
    names: str = ""  # what makes a host name worth keeping as it is; others are all alike
    rule: tuple[Rule, ...]

    def pattern(self, source: str) -> bytes:
        """A pattern with each ``<name>`` replaced by its entry of ``words``, in the form of normalised replies."""
        while _WORD.search(source):
            source = _WORD.sub(lambda match: self.words[match[1]], source)
        return fold(source).encode()


@cache
def load_family(name: str) -> Family:
    """Read one rule file. Raises ``RuleError`` for a rule whose reason or code does not exist, with the rule's id."""
    family = msgspec.toml.decode(Path(__file__).with_name(f"{name}.toml").read_bytes(), type=Family)
    for rule in family.rule:
        check_rule(rule)
    return family


def check_rule(rule: Rule) -> None:
    """Raise ``RuleError`` unless the rule's reason and codes exist and it says what it means."""
    if rule.reason and rule.reason not in REASONS:
        raise RuleError(f"{rule.id}: there is no reason {rule.reason!r}")
    for code in (rule.code, *rule.refined_by):
        if code and code not in CODES:
            raise RuleError(f"{rule.id}: there is no code {code!r}")
    if not (rule.reason or rule.code):
        raise RuleError(f"{rule.id}: says neither a reason nor a code")


def load_all() -> dict[str, Rule]:
    """Every rule by id, in file order. Raises ``RuleError`` for an id that is used twice."""
    rules: dict[str, Rule] = {}
    for name in FAMILIES:
        for rule in load_family(name).rule:
            if rule.id in rules:
                raise RuleError(f"{rule.id}: this id is used twice")
            rules[rule.id] = rule
    return rules
