"""What is found before a notice leaves: addresses, numbers, content, settings, and the code that each finding gets."""

from __future__ import annotations

import itertools

import phonenumbers
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from deliveries.checks import Finding, check_content, check_recipient, check_settings, suggest
from deliveries.classify import Report, classify
from deliveries.codes import REASONS
from deliveries.enums import Channel, Kind, Suppress
from deliveries.typos import distance

EMAIL, SMS, LINEWORKS = Channel.EMAIL, Channel.SMS, Channel.LINEWORKS


def verdict(channel, recipient, **options) -> str:
    finding = check_recipient(channel, recipient, **options).finding
    return finding.verdict if finding else ""


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "written",
    [
        "09012345678",
        "090-1234-5678",
        "０９０１２３４５６７８",
        "０９０ー１２３４ー５６７８",
        "(090) 1234 5678",
        "9012345678",
        "819012345678",
        "+8109012345678",
        "010 81 90 1234 5678",
        " +81 90 1234 5678 ",
    ],
)
def test_a_mobile_number_is_understood_however_it_is_written(written):
    assert check_recipient(SMS, written) == ("+819012345678", None)


def test_the_new_range_060_is_mobile():
    assert check_recipient(SMS, "06012345678") == ("+816012345678", None)


@pytest.mark.parametrize(
    ("written", "detail"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("0901234ABCD", "bad_characters"),
        ("090-1234-567#", "bad_characters"),
        ("0081 90 1234 5678", "bad_international_prefix"),
        ("+", "not_a_number"),
        ("+999 1234", "not_a_number"),
        ("0901234567", "incomplete"),
        ("090123456", "incomplete"),
        ("0601234567", "incomplete"),
        ("+1 202 555", "incomplete"),
        ("901234567890", "too_long"),
        ("+1 202 555 01234", "too_long"),
        ("09001234567", "not_mobile"),
        ("0612345678", "not_mobile"),
        ("0312345678", "not_mobile"),
        ("08001234567", "not_mobile"),
        ("05012345678", "not_mobile"),
        ("02012345678", "not_mobile"),
        ("0120123456", "not_mobile"),
        ("+1 555 555 5555", "unassigned_range"),
    ],
)
def test_a_number_that_takes_no_sms_is_told_from_one_that_is_written_wrongly(written, detail):
    checked = check_recipient(SMS, written)
    assert checked.finding == Finding(f"check/INVALID_MOBILE_NUMBER/{detail}", detail, "phone")
    assert checked.recipient == written.strip()


@given(st.from_regex(r"(\+81|81|\+|)[ -]?0?[1-9]0[ -]?[0-9]{7,9}", fullmatch=True, alphabet="+0123456789 -"))
def test_plain_numbers_are_judged_as_the_library_does(written):
    try:
        number = phonenumbers.parse(written, "JP")
    except phonenumbers.NumberParseException:
        number = phonenumbers.PhoneNumber()
    takes_sms = phonenumbers.number_type(number) in {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
    found = check_recipient(SMS, written)
    assert (found.finding is None) == takes_sms
    if takes_sms:
        assert found.recipient == phonenumbers.format_number(number, PhoneNumberFormat.E164)


def test_a_number_without_a_country_is_one_of_the_region():
    assert check_recipient(SMS, "07911 123456", region="GB").recipient == "+447911123456"
    assert check_recipient(SMS, "07911 123456", region="gb").recipient == "+447911123456"


def test_sms_goes_to_the_allowed_countries_only():
    assert verdict(SMS, "+447400123456", countries={"JP"}) == "check/INVALID_MOBILE_NUMBER/country_not_allowed"
    assert verdict(SMS, "+447400123456", countries={"JP", "GB"}) == ""


@pytest.mark.parametrize("written", ["山田太郎", "Taro Yamada", "taro@example.jp", "{{phone}}"])
def test_a_name_or_an_address_in_the_place_of_a_number_is_the_wrong_field(written):
    assert verdict(SMS, written) == "check/RECIPIENT_FIELD_INVALID"


# ---------------------------------------------------------------- addresses and ids


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (" Taro@Example.CO.JP ", "Taro@example.co.jp"),
        ("taro@例え.jp", "taro@xn--r8jz45g.jp"),
        ("taro+news@mail.example.jp", "taro+news@mail.example.jp"),
        ('"taro..x"@docomo.ne.jp', '"taro..x"@docomo.ne.jp'),
        ("bounce@sandbox.test", "bounce@sandbox.test"),
    ],
)
def test_an_address_goes_out_with_its_domain_in_the_form_of_the_net(written, sent):
    assert check_recipient(EMAIL, written) == (sent, None)


