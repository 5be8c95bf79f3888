"""Sending through a LINE WORKS bot: token, notice, limits."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from deliveries.classify import Report, classify
from providers.base import Channel, Kind
from providers.senders.lineworks import SENDER
from providers.sending import Accepted, Budget, NoAnswer, NoTokenStore, Refused, Token, TryLater
from tests.senders.scripted import account_of, hang, hang_up, notice_for, reply

TAKEN = reply(201)
GRANTED = reply(200, {"access_token": "fresh", "expires_in": "86400", "scope": "bot bot.message"})


class KeptToken:
    """Keeps one token, as the product's store does, and remembers what it was asked."""

    def __init__(self, kept: str = "") -> None:
        self.kept, self.refused, self.renewed = kept, [], []

    def get(self, renew, *, not_this=""):
        self.refused.append(not_this)
        if not self.kept or self.kept == not_this:
            self.renewed.append(renew())
            self.kept = self.renewed[-1].value
        return self.kept


def failure(status, code="", description="", headers=None):
    return reply(status, {"code": code, "description": description}, headers)


def send_all(url, notice=None, **more):
    return SENDER.send([notice or notice_for("lineworks")], account_of("lineworks", url, **more))


def send(url, notice=None, **more):
    (result,) = send_all(url, notice, **more).results
    return result


def code_of(result):
    return classify(Report(Channel.LINEWORKS, "lineworks", Kind.FAILED, result.verdict, reply=result.answer)).code


def test_a_notice_is_one_text_to_the_user(provider):
    provider.script = [TAKEN]
    result = send(provider.url, notice_for("lineworks", recipient="taro/+@example.com"))
    (request,) = provider.seen
    assert result == Accepted(answer="201 Created")
    assert (request.method, request.target) == ("POST", "/v1.0/bots/2000001/users/taro%2F%2B%40example.com/messages")
    assert request.headers["authorization"] == "Bearer a-token"
    assert request.json == {
        "content": {"type": "text", "text": "Certificate ready\nYour certificate of enrolment is ready."}
    }


def test_a_text_that_is_too_long_ends_in_an_ellipsis(provider):
    provider.script = [TAKEN]
    send(provider.url, notice_for("lineworks", title="", text="あ" * 2001))
    assert provider.seen[0].json["content"]["text"] == "あ" * 1999 + "…"
    send(provider.url, notice_for("lineworks", title="", text="あ" * 2000))
    assert provider.seen[1].json["content"]["text"] == "あ" * 2000


def test_a_token_is_asked_for_with_the_service_accounts_signature(provider, rsa_key):
    provider.script = [GRANTED, TAKEN]
    tokens = KeptToken()
    assert send(provider.url, tokens=tokens, values={"private_key": rsa_key}) == Accepted(answer="201 Created")
    asked, sent = provider.seen
    assert (asked.method, asked.path) == ("POST", "/oauth2/v2.0/token")
    form = asked.form
    key = serialization.load_pem_private_key(rsa_key.encode(), None).public_key()
    claims = jwt.decode(form.pop("assertion"), key, algorithms=["RS256"])
    assert form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "client_id": "client-id",
        "client_secret": "lw-secret",
        "scope": "bot bot.message",
    }
    assert (claims["iss"], claims["sub"]) == ("client-id", "abc12.serviceaccount@example.com")
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert sent.headers["authorization"] == "Bearer fresh"
    assert tokens.renewed == [Token(value="fresh", lifetime_s=86400.0)]


@pytest.mark.parametrize(
    ("expires_in", "lifetime_s"), [(3600, 3600.0), ("86400", 86400.0), (None, 3600.0), ("x", 3600.0)]
)
def test_a_tokens_lifetime_is_a_number_or_a_text(expires_in, lifetime_s, provider, rsa_key):
    provider.script = [reply(200, {"access_token": "fresh", "expires_in": expires_in}), TAKEN]
    tokens = KeptToken()
    send(provider.url, tokens=tokens, values={"private_key": rsa_key})
    assert tokens.renewed == [Token(value="fresh", lifetime_s=lifetime_s)]


def test_a_refused_token_is_renewed_once_and_the_notice_goes_once_more(provider, rsa_key):
    provider.script = [failure(401, "UNAUTHORIZED"), GRANTED, TAKEN]
    tokens = KeptToken("stale")
    assert send(provider.url, tokens=tokens, values={"private_key": rsa_key}) == Accepted(answer="201 Created")
    assert tokens.refused == ["", "stale"]
    assert [seen.headers.get("authorization") for seen in provider.seen] == ["Bearer stale", None, "Bearer fresh"]


