"""Signs callbacks and reports the way LINE WORKS does, for tests and the demo."""

from __future__ import annotations

import base64
import hmac


def sign(body: bytes, secret: str, bot_id: str = "") -> dict[str, str]:
    """Return the headers of a callback with this raw ``body``; without ``bot_id`` those of a report."""
    mac = hmac.digest(secret.encode(), body, "sha256")
    headers = {
        "Content-Type": "application/json; charset=UTF-8",
        "X-WORKS-Signature": base64.b64encode(mac).decode(),
    }
    return {**headers, "X-WORKS-BotId": bot_id} if bot_id else headers
