"""Signs status callbacks the way Twilio does, without the vendor's code, for tests and the demo."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping


def sign_form(url: str, params: Mapping[str, str], secret: str, shared_key_id: str = "") -> dict[str, str]:
    """Return the headers of a form POST to ``url``; with ``shared_key_id`` HMAC-SHA256, else HMAC-SHA1."""
    covered = url + "".join(name + params[name] for name in sorted(params))
    return {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        **_headers(covered, secret, shared_key_id),
    }


def sign_url(url: str, secret: str, shared_key_id: str = "") -> dict[str, str]:
    """Return the headers of a GET whose parameters are in ``url``."""
    return _headers(url, secret, shared_key_id)


def sign_json(url: str, body: bytes, secret: str, shared_key_id: str = "") -> tuple[str, dict[str, str]]:
    """Return the URL with the hash of a JSON ``body`` in it, and the headers."""
    signed_url = f"{url}{'&' if '?' in url else '?'}bodySHA256={hashlib.sha256(body).hexdigest()}"
    return signed_url, {"Content-Type": "application/json", **_headers(signed_url, secret, shared_key_id)}


def _headers(covered: str, secret: str, shared_key_id: str) -> dict[str, str]:
    mac = hmac.digest(secret.encode(), covered.encode(), "sha256" if shared_key_id else "sha1")
    headers = {"X-Twilio-Signature": base64.b64encode(mac).decode()}
    if shared_key_id:
        headers["X-Twilio-Webhooks-Signature-Settings"] = f"key={shared_key_id},algorithm=HMAC_SHA256"
    return headers
