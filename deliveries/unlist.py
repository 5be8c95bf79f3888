"""Takes removed entries off the provider's own lists too, and reads back whether they are gone.

Runs outside any transaction: a provider may take seconds to answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, NamedTuple

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from deliveries.accounts import account_of
from deliveries.enums import ProviderState
from deliveries.models import Suppression
from deliveries.suppress import CONSENT_REASONS, provider_behind
from notifyguard.accounts.tenancy import tenant_scope
from providers.http import HttpError, PermanentError
from providers.registry import LISTS
from providers.sending import Account, Listed, SuppressionLists

AT_ONCE = 25  # SES answers about one such call a second
TRY_AGAIN_AFTER = timedelta(minutes=2)
GIVE_UP_AFTER = timedelta(hours=24)

# Lists by the names that the providers give them. A log of blocks stops nothing; what the recipient asked for is
# only undone with consent.
_LOGS: Final = frozenset({"blocks"})
_BY_WISH: Final = frozenset({"spam_reports", "global_unsubscribes", "COMPLAINT"})

# The first word of ``provider_answer``; after it a colon and what the sentence names.
ANSWERS: Final = {
    "taken_off": _("The provider confirmed that the recipient is off its lists: %(detail)s."),
    "not_listed": _("The provider did not list the recipient."),
    "still_listed": _("The provider still lists the recipient: %(detail)s."),
    "consent_needed": _(
        "The provider lists the recipient by the recipient's own wish: %(detail)s. That takes consent."
    ),
    "no_account": _("NotifyGuard has no key for the provider's account. Remove the entry there, or have one entered."),
    "refused": _("The provider refused to change its list. %(detail)s"),
    "no_answer": _("The provider could not be asked. %(detail)s"),
}


class _Due(NamedTuple):
    """One entry to take off, with what that needs."""

    entry: Suppression
    lists: SuppressionLists | None
    account: Account | None


class _Result(NamedTuple):
    state: ProviderState
    answer: str


def take_off(tenant_id: uuid.UUID) -> int:
    """Work the removals that wait for the tenant's providers; returns how many came to an end.

    Safe to run twice. What a provider could not be asked is tried again for a day, then it has failed.
    """
    return sum(_record(tenant_id, due.entry, _result(due)) for due in _due(tenant_id))


def explain(answer: str) -> str:
    """Return an entry's ``provider_answer`` as a sentence in the language at hand."""
    key, _colon, detail = answer.partition(": ")
    return str(ANSWERS[key]) % {"detail": detail} if key in ANSWERS else answer


def _due(tenant_id: uuid.UUID) -> list[_Due]:
    with tenant_scope(tenant_id):
        rested = Q(provider_checked_at=None) | Q(provider_checked_at__lte=timezone.now() - TRY_AGAIN_AFTER)
        rows = Suppression.objects.filter(rested, provider_state=ProviderState.REMOVING).order_by("id")
        entries = list(rows[:AT_ONCE])
        accounts = {id_: account_of(id_) for id_ in {entry.connection_id for entry in entries} if id_}
        return [_Due(entry, LISTS.get(provider_behind(entry)), accounts.get(entry.connection_id)) for entry in entries]


def _result(due: _Due) -> _Result:
    """Ask the provider; while it can't be asked or still lists the recipient, the removal goes on for a day."""
    result = _ask(due)
    removed_at = due.entry.removed_at
    is_over = removed_at is not None and timezone.now() - removed_at >= GIVE_UP_AFTER
    return result._replace(state=ProviderState.FAILED) if result.state == ProviderState.REMOVING and is_over else result


def _ask(due: _Due) -> _Result:
    if due.lists is None or due.account is None:
        return _Result(ProviderState.FAILED, "no_account")
    try:
        return _clear(due.entry, due.lists, due.account)
    except PermanentError as error:
        return _Result(ProviderState.FAILED, f"refused: {error}")
    except HttpError as error:
        return _Result(ProviderState.REMOVING, f"no_answer: {error}")


def _clear(entry: Suppression, lists: SuppressionLists, account: Account) -> _Result:
    """Take the recipient off what we may clear, and read back what is left."""
    ours, theirs = _sorted_out(entry, lists.listed(entry.recipient, account))
    for listed in ours:
        lists.unlist(listed, account)
    left, theirs = _sorted_out(entry, lists.listed(entry.recipient, account)) if ours else (ours, theirs)
    if left:
        return _Result(ProviderState.REMOVING, f"still_listed: {_names(left)}")
    if theirs:
        return _Result(ProviderState.FAILED, f"consent_needed: {_names(theirs)}")
    return _Result(ProviderState.REMOVED, f"taken_off: {_names(ours)}" if ours else "not_listed")


def _sorted_out(entry: Suppression, found: Iterable[Listed]) -> tuple[list[Listed], list[Listed]]:
    """Return the provider's entries that may be cleared, and those that need the recipient's consent first."""
    stopping = [listed for listed in found if listed.list_name not in _LOGS]
    has_consent = entry.reason in CONSENT_REASONS
    ours = [listed for listed in stopping if has_consent or listed.list_name not in _BY_WISH]
    return ours, [listed for listed in stopping if listed not in ours]


def _names(entries: Iterable[Listed]) -> str:
    return ", ".join(sorted({listed.list_name for listed in entries}))


def _record(tenant_id: uuid.UUID, entry: Suppression, result: _Result) -> bool:
    with tenant_scope(tenant_id):
        waiting = Suppression.objects.filter(id=entry.id, provider_state=ProviderState.REMOVING)
        told = waiting.update(
            provider_state=result.state, provider_answer=result.answer[:500], provider_checked_at=timezone.now()
        )
    return bool(told) and result.state != ProviderState.REMOVING
