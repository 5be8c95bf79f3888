"""Signature checks of webhooks: pure functions over bytes, in constant time where a secret is involved."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

Encoding = Literal["base64", "hex"]

SMALLEST_RSA_BITS = 2048

_SNS_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SNS_SUBSCRIPTION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SNS_SIGNED_KEYS: dict[str, tuple[str, ...]] = {
    "Notification": _SNS_NOTIFICATION,
    "SubscriptionConfirmation": _SNS_SUBSCRIPTION,
    "UnsubscribeConfirmation": _SNS_SUBSCRIPTION,
}
_SNS_HASHES: dict[str, hashes.HashAlgorithm] = {
    # AWS signs version 1, the default of a topic, with SHA-1: to refuse it would be to refuse most topics.
    "1": hashes.SHA1(),  # noqa: S303
    "2": hashes.SHA256(),
}


class KeyUnusableError(ValueError):
    """A configured key or a fetched certificate is not of the kind the signature needs."""


def hmac_matches(secret: str, body: bytes, signature: str, digest: str, encoding: Encoding) -> bool:
    """Tell whether ``signature`` is the HMAC of ``body`` under ``secret`` (as UTF-8).

    ``digest`` is a hashlib name such as "sha256"; hex is compared without regard to case. An empty secret matches
    nothing.
    """
    if not secret:
        return False
    mac = hmac.digest(secret.encode(), body, digest)
    expected = base64.b64encode(mac) if encoding == "base64" else mac.hex().encode()
    given = signature.strip() if encoding == "base64" else signature.strip().lower()
    return hmac.compare_digest(expected, given.encode("utf-8", "replace"))


@lru_cache(maxsize=1024)
def load_ecdsa_key(text: str) -> ec.EllipticCurvePublicKey:
    """Load a P-256 public key from base64 DER, as SendGrid shows it, or from PEM.

    Raises ``KeyUnusableError``. Loading costs as much as a verification, so keys are kept.
    """
    try:
        key = _load_public_key(text.strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusableError("The public key is neither base64 of a DER key nor PEM.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnusableError("The public key is not an ECDSA key on curve P-256.")
    return key


def _load_public_key(text: str) -> PublicKeyTypes:
    if text.startswith("-----BEGIN"):
        return load_pem_public_key(text.encode())
    return load_der_public_key(base64.b64decode(text, validate=True))


def ecdsa_matches(key: ec.EllipticCurvePublicKey, sha256: bytes, signature: str) -> bool:
    """Tell whether ``signature`` (base64 of DER) is one of ``key`` over a message with this SHA-256 digest."""
    try:
        key.verify(base64.b64decode(signature, validate=True), sha256, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def sns_signing_string(envelope: Mapping[str, object], keys: Sequence[str]) -> bytes:
    """Build what SNS signs: name, newline, value, newline for each key, from the decoded and untrimmed values.

    ``Subject`` is left out when it is absent or null.
    Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
    """
    lines = [f"{key}\n{envelope[key]}\n" for key in keys if key != "Subject" or envelope.get(key) is not None]
    return "".join(lines).encode("utf-8", "replace")


def sns_signature_matches(certificate: x509.Certificate, envelope: Mapping[str, object]) -> bool:
    """Tell whether the envelope's own ``Signature`` was made with the certificate's key (versions 1 and 2).

    The envelope's strings must have been checked to be there; see ``providers.sns``.
    """
    algorithm = _SNS_HASHES.get(str(envelope["SignatureVersion"]))
    key = certificate.public_key()
    if algorithm is None or not isinstance(key, rsa.RSAPublicKey):
        return False
    try:
        signature = base64.b64decode(str(envelope["Signature"]), validate=True)
    except ValueError:
        return False
    texts = (sns_signing_string(envelope, keys) for keys in _possible_keys(str(envelope["Type"])))
    return any(_rsa_matches(key, signature, text, algorithm) for text in texts)


def _possible_keys(message_type: str) -> list[tuple[str, ...]]:
    keys = [SNS_SIGNED_KEYS[message_type]]
    if message_type == "UnsubscribeConfirmation":
        # The documentation signs Token here, the official JavaScript validator does not; nothing hangs on this type.
        keys.append(tuple(key for key in keys[0] if key != "Token"))
    return keys


def _rsa_matches(key: rsa.RSAPublicKey, signature: bytes, text: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    try:
        key.verify(signature, text, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def load_certificate(pem: bytes) -> x509.Certificate:
    """Read exactly one PEM certificate with an RSA key of at least 2048 bits. Raises ``KeyUnusableError``."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
        key = certificates[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusableError("The document is not a PEM certificate.") from error
    if len(certificates) != 1:
        raise KeyUnusableError("The document holds more than one certificate.")
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < SMALLEST_RSA_BITS:
        raise KeyUnusableError("The certificate has no RSA key of at least 2048 bits.")
    return certificates[0]


def is_current(certificate: x509.Certificate, at: datetime) -> bool:
    """Tell whether ``at`` lies within the certificate's validity."""
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
