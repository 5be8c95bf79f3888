"""A worker that prepares a resend plan and is killed: what it committed stays, the next one goes on from there."""

from __future__ import annotations

import pytest

from deliveries import plan_rows, plans
from deliveries.models import Attempt
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from tests.failures import bounced, sends


def rows_and_counts(acme, plan):
    with tenant_scope(acme.id):
        return Attempt.objects.filter(plan_id=plan.id).count(), dict(plans.previewed(plan))


def test_a_worker_killed_between_batches_leaves_nothing_twice_and_nothing_out(committed_db, acme, monkeypatch):
    monkeypatch.setattr(plan_rows, "BATCH", 2)
    sends(acme)
    bounced(acme, *(f"p{number}@example.com" for number in range(7)))
    with tenant_scope(acme.id):
        plan = plans.start("", tenant=acme, actor=COMMAND_LINE)
    goes_on, batches = plan_rows._goes_on, iter([True, True])

    def dies_in_the_third(plan_id):
        next(batches)
        return goes_on(plan_id)

    monkeypatch.setattr(plan_rows, "_goes_on", dies_in_the_third)
    with pytest.raises(StopIteration):
        plans.prepare(acme.id, plan.id)
    assert rows_and_counts(acme, plan) == (4, {"ready": 4})
    monkeypatch.setattr(plan_rows, "_goes_on", goes_on)
    plans.prepare(acme.id, plan.id)
    assert rows_and_counts(acme, plan) == (7, {"ready": 7})
