"""Contacts over the API: create or replace, read, search, forget; refusals that name the field."""

from __future__ import annotations

import json

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from deliveries import contacts
from deliveries.models import Contact
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope

pytestmark = pytest.mark.django_db

TARO = "/api/v1/contacts/p-1/"
LIST = "/api/v1/contacts/"


@pytest.fixture
def manager(acme, api):
    return api(acme, "manager")


def put(client, body, path=TARO, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body)
    return client.put(path, data, content_type="application/json", headers=headers)


def errors(response) -> dict:
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    return response.json()["errors"]


def test_a_contact_is_created_then_replaced(manager):
    created = put(manager, {"name": "Taro", "email": "taro@GMIAL.com", "phone": "03-1234-5678", "language": "ja"})
    replaced = put(manager, {"name": "Taro", "no_address": True, "email": None})
    assert (created.status_code, replaced.status_code) == (201, 200)
    shown = created.json()
    assert {name: shown[name] for name in ("external_id", "name", "email", "phone", "language", "no_address")} == {
        "external_id": "p-1",
        "name": "Taro",
        "email": "taro@gmial.com",
        "phone": "+81312345678",
        "language": "ja",
        "no_address": False,
    }
    assert shown["remarks"] == {
        "email": {"code": "", "detail": "", "hint": "taro@gmail.com"},
        "phone": {"code": "INVALID_MOBILE_NUMBER", "detail": "not_mobile", "hint": ""},
    }
    assert (replaced.json()["email"], replaced.json()["no_address"], replaced.json()["remarks"]) == ("", True, {})
    assert manager.get(TARO).json() == replaced.json()


def test_a_change_by_a_token_is_audited_as_the_tokens(acme, manager):
    put(manager, {"name": "Taro"})
    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get(action="contact.created")
    assert (entry.actor, entry.after) == ("API token script", {"external_id": "p-1", "name": "Taro"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "taro.example.jp"}, "email"),
        ({"phone": "0901234567"}, "phone"),
        ({"phone": 9012345678}, "phone"),
        ({"no_address": "yes"}, "no_address"),
        ({"external_id": "p-2"}, "external_id"),
        ({"mail": "taro@example.jp"}, "mail"),
        ({"name": "x" * 201}, "name"),
        (["name"], "body"),
        ("name", "body"),
    ],
)
def test_a_refusal_names_the_field_and_changes_nothing(acme, manager, body, field):
    response = put(manager, body)
    assert list(errors(response)) == [field]
    assert response.json()["detail"] == "The request is not valid; nothing was changed."
    with tenant_scope(acme.id):
        assert not Contact.objects.exists()


def test_what_is_no_json_is_refused(manager):
    response = put(manager, b"{")
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def test_a_refusal_is_in_the_callers_language(manager):
    response = put(manager, {"email": "x"}, **{"Accept-Language": "ja"})
    assert response["Content-Language"] == "ja"


def test_an_id_that_is_too_long_is_refused(manager):
    assert list(errors(put(manager, {"name": "Taro"}, f"/api/v1/contacts/{'x' * 101}/"))) == ["external_id"]


def test_a_viewers_token_reads_and_changes_nothing(acme, api, manager):
    put(manager, {"name": "Taro"})
    viewer = api(acme, "viewer")
    assert viewer.get(TARO).json()["name"] == "Taro"
    assert put(viewer, {"name": "Jiro"}).status_code == 403
    assert viewer.delete(TARO).status_code == 403
    assert viewer.get(TARO).json()["name"] == "Taro"


def test_a_contact_can_be_forgotten_once(manager):
    put(manager, {"name": "Taro"})
    assert (manager.delete(TARO).status_code, manager.delete(TARO).status_code) == (204, 404)
    assert manager.get(LIST).json()["results"] == []


def test_another_tenants_contact_is_not_there(manager, sakura, api):
    put(manager, {"name": "Taro"})
    stranger = api(sakura, "admin")
    assert (stranger.get(TARO).status_code, stranger.delete(TARO).status_code) == (404, 404)
    assert stranger.get(LIST).json()["results"] == []
    assert put(stranger, {"name": "Sakura"}).status_code == 201
    assert manager.get(TARO).json()["name"] == "Taro"


def test_another_method_is_told_which_are_answered(manager):
    response = manager.post(TARO, {}, content_type="application/json")
    assert response.status_code == 405
    assert response.json()["detail"] == "This address does not answer POST, only GET, HEAD, OPTIONS, PUT, DELETE."


def test_the_list_is_searched_and_paged_with_the_same_queries_for_any_size(acme, manager):
    with tenant_scope(acme.id):
        for number in range(7):
            contacts.create({"external_id": f"p-{number}", "name": f"Taro {number}"}, actor=COMMAND_LINE)
        contacts.create({"name": "Jiro"}, actor=COMMAND_LINE)
    with CaptureQueriesContext(database) as one:
        manager.get(f"{LIST}?q=taro&limit=1")
    with CaptureQueriesContext(database) as many:
        first = manager.get(f"{LIST}?q=taro&limit=5").json()
    second = manager.get(first["next"]).json()
    assert [row["name"] for row in [*first["results"], *second["results"]]] == [f"Taro {n}" for n in range(6, -1, -1)]
    assert second["next"] is None
    assert manager.get(second["previous"]).json()["results"] == first["results"]
    assert len(one) == len(many)


def test_a_mistyped_parameter_is_refused(manager):
    assert list(errors(manager.get(f"{LIST}?name=taro"))) == ["name"]
