"""What a report means: every rule by its own example, the order of weighing, and what must never happen."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries.classify import NO_VERDICT, Report, Verdict, classify
from deliveries.codes import OUR_FAULTS, Fault
from deliveries.enums import Channel, Kind, Persistence, Retry, Suppress
from deliveries.rules import FAMILIES, Rule, RuleError, check_rule, load_all, load_family
from deliveries.rules.index import text_rules
from deliveries.rules.text import words_of
from providers.smtp import read_codes

HARD, SOFT = Persistence.HARD, Persistence.SOFT
UNAVAILABLE = "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE"
ON_LIST = "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST"
PERMANENT = "BOUNCE_PERMANENT_GENERAL"
FULL = "BOUNCE_TRANSIENT_MBX_FULL"
TOO_LARGE = "BOUNCE_TRANSIENT_MESSAGE_TOO_LARGE"
CONTENT = "BOUNCE_TRANSIENT_CONTENT_REJECTED"
ATTACHMENT = "BOUNCE_TRANSIENT_ATTACHMENT_REJECTED"
PASSING = "BOUNCE_TRANSIENT_GENERAL"


def of_reply(reply: str, kind: Kind = Kind.BOUNCED, provider: str = "", verdict: str = "") -> Verdict:
    return classify(Report(Channel.EMAIL, provider, kind, verdict, *read_codes("", reply), reply))


def of_verdict(provider: str, verdict: str, kind: Kind = Kind.BOUNCED) -> Verdict:
    channel = {"sendgrid": Channel.EMAIL, "ses": Channel.EMAIL, "lineworks": Channel.LINEWORKS}.get(
        provider, Channel.SMS
    )
    return classify(Report(channel, provider, kind, verdict))


def by_example(family: str, rule: Rule) -> Verdict:
    if family in ("email_replies", "email_status"):
        reply = rule.example if family == "email_replies" else ""
        return classify(Report(Channel.EMAIL, "", Kind.BOUNCED, "", *read_codes(rule.example, reply), reply))
    if family == "email_send":
        return classify(Report(Channel.EMAIL, "", Kind.FAILED, rule.example))
    if family == "kinds":
        return classify(Report(rule.channels[0] if rule.channels else Channel.EMAIL, "", Kind(rule.example)))
    return of_verdict(family, rule.example, Kind.FAILED if family == "lineworks" else Kind.REJECTED)


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("family", "rule"),
    [pytest.param(name, rule, id=rule.id) for name in FAMILIES for rule in load_family(name).rule],
)
def test_every_rule_decides_its_own_example(family, rule):
    # On SMS a kind's rule is reached by email's too, and the other way round.
    if rule.id in ("kind.deferred", "kind.expired"):
        assert classify(Report(_other_channel(rule), "", rule.kinds[0])).rule == rule.id
    else:
        assert by_example(family, rule).rule == rule.id


def _other_channel(rule: Rule) -> Channel:
    return Channel.EMAIL if rule.id == "kind.deferred" else Channel.SMS


def test_rule_ids_are_unique_and_sources_given():
    rules = load_all()
    assert len(rules) == sum(len(load_family(name).rule) for name in FAMILIES)
    assert [rule.id for rule in rules.values() if not rule.source] == []


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"reason": "bad-mood"}, "there is no reason 'bad-mood'"),
        ({"code": "BOUNCE_MAYBE"}, "there is no code 'BOUNCE_MAYBE'"),
        ({"reason": "blocked", "refined_by": ("NOPE",)}, "there is no code 'NOPE'"),
        ({}, "says neither a reason nor a code"),
    ],
)
def test_a_rule_that_contradicts_the_tables_is_refused_by_name(fields, complaint):
    with pytest.raises(RuleError, match=r"^some\.rule: ") as refused:
        check_rule(Rule(id="some.rule", source="here", example="x", **fields))
    assert str(refused.value) == f"some.rule: {complaint}"


def test_words_that_no_pattern_knows_do_not_change_what_is_found():
    """The stand-ins for unknown words are there for speed alone."""
    for name in ("email_replies", "email_send"):
        rules = text_rules(name)
        for rule in load_family(name).rule:
            whole = rules._match(b" ".join(words_of(rule.example)))
            assert rules.matching(rule.example) == whole


def test_patterns_fold_like_the_replies_they_are_searched_in():
    assert of_reply("550 5.1.1 Empfängeradresse existiert nicht").reason == "userunknown"
    assert of_reply("550 宛先のメールアドレスは存在しません").reason == "userunknown"
    assert of_reply("550 Почтовый ящик переполнен").reason == "mailboxfull"
    assert of_reply("552 La boîte aux lettres du destinataire est pleine").reason == "mailboxfull"


# ---------------------------------------------------------------- replies: what the words are about


@pytest.mark.parametrize(
    ("reply", "code", "reason"),
    [
        # full whatever the digit
        ("550 5.2.2 this person's mailbox is full", FULL, "mailboxfull"),
        ("452 4.2.2 this person's mailbox is full", FULL, "mailboxfull"),
        ("550 5.1.1 Too much mail data", FULL, "mailboxfull"),
        # 5.7.x and 5.1.x do not make an unknown user of other things
        ("550 5.7.1 This mail was taken for spam", CONTENT, "spamdetected"),
        ("550 5.1.1 Your IP address 192.0.2.7 is on a block list", PASSING, "blocked"),
        ("550 5.1.1 <me@example.com>: Sender address rejected: User unknown", PASSING, "rejected"),
        # ... unless they say so clearly
        ("550 5.7.1 <you@example.net>: there is no such user on this host", UNAVAILABLE, "userunknown"),
        # a message, not a mailbox, that is too large
        ("552 5.2.2 The size of your message is above our limit", TOO_LARGE, "mesgtoobig"),
        ("554 5.7.1 Files of type exe are forbidden as attachments", ATTACHMENT, "attachmentrejected"),
        # domains
        ("550 5.1.2 There is no A record for the domain", UNAVAILABLE, "hostunknown"),
        ("450 The lookup of this host failed, try again", PASSING, "networkerror"),
        ("unable to get mx info: SERVFAIL", PASSING, "networkerror"),
        ("556 5.1.10 example.org publishes a null MX", UNAVAILABLE, "notaccept"),
        ("450 4.1.2 Recipient domain unknown", PASSING, "hostunknown"),
        # disabled for good, or for now
        ("550 5.2.1 The mailbox you wrote to is disabled", UNAVAILABLE, "suspend"),
        ("550 5.2.1 The mailbox you wrote to is temporarily disabled", PASSING, "suspend"),
        # the recipient's own choice
        ("550 5.7.1 You are not in the address book of the recipient", PASSING, "filtered"),
        # syntax
        ("501 5.1.3 The recipient address contains illegal characters", "INVALID_EMAIL_ADDRESS", "invalidaddress"),
        # mailbox unavailable: gone with a 5, busy with a 4
        ("550 Your mail was not stored: mailbox unavailable", UNAVAILABLE, "userunknown"),
        ("450 Your mail was not stored: mailbox unavailable", PASSING, "onhold"),
        # nothing said
        ("550", PERMANENT, "onhold"),
        ("450", PASSING, "undefined"),
        ("", PASSING, "undefined"),
        ("550 Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich", PASSING, "undefined"),
    ],
)
def test_a_reply_is_weighed_by_what_it_is_about(reply, code, reason):
    verdict = of_reply(reply) if reply[3:] else classify(Report(Channel.EMAIL, "", Kind.BOUNCED, "", reply))
    assert (verdict.code, verdict.reason) == (code, reason)


@pytest.mark.parametrize(
    "reply",
    [
        "550-5.1.1 The mailbox you wrote\n550-5.1.1 to does not exist, look\n550 5.1.1 at the address again",
        "550 5.1.1 THE MAILBOX YOU WROTE   TO DOES NOT EXIST",
        "host mx.blocked-spam.example[192.0.2.9] said: 550 5.1.1 mailbox does not exist (in reply to RCPT TO command)",
        "SMTP error from remote mail server after RCPT TO:<you@example.net>: host a.example [192.0.2.9]: 550 no such user",
        "192.0.2.9 does not like recipient. Remote host said: 550 mailbox doesn't exist Giving up on 192.0.2.9.",
        "550 5.1.1 <spam-quota-full@example.net>... mailbox doesn’t exist",
    ],
)
def test_wrapping_quoting_and_names_do_not_change_the_meaning(reply):
    assert of_reply(reply).reason == "userunknown"


def test_the_words_beat_the_enhanced_code_which_beats_the_reply_code():
    assert of_reply("552 5.1.1 The mailbox is full").reason == "mailboxfull"
    assert of_reply("552 5.1.1 abracadabra").reason == "userunknown"
    assert of_reply("552 5.0.0 ").reason == "mailboxfull"


# ---------------------------------------------------------------- email providers: every signal


SENDGRID = "sendgrid"
SES = "ses"
USER_UNKNOWN = "550 5.1.1 User unknown"
LISTED_IP = "554 5.7.1 Client host [192.0.2.44] blocked using dnsbl.example"


@pytest.mark.parametrize(
    ("provider", "kind", "verdict", "reply", "code", "persistence", "suppress"),
    [
        (SENDGRID, Kind.BOUNCED, "bounce/invalid", "", UNAVAILABLE, HARD, Suppress.YES),
        (SENDGRID, Kind.BOUNCED, "bounce/invalid", LISTED_IP, UNAVAILABLE, HARD, Suppress.YES),
        (SENDGRID, Kind.BOUNCED, "bounce/mailbox", "552 5.2.2 over quota", FULL, SOFT, Suppress.NO),
        (SENDGRID, Kind.BOUNCED, "bounce/mailbox", "550 go fish", UNAVAILABLE, HARD, Suppress.YES),
        (SENDGRID, Kind.BOUNCED, "bounce/unclassified", USER_UNKNOWN, UNAVAILABLE, HARD, Suppress.YES),
        (SENDGRID, Kind.BOUNCED, "bounce/unclassified", "550 go fish", PERMANENT, HARD, Suppress.YES),
        (SENDGRID, Kind.BOUNCED, "bounce/technical", "", PERMANENT, HARD, Suppress.YES),
        (SENDGRID, Kind.BOUNCED, "bounce/unclassified", LISTED_IP, PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BOUNCED, "bounce/reputation", "", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BOUNCED, "bounce/content", "", CONTENT, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/content", "550 taken for spam", CONTENT, SOFT, Suppress.NO),
        (
            SENDGRID,
            Kind.BLOCKED,
            "blocked/content",
            "552 this message is too large for us",
            TOO_LARGE,
            SOFT,
            Suppress.NO,
        ),
        (SENDGRID, Kind.BLOCKED, "blocked/content", "552 attachment not allowed", ATTACHMENT, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/content", USER_UNKNOWN, CONTENT, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/reputation", USER_UNKNOWN, PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/frequency", "", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BOUNCED, "blocked/mailbox", "452 4.2.2 mailbox full", FULL, SOFT, Suppress.NO),
        (SENDGRID, Kind.BOUNCED, "blocked/mailbox", "550 go fish", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/technical", "", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/unclassified", "550 go fish", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.BLOCKED, "blocked/unclassified", USER_UNKNOWN, UNAVAILABLE, HARD, Suppress.AFTER_REPEATS),
        (SENDGRID, Kind.BLOCKED, "blocked/invalid", USER_UNKNOWN, UNAVAILABLE, HARD, Suppress.AFTER_REPEATS),
        (SENDGRID, Kind.BLOCKED, "blocked/invalid", "unable to get mx info", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.EXPIRED, "expired", "", "EXPIRED", SOFT, Suppress.NO),
        (SENDGRID, Kind.DROPPED, "dropped/bounced address", "", ON_LIST, HARD, Suppress.YES),
        (SENDGRID, Kind.DROPPED, "dropped/unsubscribed address", "", ON_LIST, HARD, Suppress.YES),
        (SENDGRID, Kind.DROPPED, "dropped/spam reporting address", "", ON_LIST, HARD, Suppress.YES),
        (SENDGRID, Kind.DROPPED, "dropped/invalid", "", "INVALID_EMAIL_ADDRESS", HARD, Suppress.YES),
        (SENDGRID, Kind.DROPPED, "dropped/spam content", "", "REJECTED", SOFT, Suppress.NO),
        (SENDGRID, Kind.DROPPED, "dropped/invalid smtpapi header", "", "HANDOVER_ERROR", SOFT, Suppress.NO),
        (SENDGRID, Kind.DROPPED, "dropped/recipient list over package quota", "", "HANDOVER_ERROR", SOFT, Suppress.NO),
        (SENDGRID, Kind.DROPPED, "dropped/mailbox on the moon is full", "", "REJECTED", SOFT, Suppress.NO),
        (SENDGRID, Kind.DEFERRED, "deferred", "452 4.2.2 mailbox full", FULL, SOFT, Suppress.NO),
        (SENDGRID, Kind.DEFERRED, "deferred", "451 4.7.1 taken for spam", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.DEFERRED, "deferred", "450 4.1.1 no such user", PASSING, SOFT, Suppress.NO),
        (SENDGRID, Kind.SPAM_REPORT, "spamreport", "", "SPAM_REPORTED", HARD, Suppress.YES),
        (SES, Kind.BOUNCED, "Permanent/NoEmail", LISTED_IP, UNAVAILABLE, HARD, Suppress.YES),
        (SES, Kind.BOUNCED, "Permanent/General", USER_UNKNOWN, UNAVAILABLE, HARD, Suppress.YES),
        (SES, Kind.BOUNCED, "Permanent/General", "550 5.0.0 go fish", PERMANENT, HARD, Suppress.YES),
        (SES, Kind.BOUNCED, "Permanent/General", LISTED_IP, PASSING, SOFT, Suppress.NO),
        (SES, Kind.BOUNCED, "Permanent/OfTomorrow", "", PERMANENT, HARD, Suppress.YES),
        (SES, Kind.DROPPED, "Permanent/Suppressed", USER_UNKNOWN, ON_LIST, HARD, Suppress.YES),
        (SES, Kind.DROPPED, "Permanent/OnTenantSuppressionList", "", ON_LIST, HARD, Suppress.YES),
        (SES, Kind.DROPPED, "Permanent/UnsubscribedRecipient", "", ON_LIST, HARD, Suppress.YES),
        (SES, Kind.DROPPED, "Permanent/EmailValidationSuppressed", "", "INVALID_EMAIL_ADDRESS", HARD, Suppress.YES),
        (SES, Kind.BOUNCED, "Transient/MailboxFull", "", FULL, SOFT, Suppress.NO),
        (SES, Kind.BOUNCED, "Transient/MessageTooLarge", "", TOO_LARGE, SOFT, Suppress.NO),
        (SES, Kind.BLOCKED, "Transient/ContentRejected", USER_UNKNOWN, CONTENT, SOFT, Suppress.NO),
        (SES, Kind.BLOCKED, "Transient/AttachmentRejected", "", ATTACHMENT, SOFT, Suppress.NO),
        (SES, Kind.EXPIRED, "Transient/CustomTimeoutExceeded", "", "EXPIRED", SOFT, Suppress.NO),
        (SES, Kind.BOUNCED, "Transient/General", "550 go fish", PASSING, SOFT, Suppress.NO),
        (SES, Kind.BOUNCED, "Transient/General", "550 5.4.4 abracadabra", UNAVAILABLE, HARD, Suppress.AFTER_REPEATS),
        (SES, Kind.BOUNCED, "Undetermined/Undetermined", "", "UNDELIV", SOFT, Suppress.NO),
        (SES, Kind.DROPPED, "Reject", "Bad content", "REJECTED", SOFT, Suppress.NO),
        (SES, Kind.DROPPED, "RenderingFailure", "", "HANDOVER_ERROR", SOFT, Suppress.NO),
        (SES, Kind.DEFERRED, "Delay/MailboxFull", "", FULL, SOFT, Suppress.NO),
        (SES, Kind.DEFERRED, "Delay/IPFailure", "", PASSING, SOFT, Suppress.NO),
        (SES, Kind.DEFERRED, "Delay/OfTomorrow", "", PASSING, SOFT, Suppress.NO),
        (SES, Kind.SPAM_REPORT, "Complaint/abuse", "", "SPAM_REPORTED", HARD, Suppress.YES),
        (SES, Kind.DROPPED, "Complaint/OnAccountSuppressionList", "", ON_LIST, HARD, Suppress.YES),
    ],
)
def test_each_signal_of_an_email_provider(provider, kind, verdict, reply, code, persistence, suppress):
    found = of_reply(reply, kind, provider, verdict)
    assert (found.code, found.persistence, found.suppress) == (code, persistence, suppress)


def test_the_words_refine_the_reason_of_a_specific_verdict():
    found = of_reply("550 5.1.2 Domain not found", Kind.BOUNCED, SENDGRID, "bounce/invalid")
    assert (found.code, found.reason, found.rule) == (UNAVAILABLE, "hostunknown", "reply.host-unknown")


def test_a_deferral_is_not_to_be_sent_again_while_the_provider_tries():
    assert of_reply("452 4.2.2 mailbox full", Kind.DEFERRED, SENDGRID, "deferred").retry == Retry.NO


def test_an_unsubscription_suppresses_without_being_a_failure():
    found = of_verdict(SENDGRID, "unsubscribe", Kind.UNSUBSCRIBED)
    assert (found.reason, found.suppress, found.retry) == ("unsubscribed", Suppress.YES, Retry.NO)


@pytest.mark.parametrize("kind", [Kind.ACCEPTED, Kind.DELIVERED, Kind.ENGAGED, Kind.RESUBSCRIBED])
def test_what_is_no_failure_gets_no_verdict(kind):
    assert of_reply(USER_UNKNOWN, kind, SENDGRID, "bounce/invalid") == NO_VERDICT


def test_a_word_we_do_not_know_yet_is_unclassified_whatever_comes_with_it():
    found = of_reply(USER_UNKNOWN, Kind.UNKNOWN, SENDGRID, "teleported")
    assert (found.code, found.suppress) == ("UNCLASSIFIED", Suppress.NO)


@pytest.mark.parametrize(
    ("verdict", "reply", "code", "reason", "retry"),
    [
        ("401", "Maximum credits exceeded", "HANDOVER_ERROR", "quota", Retry.LATER),
        (
            "401",
            "The provided authorization grant is invalid",
            "HANDOVER_ERROR",
            "provider_configuration",
            Retry.AFTER_FIX,
        ),
        ("403", "", "HANDOVER_ERROR", "provider_configuration", Retry.AFTER_FIX),
        ("429", "too many requests", "HANDOVER_ERROR", "speeding", Retry.NOW),
        ("503", "", "HANDOVER_ERROR", "systemerror", Retry.NOW),
        ("network", "timed out", "HANDOVER_ERROR", "networkerror", Retry.NOW),
        (
            "400",
            "personalizations.0.to.0.email is no address",
            "INVALID_EMAIL_ADDRESS",
            "invalidaddress",
            Retry.AFTER_FIX,
        ),
        ("odd", "", "HANDOVER_ERROR", "", Retry.NOW),
    ],
)
def test_a_refused_send_call_is_read_by_the_providers_words(verdict, reply, code, reason, retry):
    found = classify(Report(Channel.EMAIL, SENDGRID, Kind.FAILED, verdict, "", "", reply))
    assert (found.code, found.reason, found.retry) == (code, reason, retry)


# ---------------------------------------------------------------- SMS and LINE WORKS


@pytest.mark.parametrize(
    ("provider", "kind", "verdict", "code", "reason", "retry", "suppress"),
    [
        (
            "twilio",
            Kind.UNDELIVERED,
            "undelivered/30003",
            "UNDELIV",
            "SMS_HANDSET_UNREACHABLE",
            Retry.LATER,
            Suppress.AFTER_REPEATS,
        ),
        ("twilio", Kind.UNDELIVERED, "undelivered/30005", "UNDELIV", "SMS_NUMBER_UNKNOWN", Retry.NO, Suppress.YES),
        ("twilio", Kind.UNDELIVERED, "undelivered/30006", "UNDELIV", "SMS_LANDLINE", Retry.NO, Suppress.YES),
        ("twilio", Kind.REJECTED, "undelivered/30007", "REJECTED", "SMS_SPAM_FILTERED", Retry.AFTER_FIX, Suppress.NO),
        ("twilio", Kind.REJECTED, "failed/30034", "REJECTED", "SMS_SENDER_UNREGISTERED", Retry.AFTER_FIX, Suppress.NO),
        ("twilio", Kind.EXPIRED, "failed/30036", "EXPIRED", "expired", Retry.LATER, Suppress.NO),
        ("twilio", Kind.FAILED, "failed/21211", "INVALID_MOBILE_NUMBER", "", Retry.NO, Suppress.YES),
        ("twilio", Kind.FAILED, "failed/21610", "REJECTED", "SMS_OPTED_OUT", Retry.NO, Suppress.YES),
        ("twilio", Kind.FAILED, "failed/20003", "HANDOVER_ERROR", "SMS_AUTH_FAILED", Retry.AFTER_FIX, Suppress.NO),
        ("twilio", Kind.UNDELIVERED, "undelivered/", "UNDELIV", "undefined", Retry.LATER, Suppress.AFTER_REPEATS),
        ("twilio", Kind.UNDELIVERED, "undelivered/39999", "UNDELIV", "undefined", Retry.LATER, Suppress.AFTER_REPEATS),
        ("vonage", Kind.UNDELIVERED, "failed/3", "UNDELIV", "SMS_NUMBER_UNKNOWN", Retry.NO, Suppress.YES),
        ("vonage", Kind.REJECTED, "rejected/6", "REJECTED", "SMS_SPAM_FILTERED", Retry.AFTER_FIX, Suppress.NO),
        (
            "vonage",
            Kind.EXPIRED,
            "expired/0",
            "EXPIRED",
            "SMS_HANDSET_UNREACHABLE",
            Retry.LATER,
            Suppress.AFTER_REPEATS,
        ),
        ("vonage", Kind.FAILED, "rejected/1070", "HANDOVER_ERROR", "SMS_NO_BALANCE", Retry.AFTER_FIX, Suppress.NO),
        ("smpp", Kind.UNDELIVERED, "UNDELIV/1", "UNDELIV", "SMS_NUMBER_UNKNOWN", Retry.NO, Suppress.AFTER_REPEATS),
        ("smpp", Kind.UNDELIVERED, "UNDELIV/777", "UNDELIV", "undefined", Retry.LATER, Suppress.AFTER_REPEATS),
        ("smpp", Kind.REJECTED, "REJECTD/0", "REJECTED", "undefined", Retry.AFTER_FIX, Suppress.NO),
        ("smpp", Kind.NO_RECEIPT, "UNKNOWN/0", "", "SMS_NO_RECEIPT", Retry.NO, Suppress.NO),
        ("smpp", Kind.CANCELED, "DELETED/0", "", "SMS_CANCELED", Retry.NO, Suppress.NO),
    ],
)
def test_each_sms_code_has_its_own_cause_retry_and_suppression(provider, kind, verdict, code, reason, retry, suppress):
    found = of_verdict(provider, verdict, kind)
    assert (found.code, found.reason, found.retry, found.suppress) == (code, reason, retry, suppress)


def test_an_unreachable_phone_is_temporary_and_an_unused_number_is_not():
    assert of_verdict("twilio", "undelivered/30003", Kind.UNDELIVERED).persistence == SOFT
    assert of_verdict("twilio", "undelivered/30005", Kind.UNDELIVERED).persistence == HARD


def test_a_buffered_sms_is_temporary_while_the_carrier_tries():
    found = of_verdict("vonage", "buffered/0", Kind.DEFERRED)
    assert (found.code, found.persistence, found.suppress) == ("UNDELIV", SOFT, Suppress.NO)


@pytest.mark.parametrize(
    ("verdict", "reply", "code", "suppress"),
    [
        ("429 TOO_MANY_REQUESTS", "", "LINEWORKS_RATE_LIMITED", Suppress.NO),
        ("429 TOO_MANY_REQUESTS +daily", "", "LINEWORKS_DAILY_LIMIT_EXCEEDED", Suppress.NO),
        ("403 LIMIT_EXCEEDED", "", "LINEWORKS_DAILY_LIMIT_EXCEEDED", Suppress.NO),
        ("404 USER_NOT_EXIST", "", "LINEWORKS_USER_NOT_FOUND", Suppress.YES),
        ("400 BAD_REQUEST", '400 BAD_REQUEST Cannot find "someone"', "LINEWORKS_USER_NOT_FOUND", Suppress.YES),
        ("404 USER_NOT_EXIST +foreign", "", "LINEWORKS_USER_OUTSIDE_DOMAIN", Suppress.YES),
        # Not said whose fault it is: shown as the likeliest cause, without consequences for the recipient.
        ("403 FORBIDDEN", "", "LINEWORKS_USER_OUTSIDE_DOMAIN", Suppress.NO),
        ("404 DOMAIN_NOT_EXIST +domain", "", "LINEWORKS_DOMAIN_INVALID", Suppress.NO),
        ("403 FORBIDDEN +scope", "", "LINEWORKS_SCOPE_INVALID", Suppress.NO),
        ("token invalid_scope", "", "LINEWORKS_SCOPE_INVALID", Suppress.NO),
        ("token invalid_grant", "", "LINEWORKS_AUTH_FAILED", Suppress.NO),
        ("401 UNAUTHORIZED", "", "LINEWORKS_AUTH_FAILED", Suppress.NO),
        ("404 BOT_NOT_EXIST +bot", "", "LINEWORKS_BOT_NOT_FOUND", Suppress.NO),
        ("403 FORBIDDEN +bot", "", "LINEWORKS_BOT_NOT_IN_DOMAIN", Suppress.NO),
        ("404 NOT_FOUND +room", "", "LINEWORKS_CHANNEL_NOT_FOUND", Suppress.YES),
        ("400 INVALID_PARAMETER", "", "LINEWORKS_INVALID_MESSAGE", Suppress.NO),
        ("503 SERVICE_UNAVAILABLE", "", "LINEWORKS_SERVICE_ERROR", Suppress.NO),
        ("network", "", "LINEWORKS_NETWORK_ERROR", Suppress.NO),
        ("302 FOUND", "", "LINEWORKS_UNKNOWN_ERROR", Suppress.NO),
    ],
)
def test_line_works_errors_are_told_apart(verdict, reply, code, suppress):
    found = classify(Report(Channel.LINEWORKS, "lineworks", Kind.FAILED, verdict, "", "", reply))
    assert (found.code, found.suppress) == (code, suppress)


# ---------------------------------------------------------------- what must never happen


PROVIDERS = ("", "sendgrid", "ses", "lineworks", "twilio", "vonage", "smpp", "of tomorrow")
PHRASES = tuple(rule.example for rule in load_family("email_replies").rule)
reports = st.builds(
    Report,
    channel=st.sampled_from(Channel),
    provider=st.sampled_from(PROVIDERS),
    kind=st.sampled_from(Kind),
    verdict=st.one_of(st.text(max_size=20), st.sampled_from([rule.example for rule in load_all().values()])),
    smtp_code=st.one_of(st.just(""), st.from_regex(r"\A[245]\d\d\Z"), st.text(max_size=4)),
    enhanced_code=st.one_of(st.just(""), st.from_regex(r"\A[245]\.\d\.\d{1,3}\Z"), st.text(max_size=6)),
    reply=st.one_of(st.text(max_size=200), st.sampled_from(PHRASES), st.lists(st.sampled_from(PHRASES)).map("\n".join)),
)


@given(reports)
def test_no_report_whatever_it_says_breaks_the_promises(report):
    found = classify(report)
    assert found == classify(report)
    if found.fault in OUR_FAULTS:
        assert found.suppress == Suppress.NO
    if report.kind == Kind.DEFERRED and found.code:
        assert (found.persistence, found.suppress) == (SOFT, Suppress.NO)
    if found.persistence == SOFT:
        assert found.suppress != Suppress.YES


def test_no_rule_suppresses_for_a_fault_of_ours():
    found = [by_example(name, rule) for name in FAMILIES for rule in load_family(name).rule]
    assert [verdict.rule for verdict in found if verdict.fault in OUR_FAULTS and verdict.suppress != Suppress.NO] == []
    assert {verdict.fault for verdict in found} == set(Fault)


@given(st.binary(max_size=300), st.sampled_from(["utf-8", "latin-1"]))
def test_any_bytes_can_be_a_reply(raw, encoding):
    assert of_reply(raw.decode(encoding, "surrogateescape")).rule


def test_a_very_long_reply_takes_no_longer_than_its_beginning():
    padding = "".join(itertools.repeat("mailbox full quota spam ", 200_000))
    assert of_reply(f"550 5.1.1 User unknown. {padding}").rule
