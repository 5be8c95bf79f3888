"""The page of one delivery: the sentence on top, what to do, the timeline, what can be copied, and the way back."""

from __future__ import annotations

import re
from html import unescape

import pytest

from deliveries import ledger
from deliveries.enums import Channel, Kind
from deliveries.models import Delivery
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db


@pytest.fixture
def record(acme):
    """Record events of the notice "Invoice", which are received a minute after nine, and return its delivery."""
    source = connect(acme, "ses", "Billing mail")

    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))
            return Delivery.objects.get()

    return write


@pytest.fixture
def viewer(acme, member, client_as):
    return client_as(member("viewer", acme))


def invoice(kind: Kind = Kind.BOUNCED, minutes: float = 0, **values):
    return event(kind, minutes, **{"title": "Invoice", **values})


def show(client, delivery, query: str = "") -> str:
    return client.get(f"/t/acme/deliveries/{delivery.id}/{query}").content.decode()


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def part(html: str, opening: str, closing: str) -> str:
    return html.partition(opening)[2].partition(closing)[0]


def steps_of_timeline(html: str) -> list[str]:
    return [text_of(head) for head in re.findall(r'timeline-head"><strong>(.*?)</strong>', html)]


def fact(html: str, name: str) -> str:
    return text_of(part(html, f"<dt>{name}</dt><dd>", "</dd>"))


def test_the_sentence_says_what_happened_to_whom_why_and_what_to_do(viewer, record):
    html = show(viewer, record(invoice()))
    assert text_of(part(html, '<p class="sentence">', "</p>")) == (
        "“Invoice” did not reach taro@example.co.jp. The recipient's mail server knows nobody with this address. "
        "Ask the recipient for the right address, enter it and send again."
    )


def test_a_bounce_lists_the_checks_before_a_removal_and_warns_that_it_may_bounce_again(viewer, record):
    html = show(viewer, record(invoice()))
    steps = re.findall(r"<li>(.*?)</li>", part(html, '<ol class="steps">', "</ol>"))
    assert [unescape(step) for step in steps] == [
        "Ask the recipient for the right address, enter it and send again.",
        "Is the message in the recipient's spam folder?",
        "Does the recipient's mailbox have free space?",
        "Is the registered address correct?",
        "Is the sender's IP address on the allow list of the recipient's mail server?",
        "If all of this is in order, request removal from the bounce list.",
    ]
    assert "may bounce again after the removal" in part(html, '<div class="note warning">', "</section>")


def test_the_timeline_tells_every_event_newest_first(viewer, record):
    html = show(viewer, record(invoice(Kind.ACCEPTED), invoice(Kind.DEFERRED, 3), invoice(Kind.BOUNCED, 9)))
    assert steps_of_timeline(html) == ["Bounced", "Deferred: the provider keeps trying", "Accepted by the provider"]


def test_only_an_event_that_came_late_says_when_it_was_received(viewer, record):
    html = show(viewer, record(invoice(Kind.ACCEPTED, 0.5), invoice(Kind.DEFERRED, -30)))
    assert [text_of(note) for note in re.findall(r"<p[^>]*>(Received here.*?)</p>", html)] == [
        "Received here only at 20 Nov 2026 09:01:00 ."
    ]


def test_times_are_in_the_tenants_zone_and_the_zone_is_named(sakura, member, client_as):
    source = connect(sakura, "ses")
    with tenant_scope(sakura.id):
        ledger.record(sakura.id, reported(invoice(), connection=source))
        delivery = Delivery.objects.get()
    client = client_as(member("viewer", sakura))
    html = client.get(f"/t/sakura/deliveries/{delivery.id}/").content.decode()
    assert fact(html, "First seen") == "20 Nov 2026 18:00:00"
    assert "Times are in the time zone of Sakura: Asia/Tokyo." in html


def test_what_is_copied_for_the_administrator_finds_the_message_in_their_logs(viewer, record):
    html = show(viewer, record(invoice(sender="notices@example.com")))
    copied = unescape(part(html, 'id="for-administrator" tabindex="0">', "</pre>"))
    assert copied.splitlines() == [
        "Recipient: taro@example.co.jp",
        "Sender: notices@example.com",
        "Title: Invoice",
        "Time: 2026-11-20 09:00:00+00:00",
        "Sent through: Amazon SES",
        "Provider's message id: message-1",
        "Answer of the receiving side: 550 5.1.1 User unknown",
    ]


def test_the_facts_name_the_code_the_rule_and_the_source(viewer, record):
    delivery = record(invoice())
    html = show(viewer, delivery)
    assert fact(html, "Reason code") == "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE"
    assert fact(html, "Rule") == f"{delivery.rule} rules version {delivery.rules_version}"
    assert fact(html, "Provider") == "Amazon SES · Billing mail"


def test_an_accepted_notice_is_waiting_for_a_verdict_and_has_not_failed(viewer, record):
    html = show(viewer, record(invoice(Kind.ACCEPTED)))
    assert "No verdict yet: the provider took it and has not said more. That is not a failure." in html
    assert (fact(html, "Tries"), fact(html, "Reason code")) == ("0", "")


def test_a_reply_is_text_whatever_the_receiving_server_wrote(viewer, record):
    html = show(viewer, record(invoice(reply="550 5.1.1 <script>alert(1)</script>")))
    assert "<script>alert" not in html
    assert "550 5.1.1 <script>alert(1)</script>" in unescape(part(html, 'id="reply" tabindex="0">', "</pre>"))


@pytest.mark.parametrize(
    ("query", "leads_to"),
    [
        ("?back=channel%3Demail%26q%3Dtaro%26state%3Dbounced", "/t/acme/errors/?channel=email&q=taro&state=bounced"),
        ("", "/t/acme/errors/?channel=email"),
        ("?back=%2F%2Fevil.example%2F", "/t/acme/errors/?%2F%2Fevil.example%2F="),
    ],
)
def test_the_way_back_keeps_the_filter_and_never_leaves_the_list(viewer, record, query, leads_to):
    html = show(viewer, record(invoice()), query)
    assert unescape(re.search(r'class="crumb" href="([^"]*)"', html)[1]) == leads_to


def test_another_tenants_delivery_is_not_there(sakura, record, member, client_as):
    delivery = record(invoice())
    stranger = client_as(member("admin", sakura))
    assert stranger.get(f"/t/sakura/deliveries/{delivery.id}/").status_code == 404
