"""The accounts that the demo's sandbox plays: kept from one start to the next, since it remembers nothing itself."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from providers.sandbox import ses

FILE = Path(__file__).resolve().parent.parent / ".run" / "demo" / "sandbox-accounts.json"
HERE = "{demo}"  # stands for the demo's own address, which may be another one at the next start
CERTIFICATE = "/_sandbox/sns-certificate.pem"
START_S = 20.0
NAMES = ("sendgrid", "ses", "lineworks", "twilio", "vonage")

_http = urllib3.PoolManager(timeout=10, retries=False)


def settings_for(sandbox: str) -> str:
    """Return the value of NOTIFYGUARD_PROVIDER_URLS that leads every call to the sandbox."""
    return ",".join(f"{name}={sandbox}" for name in NAMES)


def keep(accounts: Sequence[Mapping[str, Any]]) -> None:
    """Write the accounts down, keys among them, for their owner alone; ``HERE`` in them is the demo's address."""
    FILE.unlink(missing_ok=True)
    with os.fdopen(os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(accounts, file)


def register(sandbox: str, demo: str) -> None:
    """Tell the sandbox the accounts that were kept, if any. Raises ``RuntimeError`` if it refuses them."""
    if FILE.exists():
        answer = _http.request("POST", f"{sandbox}/_sandbox/accounts", body=FILE.read_text().replace(HERE, demo))
        if answer.status != 200:  # noqa: PLR2004 -- HTTP
            raise RuntimeError(f"The sandbox answered {answer.status} to its accounts.")


def answers(sandbox: str) -> bool:
    try:
        return _http.request("GET", f"{sandbox}/_sandbox").status == 200  # noqa: PLR2004 -- HTTP
    except urllib3.exceptions.HTTPError:
        return False


def signer(sandbox: str) -> ses.Signer:
    """Return what the sandbox signs SNS messages with, and serves the certificate of."""
    said = _http.request("GET", f"{sandbox}/_sandbox/sns-signer").json()
    return ses.Signer(said["private_pem"], said["certificate_pem"].encode(), said["certificate_url"])


def settle(sandbox: str, timeout_s: float) -> None:
    """Wait until the sandbox has posted all it had to, at most so long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not _http.request("GET", f"{sandbox}/_sandbox/counts").json()["events"]["waiting"]:
            return
        time.sleep(0.2)
