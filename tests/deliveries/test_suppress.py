"""The suppression list: what puts a recipient on it, what never does, and what a removal means."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries import ledger, suppress, unlist
from deliveries.classify import NO_VERDICT, classify, report_of
from deliveries.enums import Channel, Kind, ProviderState
from deliveries.gather import identify
from deliveries.models import Delivery, Suppression
from deliveries.suppress import Notable, SuppressionInputError
from notifyguard.accounts.audit import COMMAND_LINE, Actor
from notifyguard.accounts.models import AuditEntry
from notifyguard.accounts.tenancy import tenant_scope
from providers.http import PermanentError, TransientError
from providers.sending import Account, Listed
from tests.conftest import make_tenant
from tests.factories import AT, connect, event, reported

TARO = "taro@example.co.jp"
DAY = 24 * 60
SUPPORT = Actor("support@example.test", 7)


def notables(events, source, channel):
    """What the ledger's caller hands over: the events that have something to say, with the verdicts on them."""
    found = []
    for one in identify(reported(*events, connection=source, channel=channel)).values():
        said = one.report.event
        verdict = classify(report_of(said, channel=channel, provider=source.provider))
        if verdict is not NO_VERDICT or said.kind == Kind.RESUBSCRIBED:
            ids = uuid.UUID(one.identity), uuid.UUID(one.match_key), source.id
            found.append(Notable(*ids, channel, said.recipient, said.occurred_at, said.kind, verdict))
    return found


@dataclass
class Desk:
    """A tenant with a provider: what it reports goes into the ledger, then past the suppression list."""

    tenant: object
    source: object

    def report(self, *events, channel=Channel.EMAIL) -> int:
        with tenant_scope(self.tenant.id):
            ledger.record(self.tenant.id, reported(*events, connection=self.source, channel=channel))
            return suppress.note(self.tenant.id, notables(events, self.source, channel))

    def entries(self, **where) -> list[Suppression]:
        with tenant_scope(self.tenant.id):
            return list(Suppression.objects.filter(**where).order_by("channel", "recipient_key", "id"))

    def listed(self) -> list[tuple]:
        """Who is on the list, why, and by which failure."""
        return [
            (row.channel, row.recipient_key, row.reason, row.code, row.since, row.event_id)
            for row in self.entries(removed_at=None)
        ]

    def reasons(self) -> dict[str, str]:
        return {row.recipient_key: row.reason for row in self.entries(removed_at=None)}

    def remove(self, *, at=None, **values) -> Suppression:
        (entry,) = self.entries(removed_at=None)
        with tenant_scope(self.tenant.id):
            suppress.remove(entry, **{"reason": "Mailbox works again", "actor": SUPPORT, **values})
            if at is not None:
                Suppression.objects.filter(id=entry.id).update(removed_at=at)
        return entry


@pytest.fixture
def desk(acme):
    return Desk(acme, connect(acme, "ses"))


@pytest.fixture
def sms(acme):
    return Desk(acme, connect(acme, "twilio"))


def message(number: int, kind: Kind = Kind.BOUNCED, minutes: float = 0, **values):
    return event(kind, minutes, provider_message_id=f"message-{number}", **values)


def lost(number: int, days: float = 0, **values):
    """An SMS that suppresses only when it repeats: the handset could not be reached."""
    values = {"recipient": "+819012345678", "verdict": "undelivered/30003", **values}
    return message(number, Kind.UNDELIVERED, days * DAY, **values)


def soft(number: int, minutes: float = 0):
    return message(
        number, Kind.BOUNCED, minutes, verdict="Transient/MailboxFull", reply="552 5.2.2 Mailbox full",
        enhanced_code="5.2.2", smtp_code="552",
    )  # fmt: skip


# ---------------------------------------------------------------- what makes an entry


