"""The ledger and its projection: any order, any duplicates, one state."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from deliveries import ledger
from deliveries.enums import Channel, Kind, State
from deliveries.gather import Origin, identify
from deliveries.models import Delivery, DeliveryLink, Event
from deliveries.queries import tab_counts
from deliveries.state import Fact, decide, rank
from deliveries.tallies import fold
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

KINDS = st.sampled_from([Kind.ACCEPTED, Kind.DEFERRED, Kind.DELIVERED, Kind.BOUNCED, Kind.BLOCKED, Kind.SPAM_REPORT])
HISTORIES = st.lists(st.tuples(KINDS, st.integers(0, 5)), min_size=1, max_size=8)


@pytest.fixture
def record(acme):
    source = connect(acme, "smpp")

    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(acme.id):
            return ledger.record(acme.id, reported(*events, connection=source, channel=channel))

    return write


def only_delivery(tenant) -> Delivery:
    with tenant_scope(tenant.id):
        return Delivery.objects.get()


def all_values(tenant) -> dict:
    with tenant_scope(tenant.id):
        return Delivery.objects.values().get()


def test_a_bounce_makes_an_open_delivery_with_its_reason(record, acme):
    assert record(event(Kind.BOUNCED))[:2] == (1, 1)
    row = only_delivery(acme)
    assert (row.state, row.error_state, row.code, row.persistence) == (
        "bounced",
        "bounced",
        "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE",
        "hard",
    )
    assert (row.recipient, row.domain, row.failed_at, row.smtp_code) == (
        "taro@example.co.jp",
        "example.co.jp",
        AT,
        "550",
    )


def test_the_same_batch_again_changes_nothing(record, acme):
    history = [event(Kind.ACCEPTED), event(Kind.DEFERRED, 1), event(Kind.DEFERRED, 2), event(Kind.BOUNCED, 3)]
    record(*history)
    before = all_values(acme)
    assert record(*reversed(history), *history)[:2] == (0, 0)
    assert all_values(acme) == before


def test_a_delivery_closes_a_deferral_and_counts_its_tries(record, acme):
    record(event(Kind.DEFERRED), event(Kind.DEFERRED, 5))
    record(event(Kind.DELIVERED, 9))
    row = only_delivery(acme)
    assert (row.state, row.error_state, row.failed_at, row.code, row.deferrals) == ("delivered", None, None, None, 2)


def test_an_asynchronous_bounce_after_delivery_reopens_the_delivery(record, acme):
    record(event(Kind.BOUNCED, 30))
    record(event(Kind.DELIVERED, 1))
    assert only_delivery(acme).state == "bounced"


def test_a_deferral_between_two_that_are_known_counts_as_well(record, acme):
    record(event(Kind.DEFERRED, 1), event(Kind.DEFERRED, 9))
    record(event(Kind.DEFERRED, 5))
    record(event(Kind.DEFERRED, 5))
    assert only_delivery(acme).deferrals == 3


def test_a_late_deferral_never_reopens_a_delivered_notice(record, acme):
    record(event(Kind.DELIVERED, 1))
    record(event(Kind.DEFERRED, 5))
    assert only_delivery(acme).state == "delivered"


def test_an_automatic_reply_does_not_overturn_a_delivery(record, acme):
    record(event(Kind.DELIVERED, 1), event(Kind.BOUNCED, 2, verdict="Transient/General", reply="", smtp_code=""))
    assert only_delivery(acme).state == "delivered"


def test_a_handset_receipt_beats_a_failed_segment(record, acme):
    record(event(Kind.UNDELIVERED, 5, recipient="+819012345678"), channel=Channel.SMS)
    record(event(Kind.DELIVERED, 1, recipient="+819012345678"), channel=Channel.SMS)
    assert only_delivery(acme).state == "delivered"


def test_lineworks_accepting_a_retry_ends_the_failure(record, acme):
    record(event(Kind.FAILED, 1, verdict="429 TOO_MANY_REQUESTS", recipient="u1"), channel=Channel.LINEWORKS)
    record(event(Kind.ACCEPTED, 2, recipient="u1"), channel=Channel.LINEWORKS)
    assert (only_delivery(acme).state, only_delivery(acme).error_state) == ("accepted", None)


def test_silence_is_not_a_failure(record, acme):
    record(event(Kind.ACCEPTED))
    row = only_delivery(acme)
    assert (row.state, row.is_open) == ("accepted", False)


def test_recipients_differing_in_case_are_one_delivery(record, acme):
    record(event(Kind.ACCEPTED, recipient="Taro@Example.co.jp"), event(Kind.DELIVERED, 1))
    assert only_delivery(acme).state == "delivered"


def test_an_event_with_a_new_provider_id_on_a_retry_is_the_same_event(record, acme):
    assert record(event(provider_event_id="a")).new_events == 1
    assert record(event(provider_event_id="b")).new_events == 0


def test_one_provider_id_on_two_different_events_keeps_both(record, acme):
    assert (
        record(event(Kind.DEFERRED, provider_event_id="a"), event(Kind.BOUNCED, 1, provider_event_id="a")).new_events
        == 2
    )


def test_a_report_without_a_time_of_its_own_counts_once_whenever_it_comes(record, acme):
    first = event(Kind.UNDELIVERED, 0, provider_event_id="~SM1/undelivered/30003")
    later = event(Kind.UNDELIVERED, 60 * 24 * 40, provider_event_id="~SM1/undelivered/30003")
    assert record(first, first, channel=Channel.SMS).new_events == 1
    assert record(later, channel=Channel.SMS).new_events == 0
    assert only_delivery(acme).occurred_at == AT


@pytest.mark.parametrize("bounce_first", [True, False])
def test_a_bounce_without_message_id_joins_the_latest_delivery_to_that_address(record, acme, bounce_first):
    sent = [event(Kind.DELIVERED, 0, provider_message_id="old"), event(Kind.DELIVERED, 60, provider_message_id="new")]
    bounce = event(Kind.BOUNCED, 120, provider_message_id="")
    for batch in [[bounce], sent] if bounce_first else [sent, [bounce]]:
        record(*batch)
    with tenant_scope(acme.id):
        states = dict(Delivery.objects.values_list("provider_message_id", "state"))
        assert (states, DeliveryLink.objects.count()) == ({"old": "delivered", "new": "bounced"}, 1)


def test_a_bounce_without_message_id_stands_for_itself_while_nothing_matches(record, acme):
    record(event(Kind.BOUNCED, provider_message_id=""))
    assert (only_delivery(acme).state, only_delivery(acme).orphan) == ("bounced", True)


def test_three_days_of_deferrals_ended_by_a_vague_block_are_an_expiry(record, acme):
    block = event(
        Kind.BLOCKED, 72 * 60, verdict="blocked/unclassified", reply="unable to connect", smtp_code="", enhanced_code=""
    )
    source_events = [event(Kind.DEFERRED), block]
    random.shuffle(source_events)
    with tenant_scope(acme.id):
        source = connect(acme, "smpp", name="as sendgrid")
        for one in source_events:
            rows = [row._replace(origin=as_sendgrid(row.origin)) for row in reported(one, connection=source)]
            ledger.record(acme.id, rows)
    row = only_delivery(acme)
    assert (row.state, row.error_state, row.code, row.persistence) == ("expired", "expired", "EXPIRED", "soft")


@given(history=HISTORIES, seed=st.randoms(use_true_random=False))
def test_any_order_with_any_duplicates_ends_in_the_state_of_the_pure_function(acme, history, seed):
    with transaction.atomic():
        events = [event(kind, minutes) for kind, minutes in history]
        facts = [Fact(1, *_fact(one)[:1], one.occurred_at, *_fact(one)[1:], "", one.kind) for one in events]
        source = connect(acme, "smpp")
        rows = reported(*events, connection=source)
        facts = [fact._replace(event_id=next(iter(identify([row])))) for fact, row in zip(facts, rows, strict=True)]
        shuffled = [*rows, *seed.sample(rows, k=seed.randint(0, len(rows)))]
        seed.shuffle(shuffled)
        with tenant_scope(acme.id):
            while shuffled:
                size = seed.randint(1, len(shuffled))
                ledger.record(acme.id, shuffled[:size])
                del shuffled[:size]
            row = Delivery.objects.get()
            assert State(row.state) == decide(facts)
            assert Event.objects.count() == len(set(events))
        transaction.set_rollback(True)


def as_sendgrid(origin):
    return Origin(
        connection_id=origin.connection_id,
        provider="sendgrid",
        channel=origin.channel,
        raw_id=origin.raw_id,
        received_at=origin.received_at,
    )


def _fact(one):
    return rank(Channel.EMAIL, one.kind, one.verdict)


def test_counts_follow_every_change_without_scanning(record, acme):
    record(
        event(Kind.BOUNCED),
        event(Kind.DEFERRED, provider_message_id="m2"),
        event(Kind.DELIVERED, provider_message_id="m3"),
    )
    assert open_emails(acme) == 2
    fold(acme.id)
    record(event(Kind.DELIVERED, 9, provider_message_id="m2"))
    assert open_emails(acme) == 1
    fold(acme.id)
    assert open_emails(acme) == 1


def open_emails(tenant) -> int:
    with tenant_scope(tenant.id):
        return tab_counts(tenant.id)[Channel.EMAIL]


@pytest.mark.parametrize(
    "statement", ["UPDATE deliveries_event SET kind = 'delivered'", "DELETE FROM deliveries_event"]
)
def test_the_ledger_refuses_change(record, acme, statement):
    record(event())
    with tenant_scope(acme.id), pytest.raises(Exception, match="permission denied"), transaction.atomic():
        database.cursor().execute(statement)


def test_events_of_any_month_find_a_partition(record, acme):
    record(
        event(Kind.BOUNCED),
        event(Kind.BOUNCED, provider_message_id="m2").__class__(
            kind=Kind.BOUNCED,
            recipient="x@example.test",
            occurred_at=AT - timedelta(days=4000),
            provider_message_id="m2",
        ),
    )
    with tenant_scope(acme.id):
        assert Event.objects.count() == 2
