"""What all providers of one sandbox share: configuration, accounts, faults, counts and outboxes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from providers.sandbox import ses
from providers.sandbox.config import Account, Accounts, Config, Faults
from providers.sandbox.outbox import Outbox, Post, Tally
from providers.sandbox.sent import Sent


class World:
    """The shared parts of one sandbox, which serves its SNS certificate at ``certificate_url``."""

    def __init__(self, config: Config, certificate_url: str) -> None:
        self.config = config
        self.certificate_url = certificate_url
        self.accounts = Accounts(config.accounts)
        self.faults = Faults()
        self.sent = Sent()
        self.tally = Tally()
        self._lock = threading.Lock()
        self._outboxes: dict[Account, Outbox[Any]] = {}
        self._forgetters: list[Callable[[], None]] = []

    @cached_property
    def signer(self) -> ses.Signer:
        """What signs SNS messages: made when it is first needed, for a clock that may be a little off."""
        return ses.make_signer(self.certificate_url, datetime.now(UTC) - timedelta(days=1))

    def outbox(self, account: Account, pack: Callable[[Sequence[Any]], Iterable[Post]]) -> Outbox[Any]:
        """Return the account's outbox, made with ``pack`` when it is first asked for."""
        with self._lock:
            found = self._outboxes.get(account)
            if found is None:
                found = self._outboxes[account] = Outbox(pack, self.config, self.tally)
            return found

    def on_reset(self, forget: Callable[[], None]) -> None:
        """Have ``forget`` called when the sandbox is to forget what happened."""
        self._forgetters.append(forget)

    def reset(self) -> None:
        """Forget what happened and what was to happen; accounts stay."""
        self.faults.clear()
        self.sent.clear()
        for forget in (*self._forgetters, *(outbox.clear for outbox in self._kept())):
            forget()

    def close(self) -> None:
        for outbox in self._kept():
            outbox.close()

    def _kept(self) -> list[Outbox[Any]]:
        with self._lock:
            return list(self._outboxes.values())