def test_a_hard_bounce_puts_the_address_on_the_list_with_its_reason_and_source(desk):
    assert desk.report(message(1, recipient="Taro@Example.co.jp", verdict="Permanent/NoEmail")) == 1

    (entry,) = desk.entries()
    with tenant_scope(desk.tenant.id):
        delivery = Delivery.objects.get()
        assert suppress.delivery_behind(entry) == delivery
    assert (entry.channel, entry.recipient, entry.recipient_key) == ("email", "Taro@Example.co.jp", TARO)
    assert (entry.reason, entry.code) == ("bounce", "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE")
    assert (entry.since, entry.event_id, entry.connection_id) == (AT, delivery.event_id, desk.source.id)
    assert (entry.created_by, entry.removed_at) == ("", None)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (message(1, Kind.SPAM_REPORT, verdict="Complaint/abuse"), "spam_report"),
        (message(1, Kind.UNSUBSCRIBED), "unsubscribed"),
        (message(1, Kind.DROPPED, verdict="Permanent/UnsubscribedRecipient"), "unsubscribed"),
        (message(1, Kind.DROPPED, verdict="Complaint/OnAccountSuppressionList"), "spam_report"),
        (message(1, Kind.DROPPED, verdict="Permanent/EmailValidationSuppressed"), "invalid"),
        (message(1, Kind.DROPPED, verdict="Permanent/OnAccountSuppressionList"), "bounce"),
    ],
)
def test_an_entry_says_why(desk, failure, reason):
    desk.report(failure)
    assert desk.reasons() == {TARO: reason}


@pytest.mark.parametrize(
    "harmless",
    [
        soft(1),
        message(1, Kind.DEFERRED, reply="450 4.2.1 try later"),
        message(1, Kind.DELIVERED),
        message(1, Kind.BLOCKED, verdict="Transient/ContentRejected", reply="554 5.7.1 spam", enhanced_code="5.7.1"),
        # The provider calls it permanent, and it is the sender who was refused.
        message(
            1,
            verdict="Permanent/General",
            reply="550 5.7.26 Unauthenticated email is not accepted: SPF and DKIM did not pass",
            enhanced_code="5.7.26",
        ),
        # SES reports automatic replies so.
        message(1, verdict="Transient/General", reply="Out of office until Monday", smtp_code="", enhanced_code=""),
        message(1, Kind.DROPPED, verdict="Reject", reply="Bad content"),
    ],
)
def test_temporary_failures_our_own_faults_and_automatic_replies_never_suppress(desk, harmless):
    for number in range(4):
        assert desk.report(message_again(harmless, number)) == 0
    assert desk.entries() == []


def message_again(one, number: int):
    """The same report about another message."""
    values = {name: getattr(one, name) for name in one.__struct_fields__}
    return type(one)(**{**values, "provider_message_id": f"message-{number}"})


def test_our_own_drop_is_no_reason_for_an_entry(desk):
    assert desk.report(message(1, Kind.DROPPED, verdict="check/SUPPRESSED", reply="", enhanced_code="")) == 0
    assert desk.entries() == []


def test_the_recipients_wish_outweighs_a_bounce_whichever_comes_first(desk):
    desk.report(message(1, Kind.SPAM_REPORT, 5, verdict="Complaint/abuse"))
    desk.report(message(2, minutes=0))
    assert [entry[2:5:2] for entry in desk.listed()] == [("spam_report", AT + timedelta(minutes=5))]


def test_of_two_bounces_the_first_is_named(desk):
    desk.report(message(2, minutes=9))
    assert desk.report(message(1, minutes=3)) == 1
    assert [row.since for row in desk.entries()] == [AT + timedelta(minutes=3)]


def test_the_same_recipient_on_another_channel_is_not_suppressed(desk):
    desk.report(message(1))
    with tenant_scope(desk.tenant.id):
        assert list(suppress.suppressed(Channel.EMAIL, [TARO, "other@example.test"])) == [TARO]
        assert suppress.suppressed(Channel.LINEWORKS, [TARO]) == {}


def test_plans_find_the_suppressed_set_wise(desk):
    desk.report(message(1), message(2, Kind.DELIVERED, recipient="hanako@example.test", reply=""))
    with tenant_scope(desk.tenant.id), database.cursor() as cursor:
        cursor.execute(
            f"SELECT d.recipient FROM deliveries_delivery d WHERE {suppress.is_suppressed_sql('d')}"  # noqa: S608
        )
        assert cursor.fetchall() == [(TARO,)]


