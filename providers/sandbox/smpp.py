"""Signs carrier receipts for NotifyGuard, for tests, the demo and programs that post receipts."""

from __future__ import annotations

import hmac


def sign(body: bytes, secret: str, unix_seconds: int) -> dict[str, str]:
    """Return the signature header of a ``body`` sent at ``unix_seconds``."""
    mac = hmac.digest(secret.encode(), f"{unix_seconds}.".encode() + body, "sha256")
    return {"X-NotifyGuard-Signature": f"t={unix_seconds},v1={mac.hex()}"}
