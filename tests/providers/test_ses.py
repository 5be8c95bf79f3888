"""Amazon SES through SNS: genuine messages in, events out."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from providers import http
from providers.base import ConnectionConfig, ConnectionEvent, Event, Kind, Unparsed
from providers.sandbox import ses as sandbox
from providers.ses import PROVIDER, AmazonSes, confirm_subscription
from providers.sns import FURTHEST_AHEAD, OLDEST, CertificateStore, confirmation_call, is_certificate_url
from tests.providers.conftest import reply
from tests.providers.webhook_cases import WebhookCases, assert_readable, property_settings, replace_one_value

PAYLOADS = Path(__file__).parents[1] / "payloads" / "ses"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
RECEIVED_AT = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:ng-ses-events"
CERTIFICATE_URL = (
    "https://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
)

SIGNER = sandbox.make_signer(CERTIFICATE_URL, RECEIVED_AT - timedelta(days=30))
IMPOSTOR = sandbox.make_signer(CERTIFICATE_URL, RECEIVED_AT - timedelta(days=30))


class Fetcher:
    """Serves certificates by URL and keeps what it was asked for."""

    def __init__(self, documents):
        self.documents = documents
        self.asked = []

    def __call__(self, url, *, allow_loopback):
        self.asked.append((url, allow_loopback))
        document = self.documents[url]
        if isinstance(document, Exception):
            raise document
        return document


def provider_with(fetcher):
    return AmazonSes(CertificateStore(fetcher))


def message(name):
    return (PAYLOADS / name).read_text()


def event_of(**changes):
    return {**json.loads(message("bounce_permanent_general.json")), **changes}


def envelope_of(text, **changes):
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": text,
        "Timestamp": "2026-11-01T03:00:02.754Z",
        **changes,
    }


def parse_message(text, *, route_by="", received_at=RECEIVED_AT):
    content = text if isinstance(text, str) else json.dumps(text)
    body = json.dumps(envelope_of(content)).encode()
    return PROVIDER.parse(body, {}, ConnectionConfig(route_by=route_by), received_at)


def only(text, **options):
    (result,) = parse_message(text, **options)
    return result


class TestWebhook(WebhookCases):
    provider = provider_with(Fetcher({CERTIFICATE_URL: SIGNER.certificate_pem}))
    body = message("bounce_permanent_general.json").encode()
    oldest = OLDEST
    furthest_ahead = FURTHEST_AHEAD
    without_keys_reason = "topic_unknown"

    def config(self):
        return ConnectionConfig(settings={"topic": TOPIC})

    def sign(self, body, at):
        posted = sandbox.notification(SIGNER, TOPIC, body.decode(), at)
        return self.request(posted, sandbox.headers(posted))

    def changed(self, request, **changes):
        envelope = {**json.loads(request.body), **changes}
        kept = {key: value for key, value in envelope.items() if value is not None}
        return dataclasses.replace(request, body=json.dumps(kept).encode())

    def with_signature(self, request, value):
        return self.changed(request, Signature=value)

    def tampered(self, request):
        envelope = json.loads(request.body)
        return [
            self.changed(request, Message=envelope["Message"].replace("5.1.1", "5.1.2")),
            self.changed(request, Message=envelope["Message"].strip()),
            self.changed(request, MessageId="22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325"),
            self.changed(request, Subject="Another"),
            self.changed(request, Subject=None),
            self.changed(request, Timestamp="2026-11-02T02:59:59.000Z"),
        ]

    def test_call_signed_with_another_key_is_refused(self):
        posted = sandbox.notification(IMPOSTOR, TOPIC, self.body.decode(), self.received_at)
        assert self.refusal(self.request(posted, {})) == "signature_wrong"

    @pytest.mark.parametrize("version", ["1", "2"])
    @pytest.mark.parametrize("text", ["{}\n", 'quotes " and \\ and\nnewlines', "請求書 \U0001f4e8", "", "a" * 200_000])
    def test_both_signature_versions_pass_with_any_text(self, version, text):
        posted = sandbox.notification(SIGNER, TOPIC, text, self.received_at, version=version)
        assert self.provider.verify(self.request(posted, {}), self.config()) is None

    @pytest.mark.parametrize("version", ["3", "", "0"])
    def test_other_signature_versions_are_refused(self, version):
        assert self.refusal(self.changed(self.genuine(), SignatureVersion=version)) == "signature_version"

    def test_signature_of_one_version_does_not_pass_as_the_other(self):
        assert self.refusal(self.changed(self.genuine(), SignatureVersion="1")) == "signature_wrong"

    @pytest.mark.parametrize("subject", [None, "absent"])
    def test_message_without_subject_passes(self, subject):
        envelope = envelope_of("{}", Timestamp="2026-11-02T02:00:00.000Z")
        posted = json.loads(sandbox.sign(SIGNER, envelope))
        if subject is None:
            posted["Subject"] = None
        assert self.provider.verify(self.request(json.dumps(posted).encode(), {}), self.config()) is None

    @pytest.mark.parametrize("message_type", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
    def test_subscription_messages_are_verified_too(self, message_type):
        posted = sandbox.subscription(
            SIGNER, TOPIC, self.received_at, subscribe_url="https://sns.example/", message_type=message_type
        )
        assert self.provider.verify(self.request(posted, {}), self.config()) is None
        changed = self.changed(self.request(posted, {}), SubscribeURL="https://evil.example/")
        assert self.refusal(changed) == "signature_wrong"

    @pytest.mark.parametrize(
        "key", ["Message", "MessageId", "Timestamp", "TopicArn", "Signature", "SignatureVersion", "SigningCertURL"]
    )
    def test_message_that_lacks_a_signed_field_is_refused(self, key):
        assert self.refusal(self.changed(self.genuine(), **{key: None})) == "signature_missing"
        assert self.refusal(self.changed(self.genuine(), **{key: 7})) == "signature_missing"

    @pytest.mark.parametrize("message_type", ["UnsubscriptionConfirmation", "notification", "", 7, ["Notification"]])
    def test_message_of_another_type_is_refused(self, message_type):
        assert self.refusal(self.changed(self.genuine(), Type=message_type)) == "envelope_unreadable"

    def test_raw_delivery_is_refused_with_its_own_reason(self):
        raw = self.request(self.body, {"x-amz-sns-rawdelivery": "true"})
        assert self.refusal(raw) == "raw_delivery"
        assert self.refusal(self.request(self.body, {})) == "raw_delivery"
        assert self.refusal(self.request(b'{"a": 1}', {"x-amz-sns-rawdelivery": "true"})) == "raw_delivery"

    def test_every_topic_of_the_connection_passes_and_no_other(self):
        other = TOPIC + "-2"
        both = ConnectionConfig(settings={"topic": f"{other}, {TOPIC}"})
        assert self.provider.verify(self.genuine(), both) is None
        assert self.refusal(self.genuine(), ConnectionConfig(settings={"topic": other})) == "topic_unknown"

    @property_settings
    @given(data=st.data())
    def test_parse_never_raises_on_an_event_with_one_value_replaced(self, data):
        name = data.draw(st.sampled_from(sorted(EXPECTED)))
        event = json.loads(message(name))
        replace_one_value(event, data)
        assert_readable(parse_message(event))


def test_signed_text_is_as_documented():
    """Signed here by hand, so that signing and checking can't be wrong together."""
    text = (
        "Message\n{}\n\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\nSubject\nAmazon SES Email Event Notification\n"
        f"Timestamp\n2026-11-01T03:00:02.754Z\nTopicArn\n{TOPIC}\nType\nNotification\n"
    )
    key = load_pem_private_key(SIGNER.private_pem.encode(), password=None)
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    envelope = envelope_of(
        "{}\n",
        Subject="Amazon SES Email Event Notification",
        SignatureVersion="2",
        Signature=base64.b64encode(signature).decode(),
        SigningCertURL=CERTIFICATE_URL,
        UnsubscribeURL="https://sns.ap-northeast-1.amazonaws.com/?Action=Unsubscribe",
    )
    cases = TestWebhook()
    request = dataclasses.replace(
        cases.request(json.dumps(envelope).encode(), {}), received_at=datetime(2026, 11, 1, 3, 5, tzinfo=UTC)
    )
    assert cases.provider.verify(request, cases.config()) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com.cn/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com:443/SimpleNotificationService-f3ec.pem",
        "https://user@sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem?a=b",
        "https://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem#a",
        "https://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem\n",
        "https://sns.ap-northeast-1.amazonaws.com/x/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com/../SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem.exe",
        "https://sns.ap-northeast-1.amazonaws.com/",
        "https://SNS.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://s3.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.evil.s3.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.attacker-amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com.evil.example/SimpleNotificationService-f3ec.pem",
        "https://evil.example/sns.ap-northeast-1.amazonaws.com/SimpleNotificationService-f3ec.pem",
        "https://sns.ap-northeast-1.amazonaws.com\\@evil.example/SimpleNotificationService-f3ec.pem",
        "https://[::1/SimpleNotificationService-f3ec.pem",
        "http://127.0.0.1:1/cert.pem",
        "file:///etc/ssl/cert.pem",
        "",
    ],
)
def test_certificate_from_elsewhere_is_refused_without_a_call(url):
    cases = TestWebhook()
    fetcher = Fetcher({})
    signer = dataclasses.replace(SIGNER, certificate_url=url)
    posted = sandbox.notification(signer, TOPIC, "{}", cases.received_at)
    cases.provider = provider_with(fetcher)
    assert cases.refusal(cases.request(posted, {})) == "certificate_url"
    assert fetcher.asked == []


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        ("arn:aws:sns:us-east-1:123456789012:t", "sns.us-east-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "sns.us-gov-west-1.amazonaws.com"),
    ],
)
def test_every_partition_has_its_own_certificate_host(topic, host):
    assert is_certificate_url(f"https://{host}/SimpleNotificationService-f3ec.pem", topic) is True
    assert is_certificate_url(f"https://{host}/SimpleNotificationService-f3ec.pem", TOPIC) is False


