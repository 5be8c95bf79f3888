"""Amazon SNS over HTTPS: checks an envelope's topic, age, certificate and signature; confirms a subscription."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
from cryptography import x509

from providers import http
from providers.base import CannotVerifyError, ConnectionConfig, Request, VerificationError
from providers.payload import Item, read_iso_time
from providers.signatures import (
    SNS_SIGNED_KEYS,
    KeyUnusableError,
    is_current,
    load_certificate,
    sns_signature_matches,
)

# ``Timestamp`` is when the message was published, and stays so on retries, which may take an hour, and when a
# dead-letter queue is sent again: minutes would lose events for ever, since SNS does not repeat what got a 4xx.
OLDEST = timedelta(days=1)
FURTHEST_AHEAD = timedelta(minutes=5)

CERTIFICATE_TIMEOUT_S = 4.0  # SNS itself waits 15 s for us
CERTIFICATE_LIMIT = 65_536

_TOPIC = re.compile(r"arn:(aws|aws-cn|aws-us-gov):sns:([a-z0-9-]{3,}):(\d{12}):([A-Za-z0-9_-]{1,256})")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]+\.pem")


class Fetch(Protocol):
    """What gets a certificate's bytes."""

    def __call__(self, url: str, *, allow_loopback: bool) -> bytes:
        """Return the bytes. Raises ``http.HttpError``."""


def fetch_certificate(url: str, *, allow_loopback: bool) -> bytes:
    """Fetch a certificate: no redirects, 4 seconds, 64 KB. Raises ``http.HttpError``."""
    answer = http.request(
        "GET", url, timeout_s=CERTIFICATE_TIMEOUT_S, max_bytes=CERTIFICATE_LIMIT, allow_loopback=allow_loopback
    )
    return http.checked(answer).body


@dataclass(slots=True)
class _Kept:
    certificate: x509.Certificate
    fetched_at: float


class CertificateStore:
    """Certificates by URL, for one process.

    A certificate is kept for a day and then fetched anew; while that fails the old one goes on serving. A URL that
    failed is not asked again for some seconds, and only ten different ones are asked in a minute: whoever knows a
    topic's ARN could otherwise make us fetch at will.
    """

    fresh_s = 24 * 3600.0
    failure_s = 5.0
    urls_per_minute = 10
    minute_s = 60.0
    capacity = 64

    def __init__(self, fetch: Fetch = fetch_certificate, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()
        self._asked: deque[tuple[str, float]] = deque(maxlen=self.urls_per_minute)
        self._lock = threading.Lock()

    def get(self, url: str, *, allow_loopback: bool = False) -> x509.Certificate:
        """Return the certificate. Raises ``http.HttpError`` if it can't be had, ``KeyUnusableError`` if it is none."""
        now = self._clock()
        with self._lock:
            kept = self._kept.get(url)
            if kept and now - kept.fetched_at < self.fresh_s:
                return kept.certificate
            may_ask = self._may_ask(url, now)
        try:
            if not may_ask:
                raise http.TransientError("limited", "Certificates are not asked for at the moment.")
            certificate = load_certificate(self._fetch(url, allow_loopback=allow_loopback))
        except (http.HttpError, KeyUnusableError):
            if may_ask:
                self._remember_failure(url, now)
            if kept:
                return kept.certificate
            raise
        self._keep(url, certificate, now)
        return certificate

    def _may_ask(self, url: str, now: float) -> bool:
        if now - self._failed.get(url, now - self.failure_s) < self.failure_s:
            return False
        recent = {asked for asked, at in self._asked if now - at < self.minute_s}
        if url in recent:
            return True
        if len(recent) >= self.urls_per_minute:
            return False
        self._asked.append((url, now))
        return True

    def _keep(self, url: str, certificate: x509.Certificate, now: float) -> None:
        with self._lock:
            self._failed.pop(url, None)
            self._kept[url] = _Kept(certificate, now)
            if len(self._kept) > self.capacity:
                self._kept.popitem(last=False)

    def _remember_failure(self, url: str, now: float) -> None:
        with self._lock:
            self._failed[url] = now
            self._failed.move_to_end(url)
            if len(self._failed) > self.capacity:
                self._failed.popitem(last=False)


def listed(text: str) -> tuple[str, ...]:
    """Split a comma-separated setting."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def verify(request: Request, config: ConnectionConfig, certificates: CertificateStore) -> None:
    """Raise ``VerificationError`` unless the body is a fresh message of a registered topic, signed by SNS.

    A valid signature alone proves only that some AWS customer's topic sent it, hence the list of topics. Everything
    that can be refused without a network call is refused before one.
    Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
    """
    envelope = _read_envelope(request)
    topic = envelope["TopicArn"]
    if topic not in listed(config.settings.get("topic", "")):
        raise VerificationError("topic_unknown", "The message is of a topic that is not registered here.")
    if not _is_recent(envelope["Timestamp"], request.received_at):
        raise VerificationError("timestamp_stale", "The message was published over a day ago or in the future.")
    if envelope["SignatureVersion"] not in ("1", "2"):
        raise VerificationError("signature_version", "The signature is of a version that is not known.")
    extra_urls = listed(config.settings.get("sns_cert_urls", ""))
    certificate = _get_certificate(envelope["SigningCertURL"], topic, extra_urls, certificates)
    if not is_current(certificate, request.received_at):
        raise VerificationError("certificate_expired", "The signing certificate is not valid at this time.")
    if not sns_signature_matches(certificate, envelope):
        raise VerificationError("signature_wrong", "The signature is not one of SNS over this message.")


def _read_envelope(request: Request) -> Mapping[str, str]:
    """Return the envelope with every signed field and the signature's own checked to be a string."""
    try:
        envelope = msgspec.json.decode(request.body)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict):
        raise VerificationError("envelope_unreadable", "The body is not an SNS message.")
    if _is_raw_delivery(request, envelope):
        raise VerificationError(
            "raw_delivery", "Raw message delivery is on for this subscription: such messages carry no signature."
        )
    keys = SNS_SIGNED_KEYS.get(str(envelope.get("Type")))
    if keys is None:
        raise VerificationError("envelope_unreadable", "The SNS message is of a type that is not known.")
    needed = (*keys, "SignatureVersion", "Signature", "SigningCertURL")
    # A null Subject counts as absent.
    if not all(isinstance(envelope.get(key), str) for key in needed if key != "Subject"):
        raise VerificationError("signature_missing", "The SNS message lacks a signed field or its signature.")
    return envelope


