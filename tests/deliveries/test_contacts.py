"""Who a recipient is: how a person's addresses are kept, found and corrected, and what of theirs is still open."""

from __future__ import annotations

import pytest

from deliveries import contacts, ledger
from deliveries.contacts import Change, ContactInputError
from deliveries.enums import Channel, Kind
from deliveries.models import Contact, Delivery
from notifyguard.accounts.audit import Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db

HANA = Actor("hana@acme.test")


@pytest.fixture(autouse=True)
def inside(acme):
    with tenant_scope(acme.id):
        yield


@pytest.fixture
def fail(acme):
    """``fail("taro@example.jp")`` puts a bounce there; returns its title."""
    source = connect(acme, "ses")

    def make(recipient, channel=Channel.EMAIL, minutes=0, kind=Kind.BOUNCED):
        title = f"notice {minutes} to {recipient}"
        one = event(kind, minutes, recipient=recipient, provider_message_id=title, title=title)
        ledger.record(acme.id, reported(one, connection=source, channel=channel))
        return title

    return make


def taro(**values) -> Contact:
    return contacts.create({"external_id": "p-1", "name": "Taro", **values}, actor=HANA)


def audited() -> list[tuple]:
    return list(AuditEntry.objects.order_by("at", "id").values_list("actor", "action", "before", "after"))


def open_titles(contact) -> list[str]:
    return [row.title for row in contacts.open_deliveries(contact)]


# ---------------------------------------------------------------- keeping


def test_a_contact_is_kept_in_the_form_in_which_it_is_sent_to():
    kept = taro(
        name="  山田　 太郎 ", email=" Taro@Example.JP ", phone="090-1234-5678", lineworks_id="Taro@acme", language="JA"
    )
    kept.refresh_from_db()
    assert (kept.name, kept.email, kept.phone, kept.lineworks_id, kept.language) == (
        *("山田 太郎", "Taro@example.jp", "+819012345678", "Taro@acme", "ja"),
    )
    assert (kept.name_key, kept.email_key, kept.lineworks_key) == ("山田 太郎", "taro@example.jp", "taro@acme")


def test_a_number_that_takes_no_sms_is_kept_with_the_finding_beside_it():
    kept = taro(phone="03-1234-5678", email="taro@gmial.com")
    assert kept.phone == "+81312345678"
    told = contacts.remarks(kept)
    assert told["phone"].finding.verdict == "check/INVALID_MOBILE_NUMBER/not_mobile"
    assert told["email"] == (None, "taro@gmail.com")


