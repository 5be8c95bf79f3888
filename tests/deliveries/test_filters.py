"""What the list can be narrowed down by, and that nothing wrong is ignored."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from django.db import connection as database
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from deliveries import ledger, queries
from deliveries.enums import Channel, Kind
from deliveries.filters import DeliveryFilter, starts_with
from deliveries.models import Delivery
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db


@pytest.fixture
def sources(acme):
    return {name: connect(acme, name) for name in ("ses", "smpp")}


@pytest.fixture
def record(acme, sources):
    """Write events into acme's ledger; returns nothing."""

    def write(*events, channel=Channel.EMAIL):
        source = sources["smpp" if channel == Channel.SMS else "ses"]
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


@pytest.fixture
def found(acme):
    """``found("state=bounced")`` gives the recipients that a query string finds on acme's error list."""

    def look(query, rows=queries.error_list, **options):
        with tenant_scope(acme.id):
            chosen = DeliveryFilter(QueryDict(query), rows(acme.id), tenant=acme, **options)
            assert chosen.is_valid(), chosen.errors
            return {row.recipient for row in chosen.qs}

    return look


def failure(recipient, kind=Kind.BOUNCED, minutes=0, **values):
    return event(kind, minutes, recipient=recipient, provider_message_id=values.pop("message", recipient), **values)


@pytest.fixture
def four(record):
    """A hard bounce, a soft one, a deferral, and a number that the carrier could not reach."""
    record(
        failure("hard@one.example", title="Payslip for May"),
        failure("soft@two.example", verdict="", reply="452 4.2.2 Mailbox full", smtp_code="452", enhanced_code="4.2.2"),
        failure("late@one.example", Kind.DEFERRED, reply="451 4.4.1 Connection timed out", enhanced_code="4.4.1"),
    )
    record(failure("+819012345678", Kind.UNDELIVERED, verdict="UNDELIV/1", reply=""), channel=Channel.SMS)


@pytest.mark.parametrize(
    ("query", "recipients"),
    [
        ("", {"hard@one.example", "soft@two.example", "late@one.example", "+819012345678"}),
        ("channel=email", {"hard@one.example", "soft@two.example", "late@one.example"}),
        ("channel=sms", {"+819012345678"}),
        ("state=bounced", {"hard@one.example", "soft@two.example"}),
        ("state=bounced&state=deferred&state=", {"hard@one.example", "soft@two.example", "late@one.example"}),
        ("channel=email&persistence=hard", {"hard@one.example"}),
        ("code=BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", {"hard@one.example"}),
        ("reason=userunknown", {"hard@one.example"}),
        ("domain=ONE.example", {"hard@one.example", "late@one.example"}),
        ("domain=@two.example", {"soft@two.example"}),
        ("recipient=Hard@One.example", {"hard@one.example"}),
        ("recipient=%2B819012345678", {"+819012345678"}),
        ("recipient=+819012345678", {"+819012345678"}),
        ("recipient=hard@one", set()),
        ("provider_message_id=soft@two.example", {"soft@two.example"}),
        ("q=HARD", {"hard@one.example"}),
        ("q=payslip", {"hard@one.example"}),
        ("q=81901", {"+819012345678"}),
        ("q=ard@one", set()),
        ("q=%25", set()),
        ("open=true", {"hard@one.example", "soft@two.example", "late@one.example", "+819012345678"}),
        ("open=false", set()),
    ],
)
def test_each_parameter_narrows_the_list(four, found, query, recipients):
    assert found(query) == recipients


def test_who_can_act_is_that_of_the_code(four, found):
    answers = {answer: found(f"actionable={answer}") for answer in ("yes", "no", "partly")}
    assert sorted(recipient for found_ in answers.values() for recipient in found_) == sorted(found(""))
    assert "hard@one.example" in answers["no"]


def test_a_connection_is_chosen_by_its_id(four, found, sources):
    assert found(f"connection={sources['smpp'].id}") == {"+819012345678"}
    assert len(found("&".join(f"connection={source.id}" for source in sources.values()))) == 4
    assert found(f"connection={uuid.uuid4()}") == set()


def test_days_are_the_tenants_own_and_include_both_ends(record, found, acme):
    acme.timezone = "Asia/Tokyo"
    # 09:00 UTC on the 20th is 18:00 in Tokyo; its midnight is at 15:00 UTC.
    record(failure("before@x.example", minutes=359), failure("after@x.example", minutes=361))
    assert found("from=2026-11-20&to=2026-11-20") == {"before@x.example"}
    assert found("from=2026-11-21&to=2026-11-21") == {"after@x.example"}
    assert found("from=2026-11-20&to=2026-11-21") == {"before@x.example", "after@x.example"}
    assert found("to=2026-11-19") == set()


