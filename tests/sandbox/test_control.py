"""What the sandbox counts, what goes wrong on request, and how its webhooks are made late, doubled and disordered."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ConnectionConfig, Kind
from providers.sandbox import ses
from providers.sandbox.calls import Call
from providers.sandbox.sent import ROWS_KEPT, Notice, Sent
from providers.sandbox.server import Sandbox
from tests.sandbox.conftest import QUICK

HTTP = urllib3.PoolManager(retries=False, timeout=5)
ROOT = Path(__file__).parents[2]


def mail(to, reference="a" * 32):
    return {
        "personalizations": [{"to": [{"email": to}], "custom_args": {"ng_attempt": reference}}],
        "from": {"email": "notices@acme.example"},
        "subject": "Invoice",
        "content": [{"type": "text/plain", "value": "Please look."}],
    }


def send(sandbox, to="taro@example.com", reference="a" * 32, timeout=5.0):
    headers = {"Authorization": "Bearer SG.any"}
    url = f"{sandbox.url}/v3/mail/send"
    return HTTP.request("POST", url, json=mail(to, reference), headers=headers, timeout=timeout)


def control(sandbox, path, body=None):
    answer = HTTP.request("GET" if body is None else "POST", f"{sandbox.url}/_sandbox/{path}", json=body)
    return answer.status, answer.json()


def test_what_was_sent_is_counted_and_listed(sandbox):
    answer = send(sandbox)
    send(sandbox, reference="b" * 32)
    _, listed = control(sandbox, "sent?provider=sendgrid&since=0")
    _, later = control(sandbox, f"sent?since={listed['sent'][0]['number']}")
    assert control(sandbox, "counts")[1] == {
        "notices": 2,
        "calls": 2,
        "by_provider": {"sendgrid": {"notices": 2, "calls": 2}},
        "twice": [],
        "same_text": [],
        "events": {"waiting": 0, "posted": 0, "lost": 0},
    }
    first = listed["sent"][0]
    assert (first["provider"], first["recipient"], first["attempt_ref"], first["message_id"]) == (
        *("sendgrid", "taro@example.com", "a" * 32),
        answer.headers["X-Message-Id"],
    )
    assert first["at"] == pytest.approx(time.time(), abs=30)
    assert [row["attempt_ref"] for row in later["sent"]] == ["b" * 32]


def test_a_notice_sent_twice_is_found(sandbox):
    for reference in ("a" * 32, "b" * 32, "a" * 32):
        send(sandbox, reference=reference)
    assert control(sandbox, "counts")[1]["twice"] == ["a" * 32]


def test_without_a_reference_the_same_text_to_the_same_recipient_is_found(sandbox):
    body = {"content": {"type": "text", "text": "Hello"}}
    for _ in range(2):
        url = f"{sandbox.url}/v1.0/bots/1/users/taro/messages"
        HTTP.request("POST", url, json=body, headers={"Authorization": "Bearer any"})
    assert control(sandbox, "counts")[1]["same_text"] == ["lineworks taro"]


def test_details_are_kept_of_the_last_notices_only_but_counts_of_all():
    sent = Sent()
    total = ROWS_KEPT + 5
    sent.record("sendgrid", "m", (Notice("taro@example.com", f"{number:032x}") for number in range(total)))
    rows = sent.rows()
    assert (len(rows), rows[0]["number"], sent.counts()["notices"]) == (ROWS_KEPT, 6, total)


def test_a_reset_forgets_what_happened(sandbox):
    send(sandbox, "bounce@example.com")
    sandbox.add_fault(provider="sendgrid", answer=500)
    control(sandbox, "reset", {})
    assert sandbox.counts()["notices"] == 0
    assert (
        HTTP.request("GET", f"{sandbox.url}/v3/suppression/bounces", headers={"Authorization": "Bearer SG.any"}).json()
        == []
    )
    assert send(sandbox).status == 202


@pytest.mark.parametrize("status", [429, 500, 401, 503])
def test_a_fault_answers_so_many_calls_with_a_status(sandbox, status):
    control(sandbox, "faults", {"provider": "sendgrid", "answer": status, "times": 2})
    assert [send(sandbox).status for _ in range(3)] == [status, status, 202]
    assert sandbox.counts()["by_provider"] == {"sendgrid": {"notices": 1, "calls": 3}}


def test_a_fault_of_one_provider_leaves_the_others_alone(sandbox):
    control(sandbox, "faults", {"provider": "ses", "answer": 500})
    assert send(sandbox).status == 202


@pytest.mark.parametrize(("answer", "taken"), [("reset", True), ("close", True), ("reset", False)])
def test_a_lost_answer_may_be_that_of_a_notice_that_was_taken(sandbox, answer, taken):
    control(sandbox, "faults", {"provider": "sendgrid", "answer": answer, "taken": taken})
    with pytest.raises(urllib3.exceptions.ProtocolError) as caught:
        send(sandbox)
    reset = isinstance(caught.value.args[1], ConnectionResetError) and "Remote end closed" not in str(caught.value)
    assert (reset, sandbox.counts()["notices"]) == (answer == "reset", int(taken))


def test_a_hanging_call_is_taken_and_ends_when_the_client_gives_up(sandbox):
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        send(sandbox, "hang@example.com", timeout=0.2)
    assert sandbox.counts()["notices"] == 1


def test_a_slow_call_is_answered_late(sandbox):
    began = time.monotonic()
    slow = send(sandbox, "slow@example.com").status
    control(sandbox, "faults", {"provider": "sendgrid", "answer": {"slow_s": 0.2}})
    assert (slow, send(sandbox).status) == (202, 202)
    assert time.monotonic() - began >= 0.4


def test_a_magic_recipient_resets_the_connection(sandbox):
    with pytest.raises(urllib3.exceptions.ProtocolError):
        send(sandbox, "reset@example.com")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"provider": "nobody", "answer": 500}),
        ("faults", {"provider": "ses", "answer": 200}),
        ("accounts", {"provider": "sendgrid", "unheard_of": 1}),
        ("accounts", {"provider": "sendgrid", "private_key": "no key"}),
        ("lineworks/drain", {}),
        ("sent?since=yesterday", None),
    ],
)
def test_a_wrong_order_is_refused_with_a_reason(sandbox, path, body):
    status, answer = control(sandbox, path, body)
    assert (status, bool(answer["error"])) == (400, True)


def test_an_account_added_while_running_is_used(sandbox, receiver, keys):
    account = {"provider": "sendgrid", "url": receiver.url, "private_key": keys.private_pem}
    assert control(sandbox, "accounts", account) == (200, {"accounts": 1})
    send(sandbox)
    assert sandbox.settle()
    config = ConnectionConfig(secrets=(keys.public_key,))
    assert [event.kind for event in receiver.read("sendgrid", config)] == [Kind.ACCEPTED, Kind.DELIVERED]


def test_a_refused_post_is_made_again_and_given_up_in_the_end(sandbox, receiver, sendgrid_account):
    receiver.statuses = [500, 503]
    send(sandbox, "accepted@example.com")
    assert sandbox.settle()
    assert (len(receiver.requests), sandbox.counts()["events"]) == (3, {"waiting": 0, "posted": 1, "lost": 0})
    receiver.statuses = [500] * 50
    send(sandbox, "dropped@example.com")
    assert sandbox.settle()
    assert (len(receiver.requests), sandbox.counts()["events"]) == (8, {"waiting": 0, "posted": 1, "lost": 1})


def test_every_event_comes_twice_on_request(receiver, keys):
    account = {"provider": "sendgrid", "url": receiver.url, "private_key": keys.private_pem}
    with Sandbox({**QUICK, "duplicates": 1, "accounts": [account]}) as sandbox:
        send(sandbox)
        assert sandbox.settle()
        events = receiver.read("sendgrid", ConnectionConfig(secrets=(keys.public_key,)))
        ids = sorted((event.kind, event.provider_event_id) for event in events)
    assert [kind for kind, _ in ids] == [Kind.ACCEPTED] * 2 + [Kind.DELIVERED] * 2
    assert len(set(ids)) == 2


def test_events_come_in_disorder_on_request(receiver, keys):
    account = {"provider": "sendgrid", "url": receiver.url, "private_key": keys.private_pem}
    with Sandbox({**QUICK, "shuffle": True, "accounts": [account]}) as sandbox:
        for number in range(40):
            send(sandbox, reference=f"{number:032x}")
        assert sandbox.settle()
    events = receiver.read("sendgrid", ConnectionConfig(secrets=(keys.public_key,)))
    came = {
        reference: [event.kind for event in events if event.attempt_ref == reference]
        for reference in {event.attempt_ref for event in events}
    }
    assert {tuple(order) for order in came.values()} == {
        (Kind.ACCEPTED, Kind.DELIVERED),
        (Kind.DELIVERED, Kind.ACCEPTED),
    }


def test_a_receiver_that_is_away_costs_the_events_not_the_sandbox(sandbox, keys):
    for url in ("http://127.0.0.1:1/hook", "http://127.0.0.1:port/", "nowhere"):
        sandbox.add_account({"provider": "sendgrid", "url": url, "private_key": keys.private_pem})
        assert send(sandbox, "accepted@example.com").status == 202
    assert sandbox.settle()
    assert sandbox.counts()["events"] == {"waiting": 0, "posted": 0, "lost": 3}


def test_the_certificate_and_its_key_are_served(sandbox):
    pem = HTTP.request("GET", sandbox.certificate_url).data
    signer = ses.Signer(**control(sandbox, "sns-signer")[1])
    assert x509.load_pem_x509_certificate(pem).subject.rfc4514_string() == "CN=sns.sandbox.example"
    assert (signer.certificate_pem, signer.certificate_url) == (pem.decode(), sandbox.certificate_url)


def test_on_an_address_that_others_can_reach_only_the_certificate_is_served():
    with Sandbox(QUICK, host="0.0.0.0") as sandbox:  # noqa: S104
        local = sandbox.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        statuses = [
            HTTP.request("GET", f"{local}/_sandbox/{path}").status
            for path in ("sns-certificate.pem", "sent", "counts", "sns-signer")
        ]
    assert statuses == [200, 404, 404, 404]


@pytest.fixture(scope="module")
def still():
    with Sandbox(QUICK) as made:
        yield made


_WORDS = st.sampled_from(
    ["personalizations", "to", "email", "from", "content", "Content", "Simple", "Body", "Destination", "ToAddresses"]
    + [
        "EmailTags",
        "text",
        "type",
        "EmailAddress",
        "Reason",
        "recipient_emails",
        "custom_args",
        "Raw",
        "Data",
        "callback",
    ]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["a@example.com", "BOUNCE", "A==="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=12,
)
_AWS = "AWS4-HMAC-SHA256 Credential=AKIA/20261101/eu-west-1/ses/aws4_request"


@pytest.mark.parametrize(
    ("method", "path", "authorization"),
    [
        ("POST", "/v3/mail/send", "Bearer SG.any"),
        ("POST", "/v3/asm/suppressions/global", "Bearer SG.any"),
        ("POST", "/v2/email/outbound-emails", _AWS),
        ("PUT", "/v2/email/suppression/addresses", _AWS),
        ("POST", "/v1.0/bots/7/users/taro/messages", "Bearer any"),
        ("POST", "/oauth2/v2.0/token", ""),
        ("POST", "/2010-04-01/Accounts/AC1/Messages.json", "Basic QUMxOnNlY3JldA=="),
        ("POST", "/sms/json", "Basic YWJjZDpzZWNyZXQ="),
        ("POST", "/_sandbox/faults", ""),
        ("POST", "/_sandbox/accounts", ""),
        ("POST", "/_sandbox/lineworks/drain", ""),
    ],
)
@given(value=_VALUES, kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded"]))
def test_whatever_the_body_there_is_an_answer(still, method, path, authorization, value, kind):
    body = (
        json.dumps(value).encode()
        if kind.endswith("json")
        else urlencode(value if isinstance(value, dict) else {}).encode()
    )
    call = Call(method, path, {}, {"authorization": authorization, "content-type": kind}, body)
    assert 200 <= still.answer(call).status < 500


def test_a_path_of_no_provider_is_not_found(sandbox):
    assert HTTP.request("GET", f"{sandbox.url}/v9/mail").status == 404


def test_the_command_serves_a_configuration_file(tmp_path):
    config = tmp_path / "sandbox.json"
    config.write_text(json.dumps({"accounts": [{"provider": "sendgrid", "api_key": "SG.acme"}]}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "providers.sandbox", "--port", str(port), "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        line = process.stdout.readline()
        status = HTTP.request("GET", f"http://127.0.0.1:{port}/_sandbox").status
        process.terminate()
        process.stdout.read()
    assert (line, status, process.returncode) == (f"The sandbox is ready at http://127.0.0.1:{port}\n", 200, 0)


def test_a_wrong_configuration_file_is_told_apart_from_a_crash(tmp_path):
    config = tmp_path / "sandbox.json"
    config.write_text(json.dumps({"delay_s": -1}))
    command = [sys.executable, "-m", "providers.sandbox", "--port", "0", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, check=False)
    assert (ended.returncode, "$.delay_s" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)
