"""What a folder of embedded servers remembers from one start to the next, and the lock that one process holds on it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
END_S = 60.0  # how long the holder of a folder may take to end


class EmbeddedError(Exception):
    """The servers can't be started or erased; the message says why and what to do."""


class BusyError(EmbeddedError):
    """Another process runs the servers of this folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        self.pid = pid
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{who} is using {folder}: wait until it ends, or stop it, then try again.")


class OtherUserError(EmbeddedError):
    """A file of the folder belongs to somebody else."""

    def __init__(self, error: PermissionError) -> None:
        super().__init__(f"{error.filename} belongs to another user: run this as the user who made it.")


@dataclass(frozen=True)
class State:
    """Ports, passwords and keys of one folder; kept in ``state.json``, which only its owner may read."""

    admin_password: str = field(repr=False)
    owner_password: str = field(repr=False)
    app_password: str = field(repr=False)
    valkey_password: str = field(repr=False)
    secret_key: str = field(repr=False)
    encryption_key: str = field(repr=False)
    ports: dict[str, int] = field(default_factory=dict)
    elsewhere: str = ""  # where the data is, if not in the folder itself

    @classmethod
    def new(cls) -> State:
        return cls(
            admin_password=secrets.token_urlsafe(24),
            owner_password=secrets.token_urlsafe(24),
            app_password=secrets.token_urlsafe(24),
            valkey_password=secrets.token_urlsafe(24),
            secret_key=secrets.token_urlsafe(48),
            encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode(),
        )

    @property
    def admin_url(self) -> str:
        return self._postgres_url("postgres", self.admin_password, "postgres")

    @property
    def owner_url(self) -> str:
        return self._postgres_url("notifyguard_owner", self.owner_password, "notifyguard")

    @property
    def database_url(self) -> str:
        return self._postgres_url("notifyguard_app", self.app_password, "notifyguard")

    @property
    def redis_url(self) -> str:
        return f"redis://:{self.valkey_password}@{HOST}:{self.ports.get('valkey', 0)}/0"

    def _postgres_url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{HOST}:{self.ports.get('postgres', 0)}/{database}"


def read_state(folder: Path) -> State | None:
    """Return what the folder remembers, ``None`` if it is new; raise ``EmbeddedError`` if it can't be read."""
    try:
        return State(**json.loads((folder / "state.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise OtherUserError(error) from error
    except (ValueError, TypeError) as error:
        raise EmbeddedError(f"{folder} was made by another version of NotifyGuard: delete it with its data.") from error


def write_state(folder: Path, state: State) -> State:
    """Replace ``state.json`` in one step."""
    new = folder / "state.json.new"
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=1)
    new.replace(folder / "state.json")
    return state


def remembered_state(folder: Path) -> State:
    """Return what the folder remembers; give a new folder its ports, passwords and keys."""
    if state := read_state(folder):
        return state
    if (folder / "postgres").exists():
        raise EmbeddedError(f"{folder}/state.json is gone, and with it the passwords of the data: delete {folder}.")
    return write_state(folder, State.new())


def hold(folder: Path) -> IO[str]:
    """Take the folder's lock, or raise ``BusyError``; the kernel gives it back however this process ends."""
    try:
        lock = (folder / "lock").open("a+", encoding="utf-8")
    except PermissionError as error:
        raise OtherUserError(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise BusyError(folder, int(holder) if holder else None) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def take_over(folder: Path) -> IO[str]:
    """Ask the process that holds the folder to end, and take the folder's lock when it has."""
    deadline = time.monotonic() + END_S
    asked: int | None = None
    while True:
        try:
            return hold(folder)
        except BusyError as busy:
            if time.monotonic() > deadline:
                raise
            if busy.pid and busy.pid != asked:
                os.kill(busy.pid, signal.SIGTERM)
                asked = busy.pid
        time.sleep(0.1)