def test_a_token_refused_twice_is_a_refusal(provider, rsa_key):
    provider.script = [failure(401, "UNAUTHORIZED"), GRANTED, failure(401, "UNAUTHORIZED")]
    result = send(provider.url, tokens=KeptToken("stale"), values={"private_key": rsa_key})
    assert result == Refused(verdict="401 UNAUTHORIZED", answer="401 UNAUTHORIZED")
    assert code_of(result) == "LINEWORKS_AUTH_FAILED"
    assert len(provider.seen) == 3


@pytest.mark.parametrize(
    ("answer", "values", "verdict", "code"),
    [
        (reply(400, {"error": "invalid_scope"}), {}, "token invalid_scope", "LINEWORKS_SCOPE_INVALID"),
        (reply(401, {"error": "invalid_client"}), {}, "token invalid_client", "LINEWORKS_AUTH_FAILED"),
        (reply(400, {"error": "invalid_grant"}), {}, "token invalid_grant", "LINEWORKS_AUTH_FAILED"),
        (
            reply(400, {"error": "invalid_grant", "error_description": "no such account"}),
            {"domain": "example.org, sales.example.org"},
            "token invalid_grant +domain",
            "LINEWORKS_DOMAIN_INVALID",
        ),
        (reply(403, b"<html>"), {}, "token unknown", "LINEWORKS_AUTH_FAILED"),
    ],
)
def test_no_token_is_a_refusal_that_says_why(answer, values, verdict, code, provider, rsa_key):
    provider.script = [answer]
    result = send(provider.url, tokens=NoTokenStore(), values={"private_key": rsa_key, **values})
    assert result == Refused(verdict=verdict, answer=result.answer)
    assert code_of(result) == code
    assert len(provider.seen) == 1


@pytest.mark.parametrize("key", ["no key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"])
def test_a_private_key_that_cannot_be_read_is_a_refusal_before_any_call(key, provider):
    result = send(provider.url, tokens=NoTokenStore(), values={"private_key": key})
    assert result == Refused(verdict="token invalid_key", answer="The private key can't be read.")
    assert code_of(result) == "LINEWORKS_AUTH_FAILED"
    assert provider.seen == []


@pytest.mark.parametrize("lost", [hang, hang_up])
def test_a_token_request_without_an_answer_sent_no_notice(lost, provider, rsa_key):
    provider.script = [lost]
    values = {"private_key": rsa_key}
    result = send(provider.url, tokens=NoTokenStore(), values=values, timeout_s=0.3)
    assert result == TryLater(verdict="network", answer=result.answer)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            reply(429, headers={"Retry-After": "7"}),
            TryLater(verdict="429", answer="429 Too Many Requests", wait_s=7.0, account_wide=True),
        ),
        (reply(503), TryLater(verdict="503", answer="503 Service Unavailable")),
        (reply(408), TryLater(verdict="408", answer="408 Request Timeout")),
        (reply(504), TryLater(verdict="504", answer="504 Gateway Timeout")),
        (reply(200, b"{}"), TryLater(verdict="200", answer="200 OK")),
    ],
)
def test_a_token_endpoint_in_trouble_is_asked_later(answer, expected, provider, rsa_key):
    provider.script = [answer]
    assert send(provider.url, tokens=NoTokenStore(), values={"private_key": rsa_key}) == expected


@pytest.mark.parametrize(
    ("answer", "recipient", "verdict", "code"),
    [
        (failure(404, "USER_NOT_EXIST"), "taro@example.com", "404 USER_NOT_EXIST", "LINEWORKS_USER_NOT_FOUND"),
        (
            failure(404, "USER_NOT_EXIST"),
            "jiro@example.org",
            "404 USER_NOT_EXIST +foreign",
            "LINEWORKS_USER_OUTSIDE_DOMAIN",
        ),
        (failure(403, "FORBIDDEN"), "taro@example.com", "403 FORBIDDEN", "LINEWORKS_USER_OUTSIDE_DOMAIN"),
        (
            failure(403, "FORBIDDEN", "Not allowed api"),
            "taro@example.com",
            "403 FORBIDDEN +scope",
            "LINEWORKS_SCOPE_INVALID",
        ),
        (
            failure(403, "FORBIDDEN", "", {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}),
            "taro@example.com",
            "403 FORBIDDEN +scope",
            "LINEWORKS_SCOPE_INVALID",
        ),
        (
            failure(404, "DOMAIN_NOT_EXIST"),
            "taro@example.com",
            "404 DOMAIN_NOT_EXIST +domain",
            "LINEWORKS_DOMAIN_INVALID",
        ),
        (failure(404, "BOT_NOT_EXIST"), "taro@example.com", "404 BOT_NOT_EXIST +bot", "LINEWORKS_BOT_NOT_FOUND"),
        (failure(400, "INVALID_PARAMETER"), "taro@example.com", "400 INVALID_PARAMETER", "LINEWORKS_INVALID_MESSAGE"),
    ],
)
def test_a_refusal_says_what_is_wrong(answer, recipient, verdict, code, provider):
    provider.script = [answer]
    result = send(provider.url, notice_for("lineworks", recipient=recipient))
    assert result == Refused(verdict=verdict, answer=result.answer)
    assert code_of(result) == code


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [({"Retry-After": "9", "rateLimit-reset": "30"}, 9.0), ({"RateLimit-Reset": "30"}, 30.0), ({}, 60.0)],
)
def test_too_many_calls_wait_as_told_or_a_minute(headers, wait_s, provider):
    provider.script = [failure(429, "TOO_MANY_REQUESTS", "API rate limit exceeded", headers)]
    result = send(provider.url)
    assert result == TryLater(
        verdict="429 TOO_MANY_REQUESTS",
        answer="429 TOO_MANY_REQUESTS API rate limit exceeded",
        wait_s=wait_s,
        account_wide=True,
    )
    assert code_of(result) == "LINEWORKS_RATE_LIMITED"