def _is_raw_delivery(request: Request, envelope: Item) -> bool:
    if "Signature" in envelope:
        return False
    says_so = request.headers.get("x-amz-sns-rawdelivery", "").lower() == "true"
    return says_so or "eventType" in envelope or "notificationType" in envelope


def _is_recent(timestamp: str, received_at: datetime) -> bool:
    published_at = read_iso_time(timestamp)
    return published_at is not None and received_at - OLDEST <= published_at <= received_at + FURTHEST_AHEAD


def _get_certificate(
    url: str, topic: str, extra_urls: tuple[str, ...], certificates: CertificateStore
) -> x509.Certificate:
    is_extra = url in extra_urls
    if not is_extra and not is_certificate_url(url, topic):
        raise VerificationError("certificate_url", "The certificate's URL is not one of SNS in the topic's region.")
    try:
        return certificates.get(url, allow_loopback=is_extra)
    except http.HttpError as error:
        raise CannotVerifyError("certificate_unavailable", "The signing certificate could not be fetched.") from error
    except KeyUnusableError as error:
        raise VerificationError("certificate_unusable", str(error)) from error


def is_certificate_url(url: str, topic: str) -> bool:
    """Tell whether AWS itself serves ``url`` as the signing certificate of the topic's region."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    # Whatever urlsplit forgives (a port, a password, white space, upper case) makes this differ.
    if url != f"https://{parts.hostname}{parts.path}":
        return False
    return parts.hostname == sns_host(topic) and _CERTIFICATE_PATH.fullmatch(parts.path) is not None


def sns_host(topic: str) -> str | None:
    """Return the SNS host of a topic's region, or None if ``topic`` is no topic ARN."""
    arn = _TOPIC.fullmatch(topic)
    if arn is None:
        return None
    return f"sns.{arn[2]}.amazonaws.com" + (".cn" if arn[1] == "aws-cn" else "")


def confirm_subscription(data: Mapping[str, str], cert_urls: Collection[str] = ()) -> None:
    """Confirm the subscription that a ``subscription_requested`` event told of, by one call without redirects.

    ``data`` is the event's; ``cert_urls`` are the additional certificate URLs that ``verify`` trusts. Call it only for
    a topic that the connection names; ``verify`` has seen to that for the events it let through.

    Raises ``http.HttpError``; a ``PermanentError`` when the token is older than two days or the topic is no ARN.
    """
    url, is_sandbox = confirmation_call(data, cert_urls)
    http.checked(http.request("GET", url, allow_loopback=is_sandbox))


def confirmation_call(data: Mapping[str, str], cert_urls: Collection[str] = ()) -> tuple[str, bool]:
    """Return the URL that confirms, and whether it is a sandbox's. Raises ``http.PermanentError``.

    It is built from the topic and the token; the URL in the message is never visited, except that of a sandbox: one
    whose origin is that of a URL in ``cert_urls``.
    """
    url = data.get("subscribe_url", "")
    if _origin(url) in {_origin(extra) for extra in cert_urls} - {""}:
        return url, True
    host, token = sns_host(data.get("topic", "")), data.get("token", "")
    if host is None or not token:
        raise http.PermanentError("url", "The subscription names no topic or no token.")
    # AuthenticateOnUnsubscribe would need a call signed with AWS credentials, which we do not hold.
    query = urlencode({"Action": "ConfirmSubscription", "TopicArn": data["topic"], "Token": token})
    return f"https://{host}/?{query}", False


def _origin(url: str) -> str:
    """Return scheme, host and port, or "" for a URL that names none or hides it behind a user name."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname and "@" not in parts.netloc else ""
