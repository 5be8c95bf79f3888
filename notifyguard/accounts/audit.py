"""Writes the audit log: every change by a person, in the same transaction as the change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from notifyguard.accounts.models import AuditEntry


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, an API token, or the command line."""

    name: str
    user_id: int | None = None


COMMAND_LINE = Actor("command line")


def record(
    actor: Actor,
    action: str,
    *,
    object_type: str,
    object_id: object,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append one entry to the scope's tenant. ``action`` is dotted, e.g. ``connection.created``; never secrets."""
    AuditEntry(
        actor=actor.name,
        actor_id=actor.user_id,
        action=action,
        object_type=object_type,
        object_id=str(object_id),
        before=before,
        after=after,
    ).save(force_insert=True)