def test_nothing_is_fetched_for_a_foreign_topic_or_a_stale_message():
    fetcher = Fetcher({CERTIFICATE_URL: SIGNER.certificate_pem})
    cases = TestWebhook()
    cases.provider = provider_with(fetcher)
    assert cases.refusal(cases.genuine(), ConnectionConfig(settings={"topic": "arn:other"})) == "topic_unknown"
    stale = dataclasses.replace(cases.genuine(), received_at=cases.received_at + timedelta(days=2))
    assert cases.refusal(stale) == "timestamp_stale"
    assert fetcher.asked == []


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (http.TransientError("timeout", "No answer in time."), "certificate_unavailable"),
        (http.PermanentError("status", "The answer was HTTP 404."), "certificate_unavailable"),
        (b"", "certificate_unusable"),
        (b"<html>", "certificate_unusable"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate_unusable"),
        (SIGNER.certificate_pem + IMPOSTOR.certificate_pem, "certificate_unusable"),
        (IMPOSTOR.certificate_pem, "signature_wrong"),
    ],
)
def test_certificate_that_cannot_serve_has_its_own_reason(document, reason):
    cases = TestWebhook()
    cases.provider = provider_with(Fetcher({CERTIFICATE_URL: document}))
    assert cases.refusal(cases.genuine()) == reason


