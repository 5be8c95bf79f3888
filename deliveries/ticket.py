"""Everything that a support desk asks for about one delivery, as plain text that can be pasted anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from django.utils.translation import gettext as _

from deliveries import explain, words
from deliveries.enums import AttemptStatus, AttemptWhy, Channel, State
from deliveries.models import Attempt, Delivery
from deliveries.queries import TimelineEntry

Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket is made of. ``provider`` and ``connection`` are names; ``headers`` were pasted, or are empty."""

    delivery: Delivery
    attempts: Sequence[Attempt]
    timeline: Sequence[TimelineEntry]
    provider: str
    connection: str
    zone: tzinfo
    language: str
    headers: str = ""


def write(ticket: Ticket) -> str:
    """Return the text, in the language that is active; times to the second, with their offset from UTC."""
    parts = [
        _part(_("Notice"), _facts(_notice(ticket))),
        _part(_("Our classification"), _facts(_classified(ticket))),
        _part(_("Hand-overs"), _entries(_attempt(ticket, one) for one in ticket.attempts)),
        _part(_("Events, oldest first"), _entries(_event(ticket, one) for one in ticket.timeline)),
        _part(_("Headers of the message, as pasted"), ticket.headers.replace("\r\n", "\n").strip("\n")),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _notice(ticket: Ticket) -> Facts:
    row = ticket.delivery
    return [
        (_("Notice id"), str(row.notice_id or "")),
        (_("Delivery id"), str(row.id)),
        (_("Title"), row.title),
        (_("Sender"), row.sender),
        (_("Recipient"), row.recipient),
        (_("Name"), row.name),
        (_("Channel"), str(words.CHANNELS[Channel(row.channel)])),
        (_("State"), str(words.STATES[State(row.state)])),
        (_("First handed over"), _time(row.first_at, ticket.zone)),
        (_("Last event"), _time(row.occurred_at, ticket.zone)),
        (_("First deferred"), _time(row.first_deferred_at, ticket.zone)),
        (_("Provider"), ticket.provider),
        (_("Connection"), ticket.connection),
        (_("Provider's message id"), row.provider_message_id),
    ]


def _classified(ticket: Ticket) -> Facts:
    row, language = ticket.delivery, ticket.language
    if not row.code:
        return []
    rule = _("%(rule)s, rules version %(version)s") % {"rule": row.rule or "-", "version": row.rules_version or "-"}
    return [
        (_("Reason code"), f"{row.code} ({explain.code_label(row.code, language)})"),
        (_("Reason"), explain.reason_label(row.reason, language) if row.reason else ""),
        (_("Persistence"), row.persistence or ""),
        (_("Reply code"), " ".join(filter(None, [row.smtp_code, row.enhanced_code]))),
        (_("Rule"), rule),
    ]


def _attempt(ticket: Ticket, attempt: Attempt) -> str:
    why = words.ATTEMPT_REASONS[AttemptWhy(attempt.why)]
    status = words.ATTEMPT_STATUSES[AttemptStatus(attempt.status)]
    return "\n".join(
        [
            f"{_time(attempt.sent_at or attempt.created_at, ticket.zone)}  {why}: {status}",
            *_indented(
                [
                    (_("Attempt id"), str(attempt.id)),
                    (_("Provider's message id"), attempt.provider_message_id),
                    (_("Provider's verdict"), attempt.verdict),
                    (_("Provider's answer"), attempt.answer),
                ]
            ),
        ]
    )


def _event(ticket: Ticket, entry: TimelineEntry) -> str:
    event = entry.event
    read_as = f"{entry.verdict.code} ({entry.verdict.rule})" if entry.verdict and entry.verdict.code else ""
    return "\n".join(
        [
            f"{_time(event.occurred_at, ticket.zone)}  {words.KINDS[entry.kind]}",
            *_indented(
                [
                    (_("Received here"), _time(event.received_at, ticket.zone)),
                    (_("Provider's event id"), event.provider_event_id),
                    (_("Provider's message id"), event.provider_message_id),
                    (_("Provider's verdict"), event.verdict),
                    (_("Reply code"), " ".join(filter(None, [event.smtp_code, event.enhanced_code]))),
                    (_("Reply"), event.reply),
                    (_("Read as"), read_as),
                ]
            ),
        ]
    )


def _time(moment: datetime | None, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(sep=" ", timespec="seconds") if moment else ""


def _part(title: str, text: str) -> str:
    return f"== {title} ==\n{text}" if text else ""


def _entries(texts: Iterable[str]) -> str:
    return "\n\n".join(texts)


def _facts(facts: Facts) -> str:
    return "\n".join(_lines(facts))


def _indented(facts: Facts) -> list[str]:
    return ["  " + line.replace("\n", "\n    ") for line in _lines(facts)]


def _lines(facts: Facts) -> Iterator[str]:
    form = _("%(name)s: %(value)s")
    return (form % {"name": name, "value": value} for name, value in facts if value)
