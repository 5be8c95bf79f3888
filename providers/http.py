"""The one client for outgoing HTTP: public addresses only, pinned, no redirects, bounded in time and size."""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

CONNECT_TIMEOUT_S = 5.0
_CHUNK = 16_384
_PORTS = {"http": 80, "https": 443}
# RFC 9110 9.2.2: asking for the same thing twice is the same as asking once.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_BROKEN = (http.client.HTTPException, OSError)
# A tenant may choose headers of its webhooks, but not whom they reach or where a request ends.
_NOT_THE_CALLERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_SUCCESS = range(200, 300)
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, *range(500, 600)})

# Global by the registries' letter, yet inside a cloud or a tunnel to anywhere.
_REFUSED_V4 = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.88.99.0/24"))
_REFUSED_V6 = tuple(ipaddress.IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class HttpError(Exception):
    """A call failed. ``reason`` is a short stable word; neither it nor the text has an address or a secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PermanentError(HttpError):
    """The same call would fail again."""


class TransientError(HttpError):
    """The call may be repeated: nothing was done, or twice is as good as once; after ``retry_after_s`` if named."""

    def __init__(self, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(HttpError):  # noqa: N818 (an error it may turn out not to be)
    """The request left and no answer came: it may or may not have been done. Never repeat it by itself."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status. ``headers`` has lower-case names; ``truncated`` tells of a body cut short."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way; ``deadline`` is of the monotonic clock."""

    method: str
    target: Url
    headers: Mapping[str, str]
    body: bytes | None
    deadline: float

    @property
    def host(self) -> str:
        return str(self.target.host).strip("[]")

    @property
    def port(self) -> int:
        return self.target.port or _PORTS[str(self.target.scheme)]

    @property
    def host_header(self) -> str:
        is_usual = self.port == _PORTS[str(self.target.scheme)]
        return str(self.target.host) if is_usual else f"{self.target.host}:{self.port}"

    def is_late(self) -> bool:
        return time.monotonic() >= self.deadline

    def time_left(self) -> float:
        """Return the seconds left. Raises ``TransientError`` when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TransientError("timeout", "The call took too long.")
        return left

    def not_begun(self, reason: str, message: str) -> TransientError:
        """Return the error of a call of which nothing has left yet."""
        return (
            TransientError("timeout", "The call took too long.") if self.is_late() else TransientError(reason, message)
        )

    def lost(self) -> HttpError:
        """Return the error of a call that left and has no answer."""
        late = self.is_late()
        reason, message = ("timeout", "No answer in time.") if late else ("disconnected", "No whole answer came.")
        return TransientError(reason, message) if self.method in _REPEATABLE else OutcomeUnknown(reason, message)


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = 10.0,
    max_bytes: int = 1_000_000,
    allow_loopback: bool = False,
) -> Response:
    """Make one call and return its answer, redirects and errors included; ``checked`` turns statuses into errors.

    ``timeout_s`` bounds the whole call but for the name look-up. A body longer than ``max_bytes`` or slower than the
    time left is cut. ``allow_loopback`` lets 127.0.0.0/8 and ::1 through, for the sandbox and tests. Proxies named in
    the environment are not used: they would connect to what we have not checked. ``headers`` can't set Host, Connection
    or the framing.

    Raises ``PermanentError`` (``url``, ``address_refused``), ``TransientError`` (``unresolvable``, ``connect``,
    ``tls``, ``timeout``, ``disconnected``) or, for a method that must not be repeated, ``OutcomeUnknown``
    (``timeout``, ``disconnected``).
    """
    call = _Call(method, _parse(url), headers or {}, body, time.monotonic() + timeout_s)
    addresses = _resolve(call, allow_loopback=allow_loopback)
    with (
        _connect(addresses, call) as plain,
        _shut_down_at(plain, call.deadline),
        _secure(plain, call) as sock,
        _send(sock, call) as answer,
    ):
        content, complete = _read_body(answer, max_bytes)
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, fields, content, truncated=not complete or call.is_late())


def checked(response: Response) -> Response:
    """Return a complete 2xx answer, else raise ``TransientError`` (408, 425, 429, 5xx) or ``PermanentError``."""
    if response.status in _SUCCESS:
        if response.truncated:
            raise PermanentError("too_large", "The answer is larger or slower than allowed.")
        return response
    message = f"The answer was HTTP {response.status}."
    if response.status in _WORTH_ANOTHER_TRY:
        raise TransientError("status", message, retry_after(response))
    raise PermanentError("status", message)


