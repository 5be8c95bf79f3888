"""The reason codes and second-level reasons with all their texts, read from the tables in deliveries/rules."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from deliveries.enums import Actionable, Channel, Persistence, Retry, Stage, Suppress

_TABLES: Final = Path(__file__).with_name("rules")
_Table = TypeVar("_Table")


class Fault(StrEnum):
    """Whose doing a failure is. ``recipient`` includes the address or number that was entered for them."""

    RECIPIENT = "recipient"
    SENDER = "sender"
    RECEIVER = "receiver"
    PROVIDER = "provider"
    UNKNOWN = "unknown"


# What we or our provider did wrong says nothing about the recipient.
OUR_FAULTS: Final = frozenset({Fault.SENDER, Fault.PROVIDER})


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One text in both languages: ``text.ja``, or ``text["ja"]`` for a language code like "ja" or "en-gb"."""

    en: str
    ja: str

    def __getitem__(self, language: str) -> str:
        return self.ja if language.partition("-")[0].lower() == "ja" else self.en


class Code(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reason code. ``persistence``, ``suppress`` and ``retry`` hold unless a rule or a reason says otherwise."""

    code: str
    shown: str = ""  # how pages write it, where that differs
    channels: tuple[Channel, ...]
    persistence: Persistence
    actionable: Actionable
    stage: Stage
    fault: Fault
    suppress: Suppress
    retry: Retry
    step: str
    label: Text
    explanation: Text
    action: Text

    @property
    def name(self) -> str:
        """The code as pages show it: "UNDELIV / FAILED" for ``UNDELIV``."""
        return self.shown or self.code


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One second-level reason: why exactly, under the code that it stands under by itself ("" for none)."""

    reason: str
    code: str = ""
    persistence: Persistence | None = None
    retry: Retry | None = None
    fault: Fault
    step: str
    label: Text
    explanation: Text
    action: Text


def _read(name: str, shape: type[_Table]) -> _Table:
    return msgspec.toml.decode((_TABLES / name).read_bytes(), type=shape)


CODES: Final[dict[str, Code]] = {code.code: code for code in _read("codes.toml", dict[str, list[Code]])["code"]}
REASONS: Final[dict[str, Reason]] = {
    reason.reason: reason for reason in _read("reasons.toml", dict[str, list[Reason]])["reason"]
}
STEPS: Final[dict[str, Text]] = _read("steps.toml", dict[str, Text])
