"""Signs Event Webhook posts as SendGrid does."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from providers.sendgrid import SIGNATURE_HEADER, TIMESTAMP_HEADER


@dataclass(frozen=True, slots=True)
class KeyPair:
    """``public_key`` is base64 DER, as SendGrid's console shows it and the connection wants it."""

    private_pem: str
    public_key: str


def make_keys() -> KeyPair:
    """Make a P-256 key pair, as switching on Signed Event Webhook does."""
    key = ec.generate_private_key(ec.SECP256R1())
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private_pem, base64.b64encode(public).decode())


def sign(private_pem: str, body: bytes, at: datetime) -> dict[str, str]:
    """Return the headers of a post of ``body`` signed ``at`` (aware), names in lower case."""
    timestamp = str(int(at.timestamp()))
    signature = _load(private_pem).sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "content-type": "application/json;charset=utf-8",
        "user-agent": "SendGrid Event API",
        SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        TIMESTAMP_HEADER: timestamp,
    }


@lru_cache(maxsize=64)
def _load(private_pem: str) -> ec.EllipticCurvePrivateKey:
    return cast("ec.EllipticCurvePrivateKey", load_pem_private_key(private_pem.encode(), password=None))