def test_a_thousand_failures_take_as_many_statements_as_one(desk):
    def statements(count: int, start: int) -> int:
        failures = [message(start + n, recipient=f"r{start + n}@example.test") for n in range(count)]
        said = notables(failures, desk.source, Channel.EMAIL)
        with tenant_scope(desk.tenant.id), CaptureQueriesContext(database) as taken:
            assert suppress.note(desk.tenant.id, said) == count
        return len(taken)

    assert statements(1, 0) == statements(1000, 10)


# ---------------------------------------------------------------- repeats


def test_only_the_third_lost_message_within_thirty_days_suppresses(sms):
    assert [sms.report(lost(n, days), channel=Channel.SMS) for n, days in ((1, 0), (2, 10), (3, 30))] == [0, 0, 1]
    (entry,) = sms.entries()
    assert (entry.reason, entry.code, entry.since) == ("bounce", "UNDELIV", AT + timedelta(days=30))


def test_three_lost_messages_over_a_longer_time_do_not_suppress(sms):
    for number, days in ((1, 0), (2, 15), (3, 30.1)):
        sms.report(lost(number, days), channel=Channel.SMS)
    assert sms.entries() == []


def test_repeats_of_one_message_count_once(sms):
    for minutes in range(5):
        sms.report(lost(1, minutes / DAY), channel=Channel.SMS)
    assert sms.entries() == []


def test_a_message_that_arrived_after_all_is_no_repeat(sms):
    delivered = message(1, Kind.DELIVERED, 3, recipient="+819012345678", reply="")
    sms.report(lost(1), delivered, channel=Channel.SMS)
    for number in (2, 3):
        sms.report(lost(number, number), channel=Channel.SMS)
    assert sms.entries() == []


def test_repeats_before_a_removal_do_not_count_after_it(sms):
    for number in (1, 2, 3):
        sms.report(lost(number, number), channel=Channel.SMS)
    sms.remove(at=AT + timedelta(days=4))

    assert [sms.report(lost(n, n), channel=Channel.SMS) for n in (5, 6, 7)] == [0, 0, 1]


# ---------------------------------------------------------------- removal


def test_what_occurred_before_a_removal_does_not_come_back(desk):
    first = message(1)
    desk.report(first)
    desk.remove(at=AT + timedelta(hours=1))

    assert desk.report(first) == 0
    assert desk.report(message(2, minutes=59)) == 0
    assert desk.listed() == []


def test_the_event_behind_a_removed_entry_does_not_make_it_again_whatever_its_clock_says(desk):
    first = message(1, minutes=120)
    desk.report(first)
    desk.remove(at=AT + timedelta(hours=1))
    assert desk.report(first) == 0


def test_a_later_failure_suppresses_again_and_the_removal_stays_on_record(desk):
    desk.report(message(1))
    desk.remove(at=AT + timedelta(hours=1))

    assert desk.report(message(2, minutes=61)) == 1
    assert [(row.since, row.removed_by) for row in desk.entries()] == [
        (AT, SUPPORT.name),
        (AT + timedelta(minutes=61), ""),
    ]


def test_a_removal_is_audited_with_who_and_why(desk):
    desk.report(message(1))
    entry = desk.remove()
    assert (entry.removed_by, entry.removal_reason) == (SUPPORT.name, "Mailbox works again")
    with tenant_scope(desk.tenant.id):
        audited = AuditEntry.objects.get(action="suppression.removed")
    assert (audited.actor, audited.object_id) == (SUPPORT.name, str(entry.id))
    assert audited.after == {"removal_reason": "Mailbox works again", "consent": False}
    assert TARO not in str([audited.before, audited.after])


def test_a_removal_asks_for_a_reason(desk):
    desk.report(message(1))
    with pytest.raises(SuppressionInputError) as refused:
        desk.remove(reason="  ")
    assert refused.value.field == "reason"


@pytest.mark.parametrize("kind", [Kind.SPAM_REPORT, Kind.UNSUBSCRIBED])
def test_a_complaint_or_unsubscription_is_only_removed_with_consent(desk, kind):
    desk.report(message(1, kind))
    with pytest.raises(SuppressionInputError) as refused:
        desk.remove()
    assert refused.value.field == "consent"
    desk.remove(consent=True)
    assert desk.listed() == []


