"""The pages of sources: connecting, waiting for the first event, rotating keys, routes, quarantine, unreadable items."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from deliveries import inbox
from deliveries.connections import add_route, config_of, create_connection, note_rejection
from deliveries.enums import RawStatus
from deliveries.models import Connection, Delivery, Quarantined, RawWebhook, Route, UnparsedItem
from deliveries.quarantine import release
from deliveries.web.steps import FIELD_WORDS, place_of_url, steps_of
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7
from providers.registry import PROVIDERS, SENDERS
from tests.factories import connect

RECEIPT = b'{"id":"m1","to":"+819012345678","stat":"UNDELIV","err":"001","shop":"acme-shop"}'


@pytest.fixture
def admin(acme, member, client_as):
    return client_as(member("admin", acme))


@pytest.fixture
def staff(operator, member, client_as):
    """An admin of the operator's tenant."""
    return client_as(member("admin", operator))


@pytest.fixture
def public_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return "".join(pem.splitlines()[1:-1])


def rows(model, tenant, **where):
    with tenant_scope(tenant.id):
        return list(model.objects.filter(**where))


def actions(tenant) -> list[str]:
    with tenant_scope(tenant.id):
        return list(AuditEntry.objects.order_by("at", "id").values_list("action", flat=True))


def words(response) -> str:
    """The page's text, tags and repeated spaces taken out."""
    body = response.content.decode().partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def share(operator, **values) -> Connection:
    with tenant_scope(operator.id):
        return create_connection(
            provider="smpp",
            name="Shared carrier",
            values={"secret": "s"},
            actor=COMMAND_LINE,
            shared=True,
            route_by="field:shop",
            **values,
        )


def receive(connection: Connection, body: bytes) -> None:
    with tenant_scope(connection.tenant_id):
        inbox.store(connection, body=body, headers={"content-type": "application/json"}, received_at=timezone.now())
    inbox.work(connection.tenant_id)


def test_connecting_a_provider_leads_to_the_url_and_the_steps(admin, acme, public_key):
    answer = admin.post("/t/acme/connections/new/sendgrid/", {"name": "Newsletter", "public_key": public_key})

    row = rows(Connection, acme)[0]
    assert answer.headers["Location"] == f"/t/acme/connections/{row.id}/"
    page = words(admin.get(answer.headers["Location"]))
    assert f"http://127.0.0.1:8000/webhooks/sendgrid/{row.token}" in page
    assert "Waiting for the first event…" in page
    assert "Switch Signed Event Webhook on and save." in page
    assert config_of(row).secrets == (public_key,)
    assert actions(acme) == ["connection.created"]


def test_a_key_that_is_none_comes_back_with_the_reason(admin, acme):
    answer = admin.post("/t/acme/connections/new/sendgrid/", {"name": "Newsletter", "public_key": "hello"})

    assert answer.status_code == 422
    assert "This is no SendGrid verification key" in words(answer)
    assert rows(Connection, acme) == []


def test_sendgrid_can_be_connected_before_it_shows_its_key(admin, acme, public_key):
    answer = admin.post("/t/acme/connections/new/sendgrid/", {"name": "Newsletter", "public_key": ""}, follow=True)
    assert "No key is entered yet, so every request is refused." in words(answer)

    row = rows(Connection, acme)[0]
    answer = admin.post(f"/t/acme/connections/{row.id}/key/", {"secret": public_key}, follow=True)

    assert "No key is entered yet" not in words(answer)
    assert config_of(rows(Connection, acme)[0]).secrets == (public_key,)


def test_twilio_is_not_connected_without_its_token(admin, acme):
    answer = admin.post("/t/acme/connections/new/twilio/", {"name": "SMS", "auth_token": ""})

    assert answer.status_code == 422
    assert rows(Connection, acme) == []


def test_a_secret_is_never_shown_again(admin, acme):
    row = connect(acme, "twilio", auth_token="very-secret-token")

    pages = [f"/t/acme/connections/{row.id}/", f"/t/acme/connections/{row.id}/edit/", "/t/acme/settings/audit/"]

    assert all(b"very-secret-token" not in admin.get(page).content for page in pages)


