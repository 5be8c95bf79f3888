"""Every refusal has one shape and says what to do; nobody gets in without a live token."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from deliveries import queries
from notifyguard.accounts.models import ApiToken
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tokens import create_api_token, new_token

pytestmark = pytest.mark.django_db

DELIVERIES = "/api/v1/deliveries/"
PATHS = [DELIVERIES, f"{DELIVERIES}01990000-0000-7000-8000-000000000000/", "/api/v1/unparsed/", "/api/v1/nowhere/"]


def problem(response):
    """The body of a problem, its envelope checked."""
    body = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert (body["type"], body["status"]) == ("about:blank", response.status_code)
    return body


def with_token(header):
    return Client(headers={"Authorization": header})


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_nothing_is_told(path):
    response = Client().get(path)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="NotifyGuard API"'
    assert problem(response) == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Send an API token in the header: Authorization: Bearer ng_…",
    }


@pytest.mark.parametrize("change", ["revoked_at", "expires_at"])
def test_a_token_that_is_over_is_refused(acme, change):
    with tenant_scope(acme.id):
        row, token = create_api_token(name="old", role="viewer", tenant_id=acme.id)
        assert with_token(f"Bearer {token}").get(DELIVERIES).status_code == 200
        ApiToken.objects.filter(id=row.id).update(**{change: timezone.now() - timedelta(seconds=1)})
    response = with_token(f"Bearer {token}").get(DELIVERIES)
    assert response.status_code == 401
    assert problem(response)["detail"].startswith("This token is unknown, revoked or expired")


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer x", "Bearer ng_", "Bearer ng_é", "Bearer ng_\x00", "Token ng_" + "A" * 5000, "Basic YTpi"],
)
def test_what_is_no_token_is_refused(acme, header):
    assert problem(with_token(header).get(DELIVERIES))["status"] == 401


def test_a_token_that_was_never_issued_is_refused(acme):
    assert problem(with_token(f"Bearer ng_{new_token(acme.id)}").get(DELIVERIES))["status"] == 401


def test_the_older_scheme_word_is_taken_too(acme):
    with tenant_scope(acme.id):
        _row, token = create_api_token(name="script", role="viewer", tenant_id=acme.id)
    assert with_token(f"Token {token}").get(DELIVERIES).json()["results"] == []


def test_a_role_without_the_right_is_refused(api, acme):
    response = api(acme, "nobody").get(DELIVERIES)
    assert problem(response)["detail"] == "The role of this token does not allow it: ask your admin."
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("query", "parameter", "message"),
    [
        ("state=lost", "state", "There is no state “lost”: use accepted,"),
        ("open=perhaps", "open", "“perhaps” does not say whether it is open: use true or false."),
        ("cursor=garbage", "cursor", "This page address is damaged or belongs to another list."),
        ("limit=0", "limit", "Give a number from 1 to 200."),
        ("limit=201", "limit", "Give a number from 1 to 200."),
        ("limit=two", "limit", "Give a number from 1 to 200."),
        ("limit=²", "limit", "Give a number from 1 to 200."),
        ("sate=bounced", "sate", "There is no such parameter here. Known are: actionable, c, channel, code,"),
        ("format=xml", "format", "There is no such parameter here."),
    ],
)
def test_an_invalid_parameter_is_named_with_what_to_do(api, acme, query, parameter, message):
    response = api(acme).get(f"{DELIVERIES}?{query}")
    body = problem(response)
    assert (response.status_code, list(body["errors"])) == (400, [parameter])
    assert body["errors"][parameter][0].startswith(message)


def test_a_cursor_of_another_list_is_refused(api, acme, record, to):
    record(to("a@x.example"), to("b@x.example"))
    client = api(acme)
    cursor = client.get(f"{DELIVERIES}?limit=1").json()["next"].rpartition("cursor=")[2].partition("&")[0]
    assert problem(client.get(f"{DELIVERIES}?open=true&cursor={cursor}"))["errors"].keys() == {"cursor"}
    assert problem(client.get(f"/api/v1/unparsed/?cursor={cursor}"))["errors"].keys() == {"cursor"}


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1/nowhere/", f"{DELIVERIES}not-an-id/", PATHS[1]])
def test_what_is_not_there_is_a_problem_too(api, acme, path):
    response = api(acme).get(path)
    assert (response.status_code, problem(response)["title"]) == (404, "Not Found")


def test_a_forgotten_slash_is_added(api, acme):
    response = api(acme).get("/api/v1/deliveries?open=true")
    assert (response.status_code, response["Location"]) == (301, "/api/v1/deliveries/?open=true")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed_here(api, acme, method):
    response = getattr(api(acme), method)(DELIVERIES)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert problem(response)["detail"] == "This address only answers GET, HEAD and OPTIONS."


def test_only_json_is_answered(api, acme):
    response = api(acme).get(DELIVERIES, headers={"Accept": "text/html"})
    assert response.status_code == 406
    assert problem(response)["detail"] == "This address answers in JSON: accept application/json."


def test_our_own_trouble_is_told_without_its_inside(api, acme, monkeypatch, caplog):
    def fail(tenant_id):
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(queries, "all_deliveries", fail)
    response = api(acme).get(DELIVERIES)
    assert response.status_code == 500
    assert problem(response)["detail"].startswith("Something went wrong on our side.")
    assert "secret" not in response.content.decode()
    assert "api.failed" in caplog.text


def test_problems_are_in_the_callers_language_where_there_is_a_translation(api, acme):
    response = api(acme).get(f"{DELIVERIES}?limit=0", headers={"Accept-Language": "ja"})
    assert problem(response)["errors"].keys() == {"limit"}
    assert response["Content-Language"] == "ja"
