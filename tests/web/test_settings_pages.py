"""People, API tokens, the audit log and the organisation, as its admin uses them."""

from __future__ import annotations

import re
from threading import Barrier, Thread

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client

from deliveries.models import Tally
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import ApiToken, AuditEntry, Membership, Tenant, User
from notifyguard.accounts.people import PeopleError, set_role
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tokens import find_api_token
from tests.factories import connect
from tests.web.test_connections import RECEIPT, actions, receive, words

NEW = {"email": "hana@example.test", "name": "Hana", "role": "manager"}
PASSWORD = "a long enough one"
ORGANISATION = {"name": "Acme", "timezone": "Europe/London", "language": "en", "body_days": "30", "region": "JP"}


@pytest.fixture
def boss(acme, member):
    return member("admin", acme, "boss@example.test")


@pytest.fixture
def admin(boss, client_as):
    return client_as(boss)


def membership(tenant, email) -> Membership | None:
    with tenant_scope(tenant.id):
        return Membership.objects.select_related("user").filter(user__email=email).first()


def link_in(page) -> str:
    return re.search(r'id="password-link">http://127\.0\.0\.1:8000([^<]+)<', page.content.decode())[1]


def set_password(path: str) -> None:
    browser = Client()
    page = browser.get(path, follow=True)
    browser.post(page.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})


def test_an_invited_person_sets_a_password_by_the_link_and_has_the_role(admin, acme):
    page = admin.post("/t/acme/settings/people/", NEW)
    set_password(link_in(page))

    row = membership(acme, NEW["email"])
    assert (row.role, row.user.name, row.user.check_password(PASSWORD)) == ("manager", "Hana", True)
    assert actions(acme) == ["person.added", "person.link_created"]


def test_the_link_works_once(admin):
    path = link_in(admin.post("/t/acme/settings/people/", NEW))
    set_password(path)

    again = Client().get(path, follow=True)

    assert 'name="password1"' not in again.content.decode()


def test_the_link_is_gone_when_the_page_is_opened_again(admin):
    admin.post("/t/acme/settings/people/", NEW)

    assert "password-link" not in admin.get("/t/acme/settings/people/").content.decode()


def test_a_new_link_is_for_people_without_a_password_only(admin, acme):
    page = admin.post("/t/acme/settings/people/", NEW)
    url = f"/t/acme/settings/people/{membership(acme, NEW['email']).id}/link/"

    second = admin.post(url)
    set_password(link_in(second))

    assert link_in(second) != ""
    assert admin.post(url).status_code == 404
    assert page.status_code == 200


def test_no_link_to_an_account_that_is_in_another_organisation_too(admin, acme, sakura):
    admin.post("/t/acme/settings/people/", NEW)
    row = membership(acme, NEW["email"])
    with tenant_scope(sakura.id):
        Membership(user=row.user, role="admin").save()

    assert admin.post(f"/t/acme/settings/people/{row.id}/link/").status_code == 404


def test_an_account_of_another_organisation_is_not_let_in_unless_its_address_is_verified(admin, acme, sakura, member):
    person = member("viewer", sakura, NEW["email"])

    refused = admin.post("/t/acme/settings/people/", NEW)
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    let_in = admin.post("/t/acme/settings/people/", NEW)

    assert (refused.status_code, let_in.status_code) == (422, 302)
    assert "ask the operator to do it" in words(refused)
    assert membership(acme, NEW["email"]).role == "manager"


def test_a_member_is_not_invited_twice(admin, acme):
    answer = admin.post("/t/acme/settings/people/", {**NEW, "email": "BOSS@example.test"})

    assert answer.status_code == 422
    assert "is a member already" in words(answer)


def test_a_role_can_be_changed(admin, acme, member):
    member("viewer", acme, NEW["email"])

    admin.post(f"/t/acme/settings/people/{membership(acme, NEW['email']).id}/role/", {"role": "support"})

    assert membership(acme, NEW["email"]).role == "support"
    with tenant_scope(acme.id):
        entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor) == ("person.role_changed", "boss@example.test")
    assert (entry.before["role"], entry.after["role"]) == ("viewer", "support")