def retry_after(response: Response) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, from either of its forms, never negative."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def is_public(address: IPAddress) -> bool:
    """Tell whether an address is public unicast: nothing private, shared, local, reserved, mapped or tunnelled."""
    if isinstance(address, ipaddress.IPv4Address):
        refused = address.is_multicast or address.is_reserved or any(address in block for block in _REFUSED_V4)
        return address.is_global and not refused
    embedded = address.ipv4_mapped or _nat64_target(address)
    if embedded:
        return is_public(embedded)
    return address in _UNICAST_V6 and address.is_global and not any(address in block for block in _REFUSED_V6)


def _nat64_target(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _is_allowed(text: str, *, allow_loopback: bool) -> bool:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return is_public(address) or (allow_loopback and (mapped or address).is_loopback)


def _parse(url: str) -> Url:
    try:
        target = parse_url(url)
    except LocationParseError as error:
        raise PermanentError("url", "The URL can't be read.") from error
    if target.scheme not in _PORTS or not target.host or target.auth is not None or target.port == 0:
        raise PermanentError("url", "The URL must be http:// or https:// with a host and without a password.")
    return target


def _resolve(call: _Call, *, allow_loopback: bool) -> list[str]:
    """Return the host's addresses. One refused address refuses the host: mixed answers are how rebinding looks."""
    try:
        found = socket.getaddrinfo(call.host, call.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransientError("unresolvable", "The host name can't be resolved.") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not all(_is_allowed(address, allow_loopback=allow_loopback) for address in addresses):
        raise PermanentError("address_refused", "The host has an address that is not public.")
    return addresses


def _connect(addresses: list[str], call: _Call) -> socket.socket:
    for address in addresses:
        with suppress(OSError):
            return socket.create_connection((address, call.port), timeout=min(CONNECT_TIMEOUT_S, call.time_left()))
    raise call.not_begun("connect", "No connection could be made.")


def _secure(plain: socket.socket, call: _Call) -> socket.socket:
    """Return ``plain`` for http, else TLS over it. The certificate must be the host's although we have an address."""
    if call.target.scheme == "http":
        return plain
    try:
        return _tls_context().wrap_socket(plain, server_hostname=call.host.rstrip("."))
    except (OSError, ValueError) as error:
        raise call.not_begun("tls", "No trusted TLS connection came about.") from error


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    """Loading the trusted certificates takes some 10 ms, so once."""
    return ssl.create_default_context()


@contextmanager
def _shut_down_at(sock: socket.socket, deadline: float) -> Iterator[None]:
    """End the connection at the deadline, since a socket's own time limit starts again with each byte received."""
    # A duplicate reaches the same connection also when TLS has taken ``sock`` over.
    guard = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _shut_down, [guard])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        guard.close()


def _shut_down(guard: socket.socket) -> None:
    with suppress(OSError):
        guard.shutdown(socket.SHUT_RDWR)


def _send(sock: socket.socket, call: _Call) -> http.client.HTTPResponse:
    """Send the request over ``sock`` and return the answer as far as its headers.

    urllib3's own connection would log the URL of a broken answer, and URLs may hold secrets.
    """
    connection = http.client.HTTPConnection(call.host)
    connection.sock = sock
    connection.auto_open = False  # never connect again by name: the address was checked for this socket alone
    sock.settimeout(call.time_left())
    own = {name: value for name, value in call.headers.items() if name.lower() not in _NOT_THE_CALLERS}
    headers = {"User-Agent": "NotifyGuard", **own, "Host": call.host_header}
    try:
        connection.request(call.method, call.target.request_uri, call.body, headers)
    except (ValueError, http.client.InvalidURL) as error:
        raise PermanentError("url", "The URL or a header holds characters that HTTP does not allow.") from error
    except _BROKEN as error:
        raise call.lost() from error
    try:
        answer = connection.getresponse()
    except (ValueError, *_BROKEN) as error:
        raise call.lost() from error
    if call.is_late():  # headers that end at the cut look whole
        answer.close()
        raise call.lost()
    return answer


def _read_body(answer: http.client.HTTPResponse, max_bytes: int) -> tuple[bytes, bool]:
    """Return at most ``max_bytes`` and whether that is all.

    The status is known by now, so a body that breaks off is cut, not an error.
    """
    content = bytearray()
    try:
        while chunk := answer.read1(_CHUNK):
            content += chunk
            if len(content) > max_bytes:
                return bytes(content[:max_bytes]), False
    except (ValueError, *_BROKEN):
        return bytes(content), False
    return bytes(content), not answer.length
