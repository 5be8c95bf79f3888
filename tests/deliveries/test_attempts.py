"""One attempt at a delivery: when it may be queued, by which way it goes, where it stands."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from deliveries import attempts
from deliveries.accounts import sending_accounts, set_sending
from deliveries.attempts import AttemptRefusedError, Standing
from deliveries.enums import AttemptStatus, AttemptWhy, Kind, Outcome, PlanStatus
from deliveries.models import Attempt, Delivery, Notice, ResendHook, ResendPlan
from notifyguard.accounts.audit import COMMAND_LINE, Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.failures import bounced, report, sends, sent

pytestmark = pytest.mark.django_db

HANAKO = Actor("hanako@example.test", 7)


@pytest.fixture
def source(acme):
    return sends(acme)


@pytest.fixture
def queue(acme, source):
    def act(row, **options):
        with tenant_scope(acme.id):
            return attempts.queue_attempt(row, why=AttemptWhy.RESEND, actor=HANAKO, **options)

    return act


def test_a_queued_attempt_is_audited_and_takes_the_deliverys_own_way(acme, source, queue):
    sends(acme, name="Another one")
    (row,) = bounced(acme, "taro@example.com")
    attempt = queue(row)
    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get(action="delivery.resent")
    assert (attempt.connection_id, attempt.channel, attempt.recipient, attempt.status) == (
        source.id,
        "email",
        "",
        "queued",
    )
    assert (entry.actor, entry.object_id, entry.after["attempt"]) == (HANAKO.name, str(row.id), attempt.id.hex)


def test_another_account_takes_over_where_the_own_one_sends_no_more(acme, source, queue):
    (row,) = bounced(acme, "taro@example.com")
    other = sends(acme, name="Another one")
    with tenant_scope(acme.id):
        set_sending(source, {}, actor=COMMAND_LINE)
    assert queue(row).connection_id == other.id


@pytest.mark.parametrize("kind", [Kind.DELIVERED, Kind.DEFERRED, Kind.ACCEPTED])
def test_what_arrived_or_is_still_on_its_way_is_not_sent_again(acme, queue, kind):
    row = report(acme, sent(acme, "taro@example.com")[0], kind)
    with pytest.raises(AttemptRefusedError):
        queue(row)


def test_a_plan_that_nobody_approved_keeps_nobody_from_resending(acme, source, queue):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        plan = ResendPlan(status=PlanStatus.READY, created_by="x")
        plan.save()
        Attempt(delivery=row, plan=plan, why="resend", channel="email", connection_id=source.id).save()
        assert attempts.attempts_of(row)[0].why == "first"
    assert queue(row).plan_id is None
    with tenant_scope(acme.id):
        ResendPlan.objects.update(status=PlanStatus.RUNNING)
        Attempt.objects.filter(plan__isnull=True, why="resend").delete()
    with pytest.raises(AttemptRefusedError):
        queue(row)


def test_without_the_text_the_product_is_asked_if_it_can_be(acme, queue):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        Notice.objects.update(body_sealed=None)
    with pytest.raises(AttemptRefusedError):
        queue(row)
    with tenant_scope(acme.id):
        ResendHook(url="https://product.example.com", secret_sealed=b"x").save()
        assert attempts.way_of(row).asks
    assert queue(row).status == "queued"


def test_without_any_way_to_send_it_says_so(acme, source, queue):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        set_sending(source, {}, actor=COMMAND_LINE)
        assert sending_accounts() == []
    with pytest.raises(AttemptRefusedError, match="No connection sends through this channel"):
        queue(row)


@pytest.mark.parametrize(
    ("values", "stands"),
    [
        ({"status": "queued"}, Standing.QUEUED),
        ({"status": "queued", "due_at": timezone.now() + timedelta(hours=1)}, Standing.WAITING),
        ({"status": "sending", "number": 2}, Standing.SENDING),
        ({"status": "accepted", "number": 2}, Standing.NO_VERDICT),
        ({"status": "accepted", "number": 1}, Standing.HANDED_OVER),
        ({"status": "refused", "number": 2}, Standing.REFUSED),
        ({"status": "skipped", "outcome": Outcome.STALE}, Standing.NOT_SENT),
        ({"status": "unknown", "number": 2}, Standing.UNKNOWN),
        ({"status": "asked", "number": 2}, Standing.ASKED),
    ],
)
def test_an_attempt_stands_where_its_status_and_the_last_verdict_put_it(values, stands):
    assert attempts.standing(Attempt(**values), Delivery(attempt=1)) == stands


def test_the_newest_attempt_of_each_delivery_takes_one_query(acme, source, queue, django_assert_num_queries):
    rows = bounced(acme, "a@example.com", "b@example.com")
    newest = queue(rows[0])
    with tenant_scope(acme.id):
        Attempt(
            delivery=rows[1], why="resend", channel="email", connection_id=source.id, status=AttemptStatus.CANCELLED
        ).save()
        with django_assert_num_queries(1):
            found = attempts.latest([row.id for row in rows])
    assert {key: one.why for key, one in found.items()} == {rows[0].id: "resend", rows[1].id: "first"}
    assert found[rows[0].id].id == newest.id


def test_the_newest_of_each_kind_is_chosen_and_what_has_no_kind_stays(acme, source):
    old, new = (bounced(acme, "a@example.com", kind="invoice")[0] for _ in range(2))
    plain = bounced(acme, "a@example.com") + bounced(acme, "a@example.com")
    with tenant_scope(acme.id):
        chosen = {row.id for row in attempts.newest_of_kind([new, old, *plain])}
    assert chosen == {new.id, *(row.id for row in plain)}
