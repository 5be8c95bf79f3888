"""The contract of a sender: notices and an account in, one typed result for each notice out.

Nothing here knows Django, Celery or the database; ``registry.SENDERS`` lists the senders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from providers.base import Channel, Field, Kind


class Outgoing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One notice to one recipient, ready to go. What a channel has no use for it leaves out."""

    attempt_ref: str  # our attempt's id, 32 hex digits; sent along wherever the provider echoes something
    recipient: str  # address, E.164 number with "+", or LINE WORKS user id
    sender: str = ""  # sending address, number or name; "" for the account's own
    sender_name: str = ""
    name: str = ""  # the person's
    title: str = ""
    text: str = ""
    html: str = ""
    route: str = ""  # the tenant's value of a shared connection's route key


class Accepted(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The provider took the notice. Accepted is not delivered."""

    provider_message_id: str = ""
    answer: str = ""  # status and words of the provider, e.g. "202 Accepted"


class Refused(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The provider did not take the notice and would not take it the next time."""

    verdict: str  # as the rules of the channel read it (docs/classification.md)
    answer: str
    kind: Kind = Kind.FAILED


class TryLater(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Nothing was sent; the same call may succeed later."""

    verdict: str
    answer: str
    wait_s: float | None = None  # how long the provider asks to wait, if it says so
    account_wide: bool = False  # it holds for every notice of the account, e.g. a rate limit


class NoAnswer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The request left and no answer came: it may have been sent. Never repeat it by itself."""

    verdict: str
    answer: str


SendResult = Accepted | Refused | TryLater | NoAnswer


class Budget(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a provider says of its rate limit: calls allowed and left in this window, seconds until the next."""

    limit: int
    remaining: int
    reset_s: float


class Sent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The results of one call, in the order of its notices."""

    results: Sequence[SendResult]
    budget: Budget | None = None


class Token(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An access token and how long it holds."""

    value: str
    lifetime_s: float


class TokenStore(Protocol):
    """Keeps an account's access token for all workers; one of them renews it at a time."""

    def get(self, renew: Callable[[], Token], *, not_this: str = "") -> str:
        """Return the kept token unless it is about to end or is ``not_this`` (just refused); else renew it."""


class NoTokenStore:
    """Asks for a token each time; for probes and tests."""

    def get(self, renew: Callable[[], Token], *, not_this: str = "") -> str:
        return renew().value


@dataclass(frozen=True, slots=True)
class Account:
    """A provider account to send with. Never log it.

    ``values`` are the sender's fields, secret ones among them. ``api_url`` stands in for the provider's own host;
    only the installation can set it, so no tenant chooses whom we call. ``callback_url`` is the connection's webhook.
    """

    values: Mapping[str, str]
    api_url: str = ""
    callback_url: str = ""
    route_by: str = ""
    tokens: TokenStore = field(default_factory=NoTokenStore)
    timeout_s: float = 20.0


class Sender(Protocol):
    """Sends through one provider. Done means: this, one registry line, its chapter in docs/providers/<name>.md."""

    @property
    def name(self) -> str: ...
    @property
    def channel(self) -> Channel: ...
    @property
    def fields(self) -> tuple[Field, ...]:
        """What sending needs of the account, as forms and the ``connect`` command ask for it."""

    @property
    def batch(self) -> int:
        """How many notices one call takes at most. Those of one call share sender, title, text and html."""

    @property
    def at_once(self) -> int:
        """How many calls one worker may have under way for an account."""

    @property
    def per_minute(self) -> int:
        """Calls a minute that an account may make when nothing else is said."""

    def account_key(self, account: Account) -> str:
        """Return what the provider counts its limits by: two connections with the same key share them."""

    def send(self, notices: Sequence[Outgoing], account: Account) -> Sent:
        """Make one call. Never raises for what the provider or the network does; nothing is repeated inside."""

    def probe(self, account: Account) -> Refused | TryLater | None:
        """Ask the provider, without sending, whether the account could send; None if it could."""


class Listed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An entry of a provider's own suppression list."""

    list_name: str  # e.g. "bounces", "spam_reports", "BOUNCE"
    recipient: str  # as the provider writes it
    reason: str = ""


class SuppressionLists(Protocol):
    """A sender whose provider keeps suppression lists that can be read and cleared."""

    def listed(self, recipient: str, account: Account) -> list[Listed]:
        """Return where the provider lists the recipient. Raises ``providers.http.HttpError``."""

    def unlist(self, entry: Listed, account: Account) -> None:
        """Take one entry off; one that is gone already is fine. Raises ``providers.http.HttpError``."""
