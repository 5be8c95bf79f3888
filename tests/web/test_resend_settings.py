"""Settings of resending: the retry policy code by code, and the address where the product is asked."""

from __future__ import annotations

import re
from html import unescape

import pytest

from deliveries import asking, retry
from notifyguard.accounts.tenancy import tenant_scope

pytestmark = pytest.mark.django_db

FULL = "BOUNCE_TRANSIENT_MBX_FULL"


@pytest.fixture
def admin(acme, member, client_as):
    return client_as(member("admin", acme))


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_every_code_that_is_tried_again_stands_with_its_waits(acme, admin):
    html = admin.get("/t/acme/settings/retry/").content.decode()
    assert html.count('<th scope="row">') == len(retry.DEFAULTS)
    assert "3 times, later" in text_of(html)


def test_a_policy_is_changed_in_minutes_and_shown_as_changed(acme, admin):
    values = {"tries": "2", "first_wait": "30", "factor": "4", "longest_wait": "600", "enabled": "on"}
    assert admin.post(f"/t/acme/settings/retry/{FULL}/", values).status_code == 302
    with tenant_scope(acme.id):
        policy = retry.policies()[FULL]
    assert (policy.tries, policy.first_wait_s, policy.factor, policy.longest_wait_s) == (2, 1800, 4.0, 36_000)
    assert "changed by your organisation" in text_of(admin.get("/t/acme/settings/retry/").content.decode())


def test_a_wait_that_makes_no_sense_comes_back_with_its_field(acme, admin):
    values = {"tries": "2", "first_wait": "60", "factor": "2", "longest_wait": "10"}
    answer = admin.post(f"/t/acme/settings/retry/{FULL}/", values)
    assert answer.status_code == 422
    assert "Choose a longest wait" in answer.content.decode()
    assert admin.get("/t/acme/settings/retry/DELIVERED/").status_code == 404


def test_the_products_address_shows_its_secret_once(acme, admin):
    url = "/t/acme/settings/resend-hook/"
    first = admin.post(url, {"url": "https://product.example.com/resend"}).content.decode()
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", first)
    assert "whsec_" not in admin.get(url).content.decode()
    second = admin.post(f"{url}secret").content.decode()
    assert secret not in second
    assert "whsec_" in second
    admin.post(f"{url}remove")
    with tenant_scope(acme.id):
        assert asking.hook_of_tenant() is None
    assert admin.post(f"{url}secret").status_code == 404


def test_an_address_without_encryption_is_refused(acme, admin):
    answer = admin.post("/t/acme/settings/resend-hook/", {"url": "http://product.example.com/"})
    assert answer.status_code == 422
    assert "must begin with https://" in answer.content.decode()


def test_only_who_configures_may_change_it(acme, member, client_as):
    manager = client_as(member("manager", acme))
    paths = ["retry/", f"retry/{FULL}/", "resend-hook/"]
    assert [manager.get(f"/t/acme/settings/{path}").status_code for path in paths] == [403, 403, 403]
