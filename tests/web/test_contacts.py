"""The pages of contacts: list and search, a person with findings, hints and open failures, forms, and the import."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from deliveries import contact_import as imports
from deliveries import contacts, ledger
from deliveries.models import Contact, ContactImport
from deliveries.web import contact_import as import_pages
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db

LIST = "/t/acme/contacts/"
IMPORT = f"{LIST}import/"


@pytest.fixture
def manager(acme, member, client_as):
    return client_as(member("manager", acme))


@pytest.fixture
def viewer(acme, member, client_as):
    return client_as(member("viewer", acme))


@pytest.fixture
def keep(acme):
    def make(**values) -> Contact:
        with tenant_scope(acme.id):
            return contacts.create(values, actor=COMMAND_LINE)

    return make


@pytest.fixture
def fail(acme):
    source = connect(acme, "ses")

    def make(recipient, title):
        one = event(recipient=recipient, title=title, provider_message_id=title)
        with tenant_scope(acme.id):
            ledger.record(acme.id, reported(one, connection=source))

    return make


def now(acme, contact) -> Contact:
    with tenant_scope(acme.id):
        return Contact.objects.get(id=contact.id)


def words(response) -> str:
    """The page's text, tags and repeated spaces taken out."""
    body = response.content.decode().partition("<main")[2].partition("</main>")[0]
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)))


def names(response) -> list[str]:
    return [unescape(text) for text in re.findall(r'data-row-link href="[^"]*">([^<]*)<', response.content.decode())]


def page_of(contact) -> str:
    return f"{LIST}{contact.id}/"


# ---------------------------------------------------------------- the list


def test_the_list_shows_who_has_no_address_and_the_last_changed_first(manager, keep):
    keep(name="Taro", email="taro@example.jp", external_id="p-1")
    keep(name="Hana", no_address=True)
    keep(external_id="p-3")
    response = manager.get(LIST)
    assert names(response) == ["p-3", "Hana", "Taro"]
    assert words(response).count("No address") == 1


def test_a_search_keeps_its_words_on_the_next_page(manager, keep):
    for number in range(27):
        keep(name=f"Taro {number:02}")
    keep(name="Hana")
    first = manager.get(f"{LIST}?q=taro")
    query = unescape(re.search(r'rel="next" href="(\?[^"]*)"', first.content.decode())[1])
    second = manager.get(LIST + query)
    assert [*names(first), *names(second)] == [f"Taro {number:02}" for number in range(26, -1, -1)]
    assert 'value="taro"' in second.content.decode()


def test_nothing_found_and_nothing_there_are_told_apart(manager, keep):
    assert "No contact yet" in words(manager.get(LIST))
    keep(name="Taro")
    assert "No contact begins so" in words(manager.get(f"{LIST}?q=hana"))


def test_the_list_takes_the_same_queries_for_one_row_as_for_many(manager, keep):
    keep(name="Taro 0")
    with CaptureQueriesContext(database) as one:
        manager.get(LIST)
    for number in range(20):
        keep(name=f"Taro {number}")
    with CaptureQueriesContext(database) as many:
        manager.get(LIST)
    assert len(one) == len(many)


def test_a_damaged_cursor_is_not_there(manager):
    assert manager.get(f"{LIST}?cursor=x").status_code == 404


# ---------------------------------------------------------------- one person


def test_a_persons_page_shows_what_is_wrong_and_what_is_open(manager, keep, fail):
    fail("taro@gmial.com", "October invoice")
    fail("jiro@example.jp", "Somebody else's")
    response = manager.get(page_of(keep(name="Taro", email="taro@gmial.com", phone="03-1234-5678")))
    text = words(response)
    assert names(response) == ["October invoice"]
    assert "Was taro@gmail.com meant?" in text
    assert "Not a mobile number" in text
    assert "Somebody else's" not in text


def test_a_persons_page_offers_to_resend_what_is_chosen_there_and_never_everybodys(manager, keep, fail):
    fail("taro@example.jp", "October invoice")
    html = manager.get(page_of(keep(name="Taro", email="taro@example.jp"))).content.decode()
    assert ('id="resend-chosen"' in html, 'id="resend-all"' in html) == (True, False)


