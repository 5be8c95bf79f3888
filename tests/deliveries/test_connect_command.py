"""``manage.py connect``, ``apitoken``, ``tenant`` and ``person``: what people and scripts connect things with."""

from __future__ import annotations

import io
import json
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from deliveries.accounts import sending_values
from deliveries.connections import config_of
from deliveries.models import Connection, Route
from notifyguard.accounts.models import AuditEntry, Membership, User
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tokens import find_api_token

TOPIC = "arn:aws:sns:ap-northeast-1:123456789012:mail-events"


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def run_json(*arguments: str):
    return json.loads(run(*arguments, "--json"))


def stored(said, tenant) -> Connection:
    with tenant_scope(tenant.id):
        return Connection.objects.get(id=said["id"])


def verification_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return "".join(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().splitlines()[1:-1])


def test_connect_prints_the_url_where_the_connection_answers(acme, client):
    key = verification_key()

    said = run_json("connect", "sendgrid", "--tenant", "acme", "--name", "Newsletter", "--public-key", key)

    row = stored(said, acme)
    assert said == {
        "id": str(row.id),
        "webhook_url": f"http://127.0.0.1:8000/webhooks/sendgrid/{row.token}",
        "provider": "sendgrid",
        "name": "Newsletter",
        "tenant": "acme",
        "shared": False,
        "route_by": "",
        "routes": [],
        "sends": False,
    }
    assert config_of(row).secrets == (key,)
    assert client.get(f"/webhooks/sendgrid/{row.token}?notifyguard_probe=hello").content == b"hello"


def test_connect_takes_a_topic_and_other_settings(acme):
    said = run_json("connect", "ses", "--tenant", "acme", "--topic", TOPIC)
    receipts = run_json("connect", "smpp", "--tenant", "acme", "--secret", "s", "--setting", "timezone=Asia/Tokyo")

    assert (said["name"], stored(said, acme).settings) == ("Amazon SES", {"topic": TOPIC})
    assert stored(receipts, acme).settings == {"timezone": "Asia/Tokyo"}


def test_a_secret_may_come_from_standard_input_or_a_file(acme, monkeypatch, tmp_path):
    file = tmp_path / "secret"
    file.write_text("from a file\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("from the input\n"))

    first = run_json("connect", "twilio", "--tenant", "acme", "--secret", "-")
    second = run_json("connect", "twilio", "--tenant", "acme", "--secret-file", str(file))

    assert config_of(stored(first, acme)).secrets == ("from the input",)
    assert config_of(stored(second, acme)).secrets == ("from a file",)


def test_connect_takes_what_sending_takes(acme, monkeypatch, tmp_path):
    (tmp_path / "key").write_text("SG.from-a-file\n", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("from the input\n"))
    mail = ("--public-key", verification_key(), "--sending", f"api_key=@{tmp_path / 'key'}")
    sms = (
        "--secret",
        "s",
        "--sending",
        "account_sid=AC1",
        "--sending",
        "auth_token=-",
        "--sending",
        "sender=+15005550006",
    )

    said = run_json("connect", "sendgrid", "--tenant", "acme", *mail, "--sending", "sender=notices@acme.example")
    other = run_json("connect", "twilio", "--tenant", "acme", *sms)

    assert (said["sends"], other["sends"]) == (True, True)
    assert sending_values(stored(said, acme)) == {"api_key": "SG.from-a-file", "sender": "notices@acme.example"}
    assert sending_values(stored(other, acme))["auth_token"] == "from the input"


def test_a_shared_connection_belongs_to_the_operator_and_routes_to_the_tenants_named(operator, acme, sakura):
    said = run_json(
        *("connect", "smpp", "--secret", "s", "--shared", "--route-by", "field:shop"),
        *("--route", "acme=shop-1", "--route", "sakura=shop-2"),
    )

    assert said["tenant"] == "operator"
    assert said["routes"] == [{"tenant": "acme", "value": "shop-1"}, {"tenant": "sakura", "value": "shop-2"}]
    assert stored(said, operator).shared
    with tenant_scope(sakura.id):
        assert list(Route.objects.values_list("connection_id", "value")) == [(stored(said, operator).id, "shop-2")]


@pytest.mark.parametrize(("given", "value"), [((), "acme"), (("--route", "shop-1"), "shop-1")])
def test_the_tenant_of_a_shared_connection_gets_a_route_of_its_slug_or_of_the_value_given(acme, given, value):
    said = run_json("connect", "smpp", "--tenant", "acme", "--secret", "s", "--shared", "--route-by", "field:s", *given)

    assert said["routes"] == [{"tenant": "acme", "value": value}]


def test_without_json_it_says_where_the_url_goes(acme):
    said = run("connect", "smpp", "--tenant", "acme", "--secret", "very-secret")

    assert "SMPP carrier is connected as “SMPP carrier”." in said
    assert "  http://127.0.0.1:8000/webhooks/smpp/" in said
    assert "Let the program that holds the SMPP session post each delivery receipt to it." in said
    assert "very-secret" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smpp", "--tenant", "nobody", "--secret", "s"], "There is no tenant “nobody”. There are: acme, operator."),
        (["smpp", "--secret", "s"], "Say whose connection it is: --tenant <slug>, or --shared for the operator's."),
        (["smpp", "--tenant", "acme"], "smpp needs secret (Signing secret)."),
        (["ses", "--tenant", "acme", "--secret", "s"], "Amazon SES has no secret: leave out --secret."),
        (["smpp", "--tenant", "acme", "--secret", "s", "--route-by", "x"], "Only a shared connection is routed"),
        (["smpp", "--tenant", "acme", "--secret", "s", "--route", "a"], "Only a shared connection has routes"),
        (
            ["smpp", "--shared", "--secret", "s", "--route-by", "domain"],
            "can be routed by field:<name>, not by “domain”",
        ),
        (["smpp", "--shared", "--secret", "s", "--route-by", "field:"], "can be routed by field:<name>"),
        (["smpp", "--shared", "--secret", "s", "--route-by", "field:a", "--route", "x"], "--route x names no tenant"),
        (["sendgrid", "--tenant", "acme", "--public-key", "hello"], "This is no SendGrid verification key"),
        (["ses", "--tenant", "acme", "--topic", "hello"], "This is no ARN of an SNS topic"),
        (["smpp", "--tenant", "acme", "--secret", "s", "--setting", "timezone=Mars"], "This is not a time zone"),
        (["smpp", "--tenant", "acme", "--secret", "s", "--setting", "colour=red"], "smpp has no field colour"),
        (["smpp", "--tenant", "acme", "--secret", "s", "--sending", "a=b"], "Nothing is sent through smpp"),
        (["twilio", "--tenant", "acme", "--secret", "s", "--sending", "account_sid=AC1"], "twilio needs auth_token"),
        (["twilio", "--tenant", "acme", "--secret", "s", "--sending", "key=1"], "To send, twilio has no field key"),
        (["twilio", "--tenant", "acme", "--secret", "s", "--sending", "auth_token=@/nowhere"], "can't be read"),
    ],
)
def test_what_cannot_be_connected_is_refused_with_the_reason(acme, arguments, message):
    with pytest.raises(CommandError) as refused:
        run("connect", *arguments)

    assert message in str(refused.value)
    with tenant_scope(acme.id):
        assert not Connection.objects.exists()


