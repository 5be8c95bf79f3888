"""Signs delivery receipts and status callbacks the way Vonage does, for tests and the demo."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import jwt

NONCE = "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"


def sign_params(params: Mapping[str, str], secret: str, method: str, unix_seconds: int) -> dict[str, str]:
    """Return ``params`` with ``timestamp``, ``nonce`` and ``sig``.

    ``method``: md5hash, or md5, sha1, sha256, sha512 for an HMAC.
    """
    signed = {**params, "timestamp": str(unix_seconds), "nonce": NONCE}
    covered = ""
    for name, value in sorted(signed.items()):
        covered += f"&{name}=" + value.replace("&", "_").replace("=", "_")
    if method == "md5hash":
        digest = hashlib.md5((covered + secret).encode(), usedforsecurity=False).hexdigest()
    else:
        digest = hmac.digest(secret.encode(), covered.encode(), method).hex()
    return {**signed, "sig": digest}


def sign_body(body: bytes, secret: str, api_key: str, unix_seconds: int) -> dict[str, str]:
    """Return the headers of a Messages API callback with this JSON ``body``."""
    claims = {
        "iat": unix_seconds,
        "jti": NONCE,
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": api_key,
    }
    token = jwt.encode(claims, secret, algorithm="HS256")
    return {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