def test_where_all_deliveries_are_shown_days_are_about_the_first_event(record, found):
    record(failure("a@x.example", Kind.ACCEPTED), failure("a@x.example", Kind.BOUNCED, 60 * 24 * 3))
    everything = {"rows": queries.all_deliveries, "time_field": "first_at"}
    assert found("from=2026-11-20&to=2026-11-20", **everything) == {"a@x.example"}
    assert found("from=2026-11-23&to=2026-11-23", **everything) == set()
    assert found("from=2026-11-23&to=2026-11-23") == {"a@x.example"}


def test_where_all_deliveries_are_shown_states_that_are_no_errors_can_be_chosen(record, found):
    record(failure("ok@x.example", Kind.DELIVERED), failure("a@x.example"))
    everything = {"rows": queries.all_deliveries, "time_field": "first_at"}
    assert found("state=delivered", **everything) == {"ok@x.example"}
    assert found("open=false", **everything) == {"ok@x.example"}
    assert found("state=delivered") == set()


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("channel=fax", "channel", "There is no channel “fax”: use email, lineworks or sms."),
        ("state=bounced&state=lost", "state", "There is no state “lost”: use accepted, deferred, delivered"),
        ("code=NOPE", "code", "There is no reason code “NOPE”"),
        ("reason=nope", "reason", "There is no reason “nope”"),
        ("persistence=medium", "persistence", "There is no persistence “medium”: use hard or soft."),
        ("actionable=maybe", "actionable", "use yes, no or partly."),
        ("connection=7", "connection", "A connection is named by its id"),
        ("open=perhaps", "open", "use true or false."),
        ("from=20.11.2026", "from", "Write the day as year-month-day"),
        ("to=2026-02-30", "to", "Write the day as year-month-day"),
        ("to=9999-12-31", "to", "Choose a day between 1970-01-01 and 9998-12-31."),
        ("from=0001-01-01", "from", "Choose a day between 1970-01-01 and 9998-12-31."),
        ("from=2026-11-21&to=2026-11-20", "to", "The last day lies before the first one"),
        ("channel=email&channel=sms", "channel", "Give this only once."),
        ("q=a%00b", "q", "Null characters are not allowed."),
        (f"q={'x' * 321}", "q", "Ensure this value has at most 320 characters (it has 321)."),
    ],
)
def test_an_invalid_value_names_its_field_and_what_to_do_and_finds_nothing(four, acme, query, field, message):
    with tenant_scope(acme.id):
        chosen = DeliveryFilter(QueryDict(query), queries.error_list(acme.id), tenant=acme)
        assert not chosen.is_valid()
        assert list(chosen.errors) == [field]
        assert message in chosen.errors[field][0]
        assert list(chosen.qs) == []


@given(
    name=st.sampled_from(sorted(DeliveryFilter.base_filters)), value=st.text(st.characters(exclude_categories=["Cs"]))
)
def test_no_value_of_any_parameter_breaks_the_list(acme, name, value):
    data = QueryDict(mutable=True)
    data[name] = value
    with tenant_scope(acme.id):
        assert list(DeliveryFilter(data, queries.error_list(acme.id), tenant=acme).qs) == []


def test_what_was_chosen_leaves_out_what_is_empty(acme):
    with tenant_scope(acme.id):
        chosen = DeliveryFilter(
            QueryDict("channel=&state=&state=bounced&from=2026-11-20&q="), queries.error_list(acme.id), tenant=acme
        )
        assert chosen.is_valid()
        assert chosen.chosen() == {"state": ["bounced"], "from": datetime(2026, 11, 20, tzinfo=UTC).date()}


@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4), max_size=5),
    prefix=st.text(st.sampled_from("aAé日\ud7ff\ue000\U0010ffff%_\\"), min_size=1, max_size=3),
)
def test_a_prefix_finds_exactly_what_begins_with_it(names, prefix):
    names = [*names, prefix, prefix + "x", prefix[:-1]]
    with database.cursor() as cursor:
        sql, parameters = Delivery.unscoped.filter(starts_with("name", prefix)).values("name").query.sql_with_params()
        condition = sql.partition(" WHERE ")[2].replace('"deliveries_delivery".', "")
        cursor.execute(f"SELECT name FROM unnest(%s::text[]) name WHERE {condition}", [names, *parameters])  # noqa: S608
        assert sorted(row[0] for row in cursor.fetchall()) == sorted(n for n in names if n.startswith(prefix))


@pytest.mark.parametrize("column", ["recipient_key", "title_key", "name", "provider_message_id"])
def test_a_prefix_reaches_an_index_under_row_level_security(acme, column):
    with tenant_scope(acme.id), database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        # The other index on the list would do as well in an empty table.
        rows = queries.error_list(acme.id).order_by().filter(starts_with(column, "abc"))
        plan = rows.explain()
        assert f"(({column})::text ~>=~ 'abc'::text) AND (({column})::text ~<~ 'abd'::text))" in plan
        assert "Index Cond" in plan
