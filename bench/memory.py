"""How much resident memory a piece of work takes at its peak."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psutil


class peak_memory:  # noqa: N801 -- used as a function
    """Watches this process while the block runs; calling the value gives the MB gained at the peak so far."""

    def __enter__(self) -> Callable[[], float]:
        self._process = psutil.Process()
        self._before = self._peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return lambda: (self._peak - self._before) / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
