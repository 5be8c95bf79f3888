"""A browser and a running web part with two organisations' errors in it."""

from __future__ import annotations

import shutil

import pytest
from django.contrib.auth.hashers import make_password
from playwright.sync_api import sync_playwright

from deliveries import ledger, tallies
from deliveries.enums import Channel, Kind
from notifyguard.accounts.models import Membership, Role, User
from notifyguard.accounts.tenancy import tenant_scope
from tests.conftest import _empty_tables, make_tenant
from tests.factories import connect, event, reported
from tests.running import Product

PASSWORD = "correct horse battery"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Without these, Chromium asks for things outside this machine at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser_path() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("No Chromium here: install it (Debian: apt-get install chromium) to run the browser tests.")
    return found


@pytest.fixture(scope="module")
def site(browser_path, django_db_setup, django_db_blocker, tmp_path_factory):
    """The web part on a database with ``acme`` (English) and ``sakura`` (Japanese)."""
    with django_db_blocker.unblock():
        for slug, zone, language in (("acme", "Europe/London", "en"), ("sakura", "Asia/Tokyo", "ja")):
            _organisation(slug, zone, language)
    product = Product(tmp_path_factory.mktemp("site"))
    product.start("web")
    yield product
    product.close()
    with django_db_blocker.unblock():
        _empty_tables()


def _organisation(slug: str, zone: str, language: str) -> None:
    tenant = make_tenant(slug, timezone=zone, language=language)
    person = User.objects.create_user(f"admin@{slug}.example", language=language, name="Kim")
    person.password = make_password(PASSWORD, hasher="pbkdf2_sha256")  # the web part knows no other
    person.save()
    with tenant_scope(tenant.id):
        Membership(user=person, role=Role.ADMIN).save()
    mail, sms = connect(tenant, "smpp", name="Mail"), connect(tenant, "smpp", name="Carrier")
    failures = [
        event(
            Kind.BOUNCED, n, provider_message_id=f"{slug}-{n}", recipient=f"person{n}@example.com", title=f"Invoice {n}"
        )
        for n in range(60)
    ]
    failures.append(
        event(
            Kind.DEFERRED,
            90,
            provider_message_id=f"{slug}-d",
            recipient="slow@example.net",
            title="Survey",
            reply="452 4.2.2 The mailbox is full",
            smtp_code="452",
            enhanced_code="4.2.2",
            verdict="deferred",
        )
    )
    texts = [
        event(Kind.UNDELIVERED, 5, provider_message_id=f"{slug}-sms", recipient="+819012345678", verdict="UNDELIV/1")
    ]
    with tenant_scope(tenant.id):
        ledger.record(tenant.id, reported(*failures, connection=mail))
        ledger.record(tenant.id, reported(*texts, connection=sms, channel=Channel.SMS))
    tallies.fold(tenant.id)


@pytest.fixture(scope="module")
def chromium(site, browser_path):
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=browser_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, site):
    """A fresh page; whatever the page complains of in its console fails the test."""
    context = chromium.new_context(base_url=site.url, viewport={"width": 1440, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    # A form that was filled in wrongly is answered 422, which the browser notes as a failed load.
    assert [line for line in complaints if "status of 422" not in line] == []


@pytest.fixture
def log_in(page):
    def as_admin_of(slug: str) -> None:
        page.goto("/accounts/login/")
        page.fill("input[name=login]", f"admin@{slug}.example")
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(f"**/t/{slug}/")

    return as_admin_of
