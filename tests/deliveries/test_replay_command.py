"""``manage.py replay``: stored webhooks worked again, with counts that tell the truth."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from deliveries import inbox
from deliveries.models import Delivery
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect

RECEIPT = b'{"id":"%d","to":"+819012345678","stat":"UNDELIV","err":"001"}'


@pytest.fixture
def stored(acme):
    """Two webhooks of acme, a day and three days old, that were never worked."""
    row = connect(acme, "smpp")
    with tenant_scope(acme.id):
        for days in (1, 3):
            at = timezone.now() - timedelta(days=days)
            inbox.store(row, body=RECEIPT % days, headers={"content-type": "application/json"}, received_at=at)


def replay(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("replay", *arguments, stdout=out)
    return out.getvalue().splitlines()


def deliveries(tenant) -> int:
    with tenant_scope(tenant.id):
        return Delivery.objects.count()


def test_a_dry_run_prints_the_counts_of_the_real_thing_and_changes_nothing(committed_db, acme, stored):
    said = replay("--tenant", "acme", "--dry-run")

    assert said == ["acme: 2 webhooks, 2 new events, 2 deliveries changed", "Dry run: nothing was changed."]
    assert deliveries(acme) == 0


def test_replaying_twice_changes_nothing_the_second_time(acme, stored):
    first = replay("--tenant", "acme")
    second = replay("--tenant", "acme")

    assert first == ["acme: 2 webhooks, 2 new events, 2 deliveries changed"]
    assert second == [
        "acme: 2 webhooks, 0 new events, 0 deliveries changed",
        "Nothing changed: all of it was in the ledger already.",
    ]
    assert deliveries(acme) == 2


@pytest.mark.parametrize("age", ["36h", "2d", "2160m"])
def test_since_leaves_out_what_is_older(acme, stored, age):
    assert replay("--tenant", "acme", "--since", age)[0].startswith("acme: 1 webhooks")


def test_since_takes_a_moment_with_its_zone_or_a_day(acme, stored):
    at = timezone.now() - timedelta(days=2)

    assert replay("--tenant", "acme", "--since", at.isoformat())[0].startswith("acme: 1 webhooks")
    assert replay("--tenant", "acme", "--since", at.date().isoformat())[0].startswith("acme: 1 webhooks")


def test_every_tenant_is_replayed_unless_one_is_named(committed_db, operator, acme, sakura, stored):
    assert [line.partition(":")[0] for line in replay("--dry-run")[:-1]] == ["acme", "operator", "sakura"]


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--tenant", "nobody"]])
def test_what_cannot_be_understood_is_refused(acme, arguments):
    with pytest.raises(CommandError):
        replay(*arguments)