def test_a_persons_page_takes_the_same_queries_for_one_failure_as_for_many(manager, keep, fail):
    fail("taro@example.jp", "notice 0")
    address = page_of(keep(name="Taro", email="taro@example.jp"))
    with CaptureQueriesContext(database) as one:
        manager.get(address)
    for number in range(1, 10):
        fail("taro@example.jp", f"notice {number}")
    with CaptureQueriesContext(database) as many:
        manager.get(address)
    assert len(one) == len(many)


def test_the_hint_is_taken_with_one_click_and_the_failure_stays_the_persons(acme, manager, keep, fail):
    fail("taro@gmial.com", "October invoice")
    kept = keep(name="Taro", email="taro@gmial.com")
    response = manager.post(f"{page_of(kept)}hint", {"email": "evil@example.org"}, follow=True)
    assert "The address is now taro@gmail.com." in words(response)
    assert names(response) == ["October invoice"]
    assert now(acme, kept).email == "taro@gmail.com"
    assert manager.post(f"{page_of(kept)}hint").status_code == 302
    assert now(acme, kept).email == "taro@gmail.com"


def test_the_form_saves_all_fields(acme, manager, keep):
    kept = keep(name="Taro", email="taro@example.jp", language="fr")
    form = {"name": "Taro Y", "email": "taro.y@example.jp", "phone": "090 1234 5678", "language": "fr"}
    response = manager.post(f"{page_of(kept)}edit", form, follow=True)
    assert "The contact is saved." in words(response)
    saved = now(acme, kept)
    assert (saved.name, saved.email, saved.phone, saved.language) == (
        *("Taro Y", "taro.y@example.jp", "+819012345678", "fr"),
    )
    assert "Nothing was changed." in words(manager.post(f"{page_of(kept)}edit", form, follow=True))


def test_a_refused_value_comes_back_on_the_page_beside_its_field(acme, manager, keep):
    kept = keep(name="Taro", phone="090-1234-5678")
    response = manager.post(f"{page_of(kept)}edit", {"name": "Taro", "phone": "0901234567"})
    assert response.status_code == 422
    assert 'id="id_phone_error"' in response.content.decode()
    assert "The number has too few digits" in words(response)
    assert now(acme, kept).phone == "+819012345678"


def test_no_address_is_switched_on_and_off(acme, manager, keep):
    kept = keep(name="Taro", email="taro@example.jp")
    shown = manager.post(f"{page_of(kept)}no-address", {"on": "1"}, follow=True)
    assert "Nothing is sent to this person." in words(shown)
    assert now(acme, kept).no_address
    manager.post(f"{page_of(kept)}no-address")
    assert not now(acme, kept).no_address


def test_a_new_contact_is_made_and_an_id_that_is_taken_named(acme, manager, keep):
    keep(name="Taro", external_id="p-1")
    refused = manager.post(f"{LIST}new/", {"name": "Hana", "external_id": "p-1"})
    assert (refused.status_code, 'id="id_external_id_error"' in refused.content.decode()) == (422, True)
    empty = manager.post(f"{LIST}new/", {"name": ""})
    assert "Enter at least a name, an id or an address." in words(empty)
    made = manager.post(f"{LIST}new/", {"name": "Hana", "external_id": "p-2"}, follow=True)
    assert made.redirect_chain[0][0] == page_of_external(acme, "p-2")


def page_of_external(acme, external_id) -> str:
    with tenant_scope(acme.id):
        return page_of(contacts.find(external_id))


def test_a_deleted_contact_is_gone(manager, keep):
    kept = keep(name="Taro")
    assert manager.post(f"{page_of(kept)}remove", follow=True).redirect_chain[0][0] == LIST
    assert manager.get(page_of(kept)).status_code == 404


def test_a_viewer_reads_without_any_form_to_change_something(viewer, keep):
    kept = keep(name="Taro", email="taro@gmial.com")
    html = viewer.get(page_of(kept)).content.decode()
    main = html.partition("<main")[2].partition("</main>")[0]
    assert "taro@gmail.com" in main
    assert 'method="post"' not in main
    assert "New contact" not in words(viewer.get(LIST))
    assert viewer.post(f"{page_of(kept)}edit", {"name": "Jiro"}).status_code == 403


# ---------------------------------------------------------------- the import


