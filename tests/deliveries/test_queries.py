"""The numbers and lists that pages show: kept counts equal the rows, and the timeline tells everything once."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from django.db import connection as database
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from deliveries import ledger, queries
from deliveries.connections import add_route, create_connection, note_rejection
from deliveries.enums import Channel, Kind, State
from deliveries.models import Delivery, DeliveryLink
from deliveries.queries import Count
from deliveries.tallies import fold
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import NoTenantError, tenant_scope
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

KINDS = [Kind.ACCEPTED, Kind.DEFERRED, Kind.DELIVERED, Kind.BOUNCED, Kind.SPAM_REPORT, Kind.DROPPED]


@pytest.fixture
def source(acme):
    return connect(acme, "ses")


@pytest.fixture
def record(acme, source):
    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


def to(recipient, kind=Kind.BOUNCED, minutes=0, **values):
    return event(kind, minutes, recipient=recipient, provider_message_id=recipient, **values)


def counted(rows, column):
    return dict(Counter(getattr(row, column) for row in rows if getattr(row, column)))


@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from(KINDS), st.integers(0, 4000), st.sampled_from(Channel)),
            min_size=1,
            max_size=4,
        ),
        max_size=4,
    ),
    folded=st.booleans(),
)
def test_kept_counts_equal_the_rows_on_the_list(acme, source, batches, folded):
    with tenant_scope(acme.id):
        for batch in batches:
            for name, kind, minutes, channel in batch:
                failing = to(f"{name}@{name}.example", kind, minutes)
                ledger.record(acme.id, reported(failing, connection=source, channel=channel))
            if folded:
                fold(acme.id)
        rows = list(Delivery.objects.filter(error_state__isnull=False))
        assert queries.tab_counts(acme.id) == {channel: counted(rows, "channel").get(channel, 0) for channel in Channel}
        for channel in Channel:
            facets, tab = queries.facets(acme.id, channel), [row for row in rows if row.channel == channel]
            assert dict(facets.states) == counted(tab, "error_state")
            assert dict(facets.codes) == counted(tab, "code")
            assert dict(facets.domains) == counted(tab, "domain")
            assert dict(facets.connections) == ({str(source.id): len(tab)} if tab else {})


@freeze_time(AT + timedelta(days=29))
def test_the_undelivered_number_is_of_thirty_days_without_what_is_still_tried(record, acme):
    record(to("today@x.example", minutes=60 * 24 * 29), to("first-day@x.example"))
    record(to("day-before@x.example", minutes=-60 * 24), to("late@x.example", Kind.DEFERRED))
    with tenant_scope(acme.id):
        assert queries.undelivered_number(acme) == 2
        assert queries.undelivered_number(acme, days=1) == 1
        assert queries.undelivered_number(acme, days=31) == 3


def test_a_number_outside_a_scope_is_an_error_and_not_zero(acme):
    with pytest.raises(NoTenantError):
        queries.undelivered_number(acme)


@freeze_time("2026-11-20 16:00")
def test_days_turn_with_the_tenants_calendar(sakura):
    with tenant_scope(sakura.id):
        # 09:00 UTC is still the 20th in Tokyo, where at 16:00 UTC the 21st has begun.
        ledger.record(sakura.id, reported(to("a@x.example"), connection=connect(sakura, "ses")))
        days = queries.failures_per_day(sakura, 2)
        assert days == [(date(2026, 11, 20), {State.BOUNCED: 1}), (date(2026, 11, 21), {})]
        assert queries.undelivered_number(sakura, days=1) == 0


@freeze_time(AT)
def test_the_most_frequent_come_first_and_the_rest_is_cut_off(record, acme):
    record(to("a@one.example"), to("b@one.example"), to("c@two.example"), to("old@three.example", minutes=-60 * 24 * 9))
    with tenant_scope(acme.id):
        assert queries.top_domains(acme, 7, 5) == [Count("one.example", 2), Count("two.example", 1)]
        assert queries.top_domains(acme, 7, 1) == [Count("one.example", 2)]
        assert queries.top_reasons(acme, 7, 5) == [Count("BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE", 3)]


def test_the_numbers_of_a_page_take_no_look_at_deliveries(record, acme):
    record(to("a@one.example"))
    with tenant_scope(acme.id), Statements() as statements:
        queries.tab_counts(acme.id)
        queries.undelivered_number(acme)
        queries.failures_per_day(acme, 30)
        queries.facets(acme.id, Channel.EMAIL)
        queries.top_domains(acme, 30, 5)
    assert len(statements) == 5
    assert not [sql for sql in statements if "deliveries_delivery" in sql or "deliveries_event" in sql]


def test_the_error_list_holds_the_open_ones_newest_first(record, acme):
    record(to("old@x.example"), to("new@x.example", minutes=5), to("fine@x.example", Kind.DELIVERED, 9))
    record(to("late@x.example", Kind.DEFERRED, 7))
    with tenant_scope(acme.id):
        listed = [row.recipient for row in queries.error_list(acme.id)]
        everything = [row.recipient for row in queries.all_deliveries(acme.id)]
    assert listed == ["late@x.example", "new@x.example", "old@x.example"]
    assert everything == ["fine@x.example", "late@x.example", "new@x.example", "old@x.example"]


def test_a_list_does_not_load_replies(record, acme):
    record(to("a@x.example"))
    with tenant_scope(acme.id):
        assert queries.error_list(acme.id).get().get_deferred_fields() == {"reply", "recipient_key", "title_key"}


def test_the_timeline_is_in_order_of_what_happened_with_a_verdict_on_failures(record, acme):
    record(to("a@x.example", Kind.BOUNCED, 9), to("a@x.example", Kind.ACCEPTED, 0, verdict=""), to("other@x.example"))
    record(to("a@x.example", Kind.DEFERRED, 4, reply="452 4.2.2 Mailbox full", smtp_code="452", enhanced_code="4.2.2"))
    with tenant_scope(acme.id):
        entries = queries.timeline(Delivery.objects.get(recipient="a@x.example"))
    assert [entry.kind for entry in entries] == [Kind.ACCEPTED, Kind.DEFERRED, Kind.BOUNCED]
    assert [entry.verdict.persistence if entry.verdict else None for entry in entries] == [None, "soft", "hard"]
    assert entries[2].verdict.code == "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE"


def test_the_timeline_has_the_events_of_what_was_linked_later(record, acme):
    record(to("a@x.example", Kind.ACCEPTED), to("b@x.example", Kind.BOUNCED, 3))
    with tenant_scope(acme.id):
        row, other = (Delivery.objects.get(recipient=f"{name}@x.example") for name in "ab")
        DeliveryLink(delivery=row, match_key=other.match_key, attempt=2).save()
        assert [entry.event.recipient for entry in queries.timeline(row)] == ["a@x.example", "b@x.example"]


@pytest.mark.parametrize("tries", [1, 20])
def test_a_timeline_is_two_queries_however_long(record, acme, tries, django_assert_num_queries):
    record(*(to("a@x.example", Kind.DEFERRED, minutes) for minutes in range(tries)))
    with tenant_scope(acme.id):
        row = Delivery.objects.get()
        with django_assert_num_queries(2):
            assert len(queries.timeline(row)) == tries


def test_another_tenants_delivery_is_none(record, acme, sakura):
    record(to("a@x.example"))
    with tenant_scope(acme.id):
        row = Delivery.objects.get()
        assert queries.delivery(acme.id, row.id).reply == row.reply
    with tenant_scope(sakura.id):
        assert queries.delivery(sakura.id, row.id) is None
        assert queries.delivery(acme.id, row.id) is None


def test_sources_are_the_tenants_connections_and_its_shares_of_the_operators(acme, operator, source):
    with tenant_scope(acme.id):
        note_rejection(source, "signature")
    with tenant_scope(operator.id):
        shared = create_connection(
            provider="ses",
            name="Everybody's",
            values={"topic": "arn:aws:sns:ap-northeast-1:123456789012:all"},
            actor=COMMAND_LINE,
            shared=True,
            route_by="tag:tenant",
        )
        add_route(shared, tenant_id=acme.id, value="acme", actor=COMMAND_LINE)
        note_rejection(shared, "signature")
    with tenant_scope(acme.id):
        found = [(s.name, s.connection_id, s.shared, s.rejected_count) for s in queries.sources(acme.id)]
    assert found == [("Everybody's", shared.id, True, 0), ("ses", source.id, False, 1)]


class Statements(list):
    """The SQL of the queries run inside."""

    def __enter__(self):
        self.wrapper = database.execute_wrapper(self._note)
        self.wrapper.__enter__()
        return self

    def __exit__(self, *error):
        self.wrapper.__exit__(*error)

    def _note(self, execute, sql, params, many, context):
        self.append(sql)
        return execute(sql, params, many, context)