def test_an_entry_that_became_a_complaint_meanwhile_is_not_removed_as_a_bounce(desk):
    desk.report(message(1))
    (seen,) = desk.entries()
    desk.report(message(1, Kind.SPAM_REPORT, 5))
    with tenant_scope(desk.tenant.id), pytest.raises(SuppressionInputError):
        suppress.remove(seen, reason="Works again", actor=SUPPORT)
    assert desk.reasons() == {TARO: "spam_report"}


def test_an_entry_is_removed_once(desk):
    desk.report(message(1))
    (seen,) = desk.entries()
    desk.remove()
    with tenant_scope(desk.tenant.id), pytest.raises(SuppressionInputError):
        suppress.remove(seen, reason="Again", actor=COMMAND_LINE)
    assert [row.removed_by for row in desk.entries()] == [SUPPORT.name]


# ---------------------------------------------------------------- subscribing again


def test_subscribing_again_lifts_an_unsubscription(desk):
    desk.report(message(1, Kind.UNSUBSCRIBED))
    assert desk.report(message(1, Kind.RESUBSCRIBED, 5)) == 1
    (entry,) = desk.entries()
    assert (entry.removed_at, entry.removed_by) == (AT + timedelta(minutes=5), "")


def test_an_unsubscription_reported_after_the_later_subscription_changes_nothing(desk):
    desk.report(message(1, Kind.RESUBSCRIBED, 5))
    assert desk.report(message(1, Kind.UNSUBSCRIBED)) == 0
    assert desk.listed() == []


def test_unsubscribing_once_more_after_subscribing_holds_in_any_order(desk):
    for one in (
        message(1, Kind.UNSUBSCRIBED),
        message(1, Kind.UNSUBSCRIBED, 10),
        message(1, Kind.RESUBSCRIBED, 5),
    ):
        desk.report(one)
    assert [entry[4] for entry in desk.listed()] == [AT + timedelta(minutes=10)]


def test_subscribing_again_lifts_neither_a_complaint_nor_a_bounce(desk):
    desk.report(message(1, Kind.SPAM_REPORT))
    desk.report(message(1, recipient="hanako@example.test"))
    desk.report(
        message(1, Kind.RESUBSCRIBED, 5), message(1, Kind.RESUBSCRIBED, 5, recipient="hanako@example.test", reply="")
    )
    assert desk.reasons() == {TARO: "spam_report", "hanako@example.test": "bounce"}


def test_a_bounce_that_an_unsubscription_covered_is_there_again_when_that_is_lifted(desk):
    desk.report(message(1))
    desk.report(message(2, Kind.UNSUBSCRIBED, 5))
    assert desk.reasons() == {TARO: "unsubscribed"}
    desk.report(message(2, Kind.RESUBSCRIBED, 9))
    assert [entry[2:5:2] for entry in desk.listed()] == [("bounce", AT)]


def test_an_entry_made_by_hand_outlives_an_unsubscription_that_is_lifted(desk):
    with tenant_scope(desk.tenant.id):
        suppress.add_by_hand(channel="email", recipient=TARO, note="Asked by phone", actor=SUPPORT)
    now = (timezone.now() - AT) / timedelta(minutes=1)
    desk.report(message(1, Kind.UNSUBSCRIBED, now + 5))
    desk.report(message(1, Kind.RESUBSCRIBED, now + 9))
    (entry,) = desk.entries(removed_at=None)
    assert (entry.reason, entry.note, entry.created_by) == ("manual", "Asked by phone", SUPPORT.name)


def test_a_message_that_fails_twice_counts_from_the_first_time_in_any_order(desk):
    lost = {n: message(f"lost-{n}", Kind.BOUNCED, n, verdict="Transient/General") for n in (0, 1, 3)}
    again = message("lost-0", Kind.BOUNCED, 5, verdict="Transient/General")
    desk.report(lost[0], again, lost[1])
    desk.report(lost[3])
    assert [entry[4] for entry in desk.listed()] == [AT + timedelta(minutes=3)]