def test_a_new_secret_keeps_the_one_before_it_valid(admin, acme):
    row = connect(acme, "twilio", auth_token="first")

    for secret in ("second", "third"):
        admin.post(f"/t/acme/connections/{row.id}/key/", {"secret": secret})

    assert config_of(rows(Connection, acme)[0]).secrets == ("third", "second")
    assert actions(acme) == ["connection.created", "connection.secret_rotated", "connection.secret_rotated"]


def test_the_settings_can_be_changed_and_the_change_is_audited(admin, acme):
    row = connect(acme, "ses", name="Mail")
    topic = "arn:aws:sns:eu-west-1:210987654321:other"

    admin.post(f"/t/acme/connections/{row.id}/edit/", {"name": "Mail", "topic": topic})

    assert rows(Connection, acme)[0].settings == {"topic": topic}
    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get(action="connection.changed")
    assert (entry.before["settings"], entry.after["settings"]) == (row.settings, {"topic": topic})


def test_a_topic_that_is_no_arn_is_not_saved(admin, acme):
    row = connect(acme, "ses")

    answer = admin.post(f"/t/acme/connections/{row.id}/edit/", {"name": "Mail", "topic": "my-topic"})

    assert answer.status_code == 422
    assert rows(Connection, acme)[0].settings == row.settings


def test_a_connection_that_is_off_refuses_requests_until_it_is_on_again(admin, acme, client):
    row = connect(acme, "smpp")
    url = f"/webhooks/smpp/{row.token}?notifyguard_probe=x"

    admin.post(f"/t/acme/connections/{row.id}/switch/", {})
    off = client.get(url).status_code
    admin.post(f"/t/acme/connections/{row.id}/switch/", {"on": "1"})

    assert (off, client.get(url).status_code) == (404, 200)
    assert actions(acme) == ["connection.created", "connection.switched_off", "connection.switched_on"]


def test_the_page_notices_the_first_event_and_then_stops_asking(admin, acme):
    row = connect(acme, "smpp")
    waiting = admin.get(f"/t/acme/connections/{row.id}/").content.decode()
    poll = re.search(r'hx-get="([^"]+)"', waiting)[1].replace("&amp;", "&")
    quiet = admin.get(poll, headers={"hx-request": "true"})

    receive(row, RECEIPT)
    answer = admin.get(poll, headers={"hx-request": "true"})

    assert quiet.status_code == 204
    assert "First event received" in answer.content.decode()
    assert "hx-trigger" not in answer.content.decode()


def test_while_waiting_a_refused_request_is_told_with_its_reason(admin, acme):
    row = connect(acme, "smpp")
    with tenant_scope(acme.id):
        note_rejection(row, "signature_wrong")

    page = words(admin.get(f"/t/acme/connections/{row.id}/"))

    assert "1 request came and was refused. The signature did not match" in page


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({}, "Waiting for the first event"),
        ({"last_event_at": timedelta(minutes=-5)}, "Healthy"),
        ({"last_event_at": timedelta(days=-3)}, "Silent"),
        ({"last_event_at": timedelta(days=-3), "last_rejected_at": timedelta(hours=-1)}, "Rejecting requests"),
        ({"last_event_at": timedelta(hours=-1), "last_rejected_at": timedelta(days=-3)}, "Healthy"),
        ({"last_event_at": timedelta(hours=-1), "account_status_at": timedelta(hours=-2)}, "Account suspended"),
        ({"last_event_at": timedelta(hours=-1), "account_status_at": timedelta(days=-9)}, "Healthy"),
        ({"last_event_at": timedelta(hours=-1), "disabled_at": timedelta(hours=-1)}, "Off"),
    ],
)
def test_the_list_tells_how_a_source_stands(admin, acme, values, state):
    row = connect(acme, "smpp")
    moments = {name: timezone.now() + away for name, away in values.items()}
    with tenant_scope(acme.id):
        Connection.objects.filter(id=row.id).update(account_status="compliance_suspend", **moments)

    badge = re.search(r'class="badge[^>]*>(.*?)</span>', admin.get("/t/acme/connections/").content.decode(), re.DOTALL)

    assert re.sub(r"<[^>]+>", "", badge[1]).strip() == state


