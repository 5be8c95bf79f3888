"""Sending SMS through Vonage's SMS API."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from deliveries.classify import Report, classify
from providers.base import Channel, ConnectionConfig, Kind
from providers.senders.vonage import SENDER
from providers.sending import Accepted, NoAnswer, Refused, TryLater
from providers.vonage import PROVIDER
from tests.senders.scripted import REF, account_of, hang_up, notice_for, reply


def parts(*statuses):
    messages = [
        {"to": "819012345678", "message-id": f"0A{number}", "status": status}
        if status == "0"
        else {"status": status, "error-text": "words"}
        for number, status in enumerate(statuses)
    ]
    return reply(200, {"message-count": str(len(messages)), "messages": messages})


def failure(status, words):
    return reply(200, {"message-count": "1", "messages": [{"status": status, "error-text": words}]})


def send(url, notice=None, **more):
    (result,) = SENDER.send([notice or notice_for("vonage")], account_of("vonage", url, **more)).results
    return result


def test_a_notice_is_one_call_with_our_reference_and_callback(provider):
    provider.script = [parts("0")]
    result = send(provider.url, callback_url="https://notify.example.com/webhooks/vonage/tok")
    (request,) = provider.seen
    assert result == Accepted(provider_message_id="0A0", answer="200 OK")
    assert (request.method, request.target) == ("POST", "/sms/json")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"abcd1234:vo-secret").decode()
    assert request.form == {
        "to": "819012345678",
        "from": "NOTIFY",
        "text": "Your certificate of enrolment is ready.",
        "type": "text",
        "client-ref": f"ng-{REF}",
        "callback": "https://notify.example.com/webhooks/vonage/tok",
    }


@pytest.mark.parametrize(
    ("words", "kind"), [("Price: 5 €, 100 % {ok}", "text"), ("証明書", "unicode"), ("ç", "unicode")]
)
def test_a_text_beyond_the_gsm_alphabet_is_sent_as_unicode(words, kind, provider):
    provider.script = [parts("0")]
    send(provider.url, notice_for("vonage", text=words, sender="+819000000000"))
    form = provider.seen[0].form
    assert (form["text"], form["type"], form["from"]) == (words, kind, "819000000000")


def test_a_callback_url_longer_than_vonage_takes_is_left_to_its_dashboard(provider):
    provider.script = [parts("0")]
    assert isinstance(send(provider.url, callback_url=f"https://notify.example.com/{'x' * 80}"), Accepted)
    assert "callback" not in provider.seen[0].form


def test_a_long_text_is_accepted_when_all_its_parts_are(provider):
    provider.script = [parts("0", "0", "0")]
    assert send(provider.url) == Accepted(provider_message_id="0A0", answer="200 OK")


def test_a_text_of_which_a_part_is_on_its_way_is_never_repeated(provider):
    provider.script = [parts("0", "1")]
    assert send(provider.url) == NoAnswer(verdict="send 1", answer="1 of 2 parts refused: 1 words")


def test_a_text_of_which_no_part_was_taken_is_read_by_the_first(provider):
    provider.script = [parts("1", "1")]
    assert send(provider.url) == TryLater(verdict="send 1", answer="1 words", account_wide=True)


def test_a_receipt_names_the_attempt_again(provider):
    provider.script = [parts("0")]
    send(provider.url)
    reference = provider.seen[0].form["client-ref"]
    receipt = {"messageId": "0A1", "msisdn": "819012345678", "status": "delivered", "client-ref": reference}
    (event,) = PROVIDER.parse(urlencode(receipt).encode(), {}, ConnectionConfig(), datetime.now(UTC))
    assert event.attempt_ref == REF


def test_throttling_waits_as_long_as_vonage_asks(provider):
    words = "Throughput Rate Exceeded - please wait [ 250 ] and retry"
    provider.script = [failure("1", words)]
    assert send(provider.url) == TryLater(verdict="send 1", answer=f"1 {words}", wait_s=0.25, account_wide=True)


def test_trouble_at_vonage_is_passing(provider):
    provider.script = [failure("5", "Internal Error")]
    assert send(provider.url) == TryLater(verdict="send 5", answer="5 Internal Error")


@pytest.mark.parametrize(
    ("status", "words", "verdict", "meaning"),
    [
        ("2", "Missing text", "send 2", ("HANDOVER_ERROR", "SMS_CONTENT_INVALID", "no")),
        ("3", "Invalid value for parameter: from", "send 3", ("HANDOVER_ERROR", "SMS_CONTENT_INVALID", "no")),
        ("3", "Not allowed to send this", "send 3", ("HANDOVER_ERROR", "SMS_CONTENT_INVALID", "no")),
        ("3", "Invalid value for parameter: to", "send 3 to", ("INVALID_MOBILE_NUMBER", "", "yes")),
        ("3", "Invalid to param", "send 3 to", ("INVALID_MOBILE_NUMBER", "", "yes")),
        ("4", "Bad Credentials", "send 4", ("HANDOVER_ERROR", "SMS_AUTH_FAILED", "no")),
        ("6", "Unroutable message", "send 6", ("INVALID_MOBILE_NUMBER", "", "after_repeats")),
        ("8", "Partner account barred", "send 8", ("HANDOVER_ERROR", "SMS_AUTH_FAILED", "no")),
        ("9", "Quota Exceeded", "send 9", ("HANDOVER_ERROR", "SMS_NO_BALANCE", "no")),
        ("11", "Account not enabled for HTTP", "send 11", ("HANDOVER_ERROR", "SMS_AUTH_FAILED", "no")),
        ("12", "Message too long", "send 12", ("HANDOVER_ERROR", "SMS_CONTENT_INVALID", "no")),
        ("15", "Illegal Sender Address", "send 15", ("HANDOVER_ERROR", "SMS_SENDER_UNREGISTERED", "no")),
        ("23", "Invalid callback", "send 23", ("HANDOVER_ERROR", "SMS_CONTENT_INVALID", "no")),
        ("29", "Non-Whitelisted Destination", "send 29", ("HANDOVER_ERROR", "SMS_AUTH_FAILED", "no")),
        ("33", "Number De-activated", "send 33", ("INVALID_MOBILE_NUMBER", "SMS_NUMBER_UNKNOWN", "yes")),
        ("99", "Something new", "send 99", ("HANDOVER_ERROR", "", "no")),
    ],
)
def test_a_refused_message_is_read_by_its_status_though_http_says_200(status, words, verdict, meaning, provider):
    provider.script = [failure(status, words)]
    result = send(provider.url)
    assert result == Refused(verdict=verdict, answer=f"{status} {words}")
    found = classify(Report(Channel.SMS, "vonage", result.kind, result.verdict, reply=result.answer))
    assert (found.code, found.reason, found.suppress) == meaning


def test_a_barred_number_was_never_tried(provider):
    provider.script = [failure("7", "Number barred")]
    result = send(provider.url)
    assert (type(result), result.kind) == (Refused, Kind.DROPPED)
    found = classify(Report(Channel.SMS, "vonage", result.kind, result.verdict))
    assert (found.reason, found.suppress) == ("SMS_OPTED_OUT", "yes")


@pytest.mark.parametrize("body", [b"<html>", [], {"messages": []}, {"messages": [{}]}, {"message-count": "1"}])
def test_a_success_that_cannot_be_read_leaves_it_open(body, provider):
    provider.script = [reply(200, body)]
    assert isinstance(send(provider.url), NoAnswer)


def test_the_client_does_not_repeat_what_got_no_answer(provider):
    provider.script = [hang_up, parts("0")]
    assert isinstance(send(provider.url), NoAnswer)
    assert len(provider.seen) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply(200, {"value": 3.14, "autoReload": False}), None),
        (reply(200, {"value": 0}), "send 9"),
        (reply(401, {"error-code": "401"}), "send 4"),
        (reply(503), "send HTTP 503"),
    ],
)
def test_the_probe_asks_for_the_balance(answer, expected, provider):
    provider.script = [answer]
    result = SENDER.probe(account_of("vonage", provider.url))
    assert (result and result.verdict) == expected
    assert (provider.seen[0].method, provider.seen[0].path) == ("GET", "/account/get-balance")
