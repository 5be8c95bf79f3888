"""Notices over the API: registered once, sent or followed, kept sealed, and erased in time."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from deliveries import contacts, retention
from deliveries.enums import Kind
from deliveries.gather import attempt_key
from deliveries.models import Attempt, Delivery, Notice
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import event
from tests.sending import sends

pytestmark = pytest.mark.django_db
PATH = "/api/v1/notifications/"
NOTICE = {"channel": "email", "title": "Invoice 7", "text": "Please pay.", "recipients": [{"recipient": "a@x.example"}]}


@pytest.fixture
def client(acme, api):
    return api(acme, "manager")


@pytest.fixture
def sending(acme):
    return sends(acme, "sendgrid")


def post(client, body, **headers):
    return client.post(PATH, body, content_type="application/json", headers=headers)


def count(tenant, model) -> int:
    with tenant_scope(tenant.id):
        return model.objects.count()


def test_a_notice_is_registered_with_a_delivery_and_an_attempt_for_each_recipient(acme, client, sending):
    answer = post(client, NOTICE | {"recipients": [{"recipient": "a@x.example"}, {"recipient": "b@x.example"}]})
    assert answer.status_code == 201
    told = [(one["recipient"], one["state"]) for one in answer.json()["deliveries"]]
    assert told == [("a@x.example", "queued"), ("b@x.example", "queued")]
    assert (count(acme, Notice), count(acme, Delivery), count(acme, Attempt)) == (1, 2, 2)
    found = client.get(f"{PATH}{answer.json()['id']}/").json()
    assert {one["id"] for one in found["deliveries"]} == {one["id"] for one in answer.json()["deliveries"]}


def test_the_same_idempotency_key_makes_nothing_twice(acme, client, sending):
    first, again = (post(client, NOTICE, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, again.status_code, first.json()) == (201, 200, again.json())
    assert count(acme, Attempt) == 1


def test_an_idempotency_key_of_another_request_is_refused(acme, client, sending):
    post(client, NOTICE | {"idempotency_key": "k1"})
    answer = post(client, NOTICE | {"idempotency_key": "k1", "title": "Another"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "This idempotency key was used for another request. Use a new one."
    assert count(acme, Notice) == 1


def test_a_contact_is_sent_to_at_its_own_address_and_by_its_name(acme, client, sending):
    with tenant_scope(acme.id):
        contacts.put("emp-1", {"name": "Sato Taro", "email": "taro@x.example"}, actor=COMMAND_LINE)
    post(client, NOTICE | {"recipients": [{"contact": "emp-1"}]})
    with tenant_scope(acme.id):
        row = Delivery.objects.get()
    assert (row.recipient, row.name) == ("taro@x.example", "Sato Taro")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"recipients": [{"contact": "nobody"}]}, "recipients.0.contact", "There is no contact with the id “nobody”."),
        ({"recipients": [{"name": "x"}]}, "recipients.0", "Name a contact or a recipient."),
        ({"recipients": []}, "recipients", "Ensure this field has at least 1 elements."),
        ({"channel": "pigeon"}, "channel", '"pigeon" is not a valid choice.'),
        ({"colour": "red"}, "colour", "There is no such field. Known are: "),
        ({"channel": "sms"}, "connection", "No connection sends through this channel yet"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_registered(acme, client, sending, change, field, words):
    answer = post(client, NOTICE | change)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert answer.json()["errors"][field][0].startswith(words)
    assert count(acme, Notice) == 0


def test_a_viewers_token_registers_nothing(acme, api, sending):
    assert post(api(acme, "viewer"), NOTICE).status_code == 403
    assert count(acme, Notice) == 0


def test_a_notice_of_the_tenants_product_joins_the_reports_that_came_before(acme, client, source, record):
    record(event(Kind.BOUNCED, recipient="A@x.example", provider_message_id="m-1", title=""))
    known = {"recipient": "a@x.example", "provider_message_id": "m-1"}
    answer = post(client, NOTICE | {"send": False, "recipients": [known], "connection": str(source.id)})
    assert [one["state"] for one in answer.json()["deliveries"]] == ["bounced"]
    with tenant_scope(acme.id):
        row = Delivery.objects.get()
    assert (str(row.notice_id), row.title, row.state) == (answer.json()["id"], "Invoice 7", "bounced")
    assert count(acme, Attempt) == 0


def test_reports_that_echo_the_attempt_find_a_notice_of_the_tenants_product(acme, client, source, record):
    answer = post(client, NOTICE | {"send": False, "connection": str(source.id)}).json()["deliveries"][0]
    record(event(Kind.BOUNCED, recipient="a@x.example", provider_message_id="m-9", attempt_ref=answer["attempt_ref"]))
    with tenant_scope(acme.id):
        row = Delivery.objects.get()
    assert (str(row.id), row.state) == (answer["id"], "bounced")
    assert row.match_key == uuid.UUID(attempt_key(source.id, answer["attempt_ref"], "a@x.example"))


def test_a_text_is_sealed_at_rest_and_erased_at_its_end_of_life(acme, client, sending):
    post(client, NOTICE)
    with tenant_scope(acme.id):
        notice = Notice.objects.get()
        assert b"Please pay" not in bytes(notice.body_sealed)
        assert notice.body_until - notice.created_at == timedelta(days=acme.body_days)
    retention.apply()
    with tenant_scope(acme.id):
        assert Notice.objects.get().body_sealed is not None
        Notice.objects.update(body_until=timezone.now())
    retention.apply()
    with tenant_scope(acme.id):
        assert Notice.objects.get().body_sealed is None
