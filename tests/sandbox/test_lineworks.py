"""LINE WORKS's part of the sandbox: tokens, messages, and the window of the rate limit."""

from __future__ import annotations

import time

import jwt
import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from providers.sandbox.server import Sandbox
from tests.sandbox.conftest import QUICK

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SERVICE_ACCOUNT = "abcde.serviceaccount@acme.example"
HTTP = urllib3.PoolManager(retries=False, timeout=5)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def account(sandbox, key):
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    account = {"provider": "lineworks", "client_id": "acme", "client_secret": "s3cret", "bots": ["7"]}
    sandbox.add_account({**account, "service_account": SERVICE_ACCOUNT, "public_key": public})


def assertion(key, **changes):
    now = int(time.time())
    claims = {"iss": "acme", "sub": SERVICE_ACCOUNT, "iat": now, "exp": now + 1800, **changes}
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return jwt.encode(claims, pem, algorithm="RS256")


def ask_token(sandbox, key, **changes):
    claims = changes.pop("claims", {})
    fields = {
        "assertion": assertion(key, **claims),
        "grant_type": GRANT,
        "client_id": "acme",
        "client_secret": "s3cret",
        "scope": "bot bot.message",
        **changes,
    }
    answer = HTTP.request_encode_body("POST", f"{sandbox.url}/oauth2/v2.0/token", fields, encode_multipart=False)
    return answer.status, answer.json()


def token(sandbox, key, **changes):
    return ask_token(sandbox, key, **changes)[1]["access_token"]


def send(sandbox, user, bearer="any", bot="7", text="Hello"):
    url = f"{sandbox.url}/v1.0/bots/{bot}/users/{user}/messages"
    body = {"content": {"type": "text", "text": text}}
    return HTTP.request("POST", url, json=body, headers={"Authorization": f"Bearer {bearer}"})


def words(answer):
    return answer.status, answer.json()["code"], answer.json()["description"]


def test_a_service_account_gets_a_token_and_sends(sandbox, key, account):
    status, granted = ask_token(sandbox, key)
    answer = send(sandbox, "taro%40acme.example", granted["access_token"])
    assert (status, granted["token_type"], granted["expires_in"]) == (200, "Bearer", "86400")
    assert (answer.status, answer.data) == (201, b"")
    assert [row["recipient"] for row in sandbox.sent("lineworks")] == ["taro@acme.example"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client")),
        ({"client_secret": "revoked"}, (401, "invalid_client")),
        ({"client_id": "other"}, (401, "invalid_client")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"scope": ""}, (400, "invalid_scope")),
        ({"assertion": "x.y.z"}, (400, "invalid_grant")),
        ({"claims": {"sub": "other.serviceaccount@acme.example"}}, (400, "invalid_grant")),
        ({"claims": {"iss": "other"}}, (400, "invalid_grant")),
        ({"claims": {"exp": int(time.time()) - 60}}, (400, "invalid_grant")),
        ({"claims": {"exp": int(time.time()) + 7200}}, (400, "invalid_grant")),
    ],
)
def test_a_bad_token_request_is_refused(sandbox, key, account, changes, expected):
    status, answer = ask_token(sandbox, key, **changes)
    assert (status, answer["error"]) == expected


def test_an_assertion_of_another_key_is_refused(sandbox, account):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert ask_token(sandbox, other)[1]["error"] == "invalid_grant"


def test_a_token_that_was_not_issued_is_refused(sandbox, account):
    answer = send(sandbox, "taro", "made-up")
    assert words(answer)[:2] == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_ends(sandbox, key):
    sandbox.add_account({"provider": "lineworks", "token_lifetime_s": 0})
    assert send(sandbox, "taro", token(sandbox, key)).status == 401


def test_a_token_of_another_scope_may_not_send(sandbox, key, account):
    answer = send(sandbox, "taro", token(sandbox, key, scope="user.read"))
    assert words(answer) == (403, "FORBIDDEN", "Not allowed api: insufficient scope")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("unknown-1", (404, "USER_NOT_EXIST", "User does not exist")),
        ("foreign-1", (403, "FORBIDDEN", "User is not in the organization")),
        ("scope-1", (403, "FORBIDDEN", "Not allowed api: insufficient scope")),
        ("daily-1", (403, "LIMIT_EXCEEDED", "Daily message limit exceeded")),
        ("ratelimit-1", (429, "TOO_MANY_REQUESTS", "API rate limit exceeded")),
        ("error500-1", (500, "INTERNAL_SERVER_ERROR", "Internal server error")),
    ],
)
def test_a_magic_user_is_refused(sandbox, user, expected):
    assert words(send(sandbox, user)) == expected
    assert sandbox.counts()["notices"] == 0


def test_a_bot_is_known_or_not(sandbox, key, account):
    headers = {"Authorization": f"Bearer {token(sandbox, key)}"}
    known = HTTP.request("GET", f"{sandbox.url}/v1.0/bots/7", headers=headers)
    unknown = HTTP.request("GET", f"{sandbox.url}/v1.0/bots/8", headers=headers)
    assert (known.status, known.json()["botId"]) == (200, 7)
    assert words(unknown) == (404, "BOT_NOT_EXIST", "Bot does not exist")
    assert words(send(sandbox, "taro", token(sandbox, key), bot="8"))[:2] == (404, "BOT_NOT_EXIST")


def test_a_text_may_have_two_thousand_characters(sandbox):
    assert send(sandbox, "taro", text="字" * 2000).status == 201
    assert words(send(sandbox, "taro", text="字" * 2001))[:2] == (400, "LIMIT_EXCEEDED")


def budget(answer):
    return [int(answer.headers[f"RateLimit-{name}"]) for name in ("ssed", "limit", "remaining", "reset")]


def test_the_window_is_used_up_and_begins_again():
    with Sandbox({**QUICK, "lineworks_limit": 2, "lineworks_window_s": 0.4}) as sandbox:
        answers = [send(sandbox, "taro", text=str(number)) for number in range(3)]
        time.sleep(0.45)
        answers.append(send(sandbox, "taro", text="again"))
        assert [(answer.status, budget(answer)) for answer in answers] == [
            (201, [1, 2, 1, 1]),
            (201, [2, 2, 0, 1]),
            (429, [2, 2, 0, 1]),
            (201, [1, 2, 1, 1]),
        ]
        assert sandbox.counts()["notices"] == 3


def test_another_app_drains_the_shared_budget(sandbox, key, account):
    bearer = token(sandbox, key)
    HTTP.request("POST", f"{sandbox.url}/_sandbox/lineworks/drain", json={"calls": 200})
    assert budget(send(sandbox, "taro", bearer))[:3] == [201, 240, 39]
    sandbox.drain(200)
    assert send(sandbox, "taro", bearer).status == 429
