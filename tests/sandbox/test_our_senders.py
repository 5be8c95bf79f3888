"""The product's own senders, unmodified, against the sandbox: what each answer is taken for."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers import registry
from providers.sending import Accepted, Account, NoAnswer, Outgoing, Refused, TryLater

MAIL = {
    "taro@example.com": Accepted,
    "invalid@example.com": Refused,
    "error429@example.com": TryLater,
    "error500@example.com": TryLater,
    "hang@example.com": NoAnswer,
    "reset@example.com": NoAnswer,
}
SMS = {
    "+819012345678": Accepted,
    "+819012340004": Refused,
    "+819012340007": TryLater,
    "+819012340008": TryLater,
    "+819012340009": NoAnswer,
    "+819012340010": NoAnswer,
}
CHAT = {
    "taro": Accepted,
    "unknown-1": Refused,
    "foreign-1": Refused,
    "ratelimit-1": TryLater,
    "error500-1": TryLater,
    "hang-1": NoAnswer,
    "reset-1": NoAnswer,
}
RECIPIENTS = {"sendgrid": MAIL, "ses": MAIL, "lineworks": CHAT, "twilio": SMS, "vonage": SMS}
CASES = [(name, to, expected) for name, recipients in RECIPIENTS.items() for to, expected in recipients.items()]


@pytest.fixture(scope="module")
def values():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    ses = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "s", "region": "eu-west-1", "configuration_set": "ng"}
    lineworks = {"client_id": "c", "client_secret": "s", "service_account": "a@acme.example", "bot_id": "7"}
    return {
        "sendgrid": {"api_key": "SG.any", "sender": "notices@acme.example"},
        "ses": {**ses, "sender": "notices@acme.example"},
        "lineworks": {**lineworks, "private_key": pem},
        "twilio": {"account_sid": "AC" + "1" * 32, "auth_token": "t", "sender": "+15017122661"},
        "vonage": {"api_key": "abcd1234", "api_secret": "s", "sender": "NOTIFY"},
    }


def account(sandbox, values, timeout_s=5.0, **changes):
    # Nobody listens there: what becomes of the callbacks is not what is asked here.
    callback = "http://127.0.0.1:1/hook"
    return Account(values={**values, **changes}, api_url=sandbox.url, callback_url=callback, timeout_s=timeout_s)


def send(name, to, to_account):
    notice = Outgoing(attempt_ref="a" * 32, recipient=to, title="Invoice", text="Please look.")
    (result,) = registry.get_sender(name).send([notice], to_account).results
    return result


@pytest.mark.parametrize(("name", "to", "expected"), CASES)
def test_an_answer_is_taken_for_what_it_is(sandbox, values, name, to, expected):
    timeout_s = 0.3 if "hang" in to or to.endswith("0009") else 5.0
    assert type(send(name, to, account(sandbox, values[name], timeout_s))) is expected
    # What was refused was not taken, and what has no answer was taken once.
    counts = sandbox.counts()
    assert (counts["calls"], counts["notices"]) == (1, int(expected in (Accepted, NoAnswer)))


@pytest.mark.parametrize("name", RECIPIENTS)
def test_a_connection_closed_without_an_answer_is_not_tried_again(sandbox, values, name):
    sandbox.add_fault(provider=name, answer="close")
    result = send(name, next(iter(RECIPIENTS[name])), account(sandbox, values[name]))
    assert (type(result), sandbox.counts()["calls"]) == (NoAnswer, 1)


@pytest.mark.parametrize("name", RECIPIENTS)
def test_a_good_account_passes_the_probe_and_a_revoked_one_does_not(sandbox, values, name):
    secret = {"ses": "access_key_id", "lineworks": "client_secret", "twilio": "auth_token", "vonage": "api_secret"}
    good = account(sandbox, values[name])
    revoked = account(sandbox, values[name], **{secret.get(name, "api_key"): "revoked"})
    probe = registry.get_sender(name).probe
    assert (probe(good), type(probe(revoked))) == (None, Refused)


@pytest.mark.parametrize("name", ["sendgrid", "ses"])
def test_an_address_is_found_on_the_providers_list_and_taken_off(sandbox, values, name):
    lists, good = registry.LISTS[name], account(sandbox, values[name])
    (entry,) = lists.listed("dropped@example.com", good)
    lists.unlist(entry, good)
    assert (entry.recipient, lists.listed("dropped@example.com", good)) == ("dropped@example.com", [])
