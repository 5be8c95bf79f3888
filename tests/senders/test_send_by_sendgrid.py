"""Sending through SendGrid, and its suppression lists."""

from __future__ import annotations

import time

import pytest

from deliveries.classify import Report, classify
from providers.base import Channel
from providers.http import PermanentError, TransientError
from providers.registry import LISTS
from providers.senders.sendgrid import SENDER
from providers.sending import Accepted, Budget, Listed, Refused, TryLater
from tests.senders.scripted import REF, account_of, hang_up, notice_for, reply

TAKEN = reply(202, headers={"X-Message-Id": "14c5d75ce93"})


def errors(*pairs):
    return {"errors": [{"message": message, "field": field, "help": None} for message, field in pairs]}


def send(url, *notices, **more):
    return SENDER.send(notices or [notice_for("sendgrid")], account_of("sendgrid", url, **more))


def meaning(result):
    verdict = classify(Report(Channel.EMAIL, "sendgrid", result.kind, result.verdict, reply=result.answer))
    return verdict.code, verdict.rule


def test_many_notices_go_in_one_call_each_with_its_own_attempt(provider):
    provider.script = [TAKEN]
    notices = [
        notice_for("sendgrid", attempt_ref=f"{number:032x}", recipient=f"student{number}@example.net")
        for number in range(1000)
    ]
    sent = send(provider.url, *notices)
    (request,) = provider.seen
    assert (request.method, request.path) == ("POST", "/v3/mail/send")
    assert request.headers["authorization"] == "Bearer SG.key-id.secret"
    assert request.json["personalizations"] == [
        {"to": [{"email": notice.recipient}], "custom_args": {"ng_attempt": notice.attempt_ref}} for notice in notices
    ]
    assert sent.results == [Accepted(provider_message_id="14c5d75ce93", answer="202 Accepted")] * 1000


def test_what_the_notices_share_is_said_once(provider):
    provider.script = [TAKEN]
    notice = notice_for(
        "sendgrid",
        title="証明書",
        text="できました",
        html="<p>できました</p>",
        name="Yamada; Taro, Dr",
        sender="desk@example.com",
        sender_name="窓口",
        route="acme",
    )
    send(provider.url, notice, route_by="custom:ng_tenant")
    assert provider.seen[0].json == {
        "personalizations": [
            {
                "to": [{"email": "taro@example.net", "name": "Yamada  Taro  Dr"}],
                "custom_args": {"ng_attempt": REF, "ng_tenant": "acme"},
            }
        ],
        "from": {"email": "desk@example.com", "name": "窓口"},
        "subject": "証明書",
        "content": [
            {"type": "text/plain", "value": "できました"},
            {"type": "text/html", "value": "<p>できました</p>"},
        ],
    }


def test_the_accounts_sender_is_used_and_no_part_is_empty(provider):
    provider.script = [TAKEN]
    send(provider.url, notice_for("sendgrid", text=""), values={"sender_name": "Office"}, route_by="domain")
    body = provider.seen[0].json
    assert body["from"] == {"email": "office@example.com", "name": "Office"}
    assert body["content"] == [{"type": "text/plain", "value": "Certificate ready"}]
    assert body["personalizations"][0]["custom_args"] == {"ng_attempt": REF}


@pytest.mark.parametrize(
    ("region", "host"),
    [("", "api.sendgrid.com"), ("global", "api.sendgrid.com"), ("EU", "api.eu.sendgrid.com")],
)
def test_the_region_chooses_the_host(region, host, monkeypatch):
    asked = []

    def resolve(name, *_args, **_more):
        asked.append(name)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    send("", values={"region": region})
    assert asked == [host]


def test_one_wrong_address_is_refused_and_the_others_go_again_without_it(provider):
    provider.script = [reply(400, errors(("Does not contain a valid address.", "personalizations.12.to.0.email")))]
    sent = send(provider.url, *[notice_for("sendgrid")] * 14)
    again = TryLater(verdict="400", answer="400 Bad Request", wait_s=0.0)
    refused = Refused(verdict="400", answer="400 Does not contain a valid address. personalizations.0.to.0.email")
    assert sent.results == [*[again] * 12, refused, again]
    assert meaning(refused) == ("INVALID_EMAIL_ADDRESS", "send.recipient-invalid")


def test_several_wrong_addresses_of_one_call_are_refused_together(provider):
    wrong = "The to array is required for all personalization objects, and must have at least one email object."
    provider.script = [reply(400, errors((wrong, "personalizations.0.to"), (wrong, "personalizations.2.to")))]
    sent = send(provider.url, *[notice_for("sendgrid")] * 3)
    assert [type(result) for result in sent.results] == [Refused, TryLater, Refused]


@pytest.mark.parametrize(
    "body",
    [
        errors(("Bad Request", None)),
        errors(("The content value must be a string at least one character in length.", "content.0.value")),
        errors(("Does not contain a valid address.", "personalizations.1.to"), ("Invalid from.", "from.email")),
        errors(("Does not contain a valid address.", "personalizations.7.to.0.email")),
        b"<html>",
    ],
)
def test_a_refusal_that_names_no_notice_of_the_call_is_about_all(body, provider):
    provider.script = [reply(400, body)]
    sent = send(provider.url, *[notice_for("sendgrid")] * 2)
    assert [type(result) for result in sent.results] == [Refused, Refused]