def test_a_removed_person_is_a_stranger(admin, acme, member, client_as):
    person = member("viewer", acme, NEW["email"])

    admin.post(f"/t/acme/settings/people/{membership(acme, NEW['email']).id}/remove/")

    assert membership(acme, NEW["email"]) is None
    assert client_as(person).get("/t/acme/connections/").status_code == 404
    assert actions(acme) == ["person.removed"]


@pytest.mark.parametrize("act", ["remove", "role"])
def test_the_last_admin_stays(admin, acme, act):
    row = membership(acme, "boss@example.test")

    answer = admin.post(f"/t/acme/settings/people/{row.id}/{act}/", {"role": "viewer"})

    assert answer.status_code == 422
    assert "This is the last admin" in words(answer)
    assert membership(acme, "boss@example.test").role == "admin"


def test_one_of_two_admins_may_go(admin, acme, member):
    member("admin", acme, NEW["email"])

    admin.post(f"/t/acme/settings/people/{membership(acme, 'boss@example.test').id}/remove/")

    assert membership(acme, "boss@example.test") is None


def test_two_admins_who_step_down_at_the_same_moment_leave_one(committed_db, acme, member):
    people_there = [member("admin", acme, f"admin{number}@example.test") for number in range(2)]
    both, outcomes = Barrier(2), []

    def step_down(person) -> None:
        try:
            with tenant_scope(acme.id):
                both.wait(timeout=10)
                set_role(person, "viewer", actor=COMMAND_LINE)
                outcomes.append("gone")
        except PeopleError:
            outcomes.append("stayed")
        finally:
            connection.close()

    threads = [Thread(target=step_down, args=[person]) for person in people_there]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert sorted(outcomes) == ["gone", "stayed"]


def test_another_organisations_person_is_not_found(admin, sakura, member):
    member("viewer", sakura, NEW["email"])
    row = membership(sakura, NEW["email"])

    assert admin.post(f"/t/acme/settings/people/{row.id}/remove/").status_code == 404
    assert membership(sakura, NEW["email"]) is not None


def test_a_token_is_shown_once_and_works_until_it_is_revoked(admin, acme, boss):
    page = admin.post("/t/acme/settings/tokens/", {"name": "Reports", "role": "viewer", "days": "30"})
    token = re.search(r'id="new-token">([^<]+)<', page.content.decode())[1]
    row = find_api_token(token)
    again = admin.get("/t/acme/settings/tokens/").content.decode()

    admin.post(f"/t/acme/settings/tokens/{row.id}/revoke/")

    assert (row.name, row.role, row.created_by_id) == ("Reports", "viewer", boss.pk)
    assert token not in again
    assert find_api_token(token) is None
    assert actions(acme) == ["api_token.created", "api_token.revoked"]


def test_a_token_is_revoked_once(admin, acme):
    admin.post("/t/acme/settings/tokens/", {"name": "Reports", "role": "viewer", "days": "0"})
    with tenant_scope(acme.id):
        row = ApiToken.objects.get()
    url = f"/t/acme/settings/tokens/{row.id}/revoke/"

    assert (row.expires_at, admin.post(url).status_code, admin.post(url).status_code) == (None, 302, 404)


def test_a_token_without_a_name_comes_back(admin, acme):
    answer = admin.post("/t/acme/settings/tokens/", {"name": "", "role": "viewer", "days": "30"})

    assert answer.status_code == 422
    with tenant_scope(acme.id):
        assert not ApiToken.objects.exists()


def test_the_audit_log_tells_who_did_what_in_words(admin, acme):
    connect(acme, "smpp", name="Carrier")
    admin.post("/t/acme/settings/people/", NEW)

    page = words(admin.get("/t/acme/settings/audit/"))

    assert "boss@example.test Gave a person a role" in page
    assert "command line Connected a provider" in page
    assert page.index("Gave a person a role") < page.index("Connected a provider")