@pytest.mark.parametrize("days_from_now", [-2, 1])
def test_certificate_outside_its_validity_is_refused(days_from_now):
    cases = TestWebhook()
    begins = cases.received_at + timedelta(days=days_from_now)
    signer = sandbox.make_signer(CERTIFICATE_URL, begins, valid_for=timedelta(days=1))
    cases.provider = provider_with(Fetcher({CERTIFICATE_URL: signer.certificate_pem}))
    posted = sandbox.notification(signer, TOPIC, "{}", cases.received_at)
    assert cases.refusal(cases.request(posted, {})) == "certificate_expired"


def test_certificate_of_a_listed_url_is_fetched_from_this_machine(server):
    signer = dataclasses.replace(SIGNER, certificate_url=f"{server.url}/cert.pem")
    server.routes["/cert.pem"] = reply(200, SIGNER.certificate_pem)
    cases = TestWebhook()
    cases.provider = AmazonSes()
    request = cases.request(sandbox.notification(signer, TOPIC, "{}", cases.received_at), {})
    listed = {"topic": TOPIC, "sns_cert_urls": f"https://other.example/c.pem, {server.url}/cert.pem"}
    assert cases.provider.verify(request, ConnectionConfig(settings=listed)) is None
    assert cases.provider.verify(request, ConnectionConfig(settings=listed)) is None
    assert [path for _, path, _, _ in server.seen] == ["/cert.pem"]
    assert cases.refusal(request) == "certificate_url"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class TestCertificateStore:
    """The cache in front of the network."""

    def make(self, documents):
        self.clock = Clock()
        self.fetcher = Fetcher(documents)
        return CertificateStore(self.fetcher, self.clock)

    def fails(self, store, url):
        with pytest.raises(http.HttpError):
            store.get(url)

    def test_certificate_is_fetched_once_a_day(self):
        store = self.make({"a": SIGNER.certificate_pem})
        first = store.get("a")
        self.clock.now += store.fresh_s - 1
        assert store.get("a") is first
        assert len(self.fetcher.asked) == 1
        self.clock.now += 1
        store.get("a")
        assert len(self.fetcher.asked) == 2

    def test_failure_is_remembered_for_some_seconds(self):
        store = self.make({"a": http.TransientError("timeout", "No answer in time.")})
        self.fails(store, "a")
        self.fails(store, "a")
        assert len(self.fetcher.asked) == 1
        self.fetcher.documents["a"] = SIGNER.certificate_pem
        self.clock.now += store.failure_s
        assert store.get("a") == store.get("a")

    def test_old_certificate_serves_on_while_a_new_one_cannot_be_had(self):
        store = self.make({"a": SIGNER.certificate_pem})
        first = store.get("a")
        self.fetcher.documents["a"] = http.TransientError("timeout", "No answer in time.")
        self.clock.now += store.fresh_s + 1
        assert store.get("a") is first
        assert len(self.fetcher.asked) == 2

    def test_only_so_many_different_urls_are_asked_in_a_minute(self):
        store = self.make({str(number): SIGNER.certificate_pem for number in range(20)})
        for number in range(store.urls_per_minute):
            store.get(str(number))
        self.fails(store, "15")
        assert len(self.fetcher.asked) == store.urls_per_minute
        assert store.get("0") == store.get("9")
        self.clock.now += store.minute_s
        store.get("15")
        assert len(self.fetcher.asked) == store.urls_per_minute + 1


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_captured_payload(name):
    expected = EXPECTED[name]
    results = parse_message(message(name))
    keys = ("kind", "verdict", "smtp_code", "enhanced_code")
    found = [{key: getattr(result, key) for key in keys} for result in results]
    assert found == [{key: expected[key] for key in keys}] * expected["events"]