def test_a_route_that_cannot_be_made_leaves_no_connection_behind(operator, acme):
    with pytest.raises(CommandError):
        run(
            "connect",
            "smpp",
            "--secret",
            "s",
            "--shared",
            "--route-by",
            "field:a",
            "--route",
            "acme=x",
            "--route",
            "acme=X",
        )

    with tenant_scope(operator.id):
        assert not Connection.objects.exists()


def test_apitoken_prints_a_token_that_works_until_it_expires(acme):
    said = run_json("apitoken", "--tenant", "acme", "--role", "viewer", "--days", "30")

    found = find_api_token(said["token"])
    assert (found.tenant_id, found.role, found.prefix) == (acme.id, "viewer", said["prefix"])
    assert said["expires_at"] == found.expires_at.isoformat()
    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor) == ("api_token.created", "command line")
    assert said["token"] not in str(entry.after)


def test_apitoken_without_json_prints_the_token_alone(acme):
    assert find_api_token(run("apitoken", "--tenant", "acme", "--role", "admin").strip()).role == "admin"


def test_tenant_create_and_list(operator):
    said = run_json("tenant", "create", "hana", "--name", "花", "--timezone", "Asia/Tokyo", "--language", "ja")

    assert (said["slug"], said["name"], said["timezone"], said["language"]) == ("hana", "花", "Asia/Tokyo", "ja")
    assert [tenant["slug"] for tenant in run_json("tenant", "list")] == ["hana", "operator"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme"], "slug: Tenant with this Slug already exists."),
        (["a b"], "slug: Enter a valid"),
        (["hana", "--timezone", "Mars"], "timezone: Mars is not a time zone"),
    ],
)
def test_a_tenant_that_cannot_be_made_is_refused_with_the_reason(acme, arguments, message):
    with pytest.raises(CommandError, match=message):
        run("tenant", "create", *arguments)


def test_person_create_with_a_password_can_sign_in(acme, sakura, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))

    run(
        *("person", "create", "Hana@Example.test", "--password-stdin"),
        *("--tenant", "acme=admin", "--tenant", "sakura=viewer"),
    )

    person = User.objects.get(email="hana@example.test")
    assert person.check_password("correct horse battery")
    roles = {}
    for tenant in (acme, sakura):
        with tenant_scope(tenant.id):
            roles[tenant.slug] = Membership.objects.get(user=person).role
    assert roles == {"acme": "admin", "sakura": "viewer"}


def test_person_create_without_a_password_prints_a_link_that_sets_one(acme):
    said = run("person", "create", "hana@example.test", "--tenant", "acme=viewer")

    path = said.strip().rpartition("http://127.0.0.1:8000")[2]
    browser = Client()
    page = browser.get(path, follow=True)
    browser.post(page.request["PATH_INFO"], {"password1": "a long enough one", "password2": "a long enough one"})

    assert User.objects.get(email="hana@example.test").check_password("a long enough one")


def test_person_create_adds_roles_to_a_person_that_there_is(acme, sakura, member):
    person = member("viewer", acme, "hana@example.test")

    said = run("person", "create", "HANA@example.test", "--tenant", "sakura=manager", "--tenant", "acme=admin")

    assert "had an account already" in said
    with tenant_scope(sakura.id):
        assert Membership.objects.get(user=person).role == "manager"
    with tenant_scope(acme.id):
        assert Membership.objects.get(user=person).role == "admin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["not an address"], "is not an email address"),
        (["hana@example.test", "--tenant", "acme=king"], "with a role of admin, support, manager, viewer"),
        (["hana@example.test", "--tenant", "nobody=admin"], "There is no tenant “nobody”"),
        (["hana@example.test", "--password", "short"], "This password is too short"),
    ],
)
def test_a_person_who_cannot_be_made_is_refused_with_the_reason(acme, arguments, message):
    with pytest.raises(CommandError, match=message):
        run("person", "create", *arguments)

    assert not User.objects.exists()


def test_the_operators_tenant_is_a_tenant_too(operator):
    assert run_json("connect", "smpp", "--tenant", "operator", "--secret", "s")["tenant"] == "operator"
