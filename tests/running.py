"""The product as real processes on this worker's test database: web, Celery worker, beat, and a Valkey of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import urllib3
from django.db import connections

from notifyguard import embedded
from notifyguard.embedded.processes import free_port

MODULES = {
    "web": ["gunicorn", "notifyguard.wsgi:application", "--workers", "2", "--threads", "4", "--no-control-socket"],
    "worker": ["celery", "--app", "notifyguard", "worker", "--concurrency", "2", "--queues", "inbox,default"],
    "sender": ["celery", "--app", "notifyguard", "worker", "--concurrency", "2", "--queues", "send", "-n", "sender@%h"],
    "beat": ["celery", "--app", "notifyguard", "beat", "--pidfile", ""],
}


def on_test_database(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path="/" + connections["default"].settings_dict["NAME"]))


class Product:
    """Starts, kills and restarts the parts; ``url`` is where the web part listens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = urllib3.PoolManager(timeout=20, retries=False)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {
            "DATABASE_URL": on_test_database(os.environ["DATABASE_URL"]),
            "DATABASE_OWNER_URL": on_test_database(os.environ["DATABASE_OWNER_URL"]),
            "PUBLIC_URL": self.url,
            "NOTIFYGUARD_ALLOW_LOOPBACK": "1",
            "DJANGO_SETTINGS_MODULE": "notifyguard.settings",
        }
        self.start_valkey()

    def start_valkey(self) -> None:
        given = {name: self.environment[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL")}
        self.valkey = embedded.start(self.folder / "valkey", given)
        self.environment["REDIS_URL"] = self.valkey.redis_url

    def stop_valkey(self) -> None:
        embedded.stop(self.valkey)

    def start(self, *names: str) -> None:
        for name in names:
            command = [sys.executable, "-m", *MODULES[name]]
            if name == "web":
                command += ["--bind", f"127.0.0.1:{self.port}"]
            if name == "beat":
                command += ["--schedule", str(self.folder / "schedule")]
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    command, env=self.environment, stdout=log, stderr=log, start_new_session=True
                )
        if "web" in names:
            self.wait_until(self._answers, "the web part answers")

    def kill(self, name: str) -> None:
        """End a part and its children at once, as a power cut would."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def close(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.stop_valkey()
        embedded.erase(self.folder / "valkey")
        self.http.clear()

    def wait_until(self, true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > deadline:
                logs = "\n".join((self.folder / f"{name}.log").read_text()[-2000:] for name in self.processes)
                raise AssertionError(f"Waited {timeout_s} s for: {what}\n{logs}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            return self.http.request("GET", self.url + "/healthz").status == 200
        return False
