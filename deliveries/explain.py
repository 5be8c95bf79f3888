"""Says in plain words what became of a notice, why, and what to do next, in English and Japanese."""

from __future__ import annotations

from typing import Final

from deliveries.codes import CODES, REASONS, STEPS, Code, Reason, Text
from deliveries.enums import OPEN_STATES, Persistence, State

# These reasons say nothing that the code does not say better.
_EMPTY_REASONS: Final = frozenset({"undefined", "onhold"})
# Codes after which an address is on a bounce list, and reasons for which no check-list takes it off again.
_LISTED: Final = frozenset(
    {
        "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE",
        "BOUNCE_PERMANENT_ON_SUPPRESSION_LIST",
        "BOUNCE_PERMANENT_GENERAL",
        "SUPPRESSED",
    }
)
_CONSENT_REASONS: Final = frozenset({"unsubscribed", "spamreport"})
# These carriers answer "user unknown" also when the recipient's own filter refuses the sender's domain.
_AMBIGUOUS_DOMAINS: Final = frozenset({"docomo.ne.jp", "au.com", "ezweb.ne.jp"})

_UNTITLED: Final = Text("This notice", "この通知")
_TITLED: Final = Text("“{title}”", "「{title}」")
_PROVIDER: Final = Text("The provider", "配信サービス")

_WHAT: Final[dict[State, Text]] = {
    State.QUEUED: Text("{notice} waits to be sent to {recipient}.", "{notice}は {recipient} への送信を待っています。"),
    State.ACCEPTED: Text(
        "{notice} was handed over for {recipient}; there is no report yet.",
        "{notice}は {recipient} 宛てに引き渡されました。配信結果の報告はまだありません。",
    ),
    State.DEFERRED: Text(
        "{notice} has not reached {recipient} yet.", "{notice}は、まだ {recipient} に届いていません。"
    ),
    State.DELIVERED: Text("{notice} was delivered to {recipient}.", "{notice}は {recipient} に配信されました。"),
    State.BOUNCED: Text("{notice} did not reach {recipient}.", "{notice}は {recipient} に届きませんでした。"),
    State.BLOCKED: Text(
        "{notice} was turned away on its way to {recipient}.", "{recipient} 宛ての{notice}は、受信側で拒否されました。"
    ),
    State.DROPPED: Text("{notice} was not sent to {recipient}.", "{notice}は {recipient} に送信されませんでした。"),
    State.SPAM_REPORT: Text("{notice} reached {recipient}.", "{notice}は {recipient} に届きました。"),
    State.UNDELIVERED: Text("{notice} did not reach {recipient}.", "{notice}は {recipient} に届きませんでした。"),
    State.EXPIRED: Text(
        "{notice} did not reach {recipient} in time.", "{notice}は期限までに {recipient} に届きませんでした。"
    ),
    State.REJECTED: Text(
        "{notice} was refused on its way to {recipient}.", "{recipient} 宛ての{notice}は、配信の途中で拒否されました。"
    ),
    State.FAILED: Text("{notice} was not sent to {recipient}.", "{notice}は {recipient} に送信できませんでした。"),
}
_TRYING_UNTIL: Final = Text(
    "{provider} keeps trying until {until}; you need not do anything before then.",
    "{provider}が{until}まで再試行を続けます。それまでの対応は不要です。",
)
_TRYING: Final = Text(
    "{provider} keeps trying; you need not do anything for now.",
    "{provider}が再試行を続けています。現在の対応は不要です。",
)
_AMBIGUOUS: Final = Text(
    "The address does not exist, or the recipient's own filter refused the mail; this carrier does not say which.",
    "アドレスが存在しないか、受信者の受信設定（ドメイン指定受信など）で拒否されました。通信会社の応答からは区別できません。",
)
_AMBIGUOUS_STEP: Final = Text(
    "Ask the recipient whether the address is right and to allow mail from your domain.",
    "アドレスが正しいか、また自社ドメインからの受信を許可しているかを、受信者に確認してください。",
)
_INNOCENT: Final = Text(
    "The recipient's address is not the cause and stays free for the next notices.",
    "受信者のアドレスが原因ではないため、今後の通知は引き続き送信されます。",
)