KINDS = st.sampled_from(["hard", "soft", "spam", "off", "on", "lost"])
REPORTS = st.lists(st.tuples(KINDS, st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=9)


def report_of_kind(kind: str, number: int, minutes: int):
    # A message of its own for each kind: what becomes of one message is the ledger's matter.
    if kind == "soft":
        return soft(f"soft-{number}", minutes)
    if kind == "lost":  # final by the words, passing by the provider: suppresses when it repeats
        return message(f"lost-{number}", Kind.BOUNCED, minutes, verdict="Transient/General")
    kinds = {"hard": Kind.BOUNCED, "spam": Kind.SPAM_REPORT, "off": Kind.UNSUBSCRIBED, "on": Kind.RESUBSCRIBED}
    reply = {} if kind == "hard" else {"reply": "", "verdict": ""}
    return message(f"{kind}-{number}", kinds[kind], minutes, **reply)


@settings(max_examples=25)
@given(reports=REPORTS, seed=st.integers(0, 10**6))
def test_neither_order_nor_duplicates_matter(db, reports, seed):
    events = [report_of_kind(*one) for one in reports]
    straight, mixed = (Desk(tenant, connect(tenant, "ses")) for tenant in (new_tenant(), new_tenant()))
    straight.report(*events)

    shuffled = random.Random(seed)  # noqa: S311 -- for the same order again
    several = events + shuffled.choices(events, k=3)
    shuffled.shuffle(several)
    while several:
        size = shuffled.randint(1, 3)
        mixed.report(*several[:size])
        del several[:size]

    assert [said[:3] + said[4:5] for said in mixed.listed()] == [said[:3] + said[4:5] for said in straight.listed()]
    assert mixed.report(*events) == 0


def new_tenant():
    return make_tenant(f"t-{uuid.uuid4().hex}")


# ---------------------------------------------------------------- by hand


def test_an_address_added_by_hand_is_suppressed_and_audited(desk):
    with tenant_scope(desk.tenant.id):
        entry, is_new = suppress.add_by_hand(
            channel="email", recipient=" Hanako@Example.TEST ", note="Left the company", actor=SUPPORT
        )
        again, is_new_again = suppress.add_by_hand(
            channel="email", recipient="hanako@example.test", note="", actor=SUPPORT
        )
        assert [row.action for row in AuditEntry.objects.filter(object_id=str(entry.id))] == ["suppression.added"]
    assert (is_new, is_new_again, again.id) == (True, False, entry.id)
    assert desk.reasons() == {"hanako@example.test": "manual"}


def test_a_number_added_by_hand_is_the_one_that_sends_use(desk):
    with tenant_scope(desk.tenant.id):
        suppress.add_by_hand(channel="sms", recipient="090-1234-5678", note="", actor=SUPPORT, region="JP")
    assert desk.reasons() == {"+819012345678": "manual"}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"channel": "fax"}, "channel"),
        ({"recipient": "no address"}, "recipient"),
        ({"recipient": " "}, "recipient"),
        ({"note": "x" * 501}, "note"),
    ],
)
def test_what_can_not_be_added_is_named(desk, values, field):
    given = {"channel": "email", "recipient": TARO, "note": "", "actor": SUPPORT, **values}
    with tenant_scope(desk.tenant.id), pytest.raises(SuppressionInputError) as refused:
        suppress.add_by_hand(**given)
    assert refused.value.field == field


# ---------------------------------------------------------------- at the provider


class Lists:
    """A provider's lists; ``keeps`` stay listed whatever is deleted, ``fails`` is raised instead of an answer."""

    def __init__(self, *names, keeps=(), fails=None):
        self.names, self.keeps, self.fails, self.calls = list(names), keeps, fails, []

    def listed(self, recipient, account):
        assert account.values == {"api_key": "k"}
        assert not database.in_atomic_block
        if self.fails:
            raise self.fails
        return [Listed(list_name=name, recipient=recipient) for name in self.names]

    def unlist(self, entry, account):
        self.calls.append((entry.list_name, entry.recipient))
        if entry.list_name not in self.keeps:
            self.names.remove(entry.list_name)


