"""From a failure to delivered, in a browser: the product's real processes, the sandbox in the provider's place."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from django.contrib.auth.hashers import make_password
from playwright.sync_api import expect

from deliveries import contacts, notices
from deliveries.accounts import set_sending
from deliveries.connections import webhook_path
from deliveries.enums import Channel
from deliveries.models import Delivery
from deliveries.notices import NewNotice, NewRecipient
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Membership, Role, User
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.demo_sandbox import settings_for
from providers.sandbox.sendgrid import make_keys
from providers.sandbox.server import Sandbox
from tests.conftest import _empty_tables, make_tenant
from tests.e2e.conftest import PASSWORD
from tests.factories import connect
from tests.running import Product

ORGANISATIONS = (("acme", "en"), ("sakura", "ja"))
PEOPLE = {"adam": "bounce+adam@mail.example", "beth": "bounce+beth@mail.example"}
VERDICT_MS = 20_000  # hand-over, the sandbox's delay, the webhook, the next look of the page


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox({"delay_s": 0.1}) as made:
        yield made


@pytest.fixture(scope="module")
def site(browser_path, sandbox, django_db_setup, django_db_blocker, tmp_path_factory):
    """The whole product, with two organisations to whose people notices have just bounced."""
    product = Product(tmp_path_factory.mktemp("whole"))
    product.environment["NOTIFYGUARD_PROVIDER_URLS"] = settings_for(sandbox.url)
    with django_db_blocker.unblock():
        tenants = [_organisation(slug, language, sandbox, product) for slug, language in ORGANISATIONS]
    product.start("web", "worker", "sender", "beat")
    with django_db_blocker.unblock():
        product.wait_until(lambda: all(map(_has_bounced, tenants)), "the first notices have bounced")
    yield product
    product.close()
    with django_db_blocker.unblock():
        _empty_tables()


def _organisation(slug, language, sandbox, product):
    tenant = make_tenant(slug, timezone="Asia/Tokyo", language=language)
    person = User.objects.create_user(f"admin@{slug}.example", language=language, name="Kim")
    person.password = make_password(PASSWORD, hasher="pbkdf2_sha256")  # the web part knows no other
    person.save()
    keys = make_keys()
    mail = connect(tenant, "sendgrid", name="Mail", public_key=keys.public_key)
    account = {"provider": "sendgrid", "api_key": f"SG.{slug}", "private_key": keys.private_pem}
    sandbox.add_account({**account, "url": product.url + webhook_path(mail)})
    with tenant_scope(tenant.id):
        Membership(user=person, role=Role.MANAGER).save()
        set_sending(mail, {"api_key": f"SG.{slug}", "sender": f"notices@{slug}.example"}, actor=COMMAND_LINE)
        for name, email in PEOPLE.items():
            contacts.create({"external_id": name, "name": name.title(), "email": email}, actor=COMMAND_LINE)
        new = NewNotice(
            channel=Channel.EMAIL,
            title="Invoice 7",
            text="Please pay.",
            recipients=tuple(NewRecipient(contact=name) for name in PEOPLE),
        )
        notices.register(new, tenant=tenant, created_by="test")
    return tenant


def _has_bounced(tenant) -> bool:
    with tenant_scope(tenant.id):
        return Delivery.objects.filter(error_state="bounced").count() == len(PEOPLE)


def _undelivered(page, slug: str) -> int:
    page.goto(f"/t/{slug}/")
    return int(page.locator(".headline-number").first.inner_text().split()[0])


def _open_failure(page, slug: str, recipient: str) -> None:
    page.goto(f"/t/{slug}/errors/?channel=email&q={quote(recipient)}")
    page.click("main tbody a >> nth=0")
    page.wait_for_url("**/deliveries/**")


@pytest.mark.parametrize(("slug", "delivered"), [("acme", "Delivered"), ("sakura", "配信済み")])
def test_a_bounced_notice_is_fixed_resent_delivered_and_gone_from_list_and_number(page, log_in, slug, delivered):
    log_in(slug)
    before = _undelivered(page, slug)
    began = time.monotonic()
    _open_failure(page, slug, "bounce+adam@")

    page.fill("#new-address", "adam@mail.example")
    page.click("#fix-this")

    expect(page.locator(".verdict .badge").first).to_have_text(delivered, timeout=VERDICT_MS)
    page.goto(f"/t/{slug}/errors/?channel=email&q=adam@mail.example")
    expect(page.locator("main tbody tr")).to_have_count(0)
    assert time.monotonic() - began < 60
    _wait_for_number(page, slug, before - 1)


@pytest.mark.parametrize(("slug", "cause"), [("acme", "Mailbox is full"), ("sakura", "メールボックス")])
def test_a_second_bounce_stays_with_its_new_reason(page, log_in, slug, cause):
    log_in(slug)
    before = _undelivered(page, slug)
    _open_failure(page, slug, "bounce+beth@")

    page.fill("#new-address", "softbounce+beth@mail.example")
    page.click("#fix-this")

    expect(page.locator(".verdict .sentence")).to_contain_text("softbounce+beth@mail.example", timeout=VERDICT_MS)
    page.goto(f"/t/{slug}/errors/?channel=email&q=softbounce")
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main tbody")).to_contain_text(cause)
    assert _undelivered(page, slug) == before


def test_nothing_was_sent_twice(site, sandbox):
    counts = sandbox.counts()

    assert (counts["twice"], counts["same_text"]) == ([], [])


def _wait_for_number(page, slug: str, number: int) -> None:
    """The number is counted together every few seconds."""
    deadline = time.monotonic() + 20
    while _undelivered(page, slug) != number:
        assert time.monotonic() < deadline
        time.sleep(0.5)