def upload(client, content: str, name: str = "people.csv"):
    return client.post(IMPORT, {"file": SimpleUploadedFile(name, content.encode())}, follow=True)


def test_a_file_is_looked_at_then_applied(acme, manager, keep):
    keep(external_id="1", name="Taro", email="old@example.jp")
    shown = upload(manager, "id,name,email,shoe size\n1,Taro,new@example.jp,42\n2,Hana,hana@example.jp,\n3,Mei,mei,\n")
    text = words(shown)
    assert "New 1 Changed 1 Unchanged 0 With errors 1" in text
    assert "Ignored columns: shoe size" in text
    assert "4 Mei email: This is no email address" in text
    address = shown.redirect_chain[0][0]
    assert "Email address old @example.jp → becomes new @example.jp" in words(manager.get(f"{address}?show=changed"))
    done = manager.post(f"{address}apply", follow=True)
    assert "The contacts are written" in words(done)
    with tenant_scope(acme.id):
        assert set(Contact.objects.values_list("external_id", "email")) == {
            *(("1", "new@example.jp"), ("2", "hana@example.jp")),
        }
        assert AuditEntry.objects.filter(action="contacts.imported").count() == 1
    assert "upload the file again" in words(manager.post(f"{address}apply", follow=True))


def test_the_rows_of_a_preview_are_paged(manager):
    shown = upload(manager, "id\n" + "".join(f"p{number}\n" for number in range(60)))
    address = shown.redirect_chain[0][0]
    second = manager.get(f"{address}?show=new&page=2")
    assert re.findall(r"\bp\d+\b", words(shown).partition("What changes")[2])[::2] == [f"p{n}" for n in range(50)]
    assert re.findall(r"\bp\d+\b", words(second).partition("What changes")[2])[::2] == [f"p{n}" for n in range(50, 60)]
    assert "No more rows here" in words(manager.get(f"{address}?show=new&page=3"))


def test_a_file_that_cannot_be_read_is_refused_on_the_form(manager):
    response = upload(manager, "Taro,taro@example.jp\n")
    assert response.status_code == 422
    assert "The first line names no column that is known here" in words(response)
    assert manager.post(IMPORT).status_code == 422


def test_the_template_can_be_filled_in_and_uploaded(manager):
    for language in ("en", "ja"):
        header = manager.get(f"{IMPORT}template", headers={"Accept-Language": language}).content.decode("utf-8-sig")
        assert "New 1 " in words(upload(manager, f"{header}1,Taro,taro@example.jp,,,,\n"))


def test_a_large_file_is_left_to_a_worker_and_the_page_follows_it(
    acme, manager, monkeypatch, django_capture_on_commit_callbacks
):
    told = []
    monkeypatch.setattr(import_pages, "AT_ONCE", 1)
    monkeypatch.setattr(import_pages, "tell", lambda *what: told.append(what))
    with django_capture_on_commit_callbacks(execute=True):
        shown = upload(manager, "id\n1\n2\n3\n")
    assert "The file is being read." in words(shown)
    address = shown.redirect_chain[0][0]
    with tenant_scope(acme.id):
        row = ContactImport.objects.get()
    assert told == [("deliveries.read_contact_import", str(acme.id), str(row.id))]
    fragment = manager.get(address, headers={"HX-Request": "true"})
    assert (fragment.content.decode().lstrip().startswith("<section"), "HX-Refresh" in fragment) == (True, False)
    imports.read(acme.id, row.id)
    assert manager.get(address, headers={"HX-Request": "true"})["HX-Refresh"] == "true"
    with django_capture_on_commit_callbacks(execute=True):
        applying = manager.post(f"{address}apply", follow=True)
    assert "The contacts are being written." in words(applying)
    assert told[1:] == [("deliveries.apply_contact_import", str(acme.id), str(row.id))]
    imports.apply(acme.id, row.id)
    assert "The contacts are written" in words(manager.get(address))


def test_a_discarded_import_is_gone(manager):
    address = upload(manager, "id\n1\n").redirect_chain[0][0]
    assert "nothing was changed" in words(manager.post(f"{address}discard", follow=True))
    assert manager.get(address).status_code == 404


def test_who_may_not_correct_may_not_import(viewer):
    assert {viewer.get(IMPORT).status_code, viewer.get(f"{IMPORT}template").status_code} == {403}
