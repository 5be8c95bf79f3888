"""What a person reads: one plain sentence, a short cause and next step, and the steps to take."""

from __future__ import annotations

import itertools

import pytest

from deliveries import explain
from deliveries.codes import CODES, REASONS
from deliveries.enums import State

UNAVAILABLE = "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE"


def sentence(state: State, code: str, reason: str, language: str = "en", **given: str) -> str:
    told = {"recipient": "hanako@example.co.jp", "title": "May invoice", **given}
    return explain.sentence(state=state, code=code, reason=reason, language=language, **told)


def test_a_bounce_says_what_happened_to_whom_why_and_what_to_do():
    assert sentence(State.BOUNCED, UNAVAILABLE, "userunknown") == (
        "“May invoice” did not reach hanako@example.co.jp. The recipient's mail server knows nobody with this address. "
        "Ask the recipient for the right address, enter it and send again."
    )


def test_the_same_in_japanese():
    assert sentence(State.BOUNCED, UNAVAILABLE, "userunknown", "ja", title="5月のご請求書") == (
        "「5月のご請求書」は hanako@example.co.jp に届きませんでした。"
        "受信側のメールサーバーに、このアドレスの利用者がいません。"
        "受信者に正しいアドレスを確認し、登録を修正してからもう一度送信してください。"
    )


def test_a_deferral_says_who_is_trying_until_when_and_not_to_send_again():
    assert sentence(
        State.DEFERRED,
        "BOUNCE_TRANSIENT_MBX_FULL",
        "mailboxfull",
        provider="SendGrid",
        deferred_until="24 Nov 2026, 10:00 JST",
    ) == (
        "“May invoice” has not reached hanako@example.co.jp yet. The recipient's mailbox is full and takes no more mail "
        "for now. SendGrid keeps trying until 24 Nov 2026, 10:00 JST; you need not do anything before then."
    )


def test_a_carrier_that_hides_filters_behind_user_unknown_is_named_as_such():
    for recipient in ("taro@docomo.ne.jp", "taro@au.com", "taro@ezweb.ne.jp"):
        said = sentence(State.BOUNCED, UNAVAILABLE, "userunknown", recipient=recipient)
        assert "or the recipient's own filter refused the mail" in said
    assert "filter" not in sentence(State.BOUNCED, UNAVAILABLE, "userunknown", recipient="taro@example.jp")
    assert explain.guidance(UNAVAILABLE, "userunknown", "docomo.ne.jp", "en")[0].startswith("Ask the recipient whether")


def test_a_notice_without_title_and_one_without_verdict():
    assert sentence(State.ACCEPTED, "", "", title="") == (
        "This notice was handed over for hanako@example.co.jp; there is no report yet."
    )
    assert sentence(State.DELIVERED, "", "") == "“May invoice” was delivered to hanako@example.co.jp."


def test_a_passing_code_never_speaks_of_something_final():
    """A mailbox that is disabled for now has the reason of a closed one, but not its advice."""
    said = sentence(State.BOUNCED, "BOUNCE_TRANSIENT_GENERAL", "suspend")
    assert "closed" not in said
    assert explain.next_step("BOUNCE_TRANSIENT_GENERAL", "suspend", State.BOUNCED, "en") == "Send again later"


def test_a_row_shows_the_reason_or_the_code_where_that_says_more():
    assert explain.cause(UNAVAILABLE, "hostunknown", "en") == "Mail domain does not exist"
    assert explain.cause("UNDELIV", "undefined", "en") == "Could not be delivered"
    assert explain.cause("LINEWORKS_RATE_LIMITED", "", "ja") == "送信の頻度が高すぎます"
    assert explain.cause("", "", "en") == ""
    assert explain.cause("CODE_OF_TOMORROW", "", "en") == ""


def test_the_next_step_of_a_deferral_is_to_wait_whatever_the_reason():
    assert (
        explain.next_step("BOUNCE_TRANSIENT_MBX_FULL", "mailboxfull", State.DEFERRED, "en") == "Wait: still being tried"
    )
    assert (
        explain.next_step("BOUNCE_TRANSIENT_MBX_FULL", "mailboxfull", State.BOUNCED, "ja") == "空き容量を増やしてもらう"
    )


@pytest.mark.parametrize("code", ["BOUNCE_PERMANENT_ON_SUPPRESSION_LIST", "SUPPRESSED", UNAVAILABLE])
def test_a_listed_address_comes_with_the_check_list_and_the_warning(code):
    steps = explain.guidance(code, "", "example.com", "en")
    assert steps[1:5] == [text.en for text in explain.REMOVAL_CHECKS]
    assert steps[-1] == explain.REMOVAL_WARNING.en


@pytest.mark.parametrize("reason", ["unsubscribed", "spamreport"])
def test_no_check_list_replaces_consent(reason):
    steps = explain.guidance("BOUNCE_PERMANENT_ON_SUPPRESSION_LIST", reason, "example.com", "en")
    assert len(steps) == 1
    assert steps[0].startswith("Do not send again")


def test_a_fault_of_ours_says_that_the_address_is_not_the_cause():
    steps = explain.guidance("BOUNCE_TRANSIENT_GENERAL", "blocked", "example.com", "en")
    assert steps[-1].startswith("The recipient's address is not the cause")


def test_labels_of_unknown_codes_are_the_codes_themselves():
    assert explain.code_label("REJECTED", "en") == "Refused by the provider or carrier"
    assert explain.code_label("CODE_OF_TOMORROW", "ja") == "CODE_OF_TOMORROW"
    assert explain.reason_label("mailboxfull", "ja") == "メールボックスがいっぱいです"
    assert explain.reason_label("moonphase", "en") == "moonphase"


def test_every_combination_makes_whole_sentences_in_both_languages():
    for code, reason, state in itertools.product(["", *CODES], ["", *REASONS], State):
        for language, end in (("en", "."), ("ja", "。")):
            said = sentence(state, code, reason, language)
            assert said.endswith(end)
            assert "{" not in said