def test_every_payload_is_expected():
    assert sorted(path.name for path in PAYLOADS.glob("*.json")) == sorted([*EXPECTED, "expected.json"])


def test_bounce_is_read_in_full():
    assert only(message("bounce_permanent_general.json"), route_by="tag:ng_tenant") == Event(
        kind=Kind.BOUNCED,
        recipient="taro@example.co.jp",
        occurred_at=datetime(2026, 11, 1, 3, 0, 2, 669000, tzinfo=UTC),
        verdict="Permanent/General",
        reply="smtp; 550 5.1.1 user unknown",
        smtp_code="550",
        enhanced_code="5.1.1",
        provider_event_id="0107019a5c2e9a07-7d3b1f7e-86c1-4d7a-b0f1-94ac22d4a9f1-000000",
        provider_message_id="0107019a5c2e7f31-5b1e7c44-2f0b-4b1d-9a83-3f6f3d1a2b10-000000",
        attempt_ref="9f0c1a52-6f0e-4a55-9d0f-2f9a7c1f5f10",
        sender="notice@sender.example",
        title="Invoice 2026-11",
        route="t_0042",
    )


def test_delay_says_until_when_the_provider_tries():
    event = only(message("delivery_delay.json"))
    assert event.deferred_until == datetime(2026, 11, 1, 17, 0, 0, 914000, tzinfo=UTC)
    assert event.provider_event_id == ""


@pytest.mark.parametrize(
    ("name", "reply_text"),
    [
        ("delivery.json", "250 2.6.0 Message received"),
        ("reject.json", "Bad content"),
        ("rendering_failure.json", "Attribute 'dueDate' is not present in the rendering data."),
    ],
)
def test_words_of_the_other_side_are_kept(name, reply_text):
    assert only(message(name)).reply == reply_text


def test_each_recipient_of_a_bounce_is_an_event():
    first, second = parse_message(message("bounce_two_recipients.json"))
    assert (first.recipient, second.recipient) == ("taro@example.co.jp", "hanako@example.co.jp")
    assert first.provider_message_id == second.provider_message_id