def test_a_source_whose_requests_cannot_be_read_is_not_called_silent(admin, acme):
    row = connect(acme, "smpp")
    receive(row, b'{"nonsense": 1}')

    assert "Unreadable requests" in words(admin.get("/t/acme/connections/"))


def test_the_list_of_sources_takes_the_same_queries_for_one_as_for_many(admin, acme):
    def queries() -> int:
        with CaptureQueriesContext(database) as found:
            admin.get("/t/acme/connections/")
        return len(found)

    connect(acme, "smpp", name="one")
    few = queries()
    for number in range(9):
        connect(acme, "smpp", name=f"carrier {number}")

    assert queries() == few


def test_viewers_see_sources_but_neither_urls_nor_forms(acme, member, client_as):
    row = connect(acme, "smpp")
    viewer = client_as(member("viewer", acme))

    page = viewer.get(f"/t/acme/connections/{row.id}/")

    assert row.token not in page.content.decode()
    assert "<form" not in page.content.decode().partition("<main")[2]
    assert viewer.post(f"/t/acme/connections/{row.id}/key/", {"secret": "x"}).status_code == 403


def test_another_organisations_connection_is_not_found(admin, sakura):
    row = connect(sakura, "smpp")

    assert admin.get(f"/t/acme/connections/{row.id}/").status_code == 404


def test_events_without_a_route_are_held_and_released_to_the_organisation_that_gets_it(staff, operator, acme):
    row = share(operator)
    receive(row, RECEIPT)
    page = staff.get("/t/operator/quarantine/")
    assert "acme-shop" in words(page)

    answer = staff.post(
        "/t/operator/quarantine/route/",
        {"connection": str(row.id), "value": "acme-shop", "tenant": str(acme.id)},
        follow=True,
    )
    inbox.work(operator.id)

    assert "Events with “acme-shop” go to Acme. 1 held event is on its way there." in words(answer)
    assert [found.recipient for found in rows(Delivery, acme)] == ["+819012345678"]
    assert [held.released_at is not None for held in rows(Quarantined, operator)] == [True]
    assert rows(Route, acme)[0].value == "acme-shop"
    assert actions(acme) == ["route.created"]
    assert "No event is held" in words(staff.get("/t/operator/quarantine/"))


def test_releasing_twice_makes_one_delivery(operator, acme):
    row = share(operator)
    receive(row, RECEIPT)
    with tenant_scope(operator.id):
        add_route(row, tenant_id=acme.id, value="ACME-shop", actor=COMMAND_LINE)

    for _attempt in range(2):
        with tenant_scope(operator.id):
            release(row, "acme-SHOP", actor=COMMAND_LINE)
        inbox.work(operator.id)
        with tenant_scope(operator.id):
            Quarantined.objects.update(released_at=None)

    assert len(rows(Delivery, acme)) == 1


def test_a_value_leads_to_one_organisation_only(staff, operator, acme, sakura):
    row = share(operator)
    with tenant_scope(operator.id):
        add_route(row, tenant_id=acme.id, value="acme-shop", actor=COMMAND_LINE)

    answer = staff.post(f"/t/operator/connections/{row.id}/routes/", {"value": "Acme-Shop", "tenant": str(sakura.id)})

    assert answer.status_code == 422
    assert "“Acme-Shop” is routed already" in words(answer)
    assert rows(Route, sakura) == []


def test_a_route_can_be_removed_and_later_events_are_held(staff, operator, acme):
    row = share(operator)
    with tenant_scope(operator.id):
        route = add_route(row, tenant_id=acme.id, value="acme-shop", actor=COMMAND_LINE)

    staff.post(f"/t/operator/connections/{row.id}/routes/{route.id}/remove/")
    receive(row, RECEIPT)

    assert rows(Delivery, acme) == []
    assert len(rows(Quarantined, operator, released_at=None)) == 1
    assert actions(acme) == ["route.created", "route.removed"]


def test_quarantine_is_not_found_in_any_other_organisation(admin):
    assert admin.get("/t/acme/quarantine/").status_code == 404
    assert admin.post("/t/acme/quarantine/route/", {}).status_code == 404