@pytest.mark.parametrize(
    "answer", [failure(429, "TOO_MANY_REQUESTS", "daily quota exceeded"), failure(403, "LIMIT_EXCEEDED")]
)
def test_a_used_up_day_holds_the_account_for_an_hour(answer, provider):
    provider.script = [answer]
    result = send(provider.url)
    assert (type(result), result.wait_s, result.account_wide) == (TryLater, 3600.0, True)
    assert code_of(result) == "LINEWORKS_DAILY_LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("headers", "budget"),
    [
        (
            {"rateLimit-limit": "240", "rateLimit-ssed": "40", "rateLimit-remaining": "200", "rateLimit-reset": "25"},
            Budget(limit=240, remaining=200, reset_s=25.0),
        ),
        ({"RATELIMIT-LIMIT": "60", "RateLimit-Ssed": "59"}, Budget(limit=60, remaining=1, reset_s=60.0)),
        ({"ratelimit-limit": "60", "ratelimit-used": "70"}, Budget(limit=60, remaining=0, reset_s=60.0)),
        ({"rateLimit-limit": "many", "rateLimit-ssed": "1"}, None),
        ({}, None),
    ],
)
def test_the_budget_is_read_in_any_letter_case(headers, budget, provider):
    provider.script = [reply(201, headers=headers)]
    assert send_all(provider.url).budget == budget


@pytest.mark.parametrize(
    ("edition", "hosts"),
    [
        ("", ["auth.worksmobile.com"]),
        ("gov", ["auth.gov-naverworks.com"]),
    ],
)
def test_the_edition_chooses_the_hosts(edition, hosts, monkeypatch, rsa_key):
    asked = []

    def resolve(name, *_args, **_more):
        asked.append(name)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    send("", tokens=NoTokenStore(), values={"private_key": rsa_key, "edition": edition})
    assert asked == hosts


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"domain": ""}, "example.com"),
        ({"domain": "sales.example.com"}, "sales.example.com"),
    ],
)
def test_all_bots_of_a_domain_share_its_limits(values, key):
    assert SENDER.account_key(account_of("lineworks", "", values=values)) == key


@pytest.mark.parametrize(
    ("answer", "verdict", "code"),
    [
        (failure(404, "NOT_FOUND"), "404 NOT_FOUND +bot", "LINEWORKS_BOT_NOT_FOUND"),
        (failure(403, "FORBIDDEN"), "403 FORBIDDEN +bot", "LINEWORKS_BOT_NOT_IN_DOMAIN"),
        (failure(403, "FORBIDDEN", "Not allowed api"), "403 FORBIDDEN +scope", "LINEWORKS_SCOPE_INVALID"),
        (failure(404, "DOMAIN_NOT_EXIST"), "404 DOMAIN_NOT_EXIST +domain", "LINEWORKS_DOMAIN_INVALID"),
    ],
)
def test_the_probe_names_bot_scope_or_domain(answer, verdict, code, provider):
    provider.script = [answer]
    result = SENDER.probe(account_of("lineworks", provider.url))
    assert result == Refused(verdict=verdict, answer=result.answer)
    assert code_of(result) == code
    assert (provider.seen[0].method, provider.seen[0].path) == ("GET", "/v1.0/bots/2000001")


def test_the_probe_is_content_when_the_bot_is_shown(provider, rsa_key):
    provider.script = [GRANTED, reply(200, {"botId": 2000001})]
    account = account_of("lineworks", provider.url, tokens=NoTokenStore(), values={"private_key": rsa_key})
    assert SENDER.probe(account) is None


def test_an_answer_with_a_status_that_http_does_not_have_raises_nothing(provider):
    provider.script = [reply(999)]
    assert isinstance(send(provider.url), (TryLater, NoAnswer))
