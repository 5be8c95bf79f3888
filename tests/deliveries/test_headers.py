"""The header reader: hops and their delays, who confirmed the sender, and that nothing pasted makes it fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.headers import LIMIT, Result, organisation, read

GMAIL = """\
Original Message
Message ID\t<abcdefGHIJ@geopod-ismtpd-3>
Created at:\tFri, Nov 20, 2026 at 6:00 PM

Delivered-To: taro@gmail.example
Received: by 2002:a05:7000:1234:b0:4d1 with SMTP id x1csp1234;
        Fri, 20 Nov 2026 01:06:10 -0800 (PST)
Return-Path: <bounces@em.example.com>
Received: from o1.em.example.com (o1.em.example.com. [192.0.2.1])
        by mx.google.com with ESMTPS id 1
        for <taro@gmail.example>
        (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 bits=128/128);
        Fri, 20 Nov 2026 01:06:08 -0800 (PST)
Authentication-Results: mx.google.com;
       dkim=pass header.i=@example.com header.s=s1;
       spf=pass (google.com: domain of bounces@em.example.com; it says so) smtp.mailfrom=bounces@em.example.com;
       dmarc=pass (p=NONE sp=NONE) header.from=example.com
Received: by recvd-abc with SMTP id x
        2026-11-20 09:00:03.123456789 +0000 UTC
Received: from MTIzNA (unknown) by geopod-ismtpd-3 (SG) with ESMTP id abc; Fri, 20 Nov 2026 09:00:01.500 +0000 (UTC)
Authentication-Results: mx.google.com; dmarc=pass header.from=forged.example
From: =?utf-8?b?6KuL5rGC?= <billing@example.com>
Reply-To: desk@example.com
Subject: =?utf-8?b?6KuL5rGC5pu4?=
Message-ID: <abcdefGHIJ@geopod-ismtpd-3>
List-Unsubscribe: <https://example.com/out>
X-SG-EID: u001.abc

