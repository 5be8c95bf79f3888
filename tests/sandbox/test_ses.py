"""Amazon SES's part of the sandbox, called by boto3."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from providers.base import ConnectionConfig, Kind

TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:sandbox"
ONCE = BotoConfig(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=5)


def client(sandbox, key="AKIAEXAMPLE"):
    return boto3.client(
        "sesv2",
        region_name="ap-northeast-1",
        endpoint_url=sandbox.url,
        aws_access_key_id=key,
        aws_secret_access_key="secret",
        config=ONCE,
    )


@pytest.fixture
def ses(sandbox):
    made = client(sandbox)
    yield made
    made.close()


@pytest.fixture
def account(sandbox, receiver):
    sandbox.add_account({"provider": "ses", "url": receiver.url, "topic": TOPIC})
    settings = {"topic": TOPIC, "sns_cert_urls": sandbox.certificate_url}
    return ConnectionConfig(settings=settings, route_by="tag:ng_tenant")


def send(ses, to, sender="Notices <notices@acme.example>"):
    return ses.send_email(
        FromEmailAddress=sender,
        Destination={"ToAddresses": [to]},
        Content={"Simple": {"Subject": {"Data": "請求書"}, "Body": {"Text": {"Data": "Please look."}}}},
        EmailTags=[{"Name": "ng_attempt", "Value": "a" * 32}, {"Name": "ng_tenant", "Value": "sakura"}],
        ConfigurationSetName="ng",
    )["MessageId"]


def refusal(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def in_order(events):
    """Posts of SNS overtake one another; the time of the event tells."""
    return sorted(events, key=lambda event: event.occurred_at)


def test_a_send_is_reported_as_sent_and_delivered(sandbox, receiver, ses, account):
    message_id = send(ses, "Taro <taro@example.co.jp>")
    assert sandbox.settle()
    events = in_order(receiver.read("ses", account))
    assert [event.kind for event in events] == [Kind.ACCEPTED, Kind.DELIVERED]
    assert {
        (event.recipient, event.provider_message_id, event.attempt_ref, event.route, event.sender, event.title)
        for event in events
    } == {("taro@example.co.jp", message_id, "a" * 32, "sakura", "notices@acme.example", "請求書")}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("bounce", [(Kind.BOUNCED, "Permanent/General", "5.1.1")]),
        ("softbounce", [(Kind.BOUNCED, "Transient/MailboxFull", "4.2.2")]),
        ("blocked", [(Kind.BLOCKED, "Transient/ContentRejected", "5.7.1")]),
        ("dropped", [(Kind.DROPPED, "Permanent/OnAccountSuppressionList", "5.1.1")]),
        ("spam", [(Kind.DELIVERED, "Delivery", ""), (Kind.SPAM_REPORT, "Complaint/abuse", "")]),
        ("deferred-forever", [(Kind.DEFERRED, "Delay/TransientCommunicationFailure", "4.4.1")] * 2),
        (
            "deferred",
            [(Kind.DEFERRED, "Delay/TransientCommunicationFailure", "4.4.1")] * 2 + [(Kind.DELIVERED, "Delivery", "")],
        ),
        ("accepted", []),
    ],
)
def test_a_magic_recipient_meets_its_fate(sandbox, receiver, ses, account, word, expected):
    send(ses, f"{word}@example.com")
    assert sandbox.settle()
    events = [event for event in in_order(receiver.read("ses", account)) if event.kind is not Kind.ACCEPTED]
    assert [(event.kind, event.verdict, event.enhanced_code) for event in events] == expected


def test_an_address_that_bounced_is_dropped_until_it_is_taken_off_the_list(sandbox, receiver, ses, account):
    for remove in (False, False, True):
        if remove:
            ses.delete_suppressed_destination(EmailAddress="bounce@example.com")
        send(ses, "bounce@example.com")
        assert sandbox.settle()
    events = [event for event in in_order(receiver.read("ses", account)) if event.kind is not Kind.ACCEPTED]
    assert [event.kind for event in events] == [Kind.BOUNCED, Kind.DROPPED, Kind.BOUNCED]


def test_the_suppression_list_tells_upper_from_lower_case_but_a_send_does_not(sandbox, receiver, ses, account):
    ses.put_suppressed_destination(EmailAddress="Taro@example.com", Reason="COMPLAINT")
    send(ses, "taro@example.com")
    assert sandbox.settle()
    assert refusal(ses.get_suppressed_destination, EmailAddress="taro@example.com")[:2] == (404, "NotFoundException")
    assert refusal(ses.delete_suppressed_destination, EmailAddress="taro@example.com")[0] == 404
    found = ses.get_suppressed_destination(EmailAddress="Taro@example.com")["SuppressedDestination"]
    assert (found["EmailAddress"], found["Reason"]) == ("Taro@example.com", "COMPLAINT")
    assert [e.kind for e in in_order(receiver.read("ses", account))] == [Kind.ACCEPTED, Kind.DROPPED]


def test_the_suppression_list_is_read_whole(ses):
    send(ses, "bounce@example.com")
    send(ses, "spam@example.com")
    entries = ses.list_suppressed_destinations()["SuppressedDestinationSummaries"]
    assert [(entry["EmailAddress"], entry["Reason"]) for entry in entries] == [
        ("bounce@example.com", "BOUNCE"),
        ("spam@example.com", "COMPLAINT"),
    ]


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("error500@example.com", (500, "InternalServiceErrorException", "Internal service error.")),
        ("error429@example.com", (429, "TooManyRequestsException", "Maximum sending rate exceeded.")),
        ("invalid@example.com", (400, "BadRequestException", "Local address contains control or whitespace")),
        ("nowhere", (400, "BadRequestException", "Missing final '@domain'")),
    ],
)
def test_a_refusal_has_the_vendors_code(sandbox, ses, to, expected):
    assert refusal(send, ses, to) == expected
    assert sandbox.counts()["notices"] == 0


def test_an_unverified_sender_is_rejected(ses):
    status, code, words = refusal(send, ses, "taro@example.com", "unverified@acme.example")
    assert (status, code) == (400, "MessageRejected")
    assert words.startswith("Email address is not verified.")


def test_a_revoked_key_is_refused(sandbox):
    made = client(sandbox, "revoked")
    assert refusal(send, made, "taro@example.com")[:2] == (403, "UnrecognizedClientException")
    made.close()


def test_the_account_is_healthy(ses):
    assert ses.get_account()["SendingEnabled"] is True


def test_a_raw_message_is_read_for_its_sender_recipient_and_subject(sandbox, receiver, ses, account):
    raw = b"From: Notices <notices@acme.example>\r\nTo: taro@example.com\r\nSubject: Invoice\r\n\r\nPlease look."
    ses.send_email(Content={"Raw": {"Data": raw}})
    assert sandbox.settle()
    assert {(event.recipient, event.sender, event.title) for event in receiver.read("ses", account)} == {
        ("taro@example.com", "notices@acme.example", "Invoice")
    }
