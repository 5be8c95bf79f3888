"""The published schema is that of the code, and the code keeps to it."""

from __future__ import annotations

import io

import pytest
import schemathesis
from django.conf import settings
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi import checks

from deliveries.enums import Kind
from deliveries.filters import DeliveryFilter
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tokens import create_api_token
from notifyguard.wsgi import application

pytestmark = pytest.mark.django_db

PUBLISHED = settings.BASE_DIR / "docs" / "openapi.yaml"
REGENERATE = "manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml"

schema = schemathesis.openapi.from_path(PUBLISHED)
schema.app = application


def test_the_published_schema_is_that_of_the_code():
    current = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=current)
    assert PUBLISHED.read_text(encoding="utf-8") == current.getvalue(), f"Run {REGENERATE}"


def test_the_schema_is_served_to_everybody():
    response = Client().get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert {path.split("/")[3] for path in response.json()["paths"]} == {
        "attempts",
        "contacts",
        "deliveries",
        "notifications",
        "resends",
        "suppressions",
        "unparsed",
    }


def test_the_schema_names_every_filter():
    parameters = (
        Client()
        .get("/api/v1/schema/", headers={"Accept": "application/json"})
        .json()["paths"]["/api/v1/deliveries/"]["get"]["parameters"]
    )
    named = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert named == {*DeliveryFilter.base_filters, "cursor", "limit"}


@pytest.fixture
def token(acme, record, to):
    record(to("a@x.example"), to("b@x.example", Kind.DELIVERED), to("c@x.example", Kind.DEFERRED))
    with tenant_scope(acme.id):
        return create_api_token(name="schemathesis", role="viewer", tenant_id=acme.id)[1]


@pytest.fixture
def kept_connection():
    """Calls of the bare application leave the test's own connection open, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.parametrize()
@hypothesis_settings(max_examples=15)
def test_every_answer_keeps_to_the_schema(case, token, kept_connection):
    # Not whether the right parameters are refused: a schema can't say that a cursor comes from the list itself, nor
    # that an empty parameter is one that was not given. tests/api/test_problems.py does.
    case.call_and_validate(
        headers={"Authorization": f"Bearer {token}"},
        excluded_checks=[checks.negative_data_rejection, checks.positive_data_acceptance],
    )