@pytest.fixture
def at_provider(committed_db, acme, monkeypatch):
    """A removed bounce whose provider answers as given; ``run`` works the removals and returns the entry."""
    desk = Desk(acme, connect(acme, "sendgrid", public_key=public_key()))

    def run(lists, *, failure=None, **removal):
        desk.report(failure or message(1, verdict="bounce/invalid", recipient="Taro@Example.co.jp"))
        desk.remove(**removal)
        return again(lists)

    def again(lists, account=Account(values={"api_key": "k"})):  # noqa: B008 -- never changed
        monkeypatch.setitem(unlist.LISTS, "sendgrid", lists)
        monkeypatch.setattr(unlist, "account_of", lambda _id: account)
        unlist.take_off(acme.id)
        (entry,) = desk.entries()
        return entry

    run.again, run.desk = again, desk
    return run


def public_key() -> str:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return "".join(pem.splitlines()[1:-1])


def test_a_removal_needs_nothing_where_the_provider_keeps_no_list(sms):
    for number in (1, 2, 3):
        sms.report(lost(number, number), channel=Channel.SMS)
    sms.remove()
    assert [row.provider_state for row in sms.entries()] == [ProviderState.NOT_NEEDED]


def test_the_address_is_taken_off_the_providers_lists_and_read_back(at_provider):
    lists = Lists("bounces", "blocks", "invalid_emails")
    entry = at_provider(lists)
    assert lists.calls == [("bounces", "Taro@Example.co.jp"), ("invalid_emails", "Taro@Example.co.jp")]
    assert (entry.provider_state, entry.provider_answer) == ("removed", "taken_off: bounces, invalid_emails")
    assert entry.provider_checked_at is not None


def test_an_address_that_the_provider_does_not_list_counts_as_removed(at_provider):
    entry = at_provider(Lists())
    assert (entry.provider_state, entry.provider_answer) == ("removed", "not_listed")


def test_the_removal_of_a_bounce_leaves_the_recipients_own_wish_alone(at_provider):
    lists = Lists("bounces", "global_unsubscribes")
    entry = at_provider(lists)
    assert [name for name, _recipient in lists.calls] == ["bounces"]
    assert (entry.provider_state, entry.provider_answer) == ("failed", "consent_needed: global_unsubscribes")


def test_with_consent_a_complaint_is_removed_at_the_provider_too(at_provider):
    lists = Lists("spam_reports", "bounces")
    entry = at_provider(lists, failure=message(1, Kind.SPAM_REPORT), consent=True)
    assert (entry.provider_state, entry.provider_answer) == ("removed", "taken_off: bounces, spam_reports")


def test_an_entry_that_the_provider_still_shows_is_looked_at_again_later(at_provider):
    entry = at_provider(Lists("bounces", keeps=["bounces"]))
    assert (entry.provider_state, entry.provider_answer) == ("removing", "still_listed: bounces")

    assert at_provider.again(Lists()).provider_state == "removing"  # not yet: it was asked just now
    wait(at_provider.desk, provider_checked_at=timezone.now() - unlist.TRY_AGAIN_AFTER)
    assert at_provider.again(Lists()).provider_state == "removed"


def test_a_provider_that_does_not_answer_is_asked_for_a_day(at_provider):
    down = Lists(fails=TransientError("timeout", "No answer came in time."))
    entry = at_provider(down)
    assert (entry.provider_state, entry.provider_answer) == ("removing", "no_answer: No answer came in time.")

    wait(at_provider.desk, provider_checked_at=None, removed_at=timezone.now() - unlist.GIVE_UP_AFTER)
    assert at_provider.again(down).provider_state == "failed"


def test_a_provider_that_refuses_ends_the_removal_at_once(at_provider):
    entry = at_provider(Lists(fails=PermanentError("status", "The answer was HTTP 403.")))
    assert (entry.provider_state, entry.provider_answer) == ("failed", "refused: The answer was HTTP 403.")
    assert unlist.explain(entry.provider_answer).endswith("The answer was HTTP 403.")


def test_without_a_key_for_the_account_the_removal_fails_with_what_to_do(at_provider):
    at_provider.desk.report(message(1, verdict="bounce/invalid"))
    at_provider.desk.remove()
    entry = at_provider.again(Lists("bounces"), account=None)
    assert (entry.provider_state, entry.provider_answer) == ("failed", "no_account")


def wait(desk, **values):
    with tenant_scope(desk.tenant.id):
        Suppression.objects.update(**values)