Received: this is the body
"""


def received(by: str, at: str, sender: str = "relay.example.net") -> str:
    return f"Received: from {sender} by {by} with ESMTP; Fri, 20 Nov 2026 {at} +0000"


def test_hops_are_in_the_order_in_which_the_message_went_with_the_delay_of_each():
    reading = read(GMAIL)
    assert [(hop.by_host, hop.delay) for hop in reading.hops] == [
        ("geopod-ismtpd-3", None),
        ("recvd-abc", timedelta(seconds=2)),
        ("mx.google.com", timedelta(minutes=6, seconds=5)),
        ("2002:a05:7000:1234:b0:4d1", timedelta(seconds=2)),
    ]
    assert reading.hops[0].at == datetime(2026, 11, 20, 9, 0, 1, tzinfo=UTC)
    assert reading.total == timedelta(minutes=6, seconds=9)
    assert reading.slowest == reading.hops[2]


def test_encryption_is_said_where_the_server_says_it():
    hops = read("Received: by a.example with HTTP; x\n" + GMAIL.partition("\n\n")[2]).hops
    assert [hop.is_encrypted for hop in hops] == [False, False, True, False, None]


def test_facts_are_decoded_and_the_body_is_no_header():
    reading = read(GMAIL)
    assert reading.facts == {
        "From": "請求 <billing@example.com>",
        "Return-Path": "<bounces@em.example.com>",
        "Reply-To": "desk@example.com",
        "Subject": "請求書",
        "Message-ID": "<abcdefGHIJ@geopod-ismtpd-3>",
        "List-Unsubscribe": "<https://example.com/out>",
    }
    assert reading.provider_ids == {"X-SG-EID": "u001.abc"}
    assert reading.from_domain == "example.com"


def test_results_that_came_with_the_message_are_not_trusted_whatever_server_they_name():
    said = read(GMAIL).results
    assert [(one.method, one.result, one.about, one.is_trusted) for one in said] == [
        ("dkim", "pass", "@example.com", True),
        ("spf", "pass", "bounces@em.example.com", True),
        ("dmarc", "pass", "example.com", True),
        ("dmarc", "pass", "forged.example", False),
    ]


def test_another_servers_results_are_not_the_receiving_sides():
    text = "\n".join(
        [
            received("mail.corp.example", "09:00:05", "mx.filter.example"),
            "Authentication-Results: mx.filter.example; dmarc=pass header.from=bank.example",
            received("mx.filter.example", "09:00:03"),
        ]
    )
    reading = read(text)
    assert reading.results == (
        [Result("mx.filter.example", "dmarc", "pass", "bank.example", is_trusted=False, is_sealed=False)]
    )
    assert reading.trusted("dmarc") == ""


def test_servers_of_one_organisation_trust_one_another():
    text = "\n".join(
        [
            received("store.corp.example.co.jp", "09:00:05", "mx.corp.example.co.jp"),
            received("mx.corp.example.co.jp", "09:00:04"),
            "Authentication-Results: mx.example.co.jp 1; spf=fail smtp.mailfrom=x@bank.example",
        ]
    )
    assert read(text).trusted("spf") == "fail"


def test_a_server_that_leaves_its_name_out_counts_where_the_receiving_side_wrote():
    text = "\n".join(
        [received("mx.outlook.com", "09:00:04"), "Authentication-Results: spf=pass smtp.mailfrom=a.example"]
    )
    assert read(text).trusted("spf") == "pass"


def test_without_hops_nobody_is_trusted():
    assert not read("Authentication-Results: mx.google.com; dmarc=pass").results[0].is_trusted


def test_what_arc_passes_on_is_shown_and_is_no_result_of_the_receiving_side():
    text = "\n".join(
        [
            "ARC-Authentication-Results: i=1; mx.google.com; dmarc=pass header.from=example.com",
            received("mx.google.com", "09:00:04"),
        ]
    )
    reading = read(text)
    assert [(one.server, one.is_sealed) for one in reading.results] == [("mx.google.com", True)]
    assert reading.trusted("dmarc") == ""


def test_clocks_that_disagree_are_said_and_never_the_slowest_hop():
    text = "\n".join(
        [received("c.example", "09:00:20"), received("b.example", "08:59:00"), received("a.example", "09:00:00")]
    )
    hops = read(text).hops
    assert [hop.is_skewed for hop in hops] == [False, True, False]
    assert hops[1].delay == timedelta(seconds=-60)


def test_a_hop_without_a_readable_time_leaves_the_others_delays():
    text = "\n".join(
        [received("c.example", "09:00:20"), "Received: by b.example; yesterday", received("a.example", "09:00:00")]
    )
    assert [hop.delay for hop in read(text).hops] == [None, None, timedelta(seconds=20)]


@pytest.mark.parametrize(
    ("message_id", "known_as"),
    [
        ("<0102018-000000@ap-northeast-1.amazonses.com>", "0102018-000000"),
        ("<abcdefGHIJ@geopod-ismtpd-3>", "abcdefGHIJ"),
        ("<own@example.com>", "own@example.com"),
    ],
)
def test_a_message_is_known_by_the_part_that_providers_report(message_id, known_as):
    assert known_as in read(f"Message-ID: {message_id}\n").message_ids


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("mx1.example.co.jp", "example.co.jp"),
        ("mx.google.com", "google.com"),
        ("example.jp", "example.jp"),
        ("localhost", "localhost"),
    ],
)
def test_the_organisation_of_a_host(host, domain):
    assert organisation(host) == domain


PIECES = st.sampled_from(
    [
        *(
            "Received: ",
            "from ",
            "by ",
            "with ",
            "ESMTPS ",
            "mx.example.com ",
            "; ",
            "(",
            ")",
            '"',
            "\n",
            "\n ",
            "=",
            "\0",
        ),
        *("Fri, 20 Nov 2026 09:00:00 +0000", "Fri, 99 Xxx 99999 99:99:99 +9999", "2026-99-99 99:99:99 +0000"),
        *("Authentication-Results: ", "ARC-Authentication-Results: i=1;", "spf=pass", "header.d=x", "=?utf-8?b?/w==?="),
        *("Message-ID: ", "From: ", "=?x-unknown?q?a?=", "\ud800", "Received", "999999999999999999999"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=400))
def test_nothing_that_is_pasted_makes_it_fail(text):
    reading = read(text)
    assert (reading.total, reading.slowest, reading.message_ids, reading.from_domain) is not None
    assert all(hop.at is None or hop.at.tzinfo is UTC for hop in reading.hops)


def test_only_so_much_is_read():
    assert len(read((received("a.example", "09:00:00") + "\n") * 5000).hops) == 100
    assert read("X-Filler: " + "a" * LIMIT + "\nFrom: late@example.com").facts == {}


def test_text_without_headers_is_empty():
    assert read("Hello,\nhow are you?\n").is_empty
