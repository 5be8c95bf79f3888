"""The tables of reason codes and reasons: complete, in both languages, and true to the product's definition."""

from __future__ import annotations

import re

import pytest

from deliveries.codes import CODES, OUR_FAULTS, REASONS, STEPS, Fault, Text
from deliveries.enums import Actionable, Channel, Persistence, Stage, Suppress

HARD, SOFT = Persistence.HARD, Persistence.SOFT
BEFORE, WHILE, AFTER = Stage.BEFORE, Stage.WHILE, Stage.AFTER
YES, NO, PARTLY = Actionable.YES, Actionable.NO, Actionable.PARTLY
EMAIL, SMS = Channel.EMAIL, Channel.SMS
JAPANESE = re.compile("[぀-ヿ一-鿿]")


@pytest.mark.parametrize(
    ("code", "channel", "persistence", "actionable", "stage"),
    [
        ("INVALID_EMAIL_ADDRESS", EMAIL, HARD, YES, BEFORE),
        ("INVALID_MOBILE_NUMBER", SMS, HARD, YES, BEFORE),
        ("BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE", EMAIL, SOFT, YES, AFTER),
        ("BOUNCE_TRANSIENT_CONTENT_REJECTED", EMAIL, SOFT, YES, AFTER),
        ("BOUNCE_TRANSIENT_ATTACHMENT_REJECTED", EMAIL, SOFT, YES, AFTER),
        ("BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", EMAIL, HARD, NO, AFTER),
        ("BOUNCE_PERMANENT_ON_SUPPRESSION_LIST", EMAIL, HARD, PARTLY, AFTER),
        ("BOUNCE_PERMANENT_GENERAL", EMAIL, HARD, NO, AFTER),
        ("REJECTED", SMS, SOFT, NO, AFTER),
        ("HANDOVER_ERROR", EMAIL, SOFT, YES, WHILE),
        ("HANDOVER_ERROR", SMS, SOFT, YES, WHILE),
        ("BOUNCE_TRANSIENT_MBX_FULL", EMAIL, SOFT, NO, AFTER),
        ("BOUNCE_TRANSIENT_GENERAL", EMAIL, SOFT, NO, AFTER),
        ("UNDELIV", SMS, HARD, YES, AFTER),
        ("EXPIRED", SMS, HARD, YES, AFTER),
    ],
)
def test_the_defined_codes_are_as_defined(code, channel, persistence, actionable, stage):
    about = CODES[code]
    assert channel in about.channels
    assert (about.persistence, about.actionable, about.stage) == (persistence, actionable, stage)


def test_every_line_works_error_and_every_error_before_sending_has_a_code():
    before = {code for code, about in CODES.items() if about.stage == Stage.BEFORE}
    line_works = {code for code, about in CODES.items() if about.channels == (Channel.LINEWORKS,)}
    assert before == {
        "INVALID_EMAIL_ADDRESS",
        "INVALID_MOBILE_NUMBER",
        "NO_ADDRESS",
        "SENDER_ADDRESS_BLANK",
        "BODY_BLANK",
        "RECIPIENT_FIELD_INVALID",
        "SUPPRESSED",
    }
    assert line_works == {
        "LINEWORKS_RATE_LIMITED",
        "LINEWORKS_DAILY_LIMIT_EXCEEDED",
        "LINEWORKS_USER_NOT_FOUND",
        "LINEWORKS_USER_OUTSIDE_DOMAIN",
        "LINEWORKS_DOMAIN_INVALID",
        "LINEWORKS_SCOPE_INVALID",
        "LINEWORKS_AUTH_FAILED",
        "LINEWORKS_BOT_NOT_FOUND",
        "LINEWORKS_BOT_NOT_IN_DOMAIN",
        "LINEWORKS_CHANNEL_NOT_FOUND",
        "LINEWORKS_INVALID_MESSAGE",
        "LINEWORKS_SERVICE_ERROR",
        "LINEWORKS_NETWORK_ERROR",
        "LINEWORKS_UNKNOWN_ERROR",
    }


def test_pages_write_two_codes_with_both_of_their_words():
    shown = {code: about.name for code, about in CODES.items() if about.name != code}
    assert shown == {"REJECTED": "REJECTED / REJECTD", "UNDELIV": "UNDELIV / FAILED"}


def test_only_permanent_codes_suppress_and_never_for_a_fault_of_ours():
    assert [code for code, about in CODES.items() if about.persistence == SOFT and about.suppress != Suppress.NO] == []
    assert [code for code, about in CODES.items() if about.fault in OUR_FAULTS and about.suppress != Suppress.NO] == []


def test_every_reason_stands_under_a_code_or_is_no_failure():
    without = {name for name, about in REASONS.items() if about.code not in CODES}
    assert without == {"SMS_CANCELED", "SMS_NO_RECEIPT"}


@pytest.mark.parametrize(
    "reason",
    [
        "blocked",
        "badreputation",
        "requireptr",
        "authfailure",
        "rejected",
        "quota",
        "spamdetected",
        "mesgtoobig",
        "speeding",
    ],
)
def test_what_the_sender_has_to_repair_is_the_senders_fault(reason):
    assert REASONS[reason].fault == Fault.SENDER


@pytest.mark.parametrize("name", [*CODES, *REASONS])
def test_every_text_is_there_in_both_languages_and_short_where_a_row_shows_it(name):
    about = CODES.get(name) or REASONS[name]
    for text in (about.label, about.explanation, about.action, STEPS[about.step]):
        assert text.en.strip() == text.en != ""
        assert JAPANESE.search(text.ja)
        assert not JAPANESE.search(text.en)
    assert len(about.label.en) <= 40
    assert len(about.label.ja) <= 30
    assert about.explanation.en.endswith(".")
    assert about.explanation.ja.endswith("。")
    assert about.action.ja.endswith("。")


def test_every_step_is_used_and_short():
    used = {about.step for about in [*CODES.values(), *REASONS.values()]} | {"wait_deferred"}
    assert used == set(STEPS)
    assert [name for name, text in STEPS.items() if len(text.en) > 40 or len(text.ja) > 24] == []


@pytest.mark.parametrize(
    ("language", "text"), [("en", "Yes"), ("en-gb", "Yes"), ("ja", "はい"), ("ja-JP", "はい"), ("fr", "Yes")]
)
def test_a_text_is_asked_for_by_language_code(language, text):
    assert Text("Yes", "はい")[language] == text
