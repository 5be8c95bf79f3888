"""LINE WORKS counts all applications of an account together: what others use is seen, held and said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.utils import timezone

from deliveries import pace
from deliveries.accounts import account_for, set_sending
from deliveries.enums import Channel
from deliveries.models import Attempt, Pace
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect
from tests.sending import SENDING, register, work


@pytest.fixture
def chatting(committed_db, acme, sandbox):
    """ACME can send through LINE WORKS; returns how its account stands."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    row = connect(acme, "lineworks")
    with tenant_scope(acme.id):
        set_sending(row, {**SENDING["lineworks"], "private_key": pem}, actor=COMMAND_LINE)
        key = account_for(Channel.LINEWORKS).pace_key
    return lambda: pace.standing(key)


def test_a_lineworks_budget_that_another_app_drains_is_held_and_said_before_a_send_fails(acme, chatting, sandbox):
    register(acme, *(f"user{number}@acme.example" for number in range(60)), channel=Channel.LINEWORKS)
    work(acme)
    before = chatting()
    assert (before.limit, before.others, before.is_scarce) == (240, 0, False)
    sandbox.drain(240 - before.limit + before.remaining - 8)  # a second app leaves eight calls of this minute
    for _ in range(20):
        Pace.objects.update(ready=4, paused_until=None)
        work(acme)
    found = chatting()
    assert found.is_scarce
    assert found.others > 180
    assert found.per_minute < before.per_minute
    assert found.done_by(40, timezone.now()) > timezone.now() + timedelta(seconds=30)
    with tenant_scope(acme.id):
        rows = list(Attempt.objects.values_list("status", "tries"))
    assert {status for status, _tries in rows} == {"accepted", "queued"}
    assert {tries for _status, tries in rows} == {0}  # nothing was refused: the rest waits for the next minute


def test_a_lineworks_token_is_asked_for_once_and_kept_sealed(acme, chatting, sandbox):
    register(acme, "user1@acme.example", channel=Channel.LINEWORKS)
    work(acme)
    kept = Pace.objects.get()
    register(acme, "user2@acme.example", channel=Channel.LINEWORKS)
    work(acme)
    assert bytes(Pace.objects.get().token_sealed) == bytes(kept.token_sealed)
    assert sandbox.counts()["notices"] == 2
