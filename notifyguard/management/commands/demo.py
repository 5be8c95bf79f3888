"""Runs the whole product on one machine: embedded servers, web, worker and beat, with demo data, until Ctrl-C.

This process only supervises. Whatever needs the database runs in a child that is given the database's address.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifyguard import demo_environment, demo_sandbox
from notifyguard.embedded import EmbeddedError, Servers, erase, start, stop
from notifyguard.embedded.processes import free_port, is_free, open_log, tail
from notifyguard.embedded.state import HOST

RUN = settings.BASE_DIR / ".run"
FOLDER = RUN / "demo"
LOGS = RUN / "logs"
LOGINS = RUN / "demo-logins.txt"
SEEDING = FOLDER / "seeding"
SEEDED = FOLDER / "seeded"
CHILDREN = FOLDER / "children.json"
MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
READY_S = 60.0
GRACE_S = 15.0


@dataclass(frozen=True)
class Child:
    """A process of the product, its log and the byte of the log at which its words begin."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int


class Command(BaseCommand):
    """Prints one line with the address when everything answers; a child that dies ends the demo with its last words."""

    help = "Run NotifyGuard with demo data on this machine; --reset stops it and deletes its data."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--reset", action="store_true")

    def handle(self, *_args: Any, port: int, reset: bool, **_options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, signal.default_int_handler)
        try:
            if reset:
                self._reset()
            else:
                self._run(port)
        except EmbeddedError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _reset(self) -> None:
        erase(FOLDER)
        LOGINS.unlink(missing_ok=True)
        shutil.rmtree(LOGS, ignore_errors=True)
        self.stdout.write("The demo is stopped and its data deleted.")

    def _run(self, port: int) -> None:
        self.stdout.write(f"Starting NotifyGuard; its logs are in {LOGS}")
        for folder in (LOGS, settings.STATIC_ROOT):  # static files come from their sources; whitenoise looks there, too
            folder.mkdir(parents=True, exist_ok=True)
        with _servers() as servers:
            _end_orphans()
            if not is_free(port):
                raise CommandError(f"Port {port} is in use. Choose another: make demo PORT={port + 1}")
            sandbox = free_port()
            environment = os.environ | servers.environment() | _demo_settings(port, _address(sandbox))
            with _children() as children, demo_environment.shared(environment):
                _start(children, {"sandbox": _sandbox_command(sandbox)}, environment)
                _finish(
                    "migrate", [*MANAGE, "migrate", "--database", "owner", "--noinput", "--skip-checks"], environment
                )
                _await(lambda: demo_sandbox.answers(_address(sandbox)), children)
                demo_sandbox.register(_address(sandbox), _address(port))
                _start(children, _web(port), environment)
                _await(lambda: _is_ready(port), children)
                _start(children, _workers(), environment)
                _seed(port, environment)
                self._announce(port)
                _watch(children, servers)

    def _announce(self, port: int) -> None:
        self.stdout.write(f"NotifyGuard is ready at {_address(port)}")
        if LOGINS.exists():
            self.stdout.write(LOGINS.read_text(encoding="utf-8").rstrip())
        self.stdout.flush()


@contextmanager
def _servers() -> Iterator[Servers]:
    servers = start(FOLDER)
    if SEEDING.exists():  # it was cut short, and done again it would double what is there
        stop(servers)
        erase(FOLDER)
        servers = start(FOLDER)
    try:
        yield servers
    finally:
        stop(servers)


def _address(port: int) -> str:
    return f"http://{HOST}:{port}"


def _demo_settings(port: int, sandbox: str) -> dict[str, str]:
    """Return the settings that make the product work on one machine, the sandbox in place of the providers.

    SNS messages are signed with a certificate that the sandbox serves at the first of the listed URLs.
    """
    trusted = [sandbox + demo_sandbox.CERTIFICATE, *filter(None, [os.environ.get("NOTIFYGUARD_SNS_CERT_URLS")])]
    defaults = {"PUBLIC_URL": _address(port), "EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    return {
        "NOTIFYGUARD_ALLOW_LOOPBACK": "1",
        "NOTIFYGUARD_SNS_CERT_URLS": ",".join(trusted),
        "NOTIFYGUARD_PROVIDER_URLS": demo_sandbox.settings_for(sandbox),
        **{name: os.environ.get(name, value) for name, value in defaults.items()},
    }


def _finish(name: str, command: list[str], environment: dict[str, str]) -> None:
    """Run a command to its end; raise ``CommandError`` with its last words if it fails."""
    child = _launch(name, command, environment)
    try:
        code = child.process.wait()
    except BaseException:
        child.process.kill()
        child.process.wait()
        raise
    if code:
        raise _death(child)