def test_recipient_with_a_display_name_is_cleaned():
    event = only(message("bounce_display_name.json"))
    assert (event.recipient, event.sender) == ("taro@example.co.jp", "notice@sender.example")


def test_encoded_subject_of_the_headers_is_the_title():
    assert only(message("classic_delivery.json")).title == "ご請求書"


@pytest.mark.parametrize("subject", ["=?x?B?!?=", "=?no-such-charset?B?44GU?=", "=?UTF-8?B?44G", "=?"])
def test_subject_that_breaks_the_rules_stays_as_it_is_or_close(subject):
    event = event_of()
    event["mail"]["commonHeaders"]["subject"] = subject
    assert type(only(event).title) is str


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-01T03:00:00.401Z", datetime(2026, 11, 1, 3, 0, 0, 401000, tzinfo=UTC)),
        ("2018-10-08T14:05:45 +0000", datetime(2018, 10, 8, 14, 5, 45, tzinfo=UTC)),
        ("2012-05-25T14:59:38.623-07:00", datetime(2012, 5, 25, 21, 59, 38, 623000, tzinfo=UTC)),
        ("2026-11-01T03:00:00", datetime(2026, 11, 1, 3, 0, tzinfo=UTC)),
        ("", datetime(2026, 11, 1, 3, 0, 0, 401000, tzinfo=UTC)),
    ],
)
def test_time_in_any_form_else_that_of_the_mail(written, read):
    event = event_of()
    event["bounce"]["timestamp"] = written
    assert only(event).occurred_at == read


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("yesterday", 'The SES event has a "timestamp" that is not an ISO 8601 time.'),
        (1793500815, 'The SES event has a "timestamp" that is not an ISO 8601 time.'),
        ("1999-01-01T00:00:00Z", "The SES event has a time before 2010 or more than 48 hours after its arrival."),
        ("2026-11-04T03:00:01Z", "The SES event has a time before 2010 or more than 48 hours after its arrival."),
        ("0001-01-01T00:00:00+23:00", 'The SES event has a "timestamp" that is not an ISO 8601 time.'),
    ],
)
def test_time_that_cannot_be_is_unparsed(written, reason):
    event = event_of()
    event["bounce"]["timestamp"] = written
    assert only(event) == Unparsed(reason=reason, raw=json.dumps(event)[:4000])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"eventType": None}, 'The SES event has neither "eventType" nor "notificationType".'),
        ({"bounce": None, "mail": None}, 'The SES event of type "Bounce" names no recipient.'),
        ({"eventType": "Teleport", "mail": {}}, 'The SES event of type "Teleport" names no recipient.'),
    ],
)
def test_event_that_says_too_little_is_unparsed(changes, reason):
    event = event_of(**changes)
    assert only(event) == Unparsed(reason=reason, raw=json.dumps(event)[:4000])


def test_one_garbled_recipient_does_not_spoil_the_other():
    event = json.loads(message("bounce_two_recipients.json"))
    event["bounce"]["bouncedRecipients"][0] = {"emailAddress": None}
    garbled, good = parse_message(event)
    assert garbled == Unparsed(
        reason='A recipient of the SES event "Permanent/General" has no usable address.', raw='{"emailAddress": null}'
    )
    assert good.recipient == "hanako@example.co.jp"


def test_bounce_without_recipients_is_that_of_the_only_one_of_the_mail():
    event = event_of()
    event["bounce"]["bouncedRecipients"] = []
    assert only(event).recipient == "taro@example.co.jp"
    event["mail"]["destination"].append("hanako@example.co.jp")
    assert only(event).reason == 'The SES event of type "Bounce" names no recipient.'


@pytest.mark.parametrize("name", ["open.json", "click.json"])
def test_opening_by_one_of_several_is_nobodys(name):
    event = json.loads(message(name))
    event["mail"]["destination"] = ["taro@example.co.jp", "hanako@example.co.jp"]
    assert [result.kind for result in parse_message(event)] == [Kind.UNKNOWN, Kind.UNKNOWN]


def test_message_that_is_not_json_is_one_unparsed_item():
    assert only("Hello") == Unparsed(reason="The Message of the SNS notification is not JSON.", raw="Hello")
    assert only("[]") == Unparsed(reason="The SES event is not an object.", raw="[]")


