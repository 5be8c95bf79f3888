"""Gives each report of a failure its reason code: one pure function over the rules in deliveries/rules.

What is asked first, and why, is written down in docs/classification.md.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Protocol

import msgspec

from deliveries.codes import CODES, OUR_FAULTS, REASONS, Fault
from deliveries.enums import Channel, Kind, Persistence, Retry, Suppress
from deliveries.rules import RULES_VERSION, Rule
from deliveries.rules.index import by_enhanced_code, by_kind, by_smtp_code, by_verdict, fits, text_rules

__all__ = ["NO_VERDICT", "RULES_VERSION", "Report", "Verdict", "classify", "report_of"]

_UNTROUBLED: Final = frozenset({Kind.ACCEPTED, Kind.DELIVERED, Kind.ENGAGED, Kind.RESUBSCRIBED})
# These say all there is to say, whatever words come with them.
_PLAIN: Final = frozenset({Kind.SPAM_REPORT, Kind.UNSUBSCRIBED, Kind.CANCELED, Kind.NO_RECEIPT, Kind.UNKNOWN})
_OF_OURS: Final = "check/"  # found before sending (deliveries/checks.py); no provider said anything
_PROVISIONAL_CODES: Final = frozenset({"BOUNCE_TRANSIENT_MBX_FULL", "UNDELIV"})


class Report(msgspec.Struct, frozen=True, gc=False):
    """What a provider said of one message. ``kind`` and ``verdict`` as its module writes them (providers/base.py)."""

    channel: Channel
    provider: str
    kind: Kind
    verdict: str = ""
    smtp_code: str = ""
    enhanced_code: str = ""
    reply: str = ""


class Reportable(Protocol):
    """An event as the provider's module reads it, or as the ledger keeps it."""

    @property
    def kind(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def smtp_code(self) -> str: ...
    @property
    def enhanced_code(self) -> str: ...
    @property
    def reply(self) -> str: ...


def report_of(event: Reportable, *, channel: Channel, provider: str) -> Report:
    """Return what an event says, as ``classify`` takes it."""
    return Report(
        channel=channel,
        provider=provider,
        kind=Kind(event.kind),
        verdict=event.verdict,
        smtp_code=event.smtp_code,
        enhanced_code=event.enhanced_code,
        reply=event.reply,
    )


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a report means. ``code`` is "" where there is no failure to name; ``rule`` is the id of what decided."""

    code: str
    persistence: Persistence | None
    reason: str
    rule: str
    fault: Fault
    suppress: Suppress
    retry: Retry


NO_VERDICT: Final = Verdict("", None, "", "", Fault.UNKNOWN, Suppress.NO, Retry.NO)


def classify(report: Report) -> Verdict:
    """Return the verdict on a report. Pure, never raises, the same for the same report and rules.

    A deferral only ever gets a provisional, temporary code, and a failure that is ours or the provider's never
    suppresses the recipient.
    """
    if report.kind in _UNTROUBLED:
        return NO_VERDICT
    verdict = _weigh(report)
    return _provisional(verdict) if report.kind == Kind.DEFERRED and verdict.code else verdict


def _weigh(report: Report) -> Verdict:
    if report.verdict.startswith(_OF_OURS):
        found = by_verdict("checks", report.verdict)[0]
        return _meaning(found) if found else NOT_UNDERSTOOD
    if report.channel == Channel.EMAIL and report.kind not in _PLAIN:
        return _refused_call(report) if report.kind == Kind.FAILED else _email(report)
    # LINE WORKS has no codes for most causes: its rules read the words as well.
    said = f"{report.verdict} {report.reply}" if report.channel == Channel.LINEWORKS else report.verdict
    rule = by_verdict(report.provider, said)[0] or by_kind(report.kind, report.channel)
    return _meaning(rule) if rule else NO_VERDICT


# ---------------------------------------------------------------- email, in the order of weighing


def _email(report: Report) -> Verdict:
    specific, general = by_verdict(report.provider, report.verdict)
    told = text_rules("email_replies").matching(report.reply)
    if specific:
        return _refined(_meaning(specific), specific.refined_by, _by_reply(report, told))
    general = general or by_kind(report.kind, report.channel)
    verdict = _by_reply(report, told)
    if verdict is None:
        return _without_cause(report, told, general)
    return _doubted(verdict) if general and _meaning(general).persistence is Persistence.SOFT else verdict


def _by_reply(report: Report, told: tuple[Rule, ...]) -> Verdict | None:
    """What the receiving server's words say, else what its enhanced status code says."""
    rule = _decisive(report, told, general=False) or by_enhanced_code(report.enhanced_code, general=False)
    return _meaning(rule) if rule else None


def _decisive(report: Report, told: tuple[Rule, ...], *, general: bool) -> Rule | None:
    for rule in told:
        if rule.general == general and fits(rule, report.smtp_code, report.enhanced_code):
            return rule
    return None


def _without_cause(report: Report, told: tuple[Rule, ...], general: Rule | None) -> Verdict:
    """The best guess where neither words nor status name a cause: a hint, unless the provider contradicts it."""
    hint = _decisive(report, told, general=True) or by_smtp_code(report.smtp_code, general=False)
    if hint and (general is None or _meaning(hint).persistence is _meaning(general).persistence):
        return _meaning(hint)
    if general:
        return _meaning(general)
    if report.reply and not report.reply.isspace():
        return NOT_UNDERSTOOD
    bare = by_enhanced_code(report.enhanced_code, general=True) or by_smtp_code(report.smtp_code, general=True)
    return _meaning(bare) if bare else NOT_UNDERSTOOD


def _refined(verdict: Verdict, by: tuple[str, ...], told: Verdict | None) -> Verdict:
    """A provider's specific verdict, with the reason or the code that the receiving server's words add to it."""
    if told and told.code == verdict.code:
        return msgspec.structs.replace(told, persistence=verdict.persistence, suppress=verdict.suppress)
    if told and told.code in by:
        return _doubted(told) if verdict.persistence is Persistence.SOFT else told
    return verdict


def _refused_call(report: Report) -> Verdict:
    """A send call that the provider did not take: its own words count, there is no receiving server yet."""
    told = text_rules("email_send").matching(f"{report.verdict} {report.reply}")
    rule = next(iter(told), None) or by_verdict("email_send", report.verdict)[0]
    rule = rule or by_kind(report.kind, report.channel)
    return _meaning(rule) if rule else NOT_UNDERSTOOD


# ---------------------------------------------------------------- what a rule means


@cache
def _meaning(rule: Rule) -> Verdict:
    reason = REASONS.get(rule.reason)
    code = CODES.get(rule.code or (reason.code if reason else ""))
    fault = reason.fault if reason else code.fault if code else Fault.UNKNOWN
    return Verdict(
        code=code.code if code else "",
        persistence=rule.persistence
        or (reason.persistence if reason else None)
        or (code.persistence if code else None),
        reason=rule.reason,
        rule=rule.id,
        fault=fault,
        suppress=Suppress.NO if fault in OUR_FAULTS else rule.suppress or (code.suppress if code else Suppress.NO),
        retry=rule.retry or (reason.retry if reason else None) or (code.retry if code else Retry.NO),
    )


@cache
def _provisional(verdict: Verdict) -> Verdict:
    """The verdict while the provider is still trying: temporary, and sending again now would arrive twice."""
    return msgspec.structs.replace(
        verdict,
        code=verdict.code if verdict.code in _PROVISIONAL_CODES else "BOUNCE_TRANSIENT_GENERAL",
        persistence=Persistence.SOFT,
        suppress=Suppress.NO,
        retry=Retry.NO,
    )


@cache
def _doubted(verdict: Verdict) -> Verdict:
    """A final refusal that the provider itself calls passing suppresses only when it repeats."""
    if verdict.suppress is not Suppress.YES:
        return verdict
    return msgspec.structs.replace(verdict, suppress=Suppress.AFTER_REPEATS)


# Words that no rule knows: visible and counted by this rule id, and nobody is suppressed for them.
NOT_UNDERSTOOD: Final = _meaning(Rule(id="unclassified", reason="undefined", source="", example=""))