@pytest.mark.parametrize(
    "written",
    [
        "taro.example.jp",
        "taro@",
        "@example.jp",
        "taro@@example.jp",
        "taro@localhost",
        "taro@example..jp",
        "taro@-example.jp",
        "taro..x@docomo.ne.jp",
        "ｔａｒｏ@example.jp",
        "taro yamada@example.jp",
        "Taro <taro@example.jp>",
        f"{'x' * 65}@example.jp",
        f"{'x' * 60}@{'y.' * 100}jp",
    ],
)
def test_an_address_that_no_server_could_take_is_found(written):
    assert check_recipient(EMAIL, written) == (written, Finding("check/INVALID_EMAIL_ADDRESS", "", "email"))


@pytest.mark.parametrize(
    "written", ["{{email}}", "${email}", "%EMAIL%", "*|EMAIL|*", "山田", "Taro Yamada", "090-1234"]
)
def test_a_template_field_a_name_or_a_number_is_no_address(written):
    assert verdict(EMAIL, written) == "check/RECIPIENT_FIELD_INVALID"


@pytest.mark.parametrize("channel", [EMAIL, LINEWORKS])
def test_without_an_address_there_is_none(channel):
    assert verdict(channel, " ") == "check/NO_ADDRESS"


def test_a_line_works_id_belongs_to_the_organisations_domains():
    assert verdict(LINEWORKS, "taro@Example.jp", domains=["example.JP", "sales.example.jp"]) == ""
    assert verdict(LINEWORKS, "taro@other.example", domains=["example.jp"]) == "check/LINEWORKS_USER_OUTSIDE_DOMAIN"
    assert verdict(LINEWORKS, "taro@other.example") == ""
    assert verdict(LINEWORKS, "userf7da-f82c-4284-13e7-030f3b4c756x", domains=["example.jp"]) == ""
    assert verdict(LINEWORKS, "Taro Yamada") == "check/RECIPIENT_FIELD_INVALID"


@given(st.sampled_from(Channel), st.text(max_size=400), st.sampled_from(["JP", "US", "", "??"]))
def test_whatever_is_given_is_judged_and_a_good_recipient_stays_as_it_is(channel, text, region):
    recipient, finding = check_recipient(channel, text, region=region)
    assert len(recipient) <= 320
    if finding is None:
        assert check_recipient(channel, recipient, region=region) == (recipient, None)
    else:
        assert classify(Report(channel, "", Kind.FAILED, finding.verdict)).code == finding.code


@given(st.text("ab.+\"_'@!#$%&*/=?^`{|}~-( ,é", max_size=70))
def test_plain_addresses_are_judged_as_the_library_does(local):
    options = {"check_deliverability": False, "allow_smtputf8": False, "allow_quoted_local": True, "strict": True}
    try:
        expected = validate_email(f"{local}@x.example".strip(), **options).normalized
    except EmailNotValidError:
        expected = None
    found = check_recipient(EMAIL, f"{local}@x.example")
    if found.finding is None or found.finding.code == "INVALID_EMAIL_ADDRESS":
        assert (None if found.finding else found.recipient) == expected


# ---------------------------------------------------------------- content and settings


