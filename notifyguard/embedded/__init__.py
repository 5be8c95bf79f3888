"""Starts and stops a real PostgreSQL and a real Valkey from wheels, for the demo, the tests and the benchmarks."""

from notifyguard.embedded.servers import Servers, attach, erase, running, start, stop
from notifyguard.embedded.state import BusyError, EmbeddedError

__all__ = ["BusyError", "EmbeddedError", "Servers", "attach", "erase", "running", "start", "stop"]
