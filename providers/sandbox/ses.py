"""Makes SNS messages of Amazon SES, signed with a certificate of our own."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from providers.signatures import SNS_SIGNED_KEYS, sns_signing_string

CONTENT_TYPE = "text/plain; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and the certificate that has to be served at ``certificate_url``."""

    private_pem: str
    certificate_pem: bytes
    certificate_url: str


def make_signer(certificate_url: str, valid_from: datetime, valid_for: timedelta = timedelta(days=365)) -> Signer:
    """Make an RSA key with a self-signed certificate. The caller serves the certificate at its URL."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.sandbox.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + valid_for)
        .sign(key, hashes.SHA256())
    )
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Signer(private_pem, certificate.public_bytes(Encoding.PEM), certificate_url)


def notification(signer: Signer, topic: str, message: str, at: datetime, *, version: str = "2") -> bytes:
    """Return the signed body of a Notification; ``message`` is the JSON text of a SES event."""
    envelope = {
        **_common("Notification", topic, message, at),
        "Subject": "Amazon SES Email Event Notification",
    }
    return sign(signer, envelope, version=version)


def subscription(
    signer: Signer,
    topic: str,
    at: datetime,
    *,
    subscribe_url: str,
    message_type: str = "SubscriptionConfirmation",
    version: str = "2",
) -> bytes:
    """Return the signed body of a SubscriptionConfirmation or an UnsubscribeConfirmation."""
    envelope = {
        **_common(message_type, topic, f"You have chosen to subscribe to the topic {topic}.", at),
        "Token": uuid.uuid4().hex * 2,
        "SubscribeURL": subscribe_url,
    }
    return sign(signer, envelope, version=version)


def sign(signer: Signer, envelope: Mapping[str, str], *, version: str = "2") -> bytes:
    """Return an envelope of any type as a body, with its signature (version 1 or 2) and certificate URL added."""
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 (what AWS does)
    text = sns_signing_string(envelope, SNS_SIGNED_KEYS[envelope["Type"]])
    signature = _load(signer.private_pem).sign(text, padding.PKCS1v15(), algorithm)
    signed = {
        **envelope,
        "SignatureVersion": version,
        "Signature": base64.b64encode(signature).decode(),
        "SigningCertURL": signer.certificate_url,
    }
    return json.dumps(signed, ensure_ascii=False).encode()


def headers(body: bytes) -> dict[str, str]:
    """Return the headers SNS posts a signed body with, names in lower case."""
    envelope = json.loads(body)
    return {
        "content-type": CONTENT_TYPE,
        "user-agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": envelope["Type"],
        "x-amz-sns-message-id": envelope["MessageId"],
        "x-amz-sns-topic-arn": envelope["TopicArn"],
    }


def _common(message_type: str, topic: str, message: str, at: datetime) -> dict[str, str]:
    return {
        "Type": message_type,
        "MessageId": str(uuid.uuid4()),
        "TopicArn": topic,
        "Message": message,
        "Timestamp": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z",
    }


@lru_cache(maxsize=16)
def _load(private_pem: str) -> rsa.RSAPrivateKey:
    return cast("rsa.RSAPrivateKey", load_pem_private_key(private_pem.encode(), password=None))
