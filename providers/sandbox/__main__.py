"""Runs a sandbox: ``python -m providers.sandbox --port 8090 --config sandbox.json``."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from providers.sandbox.config import Config
from providers.sandbox.server import Sandbox


def main() -> None:
    """Serve until interrupted; print one line once the sandbox answers."""
    parser = argparse.ArgumentParser(prog="python -m providers.sandbox", description="Play the providers' side.")
    parser.add_argument("--host", default="127.0.0.1", help="an address; control routes are on loopback ones only")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--config", type=Path, help="JSON: accounts, pace, faults (docs/sandbox.md)")
    options = parser.parse_args()
    try:
        config = msgspec.json.decode(options.config.read_bytes(), type=Config) if options.config else Config()
        sandbox = Sandbox(config, host=options.host, port=options.port)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.stdout.write(f"The sandbox is ready at {sandbox.url}\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        sandbox.serve()


if __name__ == "__main__":
    main()
