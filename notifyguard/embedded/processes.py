"""Starts, finds and ends server processes, as another user if need be, with their logs and ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from notifyguard.embedded.state import HOST, EmbeddedError

STOP_S = 30.0
LOG_LIMIT = 5_000_000


@dataclass(frozen=True)
class Account:
    """The account that the servers run as instead of root, which PostgreSQL refuses."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Server:
    """One server process of ours, the folder of its data, its log and the byte of the log at which its words begin."""

    process: subprocess.Popen[bytes]
    data: Path
    log: Path
    log_start: int


def spawn(account: Account | None, command: list[str], *, data: Path, log: Path, settings: bytes = b"") -> Server:
    """Start a server, with ``settings`` to read, in a session of its own: Ctrl-C reaches us and not the server."""
    with open_log(log) as output, tempfile.TemporaryFile() as given:
        given.write(settings)
        given.seek(0)
        process = subprocess.Popen(  # noqa: S603 the command is ours
            command,
            stdin=given,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            env=_environment(),
            start_new_session=True,
            umask=0o077,
            **_as(account),
        )
        return Server(process, data, log, output.tell())


def run(account: Account | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a short command and return its exit code and output; raise ``EmbeddedError`` if it can't even be started."""
    try:
        return subprocess.run(  # noqa: S603 the command is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",
            env=_environment(),
            **_as(account),
        )
    except OSError as error:
        who = f"as user {account.uid}, since PostgreSQL refuses root" if account else "here"
        raise EmbeddedError(f"{command[0]} can't be started {who}: {error.strerror}.") from error


def _as(account: Account | None) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}


def _environment() -> dict[str, str]:
    """Hand on next to nothing: the servers need none of our secrets, and PG* variables would change their behaviour."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C"}


def end(server: Server) -> None:
    """Ask a server to end, wait, and end by force what is left of it."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGINT)  # for PostgreSQL: end the connections and shut down cleanly
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(STOP_S)
    clear_leftovers(server.data)


def clear_leftovers(data: Path) -> None:
    """End what a crash left running on the data; remove its lock file, whose process id may be another's by now."""
    if not data.exists():
        return
    leftovers = _processes_of(data)
    leaders = [process for process in leftovers if process.info["ppid"] not in {other.pid for other in leftovers}]
    gone = _signalled_and_gone(leaders, signal.SIGINT, data)
    if not (gone or _signalled_and_gone(_processes_of(data), signal.SIGKILL, data)):
        raise EmbeddedError(f"A server that a crash left running on {data} can't be ended.")
    (data / "postmaster.pid").unlink(missing_ok=True)


def _signalled_and_gone(processes: list[psutil.Process], number: signal.Signals, data: Path) -> bool:
    """Signal processes and wait until none works on the data: one that nobody reaps has no title any more."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    deadline = time.monotonic() + STOP_S
    while _processes_of(data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


def marker(data: Path) -> str:
    """Return the word that the processes of a data folder carry in their titles: a copy of the folder has another."""
    status = data.stat()
    return f"notifyguard-{status.st_dev:x}-{status.st_ino:x}"


def _processes_of(data: Path) -> list[psutil.Process]:
    """Find server processes by their titles: unlike their working folders, root may read them in any container."""
    found = []
    for process in psutil.process_iter(["name", "ppid", "cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if process.info["name"] in {"postgres", "valkey-server"} and (marker(data) in words or f"-D {data} " in words):
            found.append(process)
    return found


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending, readable by its owner only; one that has grown large makes way first."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def tail(log: Path, start: int, lines: int = 15) -> str:
    """Return the last lines of a log, none from before its byte ``start``."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 16_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port of this machine now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
