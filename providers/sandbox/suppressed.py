"""The providers' own suppression lists, as far as the sandbox fills them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from providers.sandbox import magic

ADDRESSES_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """Why and since when an address is listed; ``at`` is in Unix seconds."""

    address: str
    reason: str
    status: str
    at: float


class Suppressed:
    """One account's lists. Addresses of the fate "dropped" are on one of them until somebody takes them off."""

    def __init__(self, stopping: tuple[str, ...], logs: tuple[str, ...], home: str, reason: str, status: str) -> None:
        """``stopping`` lists keep the provider from trying, ``logs`` only tell what happened.

        ``home`` is the list on which addresses of the fate "dropped" are, for ``reason`` with ``status``.
        """
        self._lock = threading.Lock()
        self._home, self._reason, self._status = home, reason, status
        self._stopping = stopping
        self.names = (*stopping, *logs)
        self._by_address: dict[str, dict[str, Entry]] = {}  # in lower case; then by list
        self._taken_off: set[str] = set()

    def add(self, name: str, address: str, reason: str = "", status: str = "") -> None:
        with self._lock:
            entry = Entry(address, reason, status, time.time())
            self._by_address.setdefault(address.lower(), {})[name] = entry
            if len(self._by_address) > ADDRESSES_KEPT:
                del self._by_address[next(iter(self._by_address))]

    def find(self, name: str, address: str) -> Entry | None:
        with self._lock:
            return self._find(name, address.lower(), address)

    def _find(self, name: str, key: str, address: str) -> Entry | None:
        found = self._by_address.get(key, {}).get(name)
        if found or name != self._home or key in self._taken_off or magic.of_address(key) != magic.Fate.DROPPED:
            return found
        return Entry(address, self._reason, self._status, time.time())

    def where(self, address: str) -> str:
        """Return the first list that keeps the provider from trying the address, or nothing."""
        key = address.lower()
        if key not in self._by_address and not key.startswith(magic.Fate.DROPPED):
            return ""
        with self._lock:
            return next((name for name in self._stopping if self._find(name, key, address)), "")

    def remove(self, name: str, address: str) -> bool:
        """Take an address off; tell whether it was there."""
        key = address.lower()
        with self._lock:
            found = self._find(name, key, address)
            self._by_address.get(key, {}).pop(name, None)
            if found and name == self._home:
                self._taken_off.add(key)
            return found is not None

    def entries(self, name: str) -> list[Entry]:
        with self._lock:
            return [entries[name] for entries in self._by_address.values() if name in entries]
