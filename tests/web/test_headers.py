"""The header reader's page: a verdict in plain words, the notice it belongs to, and nothing kept."""

from __future__ import annotations

import re
from html import unescape

import pytest

from deliveries import ledger
from deliveries.enums import Kind
from deliveries.headers import LIMIT
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db

PAGE = "/t/acme/headers/"


def headers(*, dmarc: str = "pass", second: str = "09:00:05") -> str:
    return "\n".join(
        [
            f"Received: from mail.example.com by mx.example.net with ESMTPS; Fri, 20 Nov 2026 {second} +0000",
            f"Authentication-Results: mx.example.net; dmarc={dmarc} header.from=example.com; spf=pass",
            "Received: from app by mail.example.com with ESMTP; Fri, 20 Nov 2026 09:00:00 +0000",
            "From: Billing <billing@example.com>",
            "Message-ID: <message-1@geopod-ismtpd-3>",
        ]
    )


@pytest.fixture
def viewer(acme, member, client_as):
    return client_as(member("viewer", acme))


def verdict(html: str) -> str:
    return unescape(re.search(r'id="verdict">(.*?)</p>', html, re.DOTALL)[1])


def paste(client, text: str, status: int = 200) -> str:
    answer = client.post(PAGE, {"text": text})
    assert answer.status_code == status
    return answer.content.decode()


def test_a_quick_and_proven_message(viewer):
    assert verdict(paste(viewer, headers())) == (
        "The message took 5 s over 2 servers: it was not held up. "
        "The receiving server confirmed that it comes from example.com."
    )


def test_a_message_that_waited_and_could_not_be_proven(viewer):
    assert verdict(paste(viewer, headers(dmarc="fail", second="11:30:05"))) == (
        "The message took 2 h 30 min, most of it (2 h 30 min) before mx.example.net took it. "
        "The receiving server could not confirm that it comes from example.com (DMARC failed): set up SPF and DKIM of "
        "that domain for the service that sends."
    )


def test_without_dmarc_a_pass_proves_little(viewer):
    said = verdict(paste(viewer, headers(dmarc="none").replace("dmarc=none", "dkim=none")))
    assert said.endswith("SPF passed, but without DMARC that does not prove that it comes from example.com.")


def test_the_notice_with_this_message_id_is_linked(viewer, acme, sakura):
    for tenant in (acme, sakura):
        with tenant_scope(tenant.id):
            bounced = event(Kind.BOUNCED, title=f"Invoice of {tenant.slug}")
            ledger.record(tenant.id, reported(bounced, connection=connect(tenant, "ses")))
    html = paste(viewer, headers())
    assert re.findall(r'<a href="/t/acme/deliveries/[^"]*">([^<]*)</a>', html) == ["Invoice of acme"]


def test_a_forged_result_is_shown_as_not_to_be_relied_on(viewer):
    html = paste(viewer, headers() + "\nAuthentication-Results: mx.example.net; dmarc=pass header.from=bank.example")
    assert html.count("Not to be relied on") == 1


def test_what_is_pasted_is_text_whatever_it_contains(viewer):
    html = paste(viewer, headers() + "\nSubject: <script>alert(1)</script>")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "Paste the headers of a message."),
        ("Hello, how are you?", "There are no headers in this text: paste the original message."),
        ("From: " + "a" * LIMIT, "This is too long: paste the headers only, without what is attached."),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(viewer, text, wrong):
    assert wrong in unescape(paste(viewer, text, 422))


def test_nothing_is_kept(viewer, acme):
    with tenant_scope(acme.id):
        before = AuditEntry.objects.count()
        paste(viewer, headers())
        assert AuditEntry.objects.count() == before
