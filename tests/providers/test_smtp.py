"""Codes and addresses read out of what mail servers and providers write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.smtp import clean_address, domain_of, read_codes


@pytest.mark.parametrize(
    ("status", "text", "codes"),
    [
        ("5.1.1", "550 5.1.1 <taro@example.jp>: Recipient address rejected: User unknown", ("550", "5.1.1")),
        ("5.1.1", "smtp; 550 5.1.1 user unknown", ("550", "5.1.1")),
        ("", "SMTP;550-5.1.1 The account does not exist.\n550 5.1.1 Learn more", ("550", "5.1.1")),
        ("", "smtp;\n 452 4.2.2\n The account is over quota", ("452", "4.2.2")),
        ("", "550 #5.1.0 Address rejected.", ("550", "5.1.0")),
        ("", "#550 5.2.2 STOREDRV.Deliver: mailbox full.", ("550", "5.2.2")),
        ("", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", ("553", "5.7.1")),
        ("550", "User unknown", ("550", "")),
        ("550 5.1.1", "", ("550", "5.1.1")),
        ("5.1.1 (bad destination mailbox address)", "", ("", "5.1.1")),
        ("", "host mx.example.net[192.0.2.45] said: 550 5.7.1 Denied (in reply to DATA)", ("550", "5.7.1")),
        ("", "Remote Server returned '554 5.4.4 Host not found'", ("554", "5.4.4")),
        ("", "host mx.example.net refused to talk to me: 220-mx 421 4.2.1 Service refuse", ("421", "4.2.1")),
        ("", "421 Service not available", ("421", "")),
        ("", "5.7.1 Mail has been blocked", ("", "5.7.1")),
        ("", "550", ("550", "")),
        ("", "", ("", "")),
    ],
)
def test_codes_are_found_in_every_form(status, text, codes):
    assert read_codes(status, text) == codes


def test_status_wins_because_the_provider_that_gave_up_knows_more_than_the_last_reply():
    assert read_codes("4.4.7", "smtp; 421 4.7.0 try again later") == ("421", "4.4.7")


def test_status_that_says_nothing_gives_way_to_the_text():
    assert read_codes("5.0.0", "452 4.2.2 mailbox full") == ("452", "4.2.2")
    assert read_codes("5.0.0", "554 delivery error") == ("554", "5.0.0")
    assert read_codes("", "554 5.0.0 Service unavailable") == ("554", "5.0.0")


def test_reply_code_of_the_text_wins_over_that_of_the_status():
    assert read_codes("550", "smtp; 452 4.2.2 mailbox full") == ("452", "4.2.2")


def test_first_of_two_codes_counts_since_the_second_is_a_quotation():
    text = "550 5.1.1 undeliverable address: host mx.example.com[192.0.2.9] said: 554 5.7.1 User unknown"
    assert read_codes("", text) == ("550", "5.1.1")


def test_specific_code_counts_even_behind_one_that_says_nothing():
    assert read_codes("", "554 5.0.0 Rejected: 550 5.1.1 User unknown") == ("554", "5.1.1")


@pytest.mark.parametrize(
    "text",
    [
        "Client host 4.31.198.44 is listed",
        "exim 4.96.1 at your service",
        "message 5.1.1234 lost",
        "v5.1.1",
        "Too much mail in 1550 boxes",
        "451kb is too large",
        "203.0.113.5 is not allowed",
    ],
)
def test_addresses_versions_and_sizes_are_no_codes(text):
    assert read_codes("", text) == ("", "")


@given(st.text(), st.text())
def test_codes_are_codes_or_nothing(status, text):
    smtp_code, enhanced_code = read_codes(status, text)
    assert smtp_code == "" or (len(smtp_code) == 3 and smtp_code[0] in "245")
    assert enhanced_code == "" or (enhanced_code[:2] in ("2.", "4.", "5.") and enhanced_code.count(".") == 2)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("taro@example.jp", "taro@example.jp"),
        ("Taro@Example.JP", "Taro@example.jp"),
        ("  taro@example.jp\r\n", "taro@example.jp"),
        ("<taro@example.jp>", "taro@example.jp"),
        ("John <john@example.com>", "john@example.com"),
        ('"Yamada, <Taro>" <taro@example.jp>', "taro@example.jp"),
        ("rfc822; taro@example.jp", "taro@example.jp"),
        ("RFC822;<taro@example.jp>", "taro@example.jp"),
        ("a..b@docomo.example", "a..b@docomo.example"),
        ('"a@b"@example.com', '"a@b"@example.com'),
        ("taro@日本.example", "taro@日本.example"),
        ("No Address", "No Address"),
        ("John <>", ""),
        ("", ""),
    ],
)
def test_address_is_cleaned(text, address):
    assert clean_address(text) == address


def test_domain_of_an_address():
    assert domain_of("Notice <notice@Sender.Example>") == "sender.example"
    assert domain_of("nobody") == ""
    assert domain_of("@example.com") == ""