def test_a_shared_connection_shows_in_the_sources_of_the_organisation_it_serves(admin, operator, acme):
    row = share(operator)
    with tenant_scope(operator.id):
        add_route(row, tenant_id=acme.id, value="acme-shop", actor=COMMAND_LINE)

    page = words(admin.get("/t/acme/connections/"))

    assert "Shared by the operator" in page
    assert "acme-shop" in page


def test_the_operator_can_make_a_shared_connection_on_the_page(staff, operator):
    answer = staff.post(
        "/t/operator/connections/new/smpp/",
        {"name": "Carrier", "secret": "s", "shared": "on", "route_by": "field:shop"},
    )

    assert answer.status_code == 302
    assert [(row.shared, row.route_by) for row in rows(Connection, operator)] == [(True, "field:shop")]


def test_a_route_key_that_the_provider_does_not_know_comes_back_with_those_it_does(staff, operator):
    answer = staff.post(
        "/t/operator/connections/new/smpp/", {"name": "Carrier", "secret": "s", "shared": "on", "route_by": "domain"}
    )

    assert answer.status_code == 422
    assert "SMPP carrier can be routed by field:&lt;name&gt;, not by “domain”." in words(answer)


def test_unreadable_items_are_shown_newest_first_with_reason_and_text(admin, acme):
    row = connect(acme, "smpp", name="Carrier")
    receive(row, b'[{"stat":"<b>UNDELIV</b>"},{"to":"+8190","id":"m"}]')

    page = admin.get("/t/acme/unparsed/")

    assert "Item 1 names no recipient (to)." in words(page)
    assert "&lt;b&gt;UNDELIV&lt;/b&gt;" in page.content.decode()


def test_unreadable_items_page_through_without_losing_or_repeating_any(admin, acme):
    row = connect(acme, "smpp")
    with tenant_scope(acme.id):
        UnparsedItem.objects.bulk_create(
            UnparsedItem(
                id=uuid7(),
                tenant_id=acme.id,
                connection_id=row.id,
                raw_id=uuid7(),
                item_index=number,
                received_at=timezone.now(),
                reason=f"Reason {number:02}.",
            )
            for number in range(60)
        )

    seen, url = [], "/t/acme/unparsed/"
    while url:
        body = admin.get(url).content.decode()
        seen += re.findall(r"Reason (\d\d)\.", body)
        older = re.search(r'rel="next" href="([^"]+)"', body)
        url = f"/t/acme/unparsed/{older[1]}" if older else None

    assert sorted(seen) == [f"{number:02}" for number in range(60)]


def test_failed_webhooks_are_shown_with_their_error_and_can_be_tried_again(admin, acme):
    row = connect(acme, "smpp")
    with tenant_scope(acme.id):
        raw = inbox.store(row, body=RECEIPT, headers={}, received_at=timezone.now())
        RawWebhook.objects.filter(id=raw.id).update(status=RawStatus.FAILED, error="KeyError: it broke.")
    assert "KeyError: it broke." in words(admin.get("/t/acme/unparsed/"))

    admin.post("/t/acme/unparsed/retry/")
    inbox.work(acme.id)

    assert len(rows(Delivery, acme)) == 1
    assert "Everything that arrived could be read" in words(admin.get("/t/acme/unparsed/"))


def test_a_damaged_page_address_is_not_found(admin):
    assert admin.get("/t/acme/unparsed/?cursor=hello").status_code == 404


def test_an_empty_list_of_sources_says_what_to_do(admin):
    assert "No provider is connected yet" in words(admin.get("/t/acme/connections/"))


def test_every_provider_has_steps_and_its_fields_words_reach_the_catalogues():
    asking = [*PROVIDERS.values(), *SENDERS.values()]
    asked = {text for one in asking for field in one.fields for text in (field.label, field.help)}

    assert asked - {""} == {str(word) for word in FIELD_WORDS}
    assert all(steps_of(name) and place_of_url(name) for name in PROVIDERS)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_has_a_form(admin, name):
    page = admin.get(f"/t/acme/connections/new/{name}/").content.decode()

    assert all(f'name="{field.name}"' in page for field in PROVIDERS[name].fields)
