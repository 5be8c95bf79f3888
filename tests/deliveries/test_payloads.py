"""Every documented payload, signed as its provider signs, through the real URL into the right state and code."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from django.test import Client

from deliveries import inbox
from deliveries.connections import webhook_path
from deliveries.models import Connection, Delivery, Event
from notifyguard.accounts.tenancy import tenant_scope
from providers.sandbox import lineworks, sendgrid, ses, smpp, twilio, vonage
from tests.factories import connect
from tests.providers.conftest import LocalServer, reply

pytestmark = pytest.mark.django_db

PAYLOADS = Path(__file__).parent.parent / "payloads"
CASES = [
    (provider, name, expected)
    for provider in ("sendgrid", "ses", "lineworks", "twilio", "vonage", "smpp")
    for name, expected in json.loads((PAYLOADS / provider / "expected.json").read_text()).items()
]
KEYS = sendgrid.make_keys()
TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:ng-events"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def signer():
    server = LocalServer()
    made = ses.make_signer(server.url + "/sns.pem", datetime.now(UTC) - timedelta(days=1))
    server.routes["/sns.pem"] = reply(200, made.certificate_pem)
    yield made
    server.close()


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def post_sendgrid(source: Connection, body: bytes, name: str):
    return Client().post(
        webhook_path(source), body, "application/json", headers=sendgrid.sign(KEYS.private_pem, body, datetime.now(UTC))
    )


def post_lineworks(source: Connection, body: bytes, name: str):
    return Client().post(
        webhook_path(source), body, "application/json", headers=lineworks.sign(body, "test-bot-secret")
    )


def post_twilio(source: Connection, body: bytes, name: str):
    url = f"http://127.0.0.1:8000{webhook_path(source)}"
    if name.endswith(".json"):
        url, headers = twilio.sign_json(url, body, "test-auth-token")
        return Client().post(url.removeprefix("http://127.0.0.1:8000"), body, "application/json", headers=headers)
    headers = twilio.sign_form(url, dict(parse_qsl(body.decode(), keep_blank_values=True)), "test-auth-token")
    return Client().post(webhook_path(source), body, FORM, headers=headers)


def post_vonage(source: Connection, body: bytes, name: str):
    secret = "test-signature-secret-of-32-bytes"
    if name.startswith("messages_"):
        headers = vonage.sign_body(body, secret, "abcd1234", now_s())
        return Client().post(webhook_path(source), body, "application/json", headers=headers)
    if name.endswith(".json"):
        given = {key: value for key, value in json.loads(body).items() if key not in {"sig", "timestamp", "nonce"}}
        signed = vonage.sign_params(given, secret, "sha256", now_s())
        return Client().post(webhook_path(source), json.dumps(signed), "application/json")
    query = urlencode(vonage.sign_params(dict(parse_qsl(body.decode())), secret, "sha256", now_s()))
    if name.endswith(".query"):
        return Client().get(f"{webhook_path(source)}?{query}")
    return Client().post(webhook_path(source), query, FORM)


def post_smpp(source: Connection, body: bytes, name: str):
    kind = FORM if name.endswith(".form") else "application/json"
    return Client().post(webhook_path(source), body, kind, headers=smpp.sign(body, "test-carrier-secret", now_s()))


POST: dict[str, Callable] = {
    "sendgrid": post_sendgrid,
    "lineworks": post_lineworks,
    "twilio": post_twilio,
    "vonage": post_vonage,
    "smpp": post_smpp,
}
VALUES = {"sendgrid": {"public_key": KEYS.public_key}, "lineworks": {"domains": "example.com"}, "ses": {"topic": TOPIC}}


@pytest.mark.parametrize(("provider", "name", "expected"), CASES, ids=[f"{case[0]}/{case[1]}" for case in CASES])
def test_a_documented_payload_lands_in_its_state_and_code(acme, settings, signer, provider, name, expected):
    settings.SNS_CERT_URLS = [signer.certificate_url]
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    source = connect(acme, provider, **VALUES.get(provider, {}))
    body = (PAYLOADS / provider / name).read_bytes().rstrip(b"\n")
    if provider == "ses":
        envelope = ses.notification(signer, TOPIC, body.decode(), datetime.now(UTC))
        answer = Client().post(webhook_path(source), envelope, "text/plain", headers=ses.headers(envelope))
    else:
        answer = POST[provider](source, body, name)
    assert answer.status_code == 200, answer.content
    inbox.work(acme.id)
    with tenant_scope(acme.id):
        found = {(row.state, row.code or "", row.persistence) for row in Delivery.objects.all()}
        assert Event.objects.count() == expected["events"]
    if expected["events"]:
        assert found == {(expected["state"] or "accepted", expected["code"], expected["persistence"])}
