"""The outgoing client against a real server on this machine, and against addresses it must not reach."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers import http
from providers.http import OutcomeUnknown, PermanentError, Response, TransientError
from providers.sandbox.ses import make_signer
from tests.providers.conftest import reply


def call(url, method="GET", **options):
    return http.request(method, url, allow_loopback=True, timeout_s=options.pop("timeout_s", 2.0), **options)


def test_answer_has_status_headers_and_body(server):
    server.routes["/hook"] = reply(201, b"thanks", {"X-Request-Id": "7"})
    answer = call(f"{server.url}/hook?a=1", "POST", body=b"{}", headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body, answer.truncated) == (201, b"thanks", False)
    assert answer.headers["x-request-id"] == "7"
    ((method, path, headers, body),) = server.seen
    assert (method, path, body) == ("POST", "/hook?a=1", b"{}")
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == "2"


def test_host_header_is_the_name_although_an_address_is_called(server):
    server.routes["/"] = reply(200)
    call(f"http://localhost:{server.port}/")
    assert server.seen[0][2]["host"] == f"localhost:{server.port}"


def test_caller_sets_neither_the_host_nor_the_framing(server):
    server.routes["/"] = reply(200)
    smuggled = {"host": "inside.example", "Content-Length": "1", "transfer-encoding": "chunked", "X-Own": "a"}
    call(server.url, "POST", body=b"{}", headers=smuggled)
    ((_, _, headers, body),) = server.seen
    assert (headers["host"], headers["content-length"], body) == (f"127.0.0.1:{server.port}", "2", b"{}")
    assert "transfer-encoding" not in headers
    assert headers["x-own"] == "a"


def test_redirect_is_an_answer_and_is_not_followed(server):
    server.routes["/away"] = reply(302, b"", {"Location": f"{server.url}/inside"})
    assert call(f"{server.url}/away").status == 302
    assert [path for _, path, _, _ in server.seen] == ["/away"]


def test_body_is_cut_at_its_limit(server):
    server.routes["/big"] = reply(200, b"x" * 50_000)
    answer = call(f"{server.url}/big", max_bytes=10_000)
    assert (len(answer.body), answer.truncated) == (10_000, True)


def test_body_that_breaks_off_is_cut_and_not_lost(server):
    def break_off(handler):
        reply(200, b"half", {"content-length": "8"})(handler)

    server.routes["/"] = break_off
    answer = call(server.url)
    assert (answer.status, answer.body, answer.truncated) == (200, b"half", True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::ffff:127.0.0.1]:{port}/"]
)
def test_loopback_needs_an_explicit_word(server, url):
    with pytest.raises(PermanentError) as caught:
        http.request("GET", url.format(port=server.port))
    assert caught.value.reason == "address_refused"
    assert server.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "0.0.0.0",  # noqa: S104
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "168.63.129.16", "192.88.99.1",
        "0x7f000001", "2130706433", "127.1", "0177.0.0.1",
        "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[2001:db8::1]", "[2002:7f00:1::]",
        "[2001::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[100::1]",
        "[3fff::1]", "[5f00::1]", "[::127.0.0.1]",
    ],
)  # fmt: skip
def test_address_that_is_not_public_is_refused(host):
    with pytest.raises(PermanentError) as caught:
        http.request("GET", f"http://{host}/")
    assert caught.value.reason == "address_refused"


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "[fd00:ec2::254]"])
def test_loopback_permission_opens_nothing_else(host):
    with pytest.raises(PermanentError) as caught:
        call(f"http://{host}/")
    assert caught.value.reason == "address_refused"


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700::6810:84e5", "64:ff9b::808:808"])
def test_public_unicast_is_allowed(address):
    assert http.is_public(ipaddress.ip_address(address)) is True


def test_host_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    mixed = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: mixed)
    with pytest.raises(PermanentError) as caught:
        http.request("GET", "http://rebind.example/")
    assert caught.value.reason == "address_refused"


def test_name_is_looked_up_once_so_that_a_second_answer_cannot_lead_elsewhere(server, monkeypatch):
    server.routes["/"] = reply(200)
    real, asked = socket.getaddrinfo, []

    def look_up(host, *args, **kwargs):
        asked.append(host)
        return real("127.0.0.1" if host == "moving.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert call(f"http://moving.example:{server.port}/").status == 200
    assert asked.count("moving.example") == 1
    assert server.seen[0][2]["host"] == f"moving.example:{server.port}"


def test_name_that_does_not_resolve_is_a_passing_failure(monkeypatch):
    def fail(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TransientError) as caught:
        http.request("GET", "http://nowhere.example/")
    assert caught.value.reason == "unresolvable"


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "file:///etc/passwd", "//example.com/", "example.com", "http:///path", "http://user:pw@8.8.8.8/", "http://[::1", "http://8.8.8.8:99999/", "http://8.8.8.8:0/", ""],
)  # fmt: skip
def test_url_that_is_not_plain_http_is_refused(url):
    with pytest.raises(PermanentError) as caught:
        http.request("GET", url)
    assert caught.value.reason == "url"


def test_header_with_a_line_break_is_refused_before_anything_is_sent(server):
    with pytest.raises(PermanentError) as caught:
        call(server.url, headers={"X-Name": "a\r\nX-Other: b"})
    assert caught.value.reason == "url"
    assert server.seen == []


def test_closed_port_is_a_passing_failure_even_for_a_post():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TransientError) as caught:
        call(f"http://127.0.0.1:{port}/", "POST", body=b"{}")
    assert caught.value.reason == "connect"


def sleep_then_answer(handler):
    time.sleep(0.6)
    reply(200)(handler)


def hang_up(handler):
    handler.connection.close()


@pytest.mark.parametrize(("answer", "reason"), [(sleep_then_answer, "timeout"), (hang_up, "disconnected")])
def test_post_without_an_answer_has_an_unknown_outcome(server, answer, reason):
    server.routes["/"] = answer
    with pytest.raises(OutcomeUnknown) as caught:
        call(server.url, "POST", body=b"{}", timeout_s=0.2)
    assert caught.value.reason == reason


@pytest.mark.parametrize(("answer", "reason"), [(sleep_then_answer, "timeout"), (hang_up, "disconnected")])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_call_that_may_be_repeated_fails_in_passing(server, method, answer, reason):
    server.routes["/"] = answer
    with pytest.raises(TransientError) as caught:
        call(server.url, method, timeout_s=0.2)
    assert caught.value.reason == reason


def test_time_limit_holds_against_a_server_that_drips_bytes(server):
    def drip(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(20):
            time.sleep(0.05)
            handler.wfile.write(b"x")

    server.routes["/"] = drip
    begun = time.monotonic()
    with pytest.raises(TransientError) as caught:
        call(server.url, timeout_s=0.3)
    assert caught.value.reason == "timeout"
    assert time.monotonic() - begun < 0.8


def test_tls_needs_a_trusted_certificate_and_asks_for_the_name(tls_port, names_asked):
    with pytest.raises(TransientError) as caught:
        call(f"https://localhost:{tls_port}/")
    assert caught.value.reason == "tls"
    assert names_asked == ["localhost"]


@pytest.fixture
def names_asked():
    return []


@pytest.fixture
def tls_port(tmp_path, names_asked):
    """A TLS server with a self-signed certificate that records which name it is asked for."""
    signer = make_signer("", datetime.now(UTC) - timedelta(days=1))
    (tmp_path / "server.pem").write_bytes(signer.private_pem.encode() + signer.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.sni_callback = lambda _sock, name, _context: names_asked.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        plain, _ = listener.accept()
        with plain, suppress(OSError):
            context.wrap_socket(plain, server_side=True).close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(2)
    listener.close()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_checked_passes_success_on(status):
    answer = Response(status, {}, b"")
    assert http.checked(answer) is answer


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 422])
def test_checked_takes_refusals_and_redirects_for_permanent(status):
    with pytest.raises(PermanentError) as caught:
        http.checked(Response(status, {}, b"secret"))
    assert (caught.value.reason, str(caught.value)) == ("status", f"The answer was HTTP {status}.")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_checked_takes_trouble_and_limits_for_passing(status):
    with pytest.raises(TransientError) as caught:
        http.checked(Response(status, {"retry-after": "120"}, b""))
    assert (caught.value.reason, caught.value.retry_after_s) == ("status", 120.0)


def test_checked_refuses_a_cut_body():
    with pytest.raises(PermanentError) as caught:
        http.checked(Response(200, {}, b"half", truncated=True))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5"])
def test_retry_after_that_is_no_time_is_none(value):
    assert http.retry_after(Response(503, {"retry-after": value}, b"")) is None


def test_retry_after_may_be_a_date():
    at = datetime.now(UTC) + timedelta(minutes=10)
    seconds = http.retry_after(Response(503, {"retry-after": format_datetime(at, usegmt=True)}, b""))
    assert 590 < seconds <= 600
    past = format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)
    assert http.retry_after(Response(503, {"retry-after": past}, b"")) == 0.0