def test_nul_and_lone_surrogates_in_a_reply_are_removed():
    text = message("bounce_permanent_general.json").replace("user unknown", "user\\u0000 \\ud800unknown")
    event = only(text)
    assert (event.kind, event.reply) == (Kind.BOUNCED, "smtp; 550 5.1.1 user ?unknown")


@pytest.mark.parametrize(
    "text",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        '{"notificationType":"AmazonSnsSubscriptionSucceeded"}',
    ],
)
def test_validation_message_concerns_the_connection(text):
    result = only(text)
    assert (type(result), result.kind) == (ConnectionEvent, "test")
    assert result.occurred_at == datetime(2026, 11, 1, 3, 0, 2, 754000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message_type", "kind"),
    [("SubscriptionConfirmation", "subscription_requested"), ("UnsubscribeConfirmation", "subscription_ended")],
)
def test_subscription_messages_carry_what_acting_on_them_needs(message_type, kind):
    posted = sandbox.subscription(
        SIGNER, TOPIC, RECEIVED_AT, subscribe_url="https://sns.example/?Token=x", message_type=message_type
    )
    (result,) = PROVIDER.parse(posted, {}, ConnectionConfig(), RECEIVED_AT)
    assert result == ConnectionEvent(
        kind=kind,
        occurred_at=RECEIVED_AT,
        detail=TOPIC,
        data={
            "topic": TOPIC,
            "token": json.loads(posted)["Token"],
            "subscribe_url": "https://sns.example/?Token=x",
        },
    )


@pytest.mark.parametrize(
    ("route_by", "route"),
    [
        ("", ""),
        ("tag:ng_tenant", "t_0042"),
        ("tag:missing", ""),
        ("domain", "sender.example"),
        ("configuration_set", "ng-prod"),
    ],
)
def test_route_of_a_shared_connection(route_by, route):
    assert only(message("bounce_permanent_general.json"), route_by=route_by).route == route


CONFIRMATION = (
    "https://sns.ap-northeast-1.amazonaws.com/?Action=ConfirmSubscription"
    "&TopicArn=arn%3Aaws%3Asns%3Aap-northeast-1%3A123456789012%3Ang-ses-events&Token=abc%2B%2F%3D"
)


class TestConfirmation:
    """Confirming a subscription never visits a URL that a message names, but a sandbox's."""

    data = {"topic": TOPIC, "token": "abc+/=", "subscribe_url": "https://evil.example/?Action=ConfirmSubscription"}

    def test_call_is_built_from_topic_and_token(self):
        assert confirmation_call(self.data, ["http://127.0.0.1:1/cert.pem"]) == (CONFIRMATION, False)

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:2/confirm",
            "https://127.0.0.1:1/confirm",
            "http://user@127.0.0.1:1/confirm",
            "http://127.0.0.1:1@evil.example/confirm",
            "http://[::1/confirm",
            "",
        ],
    )
    def test_url_of_another_origin_is_not_visited(self, url):
        data = {**self.data, "subscribe_url": url}
        assert confirmation_call(data, ["http://127.0.0.1:1/cert.pem", "", "nonsense"]) == (CONFIRMATION, False)

    @pytest.mark.parametrize("changes", [{"topic": "arn:aws:sns:evil.example/:1:x"}, {"topic": ""}, {"token": ""}])
    def test_request_without_topic_or_token_is_refused(self, changes):
        with pytest.raises(http.PermanentError):
            confirm_subscription({**self.data, **changes})

    def test_sandbox_is_visited_where_it_says(self, server):
        server.routes["/confirm"] = reply(200)
        confirm_subscription(
            {**self.data, "subscribe_url": f"{server.url}/confirm?Token=x"}, [f"{server.url}/cert.pem"]
        )
        assert [(method, path) for method, path, _, _ in server.seen] == [("GET", "/confirm?Token=x")]

    def test_refused_confirmation_is_an_error(self, server):
        server.routes["/confirm"] = reply(403)
        with pytest.raises(http.PermanentError):
            confirm_subscription({**self.data, "subscribe_url": f"{server.url}/confirm"}, [f"{server.url}/cert.pem"])


def test_missing_kinds_are_named_only_once_something_was_seen():
    assert PROVIDER.missing_event_kinds(frozenset()) == ()
    assert PROVIDER.missing_event_kinds(frozenset({Kind.ACCEPTED, Kind.DELIVERED, Kind.BOUNCED})) == (
        Kind.DEFERRED,
        Kind.DROPPED,
    )
