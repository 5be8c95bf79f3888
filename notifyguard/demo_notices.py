"""The people of the demo's two organisations, and the notices that are sent to them through the sandbox.

What becomes of a notice stands in its recipient (docs/sandbox.md): before the "+" of an address, before the "-" of a
LINE WORKS id, in the last digits of a number. None of the people is one of the month of webhooks, where the same
address may have bounced.
"""

from __future__ import annotations

from dataclasses import dataclass

from providers.base import Channel

EMAIL, SMS, LINEWORKS = Channel.EMAIL, Channel.SMS, Channel.LINEWORKS


@dataclass(frozen=True)
class Person:
    """A contact; without any address it is one known to have none."""

    external_id: str
    name: str
    email: str = ""
    phone: str = ""
    lineworks_id: str = ""
    corrected: str = ""  # the email address that the demo puts right before it resends


@dataclass(frozen=True)
class Planned:
    """A notice to be sent. ``to`` are ids of people; empty: everybody with an address of the channel."""

    channel: Channel
    kind: str
    title: str
    text: str
    to: tuple[str, ...] = ()
    strays: tuple[tuple[str, str], ...] = ()  # name and recipient of people who are no contacts
    use_by_days: int | None = None
    shared: bool = False  # through the operator's connection


@dataclass(frozen=True)
class Troubles:
    """Two failures that another program's sending caused: an address with a typing error, and a text not held here."""

    typo: str  # the id of the person whose address it is
    typo_title: str
    typo_text: str
    elsewhere: str  # the id of the person whose notice's text we do not hold
    elsewhere_title: str


ACME_PEOPLE = (
    Person("acme-001", "Grace Hill", "grace.hill@example.com", "+447911120100", "grace.hill@acme.example"),
    Person("acme-002", "Adam Frost", "bounce+adam.frost@mail.example", "+447911120001", "adam.frost@acme.example"),
    Person("acme-003", "Clara Voss", "clara.voss@gmial.com", "+447911120102"),
    Person("acme-004", "Felix Brandt", "deferred-forever+felix.brandt@example.net", "+447911120003"),
    Person(
        "acme-005", "Hannah Moss", "dropped+hannah.moss@example.com", lineworks_id="unknown-hannah.moss@acme.example"
    ),
    Person("acme-006", "Ivan Petrov", "spam+ivan.petrov@example.org", "+447911120106"),
    Person("acme-007", "Julia Marsh", "softbounce+julia.marsh@example.net", "+447911120002"),
    Person("acme-008", "Karl Lindqvist", "blocked+karl.lindqvist@outlook.example"),
    Person("acme-009", "Lena Fuchs"),
    Person("acme-010", "Marco Bianchi", "marco.bianchi@example.com", "+447911120004"),
    Person(
        "acme-011", "Naomi Wells", "naomi.wells@partner.example", lineworks_id="foreign-naomi.wells@partner.example"
    ),
    Person("acme-012", "Peter Quinn", "deferred+peter.quinn@example.com", "+447911120112", "peter.quinn@acme.example"),
    Person("acme-013", "Rosa Delgado", "bounce+rosa@example.com", corrected="rosa.delgado@example.com"),
    Person("acme-014", "Simon Yates", "bounce+simon@mail.example", corrected="simon.yates@mail.example"),
    Person("acme-015", "Tara Singh", "tara.singh@example.com", "+447911120115", "tara.singh@acme.example"),
)
ACME_NOTICES = (
    Planned(
        EMAIL,
        "invoice",
        "Your invoice for November",
        "Your invoice for November is ready. Please pay it by the end of the month.",
        strays=(("Victor Hahn", "victor.hahn@"), ("Hugo Lang", "020 7946 0018")),
    ),
    Planned(
        EMAIL,
        "venue",
        "Thursday's course moves to room 4",
        "Thursday's course takes place in room 4. The time stays the same.",
        ("acme-001", "acme-007", "acme-008", "acme-011", "acme-012", "acme-015"),
        use_by_days=5,
    ),
    Planned(
        SMS,
        "appointment",
        "Appointment",
        "Your appointment is tomorrow at 10:00. Reply STOP to opt out.",
        strays=(("Hugo Lang", "+44 7911 1201"),),
    ),
    Planned(LINEWORKS, "shift", "Shift plan for next week", "The shift plan for next week is ready."),
)
ACME_TROUBLES = Troubles(
    typo="acme-003",
    typo_title="Your certificate is ready",
    typo_text="Your course certificate is ready. You find it in your account.",
    elsewhere="acme-011",
    elsewhere_title="Payment failed, please update your card",
)

SAKURA_PEOPLE = (
    Person("S-1001", "高橋 翼", "tsubasa.takahashi@example.co.jp", "+819012340101", "tsubasa.takahashi@sakura.example"),
    Person("S-1002", "松本 凛", "bounce+rin.matsumoto@example.ne.jp", "+819012340001", "rin.matsumoto@sakura.example"),
    Person("S-1003", "井上 大和", "yamato.inoue@gmial.com", "+819012340103"),
    Person("S-1004", "木村 楓", "deferred-forever+kaede.kimura@example.jp", "+819012340003"),
    Person(
        "S-1005", "林 颯太", "dropped+sota.hayashi@example.co.jp", lineworks_id="unknown-sota.hayashi@sakura.example"
    ),
    Person("S-1006", "清水 杏", "spam+an.shimizu@example.jp", "+819012340106", "an.shimizu@sakura.example"),
    Person("S-1007", "斎藤 光", "softbounce+hikaru.saito@example.ne.jp", "+819012340002"),
    Person("S-1008", "橋本 紬", "blocked+tsumugi.hashimoto@example.co.jp"),
    Person("S-1009", "石川 湊"),
    Person("S-1010", "前田 莉子", "riko.maeda@example.jp", "+819012340004"),
    Person("S-1011", "藤田 樹", "itsuki@partner.example", lineworks_id="foreign-itsuki.fujita@partner.example"),
    Person("S-1012", "後藤 彩", "bounce+goto@example.jp", corrected="aya.goto@example.jp"),
    Person("S-1013", "岡田 律", "ritsu.okada@example.jp", "090-1234-0113", "ritsu.okada@sakura.example"),
)
SAKURA_NOTICES = (
    Planned(
        EMAIL,
        "payslip",
        "11月分の給与明細のお知らせ",
        "11月分の給与明細を公開しました。マイページでご確認ください。",
        strays=(("石井 海", "kai.ishii.example.jp"),),
    ),
    Planned(
        EMAIL,
        "survey",
        "アンケート回答のお願い",
        "金曜日までにアンケートへのご回答をお願いします。",
        ("S-1001", "S-1006", "S-1008", "S-1011", "S-1013"),
        use_by_days=5,
        shared=True,
    ),
    Planned(
        SMS,
        "reminder",
        "健康診断",
        "健康診断は明日10時からです。受付にお越しください。",
        strays=(("石井 海", "090-1234-567"),),
    ),
    Planned(LINEWORKS, "room", "会議室変更のお知らせ", "明日の会議は第2会議室に変更になりました。"),
)
SAKURA_TROUBLES = Troubles(
    typo="S-1003",
    typo_title="在職証明書を発行しました",
    typo_text="在職証明書を発行しました。マイページからダウンロードできます。",
    elsewhere="S-1011",
    elsewhere_title="パスワード変更のお知らせ",
)
