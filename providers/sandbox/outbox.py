"""Posts webhooks for one account: later, in batches, and as late, doubled and disordered as the configuration asks."""

from __future__ import annotations

import heapq
import http.client
import itertools
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar
from urllib.parse import urlsplit

from providers.sandbox.config import Config

TIMEOUT_S = 10.0
SLOT_S = 0.02  # events that fall due within one slot go together
IDLE_S = 2.0
_SUCCESS = range(200, 300)

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Post:
    """A signed webhook with the number of events it carries."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    events: int = 1


@dataclass(frozen=True, slots=True)
class _Parcel:
    post: Post
    tries: int


class Tally:
    """Events that are waiting, were answered 2xx, and were given up, over all accounts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.waiting = self.posted = self.lost = 0

    def add(self, events: int) -> None:
        with self._changed:
            self.waiting += events

    def done(self, events: int, *, posted: bool) -> None:
        with self._changed:
            self.waiting -= events
            if posted:
                self.posted += events
            else:
                self.lost += events
            self._changed.notify_all()

    def forget(self, waiting: int) -> None:
        """Take back events that will not be posted, and start counting anew."""
        with self._changed:
            self.waiting -= waiting
            self.posted = self.lost = 0
            self._changed.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is waiting; tell whether that came to pass."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting == 0, timeout_s)

    def counts(self) -> dict[str, int]:
        with self._changed:
            return {"waiting": self.waiting, "posted": self.posted, "lost": self.lost}


class Outbox(Generic[E]):
    """Keeps events until they are due. ``pack`` makes signed posts of at most ``batch`` of them.

    Its threads start when there is something to post and end when there has been nothing for a while.
    """

    def __init__(self, pack: Callable[[Sequence[E]], Iterable[Post]], config: Config, tally: Tally) -> None:
        self._pack = pack
        self._config = config
        self._tally = tally
        self._random = random.Random(config.seed)  # noqa: S311 (disorder, not secrets)
        self._ready = threading.Condition()
        self._due: list[tuple[float, int, list[E] | _Parcel]] = []
        self._numbers = itertools.count()
        self._posters = 0
        self._closed = False

    def add(self, events: Sequence[E], after_s: float) -> None:
        """Post events ``after_s`` from now."""
        with self._ready:
            for due, group in self._spread(list(events), after_s):
                self._put(due, group)
                self._tally.add(len(group))

    def clear(self) -> None:
        """Drop what is not yet being posted."""
        with self._ready:
            dropped = sum(load.post.events if isinstance(load, _Parcel) else len(load) for _, _, load in self._due)
            self._due.clear()
            self._tally.forget(dropped)

    def close(self) -> None:
        """Drop everything and end the threads."""
        self.clear()
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _spread(self, events: list[E], after_s: float) -> Iterator[tuple[float, list[E]]]:
        now, config = time.monotonic(), self._config
        if config.shuffle:
            self._random.shuffle(events)
            third = math.ceil(len(events) / 3)
            for start in range(0, len(events), third):
                yield now + after_s * self._random.uniform(0, 3), events[start : start + third]
        else:
            yield now + after_s, events
        doubles = [event for event in events if self._random.random() < config.duplicates] if config.duplicates else []
        if doubles:
            yield now + after_s + config.delay_s * self._random.random(), doubles

    def _put(self, due: float, load: list[E] | _Parcel) -> None:
        slot = math.ceil(due / SLOT_S) * SLOT_S
        heapq.heappush(self._due, (slot, next(self._numbers), load))
        if self._posters < self._config.posters and not self._closed:
            self._posters += 1
            threading.Thread(target=self._run, name="sandbox-outbox", daemon=True).start()
        self._ready.notify()

    def _run(self) -> None:
        with Line() as line:
            while (load := self._next()) is not None:
                parcels = [load] if isinstance(load, _Parcel) else [_Parcel(post, 1) for post in self._pack(load)]
                for parcel in parcels:
                    self._deliver(line, parcel)

    def _next(self) -> list[E] | _Parcel | None:
        """Wait for what is due; None once there has been nothing for a while."""
        with self._ready:
            while not self._closed:
                wait_s = self._due[0][0] - time.monotonic() if self._due else IDLE_S
                if wait_s <= 0:
                    return self._collect()
                if not self._ready.wait(wait_s) and not self._due:
                    break
            self._posters -= 1
            return None

    def _collect(self) -> list[E] | _Parcel:
        """Take a parcel, or as many due events as fit in a batch."""
        slot, _, load = heapq.heappop(self._due)
        if isinstance(load, _Parcel):
            return load
        while len(load) < self._config.batch and self._due and self._due[0][0] <= time.monotonic():
            more = self._due[0][2]
            if isinstance(more, _Parcel):
                break
            load = load + more
            heapq.heappop(self._due)
        rest = load[self._config.batch :]
        if rest:
            heapq.heappush(self._due, (slot, next(self._numbers), rest))
            self._ready.notify()
        return load[: self._config.batch]

    def _deliver(self, line: Line, parcel: _Parcel) -> None:
        if line.post(parcel.post):
            self._tally.done(parcel.post.events, posted=True)
        elif parcel.tries >= self._config.tries or self._closed:
            self._tally.done(parcel.post.events, posted=False)
        else:
            with self._ready:
                wait_s = self._config.retry_s * 2 ** (parcel.tries - 1)
                self._put(time.monotonic() + wait_s, _Parcel(parcel.post, parcel.tries + 1))


class Line:
    """One thread's open connections, by scheme and host."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for connection in self._open.values():
            connection.close()

    def post(self, post: Post) -> bool:
        """Post; tell whether it was answered 2xx. A connection that went stale meanwhile is opened anew once."""
        try:
            parts = urlsplit(post.url)
            connection = self._connection(parts.scheme, parts.netloc)
        except (http.client.HTTPException, ValueError):
            return False
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        was_open = connection.sock is not None
        status = _try(connection, target, post) or (_try(connection, target, post) if was_open else 0)
        return status in _SUCCESS

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        key = (scheme, netloc)
        if key not in self._open:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._open[key] = kind(netloc, timeout=TIMEOUT_S)
        return self._open[key]


def _try(connection: http.client.HTTPConnection, target: str, post: Post) -> int:
    """Return the status, or 0 if there is none."""
    try:
        connection.request("POST", target, post.body, dict(post.headers))
        answer = connection.getresponse()
        answer.read()
    except (http.client.HTTPException, OSError, ValueError):
        connection.close()
        return 0
    return answer.status