def _seed(port: int, environment: dict[str, str]) -> None:
    if not SEEDED.exists():
        SEEDING.touch()
        _finish("seed_demo", [*MANAGE, "seed_demo", "--url", _address(port)], environment)
        SEEDING.rename(SEEDED)


@contextmanager
def _children() -> Iterator[list[Child]]:
    """End, after the block, the children that it started."""
    children: list[Child] = []
    try:
        yield children
    finally:
        _end(children)


def _start(children: list[Child], commands: Mapping[str, list[str]], environment: dict[str, str]) -> None:
    for name, command in commands.items():
        children.append(_launch(name, command, environment))
        _remember(children)


def _sandbox_command(port: int) -> list[str]:
    return [sys.executable, "-m", "providers.sandbox", "--host", HOST, "--port", str(port)]


def _web(port: int) -> dict[str, list[str]]:
    # No access log: the path of a webhook holds its token.
    web = ["gunicorn", "notifyguard.wsgi:application", "--bind", f"{HOST}:{port}", "--no-control-socket", "--preload"]
    web += ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    return {"web": [sys.executable, "-m", *web]}


def _workers() -> dict[str, list[str]]:
    """Started once web answers: on a small machine they would only keep it from doing so."""
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()} | {settings.CELERY_TASK_DEFAULT_QUEUE}
    worker = ["worker", "--concurrency", "2", "--queues", ",".join(sorted(routed - {"send"})), "--loglevel", "INFO"]
    # A provider that answers slowly delays no webhook: sending has workers of its own.
    sender = ["worker", "--concurrency", "2", "--queues", "send", "--hostname", "sender@%h", "--loglevel", "INFO"]
    beat = ["beat", "--schedule", str(FOLDER / "celerybeat-schedule"), "--pidfile", ""]
    parts = {"worker": worker, "sender": sender, "beat": beat}
    return {name: [sys.executable, "-m", "celery", "--app", "notifyguard", *part] for name, part in parts.items()}


def _launch(name: str, command: list[str], environment: dict[str, str]) -> Child:
    """Start a child in a session of its own: Ctrl-C reaches us alone, and we end the children in order."""
    log = LOGS / f"{name}.log"
    with open_log(log) as output:
        process = subprocess.Popen(  # noqa: S603 the commands are ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=settings.BASE_DIR,
            env=environment,
            start_new_session=True,
        )
        return Child(name, process, log, output.tell())


def _await(true: Callable[[], bool], children: list[Child]) -> None:
    """Wait until it is true; raise ``CommandError`` if that takes too long or a child dies meanwhile."""
    deadline = time.monotonic() + READY_S
    while not true():
        _raise_for_dead(children)
        if time.monotonic() > deadline:
            raise CommandError(f"NotifyGuard does not get ready. Look at {LOGS}; /readyz says what is wrong.")
        time.sleep(0.1)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _watch(children: list[Child], servers: Servers) -> None:
    """Wait until somebody ends the demo; raise ``CommandError`` if a child or a server ends by itself."""
    embedded = (Child(server.log.stem, server.process, server.log, server.log_start) for server in servers.started)
    everything = [*children, *embedded]
    while True:
        _raise_for_dead(everything)
        time.sleep(0.5)


def _raise_for_dead(children: list[Child]) -> None:
    for child in children:
        if child.process.poll() is not None:
            raise _death(child)


def _death(child: Child) -> CommandError:
    words = tail(child.log, child.log_start)
    return CommandError(
        f"{child.name} ended with exit code {child.process.returncode}. The end of {child.log}:\n{words}"
    )


def _end(children: list[Child]) -> None:
    """End the children: a polite request to each, then, after a grace, its whole group by force."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # we are ending already, and half an end leaves orphans
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + GRACE_S
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
    CHILDREN.unlink(missing_ok=True)


def _remember(children: list[Child]) -> None:
    """Write down who was started when, so that the next demo can end them should this one be killed."""
    born = [(child.process.pid, psutil.Process(child.process.pid).create_time()) for child in children]
    CHILDREN.write_text(json.dumps(born), encoding="utf-8")


def _end_orphans() -> None:
    """End the children of a demo that was killed; a process that has got one of their ids since is left alone."""
    if not CHILDREN.exists():
        return
    for pid, born in json.loads(CHILDREN.read_text(encoding="utf-8")):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            orphan = psutil.Process(pid)
            if orphan.create_time() == born:
                os.killpg(pid, signal.SIGKILL)
                orphan.wait(GRACE_S)
    CHILDREN.unlink()