def test_email_needs_a_sender_and_the_other_channels_have_their_own():
    assert check_content(EMAIL, sender=" ", text="Hello") == Finding("check/SENDER_ADDRESS_BLANK", "", "sender")
    assert check_content(EMAIL, sender="desk@example.jp", text="Hello") is None
    assert check_content(SMS, sender="", text="Hello") is None


@pytest.mark.parametrize(
    "html", ["", "<p>&nbsp;</p>", "<style>p{color:red}</style><p> <br>\u200b</p>", "<!-- text -->", "<p>&#160;</p>"]
)
def test_markup_without_a_word_is_blank(html):
    assert check_content(EMAIL, sender="desk@example.jp", text=" \n", html=html, title="Invoice") == Finding(
        "check/BODY_BLANK", "", "text"
    )


@pytest.mark.parametrize("html", ["<p>Hello</p>", "<img src='https://example.jp/a.png'>", "a < b"])
def test_a_word_or_a_picture_is_something_to_read(html):
    assert check_content(EMAIL, sender="desk@example.jp", html=html) is None


def test_a_title_alone_is_a_message_in_chat_and_sms():
    assert check_content(LINEWORKS, title="Closed today") is None
    assert check_content(SMS) == Finding("check/BODY_BLANK", "", "text")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, None),
        ({"bot_id": "2000001", "domain": "example.jp", "service_account": "a1.serviceaccount@Example.jp"}, None),
        ({"bot_id": "my bot"}, Finding("check/LINEWORKS_BOT_NOT_FOUND", "", "bot_id")),
        ({"domain_id": "example.jp"}, Finding("check/LINEWORKS_DOMAIN_INVALID", "", "domain_id")),
        ({"service_account": "a1"}, Finding("check/LINEWORKS_DOMAIN_INVALID", "", "service_account")),
        (
            {"domains": "example.jp, sales.example.jp", "service_account": "a1.serviceaccount@other.example"},
            Finding("check/LINEWORKS_DOMAIN_INVALID", "", "service_account"),
        ),
    ],
)
def test_line_works_settings_that_disagree_are_found_without_a_call(values, found):
    assert check_settings("lineworks", values) == found


def test_other_providers_settings_have_nothing_to_disagree_about():
    assert check_settings("sendgrid", {"bot_id": "my bot"}) is None


# ---------------------------------------------------------------- typing errors


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("taro@gmial.com", "taro@gmail.com"),
        ("taro@gmail.con", "taro@gmail.com"),
        ("taro@gmailcom", "taro@gmail.com"),
        ("taro@gmail.co.jp", "taro@gmail.com"),
        ("taro@gmail,com", "taro@gmail.com"),
        ("taro@gmail.com.", "taro@gmail.com"),
        ("ｔａｒｏ＠ｇｍａｉｌ．ｃｏｍ", "taro@gmail.com"),
        ("Taro@GMIAL.com", "Taro@gmail.com"),
        ("taro@yahooo.co.jp", "taro@yahoo.co.jp"),
        ("taro@yahoo.cojp", "taro@yahoo.co.jp"),
        ("taro@docmo.ne.jp", "taro@docomo.ne.jp"),
        ("taro@docomo.jp", "taro@docomo.ne.jp"),
        ("taro@ezwebne.jp", "taro@ezweb.ne.jp"),
        ("taro@au.con", "taro@au.com"),
        ("taro@softbnak.ne.jp", "taro@softbank.ne.jp"),
        ("taro@i.sofbank.jp", "taro@i.softbank.jp"),
        ("taro@iclould.com", "taro@icloud.com"),
        ("taro@outlok.jp", "taro@outlook.jp"),
        ("taro@example.con", "taro@example.com"),
        ("taro@example.cojp", "taro@example.co.jp"),
    ],
)
def test_a_slip_of_the_finger_has_a_hint(typed, meant):
    assert suggest(typed) == meant