@pytest.mark.parametrize(
    ("status", "message", "code", "rule"),
    [
        (401, "The provided authorization grant is invalid, expired, or revoked", "HANDOVER_ERROR", "send.settings"),
        (401, "Maximum credits exceeded", "HANDOVER_ERROR", "send.quota"),
        (403, "The from address does not match a verified Sender Identity.", "HANDOVER_ERROR", "send.settings"),
        (413, "Content too large", "HANDOVER_ERROR", "send.settings"),
    ],
)
def test_what_the_account_has_wrong_is_refused_in_sendgrids_words(status, message, code, rule, provider):
    provider.script = [reply(status, errors((message, None)))]
    (result,) = send(provider.url).results
    assert result == Refused(verdict=str(status), answer=f"{status} {message}")
    assert meaning(result) == (code, rule)


def test_too_many_requests_wait_until_the_window_renews(provider):
    headers = {
        "X-RateLimit-Limit": "600",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(time.time()) + 30),
    }
    provider.script = [reply(429, errors(("too many requests", None)), headers)]
    sent = send(provider.url)
    (result,) = sent.results
    assert result == TryLater(verdict="429", answer="429 too many requests", wait_s=result.wait_s, account_wide=True)
    assert 25 < result.wait_s <= 30
    assert sent.budget == Budget(limit=600, remaining=0, reset_s=sent.budget.reset_s)


def test_a_success_that_is_not_documented_is_no_acceptance(provider):
    provider.script = [reply(200)]
    (result,) = send(provider.url).results
    assert type(result).__name__ == "NoAnswer"


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, {"scopes": ["mail.send", "user.profile.read"]}, None),
        (200, {"scopes": ["user.profile.read"]}, "403"),
        (401, errors(("authorization required", None)), "401"),
    ],
)
def test_the_probe_asks_for_the_keys_scopes(status, body, verdict, provider):
    provider.script = [reply(status, body)]
    result = SENDER.probe(account_of("sendgrid", provider.url))
    assert (result and result.verdict) == verdict
    assert (provider.seen[0].method, provider.seen[0].path) == ("GET", "/v3/scopes")


def test_an_addresss_entries_are_found_on_every_list(provider):
    provider.script = [
        reply(200, [{"created": 1767322800, "email": "a+b/c@example.net", "reason": "550 5.1.1 No such user"}]),
        reply(404, errors(("not found", None))),
        reply(200, []),
        reply(200, [{"created": 1767322800, "email": "a+b/c@example.net", "ip": "192.0.2.1"}]),
        reply(200, {"recipient_email": "a+b/c@example.net"}),
    ]
    found = LISTS["sendgrid"].listed("a+b/c@example.net", account_of("sendgrid", provider.url))
    assert found == [
        Listed(list_name="bounces", recipient="a+b/c@example.net", reason="550 5.1.1 No such user"),
        Listed(list_name="spam_reports", recipient="a+b/c@example.net"),
        Listed(list_name="global_unsubscribes", recipient="a+b/c@example.net"),
    ]
    assert [seen.path for seen in provider.seen] == [
        "/v3/suppression/bounces/a%2Bb%2Fc%40example.net",
        "/v3/suppression/blocks/a%2Bb%2Fc%40example.net",
        "/v3/suppression/invalid_emails/a%2Bb%2Fc%40example.net",
        "/v3/suppression/spam_reports/a%2Bb%2Fc%40example.net",
        "/v3/asm/suppressions/global/a%2Bb%2Fc%40example.net",
    ]


def test_an_address_on_no_list_has_no_entries(provider):
    provider.script = [*[reply(200, [])] * 4, reply(200, {})]
    assert LISTS["sendgrid"].listed("a@example.net", account_of("sendgrid", provider.url)) == []


@pytest.mark.parametrize("status", [204, 404])
@pytest.mark.parametrize(
    ("list_name", "path"),
    [("bounces", "/v3/suppression/bounces/"), ("global_unsubscribes", "/v3/asm/suppressions/global/")],
)
def test_an_entry_is_taken_off_or_gone_already(status, list_name, path, provider):
    provider.script = [reply(status)]
    LISTS["sendgrid"].unlist(
        Listed(list_name=list_name, recipient="A@example.net"), account_of("sendgrid", provider.url)
    )
    assert [(seen.method, seen.path) for seen in provider.seen] == [("DELETE", f"{path}A%40example.net")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(403, errors(("access forbidden", None))), PermanentError),
        (reply(429), TransientError),
        (reply(503), TransientError),
        (hang_up, TransientError),
    ],
)
def test_lists_that_cannot_be_had_raise_by_whether_to_ask_again(answer, error, provider):
    provider.script = [answer]
    account = account_of("sendgrid", provider.url)
    with pytest.raises(error):
        LISTS["sendgrid"].listed("a@example.net", account)
    with pytest.raises(error):
        LISTS["sendgrid"].unlist(Listed(list_name="blocks", recipient="a@example.net"), account)