REMOVAL_CHECKS: Final = (
    Text("Is the message in the recipient's spam folder?", "受信者の迷惑メールフォルダーに届いていませんか。"),
    Text("Does the recipient's mailbox have free space?", "受信者のメールボックスに空き容量がありますか。"),
    Text("Is the registered address correct?", "登録されているアドレスに誤りがありませんか。"),
    Text(
        "Is the sender's IP address on the allow list of the recipient's mail server?",
        "受信側のメールサーバーで、送信元のIPアドレスが許可（ホワイトリスト登録）されていますか。",
    ),
)
REMOVAL_STEP: Final = Text(
    "If all of this is in order, request removal from the bounce list.",
    "すべて問題がなければ、バウンスリストからの解除を依頼してください。",
)
REMOVAL_WARNING: Final = Text(
    "If the cause on the recipient's side remains, the message may bounce again after the removal.",
    "受信側の問題が解消していない場合、解除後に再びバウンスすることがあります。",
)


def code_label(code: str, language: str) -> str:
    """The short name of a code; the code itself if it is none of ours."""
    return CODES[code].label[language] if code in CODES else code


def reason_label(reason: str, language: str) -> str:
    """The short name of a reason; the reason itself if it is none of ours."""
    return REASONS[reason].label[language] if reason in REASONS else reason


def cause(code: str, reason: str, language: str) -> str:
    """Why, in at most about forty characters, for a row of a list; "" without code and reason."""
    about = _about(code, reason)
    return about.label[language] if about else ""


def next_step(code: str, reason: str, state: State, language: str) -> str:
    """What to do next, as short, for a row of a list; "" where there is nothing to fix."""
    if state == State.DEFERRED:
        return STEPS["wait_deferred"][language]
    about = _about(code, reason)
    return STEPS[about.step][language] if about else ""


def sentence(
    *,
    recipient: str,
    title: str,
    state: State,
    code: str,
    reason: str,
    language: str,
    provider: str = "",
    deferred_until: str = "",
) -> str:
    """What happened, to whom, why, and who can fix it and how: two or three short sentences for the top of a page.

    ``provider`` is the provider's label, ``deferred_until`` the time until which it keeps trying, already written for
    the reader; both may be empty.
    """
    domain = recipient.rpartition("@")[2]
    notice = _TITLED[language].format(title=title) if title else _UNTITLED[language]
    said = [_WHAT[state][language].format(notice=notice, recipient=recipient)]
    about = _about(code, reason)
    if about and state in OPEN_STATES:
        said.append(_explanation(about, domain)[language])
        if state != State.DEFERRED:
            said.append(_action(about, domain)[language])
    if state == State.DEFERRED:
        said.append(_trying(provider, deferred_until, language))
    return _joined(said, language)


def guidance(code: str, reason: str, domain: str, language: str) -> list[str]:
    """The steps to take, in order, with the check-list for a removal where the address is on a bounce list."""
    about = _about(code, reason)
    if about is None:
        return []
    steps = [_action(about, domain)]
    if code in _LISTED and reason not in _CONSENT_REASONS:
        steps += [*REMOVAL_CHECKS, REMOVAL_STEP, REMOVAL_WARNING]
    elif about.fault == "sender" and code.startswith("BOUNCE_TRANSIENT"):
        steps.append(_INNOCENT)
    return [step[language] for step in steps]


def _about(code: str, reason: str) -> Code | Reason | None:
    """Whose texts to show: the reason's, unless it says less than the code or speaks of something permanent."""
    known, detail = CODES.get(code), REASONS.get(reason)
    if detail is None or (known and (reason in _EMPTY_REASONS or _too_final(known, detail))):
        return known
    return detail


def _too_final(code: Code, reason: Reason) -> bool:
    usual = CODES.get(reason.code)
    return usual not in (None, code) and usual.persistence == Persistence.HARD and code.persistence == Persistence.SOFT


def _is_ambiguous(about: Code | Reason, domain: str) -> bool:
    return domain.lower() in _AMBIGUOUS_DOMAINS and isinstance(about, Reason) and about.reason == "userunknown"


def _explanation(about: Code | Reason, domain: str) -> Text:
    return _AMBIGUOUS if _is_ambiguous(about, domain) else about.explanation


def _action(about: Code | Reason, domain: str) -> Text:
    return _AMBIGUOUS_STEP if _is_ambiguous(about, domain) else about.action


def _trying(provider: str, until: str, language: str) -> str:
    form = _TRYING_UNTIL if until else _TRYING
    return form[language].format(provider=provider or _PROVIDER[language], until=until)


def _joined(sentences: list[str], language: str) -> str:
    return ("" if language.startswith("ja") else " ").join(sentences)
