"""Sending through Amazon SES, to moto's SES where it can, and its suppression list."""

from __future__ import annotations

import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

from deliveries.classify import Report, classify
from providers.base import Channel
from providers.http import PermanentError, TransientError
from providers.registry import LISTS
from providers.senders.ses import SENDER
from providers.sending import Accepted, Listed, Refused, TryLater
from tests.senders.scripted import REF, account_of, hang_up, notice_for, reply


def failure(status, code, message=""):
    """Answer as SES does: the code in a header, the words in the body."""
    return reply(status, {"message": message}, {"x-amzn-ErrorType": code, "content-type": "application/json"})


def send(url, notice=None, **more):
    (result,) = SENDER.send([notice or notice_for("ses")], account_of("ses", url, **more)).results
    return result


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def mailbox(moto):
    backend = get_backend("ses")[DEFAULT_ACCOUNT_ID]["ap-northeast-1"]
    backend.reset()
    backend.verify_email_address("office@example.com")
    return backend


def test_a_notice_is_really_sent(moto, mailbox):
    result = send(moto)
    (message,) = mailbox.sent_messages
    assert result == Accepted(provider_message_id=message.id, answer="200 OK")
    assert (message.source, message.destinations, message.subject, message.body) == (
        "office@example.com",
        {"ToAddresses": ["taro@example.net"]},
        "Certificate ready",
        "Your certificate of enrolment is ready.",
    )


def test_a_sender_that_is_not_verified_is_refused_and_nothing_is_sent(moto, mailbox):
    result = send(moto, notice_for("ses", sender="stranger@example.org"))
    assert result == Refused(verdict="400 MessageRejected", answer=result.answer)
    assert "stranger@example.org" in result.answer
    assert mailbox.sent_messages == []


def test_the_call_carries_attempt_route_and_configuration_set(provider):
    provider.script = [reply(200, {"MessageId": "0100018f-1"})]
    notice = notice_for(
        "ses", name="山田太郎", recipient="taro@例え.example", html="<p>x</p>", sender_name="窓口", route="acme"
    )
    result = send(provider.url, notice, route_by="tag:ng_tenant")
    (request,) = provider.seen
    assert result == Accepted(provider_message_id="0100018f-1", answer="200 OK")
    assert (request.method, request.path) == ("POST", "/v2/email/outbound-emails")
    assert request.json == {
        "FromEmailAddress": "=?utf-8?b?56qT5Y+j?= <office@example.com>",
        "Destination": {"ToAddresses": ["=?utf-8?b?5bGx55Sw5aSq6YOO?= <taro@xn--r8jz45g.example>"]},
        "Content": {
            "Simple": {
                "Subject": {"Data": "Certificate ready", "Charset": "UTF-8"},
                "Body": {
                    "Text": {"Data": "Your certificate of enrolment is ready.", "Charset": "UTF-8"},
                    "Html": {"Data": "<p>x</p>", "Charset": "UTF-8"},
                },
            }
        },
        "EmailTags": [{"Name": "ng_attempt", "Value": REF}, {"Name": "ng_tenant", "Value": "acme"}],
        "ConfigurationSetName": "mail-events",
    }


def test_an_address_that_no_header_can_hold_is_left_for_ses_to_refuse(provider):
    provider.script = [reply(200, {"MessageId": "1"})]
    send(provider.url, notice_for("ses", recipient="山田@example.net", name="Taro"))
    assert provider.seen[0].json["Destination"] == {"ToAddresses": ["山田@example.net"]}


@pytest.mark.parametrize(
    ("status", "code", "message", "wait_s"),
    [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", None),
        (400, "ThrottlingException", "Maximum sending rate exceeded", None),
        (400, "Throttling", "Daily message quota exceeded", 3600.0),
        (400, "LimitExceededException", "Daily message quota exceeded.", 3600.0),
    ],
)
def test_throttling_holds_the_account_and_a_used_up_day_holds_it_an_hour(status, code, message, wait_s, provider):
    provider.script = [failure(status, code, message)]
    assert send(provider.url) == TryLater(
        verdict=f"{status} {code}", answer=f"{status} {code}: {message}", wait_s=wait_s, account_wide=True
    )
    assert len(provider.seen) == 1


