"""The embedded servers: they keep their data, recover from crashes and open no folder to others."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from notifyguard.embedded import BusyError, EmbeddedError, Servers, erase, running, start, stop
from notifyguard.embedded.processes import Server
from notifyguard.embedded.servers import FROM_ENVIRONMENT
from notifyguard.roles import UnsafeRoleError, prepare_roles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder whose data is made once for all tests that start and stop servers."""
    folder = tmp_path_factory.mktemp("embedded") / "servers"
    with running(folder, {}) as servers:
        query(servers.owner_url, "CREATE TABLE note AS SELECT 'kept' AS word")
    yield folder
    erase(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that no servers have used."""
    yield tmp_path / "servers"
    erase(tmp_path / "servers")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Run servers for the tests that only look at them."""
    folder = tmp_path_factory.mktemp("shared") / "servers"
    with running(folder, {}) as servers:
        yield servers
    erase(folder)


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def postgres(servers: Servers) -> Server:
    (server,) = (server for server in servers.started if server.data.name == "postgres")
    return server


def abandon(servers: Servers) -> None:
    """Let go of the folder as a killed process does: the kernel frees its lock, the servers stay."""
    assert servers.lock
    servers.lock.close()


def bury(servers: Servers) -> None:
    """Reap abandoned servers, as the system does for the children of a process that died."""
    for server in servers.started:
        server.process.wait(5)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def family(servers: Servers) -> list[psutil.Process]:
    heads = [psutil.Process(server.process.pid) for server in servers.started]
    return heads + [child for head in heads for child in head.children(recursive=True)]


def broker(servers: Servers, *words: str) -> object:
    with redis.Redis.from_url(servers.redis_url) as client:
        return client.execute_command(*words)


def recall(servers: Servers) -> list[tuple[object, ...]]:
    return query(servers.owner_url, "SELECT word FROM note")


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    status = {parent: parent.stat() for parent in [path, *path.parents]}
    return {parent: (found.st_mode, found.st_uid, found.st_gid) for parent, found in status.items()}


def test_roles_have_no_more_power_than_they_need(shared: Servers) -> None:
    rows = query(
        shared.admin_url,
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles "
        "WHERE rolname LIKE 'notifyguard%' ORDER BY rolname",
    )
    assert rows == [
        ("notifyguard_app", False, False, False, False),
        ("notifyguard_owner", False, False, False, True),
    ]


def test_application_may_use_the_database_but_create_nothing_lasting(shared: Servers) -> None:
    query(shared.database_url, "CREATE TEMPORARY TABLE passing ()")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        query(shared.database_url, "CREATE TABLE lasting ()")


def test_a_wrong_password_is_refused(shared: Servers) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(shared.database_url, password="guessed")
    broker = shared.redis_url.rpartition("@")[2]
    with redis.Redis.from_url(f"redis://:guessed@{broker}") as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_servers_listen_on_the_loopback_address_only(shared: Servers) -> None:
    listening = {
        connection.laddr.ip
        for server in shared.started
        for connection in psutil.Process(server.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_writes_are_durable(shared: Servers) -> None:
    assert query(shared.database_url, "SHOW fsync") == [("on",)]


def test_second_start_keeps_data_ports_and_passwords(folder: Path) -> None:
    with running(folder, {}) as first:
        broker(first, "SET", "word", "kept")
    with running(folder, {}) as second:
        assert second.environment() == first.environment()
        assert recall(second) == [("kept",)]
        assert broker(second, "GET", "word") == b"kept"


def test_stop_leaves_no_process(folder: Path) -> None:
    servers = start(folder, {})
    before = family(servers)
    stop(servers)
    assert [process for process in before if alive(process)] == []


def test_killed_server_with_a_busy_backend_recovers(folder: Path) -> None:
    servers = start(folder, {})
    busy = psycopg2.connect(servers.database_url)
    backend = psutil.Process(busy.info.backend_pid)
    backend.suspend()  # deaf to the death of its parent, as if deep in a computation
    postgres(servers).process.kill()
    abandon(servers)
    backend.resume()
    with running(folder, {}) as recovered:
        assert recall(recovered) == [("kept",)]
        assert not alive(backend)
    busy.close()
    bury(servers)


def test_servers_of_a_killed_process_are_replaced(folder: Path) -> None:
    abandoned = start(folder, {})
    orphans = family(abandoned)
    abandon(abandoned)
    with running(folder, {}) as servers:
        assert recall(servers) == [("kept",)]
        assert [orphan for orphan in orphans if alive(orphan)] == []
    bury(abandoned)


def test_lock_file_naming_an_innocent_process_is_ignored_and_the_process_spared(folder: Path) -> None:
    with running(folder, {}) as servers:
        data = postgres(servers).data
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        (data / "postmaster.pid").write_text(f"{innocent.pid}\n{data}\n1700000000\n5432\n\n127.0.0.1\n")
        with running(folder, {}) as again:
            assert recall(again) == [("kept",)]
        assert innocent.poll() is None


def test_start_that_was_cut_short_is_made_up_for(fresh: Path) -> None:
    with running(fresh, {"DATABASE_URL": "postgresql://a:a@db.example/n"}) as broker_only:
        home = broker_only.started[0].data.parent
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "postgresql.conf").touch()
    (home / "password.new").touch()
    with running(fresh, {}) as servers:
        assert query(servers.database_url, "SELECT 1") == [(1,)]
    assert sorted(path.name for path in home.glob("*.new")) == []


def test_taken_port_is_left_for_another(folder: Path) -> None:
    with running(folder, {}) as first:
        port = psycopg2.extensions.parse_dsn(first.database_url)["port"]
    with socket.create_server(("127.0.0.1", int(port))), running(folder, {}) as second:
        assert query(second.database_url, "SELECT current_user") == [("notifyguard_app",)]
        assert psycopg2.extensions.parse_dsn(second.database_url)["port"] != port


def test_second_start_at_the_same_time_names_the_first(shared: Servers) -> None:
    folder = postgres(shared).log.parent
    with pytest.raises(BusyError) as refusal:
        start(folder, {})
    assert refusal.value.pid == os.getpid()
    assert str(folder) in str(refusal.value)


def test_folders_that_others_may_not_enter_stay_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    inner = closed / "inner"
    inner.mkdir(mode=0o700)
    before = modes(inner) | modes(Path(sys.prefix))
    try:
        with running(inner, {}) as servers:
            assert query(servers.database_url, "SELECT 1") == [(1,)]
            assert modes(inner) | modes(Path(sys.prefix)) == before
    finally:
        erase(inner)
    assert not inner.exists()
    assert modes(closed).items() <= before.items()


def test_passwords_and_logs_are_for_their_owner_only(shared: Servers) -> None:
    log = postgres(shared).log
    assert [path.stat().st_mode & 0o777 for path in (log, log.with_name("state.json"))] == [0o600, 0o600]


def test_copied_folder_gets_data_of_its_own(folder: Path) -> None:
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("postgres", "valkey"))
    try:
        with running(folder, {}) as original, running(copy, {}) as other:
            assert query(other.owner_url, "SELECT to_regclass('note')") == [(None,)]
            assert recall(original) == [("kept",)]
            assert postgres(other).data != postgres(original).data
    finally:
        erase(copy)
    with running(folder, {}) as original:
        assert recall(original) == [("kept",)]


def with_servers(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Run a command line as ``make`` does, without the addresses of the servers that this test run itself was given."""
    environment = {name: value for name, value in os.environ.items() if name not in FROM_ENVIRONMENT}
    program = [sys.executable, "-m", "notifyguard.embedded", "run", "--folder", str(folder), "--"]
    return subprocess.Popen([*program, *command], env=environment, stdout=subprocess.PIPE)


def test_erase_asks_the_running_process_to_end(fresh: Path) -> None:
    with with_servers(fresh, sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)") as holder:
        assert holder.stdout.readline() == b"up\n"
        erase(fresh)
        assert holder.wait(10) == 128 + signal.SIGTERM
    assert not fresh.exists()


def test_command_gets_the_servers_and_its_exit_code_comes_back(folder: Path) -> None:
    look = "import os, psycopg2, sys; psycopg2.connect(os.environ['DATABASE_URL']); sys.exit(7)"
    with with_servers(folder, sys.executable, "-c", look) as command:
        assert command.wait(30) == 7


def test_given_addresses_replace_the_embedded_servers(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {
        "DATABASE_URL": "postgresql://app:a@db.example/notifyguard",
        "DATABASE_OWNER_URL": "postgresql://owner:o@db.example/notifyguard",
        "REDIS_URL": "redis://broker.example/0",
    }
    with running(fresh, given) as servers:
        assert servers.started == []
        assert servers.environment().items() >= given.items()
    assert capsys.readouterr().err == ""


def test_address_without_an_owner_serves_as_both_with_a_warning(
    fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://one:1@db.example/notifyguard"
    with running(fresh, {"DATABASE_URL": url, "REDIS_URL": "redis://broker.example/0"}) as servers:
        assert (servers.database_url, servers.owner_url, servers.admin_url) == (url, url, None)
    assert "DATABASE_OWNER_URL is not set" in capsys.readouterr().err


def test_address_may_come_from_a_file(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("redis://broker.example/0\n")
    given = {"DATABASE_URL": "postgresql://a:a@db.example/n", "REDIS_URL_FILE": str(tmp_path / "broker")}
    with running(fresh, given) as servers:
        assert servers.redis_url == "redis://broker.example/0"


def test_lost_passwords_are_reported_before_anything_starts(fresh: Path) -> None:
    (fresh / "postgres").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match="is gone, and with it the passwords"):
        start(fresh, {})


def production_urls(servers: Servers, database: str) -> dict[str, str]:
    host = servers.database_url.rpartition("@")[2].partition("/")[0]
    return {
        "owner_url": f"postgresql://{database}_owner:o%40w@{host}/{database}",
        "app_url": f"postgresql://{database}_app:a%2Fp@{host}/{database}",
    }


def test_roles_are_prepared_again_without_harm_by_an_administrator_who_is_no_superuser(shared: Servers) -> None:
    query(shared.admin_url, "CREATE ROLE keeper LOGIN CREATEROLE CREATEDB PASSWORD 'k'")
    admin_url = f"postgresql://keeper:k@{shared.admin_url.rpartition('@')[2]}"
    urls = production_urls(shared, "hosted")
    for _ in range(2):
        prepare_roles(admin_url, **urls)
    query(urls["owner_url"], "CREATE TABLE IF NOT EXISTS made_by_owner ()")
    assert query(urls["app_url"], "SELECT current_user") == [("hosted_app",)]
    assert query(shared.admin_url, "SELECT rolcreatedb FROM pg_roles WHERE rolname = 'hosted_owner'") == [(False,)]


def test_superuser_is_refused_as_the_application_and_left_as_it_was(shared: Servers) -> None:
    urls = production_urls(shared, "misnamed")
    with pytest.raises(UnsafeRoleError, match="Role postgres is a superuser"):
        prepare_roles(
            shared.admin_url, owner_url=urls["owner_url"], app_url="postgresql://postgres:x@127.0.0.1/misnamed"
        )
    assert query(shared.admin_url, "SELECT count(*) FROM pg_roles WHERE rolname = 'misnamed_owner'") == [(0,)]
    assert query(shared.admin_url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'postgres'") == [(True,)]


def test_one_role_for_both_is_refused(shared: Servers) -> None:
    with pytest.raises(ValueError, match="two different roles"):
        prepare_roles(shared.admin_url, owner_url=shared.owner_url, app_url=shared.owner_url)
