"""Runs a command with embedded servers around it, or erases a folder: ``python -m notifyguard.embedded``."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from notifyguard.embedded.servers import attach, erase, start, stop
from notifyguard.embedded.state import BusyError, EmbeddedError


def main() -> int:
    """Carry out the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notifyguard.embedded")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="start the servers, run a command, stop the servers")
    run.add_argument("--folder", type=Path, required=True)
    run.add_argument("--share", action="store_true", help="use the servers that another process runs in the folder")
    run.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    verbs.add_parser("erase", help="delete a folder and its data").add_argument("--folder", type=Path, required=True)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what is started by then is stopped
    try:
        if chosen.verb == "run":
            return _run_with_servers(chosen.folder, chosen.command, share=chosen.share)
        erase(chosen.folder)
    except EmbeddedError as error:
        sys.stderr.write(f"NotifyGuard: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _run_with_servers(folder: Path, command: list[str], *, share: bool) -> int:
    try:
        servers = start(folder)
    except BusyError:
        if not share:
            raise
        servers = attach(folder)
    try:
        return _run_in_foreground(command[command.index("--") + 1 :], servers.environment())
    finally:
        stop(servers)


def _run_in_foreground(command: list[str], settings: dict[str, str]) -> int:
    """Run a command that owns the terminal: Ctrl-C reaches it by itself, other requests to end are handed on."""
    child = subprocess.Popen(command, env=os.environ | settings)  # noqa: S603 running it is the job

    def hand_on(number: int, _: object) -> None:
        if number != signal.SIGINT:
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, hand_on)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
