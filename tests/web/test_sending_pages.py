"""The sending section of a connection's page, as an admin uses it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from deliveries.accounts import sending_values, set_sending
from deliveries.models import Connection
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from providers.sandbox.server import Sandbox
from tests.factories import connect
from tests.web.test_connections import actions, words

KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
TWILIO = {"account_sid": "AC1", "auth_token": "very-secret", "sender": "+15005550006"}


@pytest.fixture
def admin(acme, member, client_as):
    return client_as(member("admin", acme))


@pytest.fixture
def row(acme) -> Connection:
    made = connect(acme, "twilio", name="Text messages")
    with tenant_scope(acme.id):
        set_sending(made, TWILIO, actor=COMMAND_LINE)
    return made


def page_of(row: Connection, rest: str = "") -> str:
    return f"/t/acme/connections/{row.id}/{rest}"


def kept(row: Connection) -> dict[str, str]:
    with tenant_scope(row.tenant_id):
        return sending_values(Connection.objects.get(id=row.id))


def test_connecting_leads_on_to_sending_if_asked_to(admin, acme):
    answers = {"name": "SMS", "auth_token": "t", "account_sid": "AC1", "sending": "1"}
    form = admin.post("/t/acme/connections/new/twilio/", answers, follow=True)
    assert "AC1" in form.content.decode()  # known already

    admin.post(form.request["PATH_INFO"], TWILIO)

    with tenant_scope(acme.id):
        assert sending_values(Connection.objects.get()) == TWILIO
    assert actions(acme) == ["connection.created", "connection.sends"]


def test_a_carrier_that_nothing_is_sent_through_has_no_such_section(admin, acme):
    row = connect(acme, "smpp")

    assert "let it send" not in words(admin.get("/t/acme/connections/new/smpp/"))
    assert 'id="sending"' not in admin.get(page_of(row)).content.decode()
    assert admin.get(page_of(row, "sending/")).status_code == 404


def test_secrets_are_not_shown_and_stay_when_left_empty(admin, row):
    pages = b"".join(admin.get(page_of(row, rest)).content for rest in ("", "sending/"))
    admin.post(page_of(row, "sending/"), {**TWILIO, "auth_token": "", "sender": "Acme"})

    assert b"very-secret" not in pages and b"+15005550006" in pages
    assert kept(row) == {**TWILIO, "sender": "Acme"}


def test_a_wrong_answer_comes_back_beside_its_field_without_the_secret(admin, row):
    answer = admin.post(page_of(row, "sending/"), {**TWILIO, "auth_token": "newer-secret", "per_minute": "fast"})

    assert answer.status_code == 422
    assert "Enter a number of calls, such as 240." in words(answer)
    assert b"newer-secret" not in answer.content
    assert kept(row) == TWILIO


def test_the_check_shows_its_answer_on_the_page(admin, row, settings):
    with Sandbox({"accounts": [{"provider": "twilio", "account_sid": "AC1"}]}) as sandbox:
        settings.PROVIDER_URLS = {"twilio": sandbox.url}
        good = admin.post(page_of(row, "sending/check/"))
        admin.post(page_of(row, "sending/"), {**TWILIO, "account_sid": "AC2"})
        bad = admin.post(page_of(row, "sending/check/"))

    assert "Account: works The provider lets this connection send." in words(good)
    assert "Account: does not work The provider does not accept the credentials." in words(bad)


def test_the_page_names_settings_that_disagree_and_links_to_the_field(admin, acme):
    row = connect(acme, "lineworks", bot_id="200")
    values = {"client_id": "c", "client_secret": "s", "service_account": "a.serviceaccount@acme.example"}
    admin.post(page_of(row, "sending/"), {**values, "private_key": KEY, "bot_id": "100"})

    page = admin.get(page_of(row))

    assert "The bot that sends is not the one whose callbacks are taken here." in words(page)
    assert f'href="{page_of(row, "sending/")}#id_bot_id"' in page.content.decode()


def test_one_of_several_connections_is_chosen_to_be_used_first(admin, acme, row):
    other = connect(acme, "vonage", name="Other")
    with tenant_scope(acme.id):
        set_sending(other, {"api_key": "k", "api_secret": "s", "sender": "Acme"}, actor=COMMAND_LINE)
    assert "it is used first" in words(admin.get(page_of(row)))

    admin.post(page_of(other, "sending/prefer/"))

    assert "it is used first" in words(admin.get(page_of(other)))
    assert "Another connection of the same channel is used first" in words(admin.get(page_of(row)))


def test_sending_can_be_stopped(admin, acme, row):
    admin.post(page_of(row, "sending/stop/"))

    assert kept(row) == {}
    assert "Nothing is sent through this connection." in words(admin.get(page_of(row)))
    assert actions(acme)[-1] == "connection.sends_no_more"
    assert admin.post(page_of(row, "sending/check/")).status_code == 404


def test_viewers_see_that_it_sends_but_not_with_what(acme, row, member, client_as):
    viewer = client_as(member("viewer", acme))

    page = viewer.get(page_of(row))

    assert "Notices are sent through this connection." in words(page)
    assert "+15005550006" not in page.content.decode()
    assert viewer.get(page_of(row, "sending/")).status_code == 403