def test_a_line_works_id_of_another_organisation_has_a_finding(acme):
    connect(acme, "lineworks", domains="example.jp")
    told = contacts.remarks(taro(lineworks_id="taro@other.example"))
    assert told["lineworks_id"].finding.verdict == "check/LINEWORKS_USER_OUTSIDE_DOMAIN"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "taro.example.jp"),
        ("email", "{{email}}"),
        ("email", f"{'x' * 330}@example.jp"),
        ("phone", "0901234567"),
        ("phone", "none"),
        ("phone", "0901234ABCD"),
        ("lineworks_id", "Taro Yamada"),
        ("language", "japanese!"),
        ("name", "x" * 201),
        ("name", "a\x00b"),
        ("name", "\ud800"),
        ("shoe_size", "42"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_field_and_not_repeated(field, value):
    with pytest.raises(ContactInputError) as refused:
        taro(**{field: value})
    assert refused.value.field == field
    assert value not in refused.value.message
    assert not Contact.objects.exists()


def test_an_empty_contact_is_refused():
    with pytest.raises(ContactInputError) as refused:
        contacts.create({"name": " "}, actor=HANA)
    assert refused.value.field == "name"


def test_an_id_belongs_to_one_person_of_the_tenant(sakura):
    taro()
    with pytest.raises(ContactInputError) as refused:
        taro(name="Jiro")
    assert refused.value.field == "external_id"
    with tenant_scope(sakura.id):
        assert taro().name == "Taro"


def test_put_creates_then_replaces_and_empties_what_is_left_out():
    first, is_new = contacts.put("p-1", {"name": "Taro", "email": "taro@example.jp", "no_address": True}, actor=HANA)
    again, is_new_again = contacts.put("p-1", {"name": "Taro Y"}, actor=HANA)
    assert (is_new, is_new_again) == (True, False)
    again.refresh_from_db()
    assert (first.id, again.name, again.email, again.no_address) == (again.id, "Taro Y", "", False)


def test_what_is_kept_and_changed_is_audited_with_before_and_after():
    kept = taro(email="taro@gmial.com")
    contacts.change(kept, {"email": "taro@gmail.com", "name": "Taro"}, actor=HANA)
    contacts.change(kept, {"email": "taro@gmail.com"}, actor=HANA)
    contacts.remove(kept, actor=HANA)
    assert audited() == [
        ("hana@acme.test", "contact.created", None, {"external_id": "p-1", "name": "Taro", "email": "taro@gmial.com"}),
        ("hana@acme.test", "contact.changed", {"email": "taro@gmial.com"}, {"email": "taro@gmail.com"}),
        ("hana@acme.test", "contact.removed", {"external_id": "p-1"}, None),
    ]


def test_a_forgotten_persons_deliveries_stay_without_the_name(fail):
    fail("taro@old.example")
    kept = taro(email="taro@old.example")
    contacts.correct(kept, "email", "taro@new.example", HANA)
    assert Delivery.objects.get().name == "Taro"
    contacts.remove(kept, actor=HANA)
    assert list(Delivery.objects.values_list("contact_id", "name")) == [(None, "")]


# ---------------------------------------------------------------- correcting


def test_correcting_an_address_says_what_changed(fail):
    kept = taro(phone="+819012345678")
    assert contacts.correct(kept, "phone", "080-1234-5678", HANA) == Change("phone", "+819012345678", "+818012345678")
    assert contacts.correct(kept, "phone", "+81 80 1234 5678", HANA) is None
    with pytest.raises(ContactInputError, match="Only an address"):
        contacts.correct(kept, "name", "Jiro", HANA)


def test_what_failed_at_the_former_address_stays_the_persons(fail):
    old = fail("Taro@old.example")
    kept = taro(email="taro@old.example")
    contacts.correct(kept, "email", "taro@new.example", HANA)
    new = fail("taro@new.example", minutes=1)
    assert open_titles(kept) == [new, old]
    adopted = Delivery.objects.get(title=old)
    assert (adopted.contact_id, adopted.name) == (kept.id, "Taro")
    assert ("hana@acme.test", "contact.failures_adopted", None, {"channel": "email", "deliveries": 1}) in audited()


def test_what_failed_at_an_address_that_another_person_has_too_is_not_taken_from_them(fail):
    fail("family@example.jp")
    kept = taro(email="family@example.jp")
    contacts.create({"name": "Hanako", "email": "family@example.jp"}, actor=HANA)
    contacts.correct(kept, "email", "taro@example.jp", HANA)
    assert Delivery.objects.get().contact_id is None
    assert open_titles(kept) == []


# ---------------------------------------------------------------- finding


def test_open_failures_are_those_of_all_the_persons_addresses_in_every_channel(fail):
    kept = taro(email="taro@example.jp", phone="090-1234-5678", lineworks_id="taro@acme.example")
    mail, sms = fail("TARO@example.jp"), fail("+819012345678", Channel.SMS, 1)
    chat = fail("taro@acme.example", Channel.LINEWORKS, 2)
    fail("taro@acme.example", Channel.EMAIL, 3)  # the same words, but no address of theirs in this channel
    fail("jiro@example.jp", minutes=4)
    fail("taro@example.jp", minutes=5, kind=Kind.DELIVERED)
    assert open_titles(kept) == [chat, sms, mail]


def test_a_failure_that_is_linked_to_somebody_else_is_theirs(fail):
    fail("family@example.jp")
    kept = taro(email="family@example.jp")
    other = contacts.create({"name": "Hanako", "email": "family@example.jp"}, actor=HANA)
    Delivery.objects.update(contact_id=other.id)
    assert open_titles(kept) == []
    assert len(open_titles(other)) == 1


def test_a_contact_is_found_by_id_and_by_address(sakura):
    kept = taro(email="Taro@example.jp", phone="090-1234-5678", lineworks_id="Taro@acme")
    assert contacts.find("p-1") == kept
    assert contacts.contact_of(Channel.EMAIL, "taro@example.jp") == kept
    assert contacts.contact_of(Channel.SMS, "+819012345678") == kept
    assert contacts.contact_of(Channel.LINEWORKS, "taro@acme") == kept
    assert contacts.contact_of(Channel.EMAIL, "") is None
    assert contacts.find("") is None
    with tenant_scope(sakura.id):
        assert contacts.contact_of(Channel.EMAIL, "taro@example.jp") is None


def test_of_several_who_share_an_address_the_one_changed_last_is_meant():
    taro(email="family@example.jp")
    other = contacts.create({"name": "Hanako", "email": "family@example.jp"}, actor=HANA)
    assert contacts.contact_of(Channel.EMAIL, "family@example.jp") == other


def test_somebody_known_to_have_no_address_has_none():
    kept = taro(email="taro@example.jp", no_address=True)
    assert [contacts.address_of(kept, channel) for channel in Channel] == ["", "", ""]
    contacts.change(kept, {"no_address": False}, actor=HANA)
    assert [contacts.address_of(kept, channel) for channel in Channel] == ["taro@example.jp", "", ""]


@pytest.mark.parametrize(
    "text",
    ["山田", "ﾔﾏﾀﾞ", "TARO@ex", "taro@acme", "090-1234", "0901", "+81 90", "819012345678", "p-1", "taro"],
)
def test_a_search_is_the_beginning_of_a_name_an_address_or_a_number_or_an_id(text):
    name = "ヤマダ 太郎" if text == "ﾔﾏﾀﾞ" else "山田 太郎"
    kept = taro(name=name, email="Taro@example.jp", phone="090-1234-5678", lineworks_id="taro@acme")
    contacts.create({"name": "Jiro", "email": "jiro@example.jp", "phone": "080-1234-5678"}, actor=HANA)
    assert list(contacts.search(text)) == [kept]


@pytest.mark.parametrize("text", ["amada", "@example.jp", "1234-5678", "p-", "%", "", "\ud7ff"])
def test_a_search_finds_no_middles(text):
    taro(name="Yamada", email="taro@example.jp", phone="090-1234-5678")
    found = list(contacts.search(text))
    assert len(found) == (text == "")
