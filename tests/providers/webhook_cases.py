"""Security and robustness cases that every provider inherits: subclass ``WebhookCases`` as ``Test…`` and fill it in."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.base import ConnectionConfig, ConnectionEvent, Event, Provider, Request, Unparsed, VerificationError

# Inherited tests run on several classes, which hypothesis takes for a mistake.
property_settings = settings(
    deadline=None, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow]
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


class WebhookCases:
    """What a subclass gives: ``provider``, ``body``, ``config``, ``other_config``, ``sign``.

    The reasons are the words ``VerificationError`` must carry. Signatures that travel elsewhere than in
    ``signature_header`` need ``with_signature`` and perhaps ``tampered`` overridden.
    """

    provider: Provider
    body: bytes
    received_at = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
    url = "https://desk.example/webhooks/provider/token"

    signature_header = ""
    missing_reason = "signature_missing"
    wrong_reason = "signature_wrong"
    stale_reason = "timestamp_stale"
    without_keys_reason = "key_unusable"

    # How old and how far ahead a signed time may be; None where the provider signs no time.
    oldest: timedelta | None = timedelta(minutes=5)
    furthest_ahead = timedelta(minutes=5)

    def config(self) -> ConnectionConfig:
        raise NotImplementedError

    def other_config(self) -> ConnectionConfig:
        """Return the same connection with another key."""
        raise NotImplementedError

    def sign(self, body: bytes, at: datetime) -> Request:
        """Return a genuine call, signed and received ``at``."""
        raise NotImplementedError

    def request(self, body: bytes, headers: dict[str, str], method: str = "POST") -> Request:
        return Request(method=method, url=self.url, headers=headers, body=body, received_at=self.received_at)

    def with_signature(self, request: Request, value: str | None) -> Request:
        """Return ``request`` with another signature, or with none."""
        headers = {name: text for name, text in request.headers.items() if name != self.signature_header}
        if value is not None:
            headers[self.signature_header] = value
        return dataclasses.replace(request, headers=headers)

    def tampered(self, request: Request) -> list[Request]:
        """Return copies of ``request``, each with one byte of what is signed changed."""
        positions = {0, len(request.body) // 2, len(request.body) - 1}
        return [dataclasses.replace(request, body=_flip(request.body, position)) for position in positions]

    def genuine(self) -> Request:
        return self.sign(self.body, self.received_at)

    def refusal(self, request: Request, config: ConnectionConfig | None = None) -> str:
        """Return the reason for which ``request`` is refused."""
        with pytest.raises(VerificationError) as caught:
            self.provider.verify(request, config or self.config())
        return caught.value.reason

    def parse(self, body: bytes, headers: dict[str, str] | None = None) -> list[object]:
        return list(self.provider.parse(body, headers or {}, self.config(), self.received_at))

    def test_genuine_call_passes(self):
        assert self.provider.verify(self.genuine(), self.config()) is None

    def test_call_without_signature_is_refused(self):
        assert self.refusal(self.with_signature(self.genuine(), None)) == self.missing_reason

    @pytest.mark.parametrize("garbage", ["x", "AAAA", "====", "0" * 64, "MEUCIQ", "\u00e9\u3042", "a" * 10_000])
    def test_call_with_garbage_for_a_signature_is_refused(self, garbage):
        assert self.refusal(self.with_signature(self.genuine(), garbage)) == self.wrong_reason

    def test_call_signed_with_another_key_is_refused(self):
        assert self.refusal(self.genuine(), self.other_config()) == self.wrong_reason

    def test_call_with_one_changed_byte_is_refused(self):
        refusals = {self.refusal(request) for request in self.tampered(self.genuine())}
        assert refusals == {self.wrong_reason}

    def test_connection_without_keys_refuses_everything(self):
        empty = ConnectionConfig(secrets=(), settings={}, route_by="")
        assert self.refusal(self.genuine(), empty) == self.without_keys_reason

    def test_call_signed_within_the_tolerance_passes(self):
        if self.oldest is None:
            pytest.skip("this provider signs no time")
        second = timedelta(seconds=1)
        for at in (self.received_at - self.oldest + second, self.received_at + self.furthest_ahead - second):
            request = dataclasses.replace(self.sign(self.body, at), received_at=self.received_at)
            assert self.provider.verify(request, self.config()) is None

    def test_call_signed_too_long_ago_or_ahead_is_refused(self):
        if self.oldest is None:
            pytest.skip("this provider signs no time")
        second = timedelta(seconds=1)
        for at in (self.received_at - self.oldest - second, self.received_at + self.furthest_ahead + second):
            request = dataclasses.replace(self.sign(self.body, at), received_at=self.received_at)
            assert self.refusal(request) == self.stale_reason

    def test_refusals_tell_neither_address_nor_secret(self):
        for request in (self.with_signature(self.genuine(), "x"), self.with_signature(self.genuine(), None)):
            with pytest.raises(VerificationError) as caught:
                self.provider.verify(request, self.config())
            text = str(caught.value)
            assert "@" not in text
            assert not any(secret in text for secret in self.config().secrets)

    @property_settings
    @given(
        body=st.binary(max_size=300), headers=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3)
    )
    def test_verify_refuses_any_bytes_without_another_error(self, body, headers):
        with pytest.raises(VerificationError):
            self.provider.verify(self.request(body, headers), self.config())

    @property_settings
    @given(body=st.binary(max_size=300))
    def test_parse_never_raises_on_bytes(self, body):
        assert_readable(self.parse(body))

    @property_settings
    @given(value=json_values)
    def test_parse_never_raises_on_json(self, value):
        assert_readable(self.parse(json.dumps(value).encode()))

    @property_settings
    @given(data=st.data())
    def test_parse_never_raises_on_a_payload_with_one_value_replaced(self, data):
        try:
            payload = json.loads(self.genuine().body)
        except ValueError:
            pytest.skip("the body is not JSON")
        replace_one_value(payload, data)
        assert_readable(self.parse(json.dumps(payload).encode(), dict(self.genuine().headers)))

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null", b"[" * 100_000, b'"\\ud800"', b"9" * 5000])
    def test_unreadable_body_becomes_one_unparsed_item(self, body):
        results = self.parse(body)
        assert [type(result) for result in results] == [Unparsed]
        assert_readable(results)


def _flip(body: bytes, position: int) -> bytes:
    return body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]


def replace_one_value(payload: object, data: st.DataObject) -> None:
    """Replace one value somewhere in a decoded payload by anything at all, or remove it."""
    places = list(_places(payload))
    if not places:
        return
    container, key = data.draw(st.sampled_from(places))
    if data.draw(st.booleans()):
        container[key] = data.draw(json_values)
    else:
        del container[key]


def _places(value: object) -> list[tuple[object, object]]:
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    else:
        return []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def assert_readable(results: list[object]) -> None:
    """Check what holds for every result: its type, full sentences, and text that PostgreSQL takes."""
    for result in results:
        assert type(result) in (Event, ConnectionEvent, Unparsed)
        for value in msgspec.structs.astuple(result):
            if isinstance(value, str):
                assert "\0" not in value
                assert value.encode().decode() == value  # a lone surrogate would raise
        if isinstance(result, Unparsed):
            assert result.reason[0].isupper()
            assert result.reason.endswith(".")
            assert len(result.raw) <= 4000
        elif isinstance(result, Event):
            assert result.recipient
            assert result.occurred_at.tzinfo is not None
