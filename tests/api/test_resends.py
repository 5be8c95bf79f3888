"""Resending over the API: one delivery, a plan step by step, and what the product says of what it was asked for."""

from __future__ import annotations

import json

import pytest

from deliveries import plans
from deliveries.enums import AttemptStatus
from deliveries.models import Attempt, ResendPlan
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tokens import create_api_token
from tests.failures import bounced, sends

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(acme):
    return sends(acme)


@pytest.fixture
def call(acme, client):
    """``call("POST", path, body, role="manager")`` as a program with a token of that role."""

    def make(method, path, body=None, role="manager"):
        with tenant_scope(acme.id):
            _row, token = create_api_token(name="test", role=role, tenant_id=acme.id)
        return client.generic(
            method,
            f"/api/v1/{path}",
            json.dumps(body or {}),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )

    return make


def test_a_delivery_is_queued_once_and_then_it_is_a_conflict(acme, source, call):
    (row,) = bounced(acme, "taro@example.com")
    first = call("POST", f"deliveries/{row.id}/resend/")
    assert (first.status_code, first.json()["status"], first.json()["why"]) == (201, "queued", "resend")
    second = call("POST", f"deliveries/{row.id}/resend/")
    assert (second.status_code, second.json()["detail"]) == (409, "It is being sent again already.")


def test_a_plan_is_started_approved_and_cancelled(acme, source, call):
    bounced(acme, "a@example.com", "b@example.com")
    made = call("POST", "resends/", {"filter": "channel=email"})
    assert (made.status_code, made.json()["status"]) == (202, "preparing")
    with tenant_scope(acme.id):
        plan = ResendPlan.objects.get()
    plans.prepare(acme.id, plan.id)
    ready = call("GET", f"resends/{plan.id}/", role="viewer").json()
    assert (ready["status"], ready["total"], ready["done"], ready["preview"]) == ("ready", 2, 0, {"ready": 2})
    assert call("POST", f"resends/{plan.id}/approve/").json()["status"] == "running"
    assert call("POST", f"resends/{plan.id}/approve/").status_code == 409
    assert call("POST", f"resends/{plan.id}/cancel/").json()["status"] == "cancelled"
    assert call("POST", f"resends/{plan.id}/explode/").status_code == 404
    assert [one["id"] for one in call("GET", "resends/").json()["results"]] == [str(plan.id)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "filter"),
        ({"filter": "", "deliveries": []}, "filter"),
        ({"filter": "chanel=email"}, "filter"),
        ({"deliveries": ["x"]}, "deliveries.0"),
        ({"filter": "", "other_way": "fax"}, "other_way"),
    ],
)
def test_a_request_that_makes_no_sense_names_its_field(acme, source, call, body, field):
    answer = call("POST", "resends/", body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_the_product_tells_what_it_did_with_what_it_was_asked_for(acme, source, call):
    (row,) = bounced(acme, "taro@example.com")
    with tenant_scope(acme.id):
        attempt = Attempt(
            delivery=row, why="resend", channel="email", connection_id=source.id, status=AttemptStatus.ASKED, number=2
        )
        attempt.save()
    both = call("POST", f"attempts/{attempt.id}/", {"provider_message_id": "x", "refused": "y"})
    told = call("POST", f"attempts/{attempt.id}/", {"provider_message_id": "from-the-product"})
    again = call("POST", f"attempts/{attempt.id}/", {"refused": "no"})
    assert (both.status_code, told.status_code, again.status_code) == (400, 200, 409)
    assert (told.json()["status"], told.json()["provider_message_id"]) == ("accepted", "from-the-product")


def test_a_viewers_token_sends_nothing(acme, source, call):
    (row,) = bounced(acme, "taro@example.com")
    paths = [f"deliveries/{row.id}/resend/", "resends/"]
    assert [call("POST", path, {"filter": ""}, role="viewer").status_code for path in paths] == [403, 403]
    with tenant_scope(acme.id):
        assert not Attempt.objects.filter(status=AttemptStatus.QUEUED).exists()