def test_the_audit_log_pages_through_without_losing_or_repeating_any(admin, acme):
    with tenant_scope(acme.id):
        for number in range(120):
            AuditEntry(actor=f"actor-{number:03}", action="x", object_type="x", object_id="x").save(force_insert=True)

    seen, url = [], "/t/acme/settings/audit/"
    while url:
        body = admin.get(url).content.decode()
        seen += re.findall(r"actor-(\d{3})", body)
        older = re.search(r'rel="next" href="([^"]+)"', body)
        url = f"/t/acme/settings/audit/{older[1]}" if older else None

    assert seen == [f"{number:03}" for number in reversed(range(120))]


def test_a_new_time_zone_counts_the_days_anew(admin, acme):
    receive(connect(acme, "smpp"), RECEIPT.replace(b"}", b',"done_date":"2026-11-20T23:30:00+00:00"}'))

    answers = {**ORGANISATION, "name": "Acme Ltd", "timezone": "Asia/Tokyo", "language": "ja"}
    admin.post("/t/acme/settings/organisation/", answers)

    with tenant_scope(acme.id):
        tenant = Tenant.objects.get(id=acme.id)
        days = {str(row.day) for row in Tally.objects.all()}
    assert (tenant.name, tenant.timezone, tenant.language, days) == ("Acme Ltd", "Asia/Tokyo", "ja", {"2026-11-21"})
    assert actions(acme)[-1] == "tenant.changed"


def test_a_time_zone_that_there_is_not_comes_back(admin, acme):
    answer = admin.post("/t/acme/settings/organisation/", {**ORGANISATION, "timezone": "Mars"})

    assert answer.status_code == 422
    with tenant_scope(acme.id):
        assert Tenant.objects.get(id=acme.id).timezone == "Europe/London"


def test_what_holds_for_sending_is_kept_and_audited(admin, acme):
    answers = {**ORGANISATION, "body_days": "7", "region": "gb", "sms_price": "3.5", "sms_currency": "gbp"}
    admin.post("/t/acme/settings/organisation/", answers)
    admin.post("/t/acme/settings/organisation/", {**answers, "sms_price": "3.50"})

    with tenant_scope(acme.id):
        tenant = Tenant.objects.get(id=acme.id)
        entry = AuditEntry.objects.get(action="tenant.changed")
    assert (tenant.body_days, tenant.region, str(tenant.sms_price), tenant.sms_currency) == (7, "GB", "3.5000", "GBP")
    assert (entry.before["sms_price"], entry.after["sms_price"], entry.after["body_days"]) == ("", "3.5000", "7")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"region": "XX"}, "This is not a country: use two letters such as JP."),
        ({"body_days": "0"}, "greater than or equal to 1"),
        ({"sms_price": "3"}, "Say in which currency the price is."),
        ({"sms_price": "3", "sms_currency": "£"}, "This is not a currency: use three letters such as JPY."),
    ],
)
def test_a_setting_for_sending_that_cannot_be_comes_back(admin, acme, wrong, message):
    answer = admin.post("/t/acme/settings/organisation/", {**ORGANISATION, **wrong})

    assert answer.status_code == 422
    assert message in words(answer)
    assert actions(acme) == []


@pytest.mark.parametrize("page", ["people", "tokens", "audit", "organisation", ""])
def test_the_settings_are_the_admins_alone(acme, member, client_as, page):
    url = f"/t/acme/settings/{page}/".replace("//", "/")
    answers = {role: client_as(member(role, acme)).get(url).status_code for role in ("support", "manager", "viewer")}
    stranger = client_as(member(None)).get(url).status_code

    assert (answers, stranger) == ({"support": 403, "manager": 403, "viewer": 403}, 404)


def test_nobody_is_added_by_an_address_that_is_none(admin, acme):
    answer = admin.post("/t/acme/settings/people/", {**NEW, "email": "hana"})

    assert answer.status_code == 422
    assert User.objects.count() == 1
