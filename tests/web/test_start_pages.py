"""The start page leads to the organisation, the language is remembered, and errors are pages with a way back."""

from __future__ import annotations

import re

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from notifyguard.accounts.models import Membership, User
from notifyguard.accounts.tenancy import tenant_scope

pytestmark = pytest.mark.django_db


def headings(html: str) -> list[str]:
    return re.findall(r"<h1>(.*?)</h1>", html)


def test_whoever_has_one_organisation_starts_on_its_dashboard(acme, member, client_as):
    assert client_as(member("viewer", acme)).get("/").headers["Location"] == "/t/acme/"


def test_whoever_has_several_organisations_chooses(acme, sakura, member, client_as):
    person = member("viewer", acme)
    with tenant_scope(sakura.id):
        Membership(user=person, role="viewer").save()
    html = client_as(person).get("/").content.decode()
    assert re.findall(r'<li><a href="([^"]*)">', html) == ["/t/acme/", "/t/sakura/"]


def test_whoever_has_no_organisation_is_told_whom_to_ask(operator, member, client_as):
    html = client_as(member(None, email="new@example.test")).get("/").content.decode()
    assert "You are logged in as new@example.test. Ask an admin of your organisation to invite this address." in html


def test_a_persons_language_is_kept_in_their_account_and_the_page_stays(acme, member, client_as):
    person = member("viewer", acme)
    client = client_as(person)
    answer = client.post("/language/", {"language": "ja", "next": "/t/acme/errors/?q=taro"})
    assert answer.headers["Location"] == "/t/acme/errors/?q=taro"
    assert User.objects.get(pk=person.pk).language == "ja"
    assert '<html lang="ja">' in client.get("/t/acme/errors/").content.decode()


def test_before_the_login_a_cookie_keeps_the_language(operator, client):
    client.post("/language/", {"language": "ja", "next": "/accounts/login/"})
    assert '<html lang="ja">' in client.get("/accounts/login/").content.decode()


@pytest.mark.parametrize("page", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_the_language_choice_leads_nowhere_else(operator, client, page):
    assert client.post("/language/", {"language": "ja", "next": page}).headers["Location"] == "/"


def test_a_language_that_is_not_offered_changes_nothing(acme, member, client_as):
    person = member("viewer", acme)
    client_as(person).post("/language/", {"language": "tlh", "next": "/"})
    assert User.objects.get(pk=person.pk).language == ""


def test_a_strangers_address_is_a_page_with_a_way_back(acme, member, client_as):
    answer = client_as(member(None)).get("/t/acme/")
    assert (answer.status_code, headings(answer.content.decode())) == (404, ["Page not found"])
    assert '<a class="button primary" href="/">' in answer.content.decode()


def test_a_role_that_is_not_enough_is_told_so(acme, member, client_as):
    answer = client_as(member("viewer", acme)).get("/t/acme/settings/tokens/")
    assert (answer.status_code, headings(answer.content.decode())) == (403, ["Your role does not allow this"])


def test_the_page_for_our_own_errors_needs_no_database_and_no_request():
    with translation.override("en"):
        assert headings(render_to_string("500.html")) == ["Something went wrong on our side"]


def test_the_login_page_offers_a_passkey_and_no_sign_up(operator, client):
    html = client.get("/accounts/login/").content.decode()
    assert re.findall(r'<button class="[^"]*"[^>]*>([^<]*)</button>', html) == ["Sign in", "Sign in with a passkey"]
    assert "/accounts/signup/" not in html


@pytest.mark.parametrize(
    "path", ["/accounts/2fa/", "/accounts/password/change/", "/accounts/logout/", "/accounts/email/", "/"]
)
def test_pages_of_a_person_have_no_inline_style_or_script(operator, member, client_as, path):
    html = client_as(member(None)).get(path).content.decode()
    runs = [tag for tag in re.findall(r"<script\b[^>]*>", html) if "src=" not in tag and "application/json" not in tag]
    assert (runs, re.findall(r"\sstyle=|<style|\son\w+=", html)) == ([], [])
