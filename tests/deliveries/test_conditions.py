"""AND/OR conditions: read strictly from an address, applied as said, and never quoted in the audit log."""

from __future__ import annotations

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from deliveries import ledger, queries
from deliveries.conditions import FIELDS, BadCondition, Condition, Op, in_words, read, read_all, recorded
from deliveries.enums import Channel, Kind
from deliveries.filters import DeliveryFilter
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("state", "“state” is no condition: write group.field.operator.value, for example 1.state.is.bounced."),
        ("0.state.is.bounced", "“0” is no group: use a number from 1 to 9."),
        ("²3.state.is.bounced", "“²3” is no group: use a number from 1 to 9."),
        ("1.colour.is.red", f"There is no field “colour”: use one of {', '.join(FIELDS)}."),
        ("1.state.starts.b", "“state” cannot be compared by “starts”: use one of is, not."),
        ("1.persistence.is.firm", "“persistence” is never “firm”: use one of hard, soft."),
        ("1.title.starts. ", "“title” needs a value of at most 320 characters."),
        ("1.title.is.a\0b", "“title” needs a value of at most 320 characters."),
        ("1.first_at.after.20261130", "“20261130” is no day: write year-month-day, for example 2026-11-30."),
        ("1.first_at.after.9999-12-31", "“9999-12-31” is no day: write year-month-day, for example 2026-11-30."),
        ("1.attempts.atleast.many", "“many” is no number from 0 to 9999."),
        ("1.connection.is.mine", "“mine” is no id, for example 0198c2a4-5f7e-7d31-9c55-0c8b0f6d2b11."),
    ],
)
def test_what_is_wrong_is_said_together_with_what_to_write(text, wrong):
    with pytest.raises(BadCondition) as error:
        read(text)
    assert str(error.value) == wrong


def test_a_value_may_contain_dots():
    assert read("2.domain.is.mail.example.com") == Condition(2, "domain", Op.IS, "mail.example.com", "mail.example.com")


def test_too_many_conditions_are_refused():
    with pytest.raises(BadCondition, match="more than 30"):
        read_all(["1.title.is.x"] * 31)


@given(st.text(max_size=60) | st.sampled_from(list(FIELDS)).map(lambda name: f"1.{name}.is.x"))
def test_reading_only_ever_refuses(text):
    try:
        condition = read(text)
    except BadCondition:
        return
    assert str(condition) == text


def test_the_audit_log_learns_that_a_person_was_asked_for_and_not_whom():
    conditions = read_all(["1.recipient.is.taro@example.com", "1.state.is.bounced", "2.name.starts.Taro"])
    assert [recorded(one) for one in conditions] == ["1.recipient.is.…", "1.state.is.bounced", "2.name.starts.…"]


def test_conditions_are_said_with_their_groups():
    conditions = read_all(["2.title.starts.Invoice", "1.state.is.bounced", "1.channel.not.sms"])
    assert in_words(conditions, {}) == "(State is Bounced and Channel is not SMS) or (Title begins with Invoice)"
    assert in_words(conditions[:1], {}) == "State is Bounced"


@pytest.fixture
def listed(acme):
    """``listed("1.state.is.bounced", …)``: titles of the deliveries that the conditions leave, newest first."""
    with tenant_scope(acme.id):
        mail, texts = connect(acme, "ses", "Mail"), connect(acme, "twilio", "Texts")
        ledger.record(
            acme.id,
            reported(
                event(Kind.BOUNCED, 3, title="Invoice", recipient="a@one.example", provider_message_id="1"),
                event(Kind.DROPPED, 2, title="Invoice 2", recipient="b@two.example", provider_message_id="2"),
                event(Kind.DELIVERED, 1, title="Survey", recipient="c@two.example", provider_message_id="3"),
                connection=mail,
            ),
        )
        alarm = event(Kind.UNDELIVERED, 60 * 24, title="Alarm", recipient="+819012345678", provider_message_id="4")
        ledger.record(acme.id, reported(alarm, connection=texts, channel=Channel.SMS))

    def ask(*conditions):
        data = QueryDict(mutable=True)
        data.setlist("c", [condition.replace("<mail>", str(mail.id)) for condition in conditions])
        with tenant_scope(acme.id):
            chosen = DeliveryFilter(data, queries.all_deliveries(acme.id), tenant=acme, time_field="first_at")
            assert chosen.is_valid(), chosen.errors
            return [row.title for row in chosen.qs]

    return ask


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("conditions", "titles"),
    [
        (["1.title.starts.INVOICE", "1.state.is.bounced"], ["Invoice"]),
        (["1.state.is.bounced", "2.state.is.delivered"], ["Invoice", "Survey"]),
        (["1.domain.is.two.example", "1.state.not.delivered", "2.channel.is.sms"], ["Alarm", "Invoice 2"]),
        (["1.code.not.BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", "1.provider.is.ses"], ["Invoice 2", "Survey"]),
        (["1.recipient.is.+819012345678"], ["Alarm"]),
        (["1.recipient.starts.B@"], ["Invoice 2"]),
        (["1.recipient.not.a@one.example", "1.connection.is.<mail>"], ["Invoice 2", "Survey"]),
        (["1.title.is.invoice"], ["Invoice"]),
        (["1.first_at.after.2026-11-21"], ["Alarm"]),
        (["1.failed_at.before.2026-11-21"], ["Invoice", "Invoice 2"]),
        (["1.persistence.is.hard", "1.channel.is.email", "1.reason.not.spamreport"], ["Invoice"]),
        (["1.attempts.atleast.2"], []),
    ],
)
def test_within_a_group_all_must_hold_and_between_groups_any(listed, conditions, titles):
    assert listed(*conditions) == titles