@pytest.mark.parametrize(
    "address",
    [
        *("taro@gmail.com", "taro@mail.com", "taro@ymail.com", "taro@gmx.com", "taro@aol.com", "taro@au.com"),
        *("taro@yahoo.co.uk", "taro@hotmail.co.jp", "taro@example.com", "taro@example.co.jp", "taro@acme.com"),
        *("taro@city.example.lg.jp", "taro", "@gmial.com", "", "taro@"),
    ],
)
def test_an_address_that_may_be_right_has_none(address):
    assert suggest(address) == ""


@given(st.text(max_size=40), st.text(alphabet="abgilmo.cnjp", max_size=14))
def test_a_hint_is_never_the_address_itself_and_needs_no_further_hint(local, domain):
    hint = suggest(f"{local}@{domain}")
    assert hint != f"{local}@{domain}"
    assert suggest(hint) in ("", hint) or domain not in hint


def test_distance_counts_a_swap_of_neighbours_as_one():
    words = ("gmail", "gmial", "gmal", "gmailx", "gnail", "gmaxl")
    assert [distance("gmail", word) for word in words] == [0, 1, 1, 1, 1, 1]
    assert all(distance(one, other) == distance(other, one) for one, other in itertools.combinations(words, 2))


# ---------------------------------------------------------------- the code of a finding


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize(
    ("verdict", "kind", "code", "reason"),
    [
        ("check/INVALID_MOBILE_NUMBER/incomplete", Kind.FAILED, "INVALID_MOBILE_NUMBER", "SMS_NUMBER_INCOMPLETE"),
        ("check/INVALID_MOBILE_NUMBER/new_detail", Kind.FAILED, "INVALID_MOBILE_NUMBER", ""),
        ("check/INVALID_EMAIL_ADDRESS", Kind.FAILED, "INVALID_EMAIL_ADDRESS", "invalidaddress"),
        ("check/NO_ADDRESS", Kind.FAILED, "NO_ADDRESS", ""),
        ("check/SUPPRESSED", Kind.DROPPED, "SUPPRESSED", ""),
        ("check/SUPPRESSED/spam_report", Kind.DROPPED, "SUPPRESSED", ""),
        ("check/SENDER_ADDRESS_BLANK", Kind.FAILED, "SENDER_ADDRESS_BLANK", ""),
        ("check/BODY_BLANK", Kind.FAILED, "BODY_BLANK", ""),
        ("check/RECIPIENT_FIELD_INVALID", Kind.FAILED, "RECIPIENT_FIELD_INVALID", ""),
        ("check/LINEWORKS_USER_OUTSIDE_DOMAIN", Kind.FAILED, "LINEWORKS_USER_OUTSIDE_DOMAIN", ""),
        ("check/LINEWORKS_DOMAIN_INVALID", Kind.FAILED, "LINEWORKS_DOMAIN_INVALID", ""),
        ("check/LINEWORKS_BOT_NOT_FOUND", Kind.FAILED, "LINEWORKS_BOT_NOT_FOUND", ""),
    ],
)
def test_a_finding_has_its_own_code_in_every_channel_and_suppresses_nobody(channel, verdict, kind, code, reason):
    found = classify(Report(channel, "sendgrid", kind, verdict, reply="550 5.1.1 User unknown"))
    assert (found.code, found.reason, found.suppress) == (code, reason, Suppress.NO)


def test_a_finding_without_a_rule_is_not_guessed():
    assert classify(Report(EMAIL, "", Kind.FAILED, "check/NEW")).rule == "unclassified"


@pytest.mark.parametrize(
    "detail",
    [
        *("empty", "bad_characters", "bad_international_prefix", "not_a_number", "incomplete", "too_long"),
        *("not_mobile", "unassigned_range", "country_not_allowed"),
    ],
)
def test_every_detail_of_a_number_is_a_reason_below_the_code(detail):
    found = classify(Report(SMS, "", Kind.FAILED, f"check/INVALID_MOBILE_NUMBER/{detail}"))
    assert REASONS[found.reason].code == "INVALID_MOBILE_NUMBER"
