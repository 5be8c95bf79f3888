"""A CSV of contacts: how it is read, what each row comes to, and what is written when it is applied."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from deliveries import contact_import, contacts, ledger, retention, tasks
from deliveries.contact_file import TEMPLATES, ImportFileError, columns_of, decoded, first_line
from deliveries.contact_import import CHANGED, DOUBLE, ERROR, NEW, UNCHANGED
from deliveries.models import Contact, ContactImport, Delivery
from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

HANA = Actor("hana@acme.test")
ALL = frozenset({NEW, CHANGED, UNCHANGED, ERROR, DOUBLE})


@pytest.fixture
def inside(acme):
    with tenant_scope(acme.id):
        yield acme


def received(content: str | bytes, encoding: str = "utf-8") -> ContactImport:
    data = content if isinstance(content, bytes) else content.encode(encoding)
    return contact_import.receive(io.BytesIO(data), file_name="people.csv", actor=HANA)


def read(acme, content: str | bytes, encoding: str = "utf-8") -> ContactImport:
    row = received(content, encoding)
    contact_import.read(acme.id, row.id)
    row.refresh_from_db()
    return row


def applied(acme, content: str) -> ContactImport:
    row = read(acme, content)
    assert contact_import.approve(row, actor=HANA)
    contact_import.apply(acme.id, row.id)
    row.refresh_from_db()
    return row


def counts(row: ContactImport) -> tuple[int, ...]:
    return tuple(row.counts[name] for name in ("new", "changed", "unchanged", "errors"))


def rows_of(row: ContactImport):
    return contact_import.page_of_rows(row, kinds=ALL, first=0, size=100)


def errors_of(row: ContactImport) -> list[tuple]:
    return [(item.number, error.column, error.message) for item in rows_of(row) for error in item.errors]


def emails() -> dict[str, str]:
    return dict(Contact.objects.order_by("external_id").values_list("external_id", "email"))


# ---------------------------------------------------------------- the file


@pytest.mark.django_db
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_is_read_in_every_usual_encoding(inside, encoding, separator, newline):
    lines = ["管理番号 氏名 メールアドレス 携帯電話番号", "p-1 髙橋 hana@example.jp 09012345678", ""]
    row = read(inside, newline.join(line.replace(" ", separator) for line in lines), encoding)
    assert counts(row) == (1, 0, 0, 0)
    assert rows_of(row)[0].values == {
        "external_id": "p-1",
        "name": "髙橋",
        "email": "hana@example.jp",
        "phone": "+819012345678",
    }


def test_the_templates_headers_are_understood():
    for names in TEMPLATES.values():
        assert columns_of(",".join(names)).fields == contacts.FIELDS


@pytest.mark.parametrize(
    "header", ["ID,E-mail,TEL", "id,ﾒｰﾙ,電話番号", '"I D",EMAIL ADDRESS,mobile_number', "External id\tMail\tPhone"]
)
def test_a_header_is_understood_however_it_is_written(header):
    assert columns_of(header).fields == ("external_id", "email", "phone")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "names no column"),
        (b"taro@example.jp,Taro\n", "names no column"),
        (b"email,mail\n", "Two columns"),
        (b"PK\x03\x04\x00\x00", "no text file"),
        (b"\x81\x00\xff\xff", "no text file"),
        (b"\xff\xfeabc", "no text file"),
        (b'"' + b"x" * 140_000, "first line"),
    ],
)
def test_a_file_that_is_none_is_refused_before_it_is_kept(inside, content, words):
    with pytest.raises(ImportFileError, match=words):
        received(content)
    assert not ContactImport.objects.exists()


@pytest.mark.django_db
def test_a_file_that_breaks_off_in_a_quotation_is_not_applied(inside):
    row = read(inside, 'id,name\n1,"' + "x" * 140_000)
    assert (row.counts, row.content_sealed) == ({"state": "failed", "why": "csv"}, None)


@pytest.mark.django_db
def test_a_file_with_too_many_rows_is_not_applied(inside, monkeypatch):
    monkeypatch.setattr(contact_import, "MOST_ROWS", 3)
    assert read(inside, "id\n1\n2\n3\n").counts["state"] == "ready"
    assert read(inside, "id\n1\n2\n3\n4\n").counts == {"state": "failed", "why": "rows"}


@pytest.mark.django_db
def test_the_content_is_sealed_and_a_quoted_cell_may_hold_line_breaks_across_chunks(inside):
    long = "\n".join(["x" * 60] * 3)
    content = "id,name\n" + "".join(f'{number},"{long}"\n' for number in range(2_500))
    row = read(inside, content)
    assert b"x" * 60 not in bytes(row.content_sealed)
    assert counts(row) == (2_500, 0, 0, 0)
    assert contact_import.page_of_rows(row, kinds=ALL, first=2_499, size=5)[0].values["external_id"] == "2499"


@given(st.binary(max_size=300))
def test_whatever_is_uploaded_is_read_or_refused(content):
    try:
        columns_of(first_line("".join(decoded(io.BytesIO(content)))))
    except ImportFileError as error:
        assert str(error)


# ---------------------------------------------------------------- what a row comes to


@pytest.mark.django_db
def test_each_row_is_new_changed_unchanged_or_has_errors(inside):
    contacts.create({"external_id": "1", "name": "Taro", "email": "old@example.jp"}, actor=HANA)
    contacts.create({"external_id": "2", "name": "Jiro"}, actor=HANA)
    row = read(inside, "id,name,email\n1,Taro,new@example.jp\n2,Jiro,\n3,Hana,hana@example.jp\n\n4,Mei,mei.example\n")
    assert (row.counts["state"], counts(row), row.counts["kinds"]) == ("ready", (1, 1, 1, 1), "cune")
    changed, unchanged, new, wrong = rows_of(row)
    assert [(item.number, item.kind) for item in (changed, unchanged, new, wrong)] == [
        *((2, CHANGED), (3, UNCHANGED), (4, NEW), (6, ERROR)),
    ]
    assert changed.changes == [("email", "old@example.jp", "new@example.jp")]
    assert errors_of(row) == [(6, "email", "This is no email address: it looks like name@example.com.")]


@pytest.mark.django_db
def test_errors_name_the_column_as_the_file_does(inside):
    row = read(
        inside,
        "管理番号,メールアドレス,携帯電話番号,宛先なし\n1,x,0901234567,たぶん\n2,a@example.jp,,,extra\n,,,はい\n",
    )
    assert [(number, column) for number, column, _message in errors_of(row)] == [
        *((2, "メールアドレス"), (2, "携帯電話番号"), (2, "宛先なし"), (3, ""), (4, "")),
    ]


@pytest.mark.django_db
def test_an_empty_cell_leaves_the_field_and_a_dash_empties_it(inside):
    contacts.create({"external_id": "1", "name": "Taro", "email": "t@example.jp", "phone": "090-1234-5678"}, actor=HANA)
    row = read(inside, "id,email,phone,name\n1,,-,\n")
    assert rows_of(row)[0].changes == [("phone", "+819012345678", "")]


@pytest.mark.django_db
def test_without_an_id_a_person_is_found_by_address_unless_several_share_it(inside):
    contacts.create({"external_id": "1", "name": "Taro", "email": "Taro@example.jp"}, actor=HANA)
    for name in ("Hana", "Mei"):
        contacts.create({"name": name, "phone": "090-1234-5678"}, actor=HANA)
    row = read(inside, "name,email,phone\nTaro Y,taro@EXAMPLE.jp,\nHana,,09012345678\nJiro,jiro@example.jp,\n")
    assert row.counts["kinds"] == "cen"
    assert [column for _number, column, _message in errors_of(row)] == ["phone"]


@pytest.mark.django_db
def test_the_second_row_about_a_person_is_an_error_wherever_it_stands(inside, monkeypatch):
    monkeypatch.setattr(contact_import, "BATCH", 2)
    contacts.create({"external_id": "1", "email": "taro@example.jp"}, actor=HANA)
    row = read(inside, "id,email,name\n1,,A\n2,,B\n3,,C\n,taro@example.jp,D\n2,,E\n")
    assert row.counts["kinds"] == "cnndd"
    assert [number for number, _column, _message in errors_of(row)] == [5, 6]


@pytest.mark.django_db
def test_what_is_shown_is_judged_by_how_things_stand_now(inside):
    row = read(inside, "id,name\n1,Taro\n")
    contacts.create({"external_id": "1", "name": "Tarou"}, actor=HANA)
    assert rows_of(row)[0].changes == [("name", "Tarou", "Taro")]


@pytest.mark.django_db
def test_rows_are_judged_with_the_same_number_of_queries_for_one_as_for_many(inside):
    with CaptureQueriesContext(database) as one:
        read(inside, "id,email\n1,a@example.jp\n")
    with CaptureQueriesContext(database) as many:
        read(inside, "id,email\n" + "".join(f"{n},a{n}@example.jp\n" for n in range(50)))
    assert len(one) == len(many)


# ---------------------------------------------------------------- applying


@pytest.mark.django_db
def test_applying_writes_the_good_rows_as_one_audited_act_and_erases_the_file(inside):
    contacts.create({"external_id": "1", "name": "Taro", "email": "old@example.jp"}, actor=HANA)
    row = applied(inside, "id,name,email,no_address\n1,,NEW@Example.jp,\n2,Hana,hana@example.jp,yes\n3,Mei,mei,\n")
    assert emails() == {"1": "NEW@example.jp", "2": "hana@example.jp"}
    taro, hana = Contact.objects.order_by("external_id")
    assert (taro.name, taro.email_key, hana.name_key, hana.no_address) == ("Taro", "new@example.jp", "hana", True)
    assert (row.counts, row.content_sealed) == (
        {"state": "done", "new": 1, "changed": 1, "unchanged": 0, "errors": 1},
        None,
    )
    acts = AuditEntry.objects.exclude(action="contact.created").values_list("actor", "action", "after")
    tally = {"new": 1, "changed": 1, "unchanged": 0, "errors": 1}
    assert list(acts) == [("hana@acme.test", "contacts.imported", {"file": "people.csv", **tally})]


@pytest.mark.django_db
def test_applying_twice_and_importing_again_changes_nothing_more(inside):
    content = "id,name,phone\n1,Taro,090-1234-5678\n2,Hana,\n"
    row = applied(inside, content)
    before = list(Contact.objects.order_by("id").values())
    contact_import.apply(inside.id, row.id)
    assert not contact_import.approve(row, actor=HANA)
    assert counts(applied(inside, content)) == (0, 0, 2, 0)
    assert list(Contact.objects.order_by("id").values()) == before


@pytest.mark.django_db
def test_an_import_that_nobody_approved_writes_nothing(inside):
    row = read(inside, "id\n1\n")
    contact_import.apply(inside.id, row.id)
    assert not Contact.objects.exists()


@pytest.mark.django_db
def test_what_failed_at_a_former_address_stays_the_persons(inside):
    source = connect(inside, "ses")
    for address in ("taro@old.example", "family@old.example"):
        one = event(recipient=address, provider_message_id=address)
        ledger.record(inside.id, reported(one, connection=source))
    contacts.create({"external_id": "1", "name": "Taro", "email": "Taro@old.example"}, actor=HANA)
    for number in ("2", "3"):
        contacts.create({"external_id": number, "name": number, "email": "family@old.example"}, actor=HANA)
    applied(inside, "id,email\n1,taro@new.example\n2,jiro@new.example\n")
    linked = dict(Delivery.objects.values_list("recipient", "name"))
    assert linked == {"taro@old.example": "Taro", "family@old.example": ""}


@pytest.mark.django_db
def test_another_tenants_people_are_neither_seen_nor_touched(inside, sakura):
    with tenant_scope(sakura.id):
        contacts.create({"external_id": "1", "name": "Sakura"}, actor=HANA)
    assert counts(applied(inside, "id,name\n1,Taro\n")) == (1, 0, 0, 0)
    with tenant_scope(sakura.id):
        assert list(Contact.objects.values_list("name", flat=True)) == ["Sakura"]


@pytest.mark.django_db
def test_an_import_that_nobody_applied_within_a_day_is_erased(inside):
    row, fresh = read(inside, "id\n1\n"), read(inside, "id\n2\n")
    ContactImport.objects.filter(id=row.id).update(created_at=timezone.now() - timedelta(days=1, minutes=1))
    retention.apply()
    row.refresh_from_db()
    fresh.refresh_from_db()
    assert (row.content_sealed, row.counts) == (None, {"state": "failed", "why": "old"})
    assert fresh.content_sealed
    assert not contact_import.approve(row, actor=HANA)


@pytest.mark.django_db
def test_a_discarded_import_leaves_no_trace_but_the_audit(inside):
    row = read(inside, "id\n1\n")
    contact_import.discard(row, actor=HANA)
    contact_import.read(inside.id, row.id)
    contact_import.apply(inside.id, row.id)
    assert not ContactImport.objects.exists()
    assert list(AuditEntry.objects.values_list("action", "before")) == [
        ("contacts.import_discarded", {"file": "people.csv"})
    ]


@pytest.mark.django_db
def test_the_tasks_do_the_work_once_however_often_they_run(inside):
    row = received("id,name\n1,Taro\n2,Hana\n")
    for _ in range(2):
        tasks.read_contact_import(str(inside.id), str(row.id))
    row.refresh_from_db()
    assert (counts(row), contact_import.progress(row.id)) == ((2, 0, 0, 0), 2)
    contact_import.approve(row, actor=HANA)
    for _ in range(2):
        tasks.apply_contact_import(str(inside.id), str(row.id))
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["contacts.imported"]
    assert emails() == {"1": "", "2": ""}
