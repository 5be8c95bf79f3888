"""SendGrid's part of the sandbox, called by SendGrid's own client."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import CustomArg, Mail, Personalization, To

from providers.base import Kind


def client(sandbox, key="SG.any"):
    made = SendGridAPIClient(key, host=sandbox.url)
    made.client.timeout = 5
    return made


def mail(*recipients, **arguments):
    """A message with a personalization and a reference of its own for each recipient."""
    message = Mail(from_email="notices@acme.example", subject="Invoice", plain_text_content="Please look.")
    for number, recipient in enumerate(recipients):
        one = Personalization()
        one.add_to(To(recipient))
        for name, value in {"ng_attempt": f"{number:032x}", **arguments}.items():
            one.add_custom_arg(CustomArg(name, value))
        message.add_personalization(one)
    return message


def send(sandbox, *recipients, **arguments):
    return client(sandbox).send(mail(*recipients, **arguments))


def refusal(sandbox, message, key="SG.any"):
    with pytest.raises(HTTPError) as caught:
        client(sandbox, key).send(message)
    return caught.value.status_code, [(error["field"], error["message"]) for error in caught.value.to_dict["errors"]]


def listed(sandbox, name, address):
    answer = client(sandbox).client.suppression._(name)._(quote(address, safe="")).get()
    return answer.to_dict


def unlist(sandbox, name, address):
    return client(sandbox).client.suppression._(name)._(quote(address, safe="")).delete()


def test_a_send_is_answered_202_and_reported_as_delivered(sandbox, receiver, sendgrid_account):
    answer = send(sandbox, "taro@example.co.jp", ng_tenant="sakura")
    assert sandbox.settle()
    events = receiver.read("sendgrid", sendgrid_account)
    assert (answer.status_code, answer.body) == (202, b"")
    assert [event.kind for event in events] == [Kind.ACCEPTED, Kind.DELIVERED]
    assert {(event.recipient, event.attempt_ref, event.route, event.provider_message_id) for event in events} == {
        ("taro@example.co.jp", "0" * 32, "sakura", answer.headers["X-Message-Id"])
    }


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("delivered", [(Kind.ACCEPTED, "processed"), (Kind.DELIVERED, "delivered")]),
        ("bounce", [(Kind.ACCEPTED, "processed"), (Kind.BOUNCED, "bounce/invalid")]),
        ("Bounce+anything", [(Kind.ACCEPTED, "processed"), (Kind.BOUNCED, "bounce/invalid")]),
        ("softbounce", [(Kind.ACCEPTED, "processed"), (Kind.BOUNCED, "blocked/mailbox")]),
        ("blocked", [(Kind.ACCEPTED, "processed"), (Kind.BLOCKED, "blocked/reputation")]),
        ("dropped", [(Kind.DROPPED, "dropped/bounced address")]),
        ("deferred-forever", [(Kind.ACCEPTED, "processed"), (Kind.DEFERRED, "deferred"), (Kind.DEFERRED, "deferred")]),
        (
            "deferred",
            [
                (Kind.ACCEPTED, "processed"),
                (Kind.DEFERRED, "deferred"),
                (Kind.DEFERRED, "deferred"),
                (Kind.DELIVERED, "delivered"),
            ],
        ),
        (
            "spam",
            [(Kind.ACCEPTED, "processed"), (Kind.DELIVERED, "delivered"), (Kind.SPAM_REPORT, "spamreport")],
        ),
        ("accepted", [(Kind.ACCEPTED, "processed")]),
    ],
)
def test_a_magic_recipient_meets_its_fate(sandbox, receiver, sendgrid_account, word, expected):
    send(sandbox, f"{word}@example.com")
    assert sandbox.settle()
    assert [(event.kind, event.verdict) for event in receiver.read("sendgrid", sendgrid_account)] == expected


def test_an_address_that_bounced_is_dropped_until_it_is_taken_off_the_list(sandbox, receiver, sendgrid_account):
    for remove in (False, False, True):
        if remove:
            assert unlist(sandbox, "bounces", "bounce@example.com").status_code == 204
        send(sandbox, "bounce@example.com")
        assert sandbox.settle()
    verdicts = [event.verdict for event in receiver.read("sendgrid", sendgrid_account)]
    assert verdicts == ["processed", "bounce/invalid", "dropped/bounced address", "processed", "bounce/invalid"]


def test_an_address_on_the_list_from_the_start_is_delivered_to_once_taken_off(sandbox, receiver, sendgrid_account):
    (entry,) = listed(sandbox, "bounces", "dropped@example.com")
    unlist(sandbox, "bounces", "dropped@example.com")
    send(sandbox, "dropped@example.com")
    assert sandbox.settle()
    assert (entry["email"], entry["status"]) == ("dropped@example.com", "5.1.1")
    assert listed(sandbox, "bounces", "dropped@example.com") == []
    assert [event.verdict for event in receiver.read("sendgrid", sendgrid_account)] == ["processed", "delivered"]


@pytest.mark.parametrize(("word", "name"), [("bounce", "bounces"), ("spam", "spam_reports"), ("blocked", "blocks")])
def test_each_verdict_enters_its_list(sandbox, word, name):
    send(sandbox, f"{word}@example.com")
    assert [entry["email"] for entry in listed(sandbox, name, f"{word}@example.com")] == [f"{word}@example.com"]
    assert [entry["email"] for entry in client(sandbox).client.suppression._(name).get().to_dict] == [
        f"{word}@example.com"
    ]


def test_taking_off_what_is_not_listed_is_not_found(sandbox):
    with pytest.raises(HTTPError) as caught:
        unlist(sandbox, "bounces", "nobody@example.com")
    assert caught.value.status_code == 404


def test_a_global_unsubscribe_is_read_obeyed_and_removed(sandbox, receiver, sendgrid_account):
    everybody = client(sandbox).client.asm.suppressions._("global")
    everybody.post(request_body={"recipient_emails": ["taro@example.com"]})
    send(sandbox, "taro@example.com")
    assert sandbox.settle()
    found = everybody._("taro@example.com").get().to_dict
    assert everybody._("taro@example.com").delete().status_code == 204
    assert [event.verdict for event in receiver.read("sendgrid", sendgrid_account)] == ["dropped/unsubscribed address"]
    assert (found, everybody._("taro@example.com").get().to_dict) == ({"recipient_email": "taro@example.com"}, {})


def test_a_refusal_names_the_personalization_and_nothing_is_sent(sandbox):
    status, errors = refusal(sandbox, mail("taro@example.com", "invalid@example.com", "no@address", "ken@example.com"))
    words = "Does not contain a valid address."
    assert status == 400
    assert errors == [("personalizations.1.to.0.email", words), ("personalizations.2.to.0.email", words)]
    assert sandbox.counts()["notices"] == 0


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"from": {"email": ""}}, "from.email", "The from object must be provided"),
        ({"from": {"email": "nowhere"}}, "from.email", "does not contain a valid address"),
        ({"content": []}, "content", "Unless a valid template_id is provided"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value", "at least one character in length"),
        ({"subject": ""}, "subject", "The subject is required."),
        ({"personalizations": []}, "personalizations", "must have at least one personalization"),
        ({"personalizations": [{"subject": "Hi"}]}, "personalizations.0.to", "The to array is required"),
        ({"personalizations": [{"to": [{}]}]}, "personalizations.0.to.0.email", "The to email parameter is required."),
        (
            {"personalizations": [{"to": [{"email": "a@example.com"}], "custom_args": {"n": 1}}]},
            "personalizations.0.custom_args",
            "Invalid type. Expected: string.",
        ),
    ],
)
def test_an_unusable_message_is_refused_in_sendgrids_words(sandbox, changes, field, words):
    with pytest.raises(HTTPError) as caught:
        client(sandbox).client.mail.send.post(request_body={**mail("taro@example.com").get(), **changes})
    (error,) = caught.value.to_dict["errors"]
    assert (caught.value.status_code, error["field"], words in error["message"]) == (400, field, True)


def test_more_than_a_thousand_recipients_are_refused(sandbox):
    status, errors = refusal(sandbox, mail(*(f"r{n}@example.com" for n in range(1001))))
    words = "There is a limit of 1000 total recipients (to + cc + bcc) per request."
    assert (status, errors) == (400, [("personalizations", words)])


def test_an_address_twice_in_one_personalization_is_refused(sandbox):
    message = mail("taro@example.com")
    message.add_cc("Taro@example.com")
    status, ((field, words),) = refusal(sandbox, message)
    assert (status, field) == (400, "personalizations.0")
    assert "duplicate instance of [Taro@example.com] in the personalizations.0.cc field" in words


def test_an_unverified_sender_is_forbidden(sandbox):
    message = Mail("unverified@acme.example", "taro@example.com", "Invoice", "Please look.")
    status, ((field, words),) = refusal(sandbox, message)
    assert (status, field) == (403, "from")
    assert words.startswith("The from address does not match a verified Sender Identity.")


@pytest.mark.parametrize(
    ("word", "status", "words"), [("error500", 500, "internal error"), ("error429", 429, "too many requests")]
)
def test_trouble_on_request_takes_nothing(sandbox, word, status, words):
    assert refusal(sandbox, mail("taro@example.com", f"{word}@example.com")) == (status, [(None, words)])
    assert sandbox.counts()["notices"] == 0


def test_a_revoked_key_is_refused(sandbox):
    assert refusal(sandbox, mail("taro@example.com"), "revoked")[0] == 401


def test_once_accounts_are_named_other_keys_are_refused(sandbox):
    sandbox.add_account({"provider": "sendgrid", "api_key": "SG.acme"})
    assert refusal(sandbox, mail("taro@example.com"), "SG.other")[0] == 401
    assert client(sandbox, "SG.acme").send(mail("taro@example.com")).status_code == 202


def test_a_thousand_recipients_of_one_call_are_reported_in_posts_of_five_hundred(sandbox, receiver, sendgrid_account):
    references = {uuid.uuid4().hex for _ in range(1000)}
    message = mail(*(f"r{number}@example.com" for number in range(1000)))
    for one, reference in zip(message.personalizations, references, strict=True):
        one.custom_args[0] = {"ng_attempt": reference}
        one._custom_args = [{"ng_attempt": reference}]
    client(sandbox).send(message)
    assert sandbox.settle()
    events = receiver.read("sendgrid", sendgrid_account)
    assert (len(events), len(receiver.requests)) == (2000, 4)
    assert {event.attempt_ref for event in events if event.kind is Kind.DELIVERED} == references
    assert len({event.provider_event_id for event in events}) == 2000


def test_in_sendgrids_own_sandbox_mode_nothing_is_sent(sandbox):
    body = {**mail("taro@example.com").get(), "mail_settings": {"sandbox_mode": {"enable": True}}}
    assert client(sandbox).client.mail.send.post(request_body=body).status_code == 200
    assert sandbox.counts()["notices"] == 0
