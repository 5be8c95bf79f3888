"""What every sender makes of answers and of their absence: when a notice may go again, and when it must not."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries.classify import Report, classify
from providers.base import Channel, Kind
from providers.registry import LISTS, PROVIDERS, SENDERS, get_sender
from providers.sending import Accepted, NoAnswer, Refused, TryLater
from tests.senders.scripted import (
    RECIPIENTS,
    TEXT,
    TITLE,
    VALUES,
    ScriptedProvider,
    account_of,
    garble,
    hang,
    hang_up,
    notice_for,
    reply,
    reset,
)

ALL = sorted(SENDERS)
NETWORK_CODES = {"email": "HANDOVER_ERROR", "lineworks": "LINEWORKS_NETWORK_ERROR", "sms": "HANDOVER_ERROR"}
each_sender = pytest.mark.parametrize("name", ALL)


def send(name, url, **more):
    sent = get_sender(name).send([notice_for(name)], account_of(name, url, **more))
    (result,) = sent.results
    return result


def code_of(name, result):
    report = Report(SENDERS[name].channel, name, Kind.FAILED, result.verdict, reply=result.answer)
    return classify(report).code


def assert_nothing_left(name, result):
    assert result == TryLater(verdict="network", answer=result.answer)
    assert code_of(name, result) == NETWORK_CODES[SENDERS[name].channel]


def test_the_registry_has_the_five_that_send_and_the_two_with_lists():
    assert {name: sender.channel for name, sender in SENDERS.items()} == {
        "sendgrid": Channel.EMAIL,
        "ses": Channel.EMAIL,
        "lineworks": Channel.LINEWORKS,
        "twilio": Channel.SMS,
        "vonage": Channel.SMS,
    }
    assert sorted(LISTS) == ["sendgrid", "ses"]
    assert set(SENDERS) < set(PROVIDERS)
    with pytest.raises(KeyError):
        get_sender("smpp")


def test_a_process_that_does_not_send_loads_no_vendors_client():
    code = (
        "import sys, providers.registry;"
        "print([name for name in ('sendgrid', 'boto3', 'twilio.rest', 'vonage_http_client') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@each_sender
def test_a_refused_connection_leaves_nothing_sent(name, closed_url):
    assert_nothing_left(name, send(name, closed_url))


@each_sender
def test_a_connection_that_does_not_come_about_leaves_nothing_sent(name, deaf_url):
    assert_nothing_left(name, send(name, deaf_url, timeout_s=0.3))


@each_sender
def test_a_name_that_cannot_be_resolved_leaves_nothing_sent(name, monkeypatch):
    def unknown(*_args, **_more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert_nothing_left(name, send(name, "http://api.provider.test"))


@each_sender
def test_an_untrusted_certificate_leaves_nothing_sent(name, untrusted_tls):
    provider = ScriptedProvider(untrusted_tls)
    provider.script = [reply(200)]
    assert_nothing_left(name, send(name, provider.url))
    provider.close()
    assert provider.seen == []


@each_sender
@pytest.mark.parametrize("lost", [hang_up, reset, garble], ids=["hang_up", "reset", "garble"])
def test_a_connection_lost_after_the_request_left_is_never_repeated(name, lost, provider):
    provider.script = [lost]
    result = send(name, provider.url)
    assert result == NoAnswer(verdict="network", answer=result.answer)
    assert len(provider.seen) == 1


@each_sender
def test_an_answer_that_does_not_come_in_time_is_never_repeated(name, provider):
    provider.script = [hang]
    result = send(name, provider.url, timeout_s=1.0)  # time to be sent on a busy machine
    assert result == NoAnswer(verdict="network", answer=result.answer)
    assert len(provider.seen) == 1


@each_sender
def test_a_gateway_that_gave_up_leaves_it_open_whether_it_was_sent(name, provider):
    provider.script = [reply(504)]
    assert isinstance(send(name, provider.url), NoAnswer)
    assert len(provider.seen) == 1


@each_sender
@pytest.mark.parametrize("status", [408, 500, 502, 503])
def test_trouble_of_the_provider_is_passing_and_not_repeated_inside(name, status, provider):
    provider.script = [reply(status)]
    result = send(name, provider.url)
    assert isinstance(result, TryLater)
    assert not result.account_wide
    assert len(provider.seen) == 1


@each_sender
def test_too_many_calls_hold_for_the_whole_account(name, provider):
    provider.script = [reply(429)]
    result = send(name, provider.url)
    assert isinstance(result, TryLater)
    assert result.account_wide
    assert len(provider.seen) == 1
    assert code_of(name, result) == {"lineworks": "LINEWORKS_RATE_LIMITED"}.get(name, "HANDOVER_ERROR")


@each_sender
@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_are_a_refusal_that_names_the_account(name, status, provider):
    provider.script = [reply(status)]
    result = send(name, provider.url)
    assert isinstance(result, Refused)
    report = Report(SENDERS[name].channel, name, result.kind, result.verdict, reply=result.answer)
    verdict = classify(report)
    assert (verdict.suppress, verdict.rule.startswith("kind.")) == ("no", False)


@each_sender
def test_no_redirect_hands_the_credentials_to_another_host(name, provider):
    elsewhere = ScriptedProvider()
    elsewhere.script = [reply(202)]
    provider.script = [reply(307, headers={"location": f"{elsewhere.url}/taken"})]
    result = send(name, provider.url)
    elsewhere.close()
    assert not isinstance(result, Accepted)
    assert elsewhere.seen == []


@each_sender
def test_a_missing_setting_is_refused_before_any_call(name, provider, monkeypatch):
    for variable in ("SENDGRID_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TWILIO_AUTH_TOKEN"):
        monkeypatch.setenv(variable, "the-installation's-own")
    secret = next(field.name for field in SENDERS[name].fields if field.secret)
    account = account_of(name, provider.url, values={secret: " "})
    if name == "lineworks":
        account = type(account)(values=account.values, api_url=account.api_url)
    (result,) = get_sender(name).send([notice_for(name)], account).results
    assert isinstance(result, Refused)
    assert f"{secret} is missing." in result.answer
    assert isinstance(get_sender(name).probe(account), Refused)
    assert provider.seen == []


@each_sender
def test_answers_and_logs_hold_no_secret_and_no_text(name, provider, caplog):
    caplog.set_level(logging.DEBUG)
    kept = [text for field, text in VALUES[name].items() if "secret" in field or "token" in field or "key" in field]
    provider.script = [reply(400, b"x" * 5000)]
    result = send(name, provider.url)
    assert len(result.answer) <= 1000
    said = result.answer + result.verdict + caplog.text
    assert [text for text in (*kept, TEXT, TITLE, RECIPIENTS[name], "a-token") if text in said] == []


@each_sender
def test_a_probe_without_an_answer_says_try_later(name, closed_url, provider):
    assert isinstance(get_sender(name).probe(account_of(name, closed_url)), TryLater)
    provider.script = [hang_up]
    assert isinstance(get_sender(name).probe(account_of(name, provider.url)), TryLater)


@each_sender
def test_accounts_share_limits_by_what_the_provider_counts_and_show_no_secret(name):
    sender, account = get_sender(name), account_of(name, "")
    key = sender.account_key(account)
    secrets = [account.values[field.name] for field in sender.fields if field.secret]
    assert key
    assert [secret for secret in secrets if secret in key] == []
    assert sender.account_key(account_of(name, "", values={"sender": "other"})) == key


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(ALL),
    status=st.integers(200, 599),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["errors", "field", "message", "messages", "status", "code", "sid", "description"]),
                    inner,
                    max_size=4,
                )
            ),
        ),
    ),
)
def test_no_answer_makes_send_raise(name, status, body, provider):
    provider.script = [reply(status, b"" if status in (204, 304) else body)]
    assert isinstance(send(name, provider.url), (Accepted, Refused, TryLater, NoAnswer))


def test_tls_errors_count_as_before_the_request_only_where_the_handshake_failed():
    from providers.senders.outcome import of_exception

    def error(kind, reason):
        made = kind(1, f"[SSL: {reason}] (_ssl.c:1)")
        made.reason = reason
        return OSError(made)

    assert isinstance(of_exception(error(ssl.SSLError, "TLSV1_ALERT_PROTOCOL_VERSION")), TryLater)
    assert isinstance(of_exception(error(ssl.SSLError, "SSLV3_ALERT_HANDSHAKE_FAILURE")), TryLater)
    assert isinstance(of_exception(error(ssl.SSLEOFError, "UNEXPECTED_EOF_WHILE_READING")), NoAnswer)
    assert isinstance(of_exception(error(ssl.SSLError, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC")), NoAnswer)
