"""What a connection sends with, which one is used, and what the check of it says."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deliveries import sending_check
from deliveries.accounts import account_for, prefer, rivals, sending_accounts, sending_values, set_sending
from deliveries.connections import add_route, create_connection, switch_connection
from deliveries.credentials import ConnectionInputError
from deliveries.enums import Channel
from deliveries.models import Connection
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.embedded.processes import free_port
from providers.sandbox.sendgrid import make_keys
from providers.sandbox.server import Sandbox
from tests.factories import connect

TWILIO = {"account_sid": "AC1", "auth_token": "very-secret", "sender": "+15005550006"}
VONAGE = {"api_key": "k1", "api_secret": "very-secret", "sender": "Acme"}


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def lineworks(private_key) -> dict[str, str]:
    account = {"client_id": "c1", "client_secret": "s1", "service_account": "a1.serviceaccount@acme.example"}
    return {**account, "private_key": private_key, "bot_id": "100", "domain": "acme.example"}


def give(row: Connection, values: dict[str, str]) -> Connection:
    with tenant_scope(row.tenant_id):
        set_sending(row, values, actor=COMMAND_LINE)
    return row


def names(tenant) -> list[str]:
    with tenant_scope(tenant.id):
        return [one.name for one in sending_accounts()]


# ---------------------------------------------------------------- credentials


def test_a_secret_that_is_left_out_stays_and_another_field_that_is_goes(acme):
    row = give(connect(acme, "twilio"), {**TWILIO, "per_minute": "60"})

    give(row, {"account_sid": "AC2", "auth_token": " ", "sender": "Acme"})

    assert sending_values(row) == {"account_sid": "AC2", "auth_token": "very-secret", "sender": "Acme"}


def test_without_any_value_a_connection_sends_no_more(acme):
    row = give(connect(acme, "twilio"), TWILIO)

    give(row, {})

    assert (sending_values(row), names(acme)) == ({}, [])


@pytest.mark.parametrize(
    ("provider", "values", "field"),
    [
        ("twilio", {"account_sid": "AC1", "sender": "+1"}, "auth_token"),
        ("twilio", {**TWILIO, "colour": "red"}, "colour"),
        ("twilio", {**TWILIO, "per_minute": "0"}, "per_minute"),
        ("twilio", {**TWILIO, "per_minute": "many"}, "per_minute"),
    ],
)
def test_a_field_that_cannot_be_is_named_and_nothing_is_kept(acme, provider, values, field):
    row = connect(acme, provider)

    with pytest.raises(ConnectionInputError) as refused:
        give(row, values)

    assert refused.value.field == field
    assert "very-secret" not in str(refused.value)
    with tenant_scope(acme.id):
        assert Connection.objects.get(id=row.id).sending_sealed is None


def test_a_private_key_has_to_be_one(acme, lineworks):
    with pytest.raises(ConnectionInputError) as refused:
        give(connect(acme, "lineworks"), {**lineworks, "private_key": "-----BEGIN PRIVATE KEY----- MIIE"})

    assert refused.value.field == "private_key"
    assert "MIIE" not in str(refused.value)


def test_no_secret_reaches_the_audit_log(acme):
    give(connect(acme, "twilio"), TWILIO)

    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get(action="connection.sends")
    assert entry.after == {"name": "twilio", "fields": ["account_sid", "auth_token", "sender"]}


# ---------------------------------------------------------------- which one is used


def test_the_preferred_connection_of_a_channel_is_used_first(acme):
    first, second = (
        give(connect(acme, "twilio", name="one"), TWILIO),
        give(connect(acme, "vonage", name="two"), VONAGE),
    )
    before = names(acme)

    with tenant_scope(acme.id):
        prefer(second, actor=COMMAND_LINE)
        third = give(connect(acme, "twilio", name="three"), TWILIO)
        chosen = account_for(Channel.SMS)

    assert (before, names(acme)) == (["one", "two"], ["two", "three", "one"])
    assert chosen is not None and chosen.connection_id == second.id
    with tenant_scope(acme.id):
        assert [row.id for row in rivals(first)] == [second.id, third.id, first.id]


def test_a_connection_that_is_off_does_not_send(acme):
    row = give(connect(acme, "twilio"), TWILIO)

    with tenant_scope(acme.id):
        switch_connection(row, on=False, actor=COMMAND_LINE)

    assert names(acme) == []


def test_the_operators_connection_serves_those_that_have_a_share_after_their_own(operator, acme, sakura):
    with tenant_scope(operator.id):
        shared = create_connection(
            provider="twilio",
            name="shared",
            values={"auth_token": "t"},
            actor=COMMAND_LINE,
            shared=True,
            route_by="account",
        )
        set_sending(shared, TWILIO, actor=COMMAND_LINE)
        add_route(shared, tenant_id=acme.id, value="acme", actor=COMMAND_LINE)
    give(connect(acme, "vonage", name="own"), VONAGE)

    assert (names(acme), names(sakura), names(operator)) == (["own", "shared"], [], [])
    with tenant_scope(acme.id):
        assert [one.route for one in sending_accounts()] == ["", "acme"]


# ---------------------------------------------------------------- the check


@pytest.fixture
def sandbox(settings):
    accounts_there = [
        {"provider": "twilio", "account_sid": "AC1"},
        {"provider": "lineworks", "client_id": "c1", "client_secret": "s1", "bots": ["100"]},
    ]
    with Sandbox({"accounts": accounts_there}) as made:
        settings.PROVIDER_URLS = dict.fromkeys(("sendgrid", "ses", "lineworks", "twilio", "vonage"), made.url)
        yield made


def check(row: Connection):
    with tenant_scope(row.tenant_id):
        return sending_check.run(row)[-1]


def test_the_check_says_that_the_account_may_send(acme, sandbox, lineworks):
    rows = [give(connect(acme, "twilio"), TWILIO), give(connect(acme, "lineworks"), lineworks)]

    assert [check(row).ok for row in rows] == [True, True]


def make(tenant, provider: str) -> Connection:
    return connect(tenant, provider, **({"public_key": make_keys().public_key} if provider == "sendgrid" else {}))


SENDGRID = {"api_key": "very-secret", "sender": "notices@acme.example"}
AMAZON = {"access_key_id": "revoked", "secret_access_key": "very-secret", "region": "eu-west-1"}


@pytest.mark.parametrize(
    ("provider", "values"),
    [
        ("sendgrid", {**SENDGRID, "api_key": "revoked"}),
        ("ses", {**AMAZON, "configuration_set": "ng", "sender": "notices@acme.example"}),
        ("twilio", {**TWILIO, "account_sid": "AC9"}),
        ("vonage", {**VONAGE, "api_key": "revoked"}),
    ],
)
def test_wrong_credentials_are_told(acme, sandbox, provider, values):
    found = check(give(make(acme, provider), values))

    assert (found.ok, found.what_to_do) == (False, "Enter them again, as the provider's console shows them.")
    assert found.message.startswith("The provider does not accept the credentials. The provider's words: ")
    assert "very-secret" not in found.message


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"client_secret": "other"}, "The provider does not accept the credentials."),
        ({"bot_id": "999"}, "LINE WORKS does not know this bot, or the app may not use it."),
    ],
)
def test_a_wrong_secret_and_a_wrong_bot_are_told_apart(acme, sandbox, lineworks, changed, message):
    found = check(give(connect(acme, "lineworks"), lineworks | changed))

    assert (found.ok, found.message.startswith(message)) == (False, True)


def test_no_connection_to_the_provider_is_told_as_such(acme, settings):
    settings.PROVIDER_URLS = {"twilio": f"http://127.0.0.1:{free_port()}"}

    found = check(give(connect(acme, "twilio"), TWILIO))

    assert (found.ok, found.message) == (False, "No connection to the provider could be made.")


def test_a_provider_in_trouble_says_nothing_of_the_credentials(acme, sandbox):
    sandbox.add_fault(provider="sendgrid", answer=503, on="other")

    found = check(give(make(acme, "sendgrid"), SENDGRID))

    assert (found.ok, found.what_to_do) == (None, "Check again in a few minutes.")


@pytest.mark.parametrize(
    ("changed", "receiving", "field"),
    [
        ({"bot_id": "my bot"}, {}, "bot_id"),
        ({"service_account": "a1.serviceaccount@other.example"}, {}, "service_account"),
        ({}, {"domains": "other.example", "bot_id": "100"}, None),
        ({}, {"bot_id": "200"}, "bot_id"),
        ({}, {"bot_id": "100"}, None),
    ],
)
def test_settings_that_disagree_are_told_without_asking_the_provider(acme, lineworks, changed, receiving, field):
    row = give(connect(acme, "lineworks", **receiving), lineworks | changed)

    with tenant_scope(acme.id):
        found = sending_check.disagreement(row)

    assert (found.field if found else None) == field