@pytest.mark.parametrize(
    ("status", "code", "message", "rule"),
    [
        (
            400,
            "MessageRejected",
            "Email address is not verified. The following identities failed the check.",
            "send.settings",
        ),
        (400, "MailFromDomainNotVerifiedException", "MAIL FROM domain is not verified.", "send.settings"),
        (400, "AccountSuspendedException", "Your account is suspended.", "send.settings"),
        (400, "SendingPausedException", "Sending paused for this account.", "send.settings"),
        (404, "NotFoundException", "Configuration set mail-events does not exist.", "send.settings"),
        (403, "AccessDeniedException", "User is not authorized to perform ses:SendEmail", "send.settings"),
        (403, "InvalidClientTokenId", "The security token included in the request is invalid.", "send.settings"),
        (403, "SignatureDoesNotMatch", "The request signature we calculated does not match.", "send.settings"),
        (400, "BadRequestException", "Local address contains control or whitespace", "send.recipient-invalid"),
        (400, "BadRequestException", "Missing final '@domain'", "send.recipient-invalid"),
    ],
)
def test_what_ses_does_not_take_is_refused_and_said_in_its_words(status, code, message, rule, provider):
    provider.script = [failure(status, code, message)]
    result = send(provider.url)
    assert result == Refused(verdict=f"{status} {code}", answer=f"{status} {code}: {message}")
    verdict = classify(Report(Channel.EMAIL, "ses", result.kind, result.verdict, reply=result.answer))
    assert verdict.rule == rule


@pytest.mark.parametrize("code", ["InternalServiceErrorException", "ServiceUnavailable"])
def test_trouble_at_aws_is_tried_again_by_the_queue_alone(code, provider):
    provider.script = [failure(503, code)]
    assert isinstance(send(provider.url), TryLater)
    assert len(provider.seen) == 1


def test_a_region_that_is_none_is_a_setting_to_put_right(provider):
    result = send("", values={"region": "not a region"})
    assert result == Refused(verdict="400 InvalidParameter", answer=result.answer)
    assert provider.seen == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(200, {"SendingEnabled": True}), None),
        (
            reply(200, {"SendingEnabled": False}),
            Refused(verdict="400 SendingPausedException", answer="Sending is paused for the account."),
        ),
        (
            failure(403, "AccessDeniedException", "no"),
            Refused(verdict="403 AccessDeniedException", answer="403 AccessDeniedException: no"),
        ),
    ],
)
def test_the_probe_asks_for_the_accounts_state(answer, expected, provider):
    provider.script = [answer]
    assert SENDER.probe(account_of("ses", provider.url)) == expected
    assert (provider.seen[0].method, provider.seen[0].path) == ("GET", "/v2/email/account")


def test_an_entry_is_found_by_its_exact_case(provider):
    entry = {"EmailAddress": "taro@example.net", "Reason": "BOUNCE", "LastUpdateTime": 1767322800}
    provider.script = [failure(404, "NotFoundException"), reply(200, {"SuppressedDestination": entry})]
    assert LISTS["ses"].listed("Taro@example.net", account_of("ses", provider.url)) == [
        Listed(list_name="BOUNCE", recipient="taro@example.net", reason="Since 2026-01-02.")
    ]
    assert [seen.path for seen in provider.seen] == [
        "/v2/email/suppression/addresses/Taro%40example.net",
        "/v2/email/suppression/addresses/taro%40example.net",
    ]


def test_an_address_that_is_not_listed_has_no_entry_and_is_asked_for_once(provider):
    provider.script = [failure(404, "NotFoundException")]
    assert LISTS["ses"].listed("taro@example.net", account_of("ses", provider.url)) == []
    assert len(provider.seen) == 1


@pytest.mark.parametrize("answer", [reply(200, {}), failure(404, "NotFoundException")])
def test_an_entry_is_deleted_as_ses_writes_it_or_gone_already(answer, provider):
    provider.script = [answer]
    LISTS["ses"].unlist(Listed(list_name="BOUNCE", recipient="Taro@example.net"), account_of("ses", provider.url))
    assert [(seen.method, seen.path) for seen in provider.seen] == [
        ("DELETE", "/v2/email/suppression/addresses/Taro%40example.net")
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure(403, "AccessDeniedException"), PermanentError),
        (failure(429, "TooManyRequestsException"), TransientError),
        (failure(400, "ThrottlingException"), TransientError),
        (failure(500, "InternalServiceErrorException"), TransientError),
        (hang_up, TransientError),
    ],
)
def test_a_list_that_cannot_be_had_raises_by_whether_to_ask_again(answer, error, provider):
    provider.script = [answer]
    account = account_of("ses", provider.url)
    with pytest.raises(error):
        LISTS["ses"].listed("taro@example.net", account)
    with pytest.raises(error):
        LISTS["ses"].unlist(Listed(list_name="BOUNCE", recipient="taro@example.net"), account)
