"""Makes up a month of two organisations' notices, in the words in which the providers report them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

DAYS = 30


@dataclass(frozen=True)
class World:
    """An organisation's notices, people and the domains in which its recipients read their mail."""

    slug: str
    titles: tuple[str, ...]
    people: tuple[str, ...]
    domains: tuple[tuple[str, int], ...]
    sender: str


ACME = World(
    slug="acme",
    titles=(
        "Your invoice for October",
        "Course certificate ready",
        "Reminder: survey closes on Friday",
        "Payment failed, please update your card",
        "Your booking is confirmed",
        "New message from your adviser",
        "Change of venue for Thursday",
        "Your password was changed",
    ),
    people=(
        "olivia.reed",
        "noah.patel",
        "amelia.clark",
        "leo.fischer",
        "isla.young",
        "mia.novak",
        "oscar.bell",
        "ava.stone",
    )
    + ("freya.lund", "jack.morris", "nina.costa", "tom.okafor", "ruth.adler", "eric.blom", "zoe.hart", "liam.price"),
    domains=(
        ("example.com", 40),
        ("mail.example", 25),
        ("example.net", 20),
        ("outlook.example", 15),
        ("uni.example.org", 6),
    ),
    sender="notices@acme.example",
)
SAKURA = World(
    slug="sakura",
    titles=(
        "【重要】10月分の請求書のお知らせ",
        "年末調整の書類提出のお願い",
        "アンケート回答期限のご案内",
        "在職証明書を発行しました",
        "会議室変更のお知らせ",
        "健康診断のご案内",
        "パスワード変更のお知らせ",
    ),
    people=("taro.yamada", "hanako.sato", "ken.suzuki", "yui.tanaka", "ren.ito", "aoi.watanabe", "sora.kobayashi")
    + ("mei.nakamura", "riku.kato", "hina.yoshida", "yuto.yamamoto", "sakura.mori", "haruto.abe", "mio.ikeda"),
    domains=(
        ("example.co.jp", 40),
        ("example.ne.jp", 25),
        ("docomo.ne.jp", 14),
        ("example.jp", 20),
        ("ezweb.ne.jp", 8),
    ),
    sender="no-reply@sakura.example",
)

# What receiving servers say, by what became of the notice: (weight, kind, classification, status, reply).
BOUNCES = (
    (10, "bounce", "Invalid Address", "5.1.1", "550 5.1.1 <{to}>: Recipient address rejected: user unknown"),
    (4, "bounce", "Invalid Address", "5.1.2", "550 5.1.2 The domain of <{to}> does not exist"),
    (3, "bounce", "Mailbox Unavailable", "5.2.1", "550 5.2.1 The account {to} has been disabled"),
    (6, "blocked", "Mailbox Unavailable", "5.2.2", "552 5.2.2 Mailbox of {to} is over its quota"),
    (
        4,
        "blocked",
        "Reputation",
        "5.7.1",
        "554 5.7.1 Connection refused: sending address 192.0.2.10 is on a block list",
    ),
    (3, "blocked", "Content", "5.7.1", "550 5.7.1 Message refused: it looks like unsolicited mail"),
    (2, "blocked", "Technical", "", "unable to get mx info: lookup timed out"),
    (1, "blocked", "Frequency or Volume Too High", "4.7.0", "421 4.7.0 Too many messages from 192.0.2.10, slow down"),
)
DROPS = ((6, "Bounced Address"), (2, "Spam Reporting Address"), (2, "Unsubscribed Address"), (2, "Invalid"))
DEFERRALS = (
    (6, "451 4.7.1 Greylisted, please try again later"),
    (4, "452 4.2.2 The mailbox of {to} is full"),
    (3, "421 4.4.1 Connection timed out"),
    (2, "451 4.4.3 Temporary failure in name resolution"),
)
SES_BOUNCES = (
    (6, "Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"),
    (
        3,
        "Permanent",
        "OnAccountSuppressionList",
        "5.1.1",
        "Amazon SES did not send the message to this address because it is on the suppression list for your account.",
    ),
    (4, "Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 The mailbox is over quota"),
    (2, "Transient", "MessageTooLarge", "5.3.4", "smtp; 552 5.3.4 Message size exceeds fixed limit"),
    (2, "Transient", "AttachmentRejected", "5.7.1", "smtp; 552 5.7.1 This type of attachment is not allowed"),
)
LINEWORKS_ERRORS = (
    (6, 429, "TOO_MANY_REQUESTS", "API rate limit exceeded"),
    (2, 403, "LIMIT_EXCEEDED", "Daily message limit exceeded"),
    (5, 404, "USER_NOT_EXIST", "User does not exist"),
    (3, 403, "FORBIDDEN", "User is not in the organization"),
    (1, 403, "FORBIDDEN", "Not allowed api: insufficient scope"),
    (1, 400, "INVALID_DOMAIN", "Domain is invalid"),
)
TWILIO_ERRORS = ((5, "30003"), (4, "30005"), (2, "30006"), (3, "30007"), (1, "30004"), (1, "30036"))
SMPP_ERRORS = ((5, "UNDELIV", "27"), (3, "UNDELIV", "1"), (3, "EXPIRED", "0"), (2, "REJECTD", "13"))


class Maker:
    """Makes payload items of one world; the same seed makes the same month."""

    def __init__(self, world: World, now: datetime, seed: int) -> None:
        self.world = world
        self.now = now
        self.random = random.Random(seed)  # noqa: S311 -- made-up data, not secrets
        self.number = seed * 100_000

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _pick(self, weighted: tuple[tuple[Any, ...], ...], weight_at: int = 0) -> tuple[Any, ...]:
        return self.random.choices(weighted, [row[weight_at] for row in weighted])[0]

    def _moment(self, *, recent: bool = False) -> datetime:
        """Office hours mostly; ``recent`` within the last hours, as what is still being tried must be."""
        if recent:
            return self.now - timedelta(minutes=self.random.randint(5, 1200))
        if self.random.random() < 0.06:
            return self.now - timedelta(minutes=self.random.randint(2, 400))
        days = self.random.triangular(0, DAYS, 6)
        return self.now - timedelta(days=days, minutes=self.random.randint(10, 500))

    def _address(self) -> str:
        return f"{self.random.choice(self.world.people)}@{self._pick(self.world.domains, 1)[0]}"

    def _title(self) -> str:
        return self.random.choice(self.world.titles)

    def sendgrid(self, messages: int, *, tenant_argument: str = "") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for _ in range(messages):
            items += self._sendgrid_message(tenant_argument)
        self.random.shuffle(items)
        return items

    def _sendgrid_message(self, tenant_argument: str) -> list[dict[str, Any]]:
        number, draw = self._next(), self.random.random()
        at = self._moment(recent=draw < 0.03)
        common = {
            "email": self._address(),
            "sg_message_id": f"demo{number:018d}.recvd-canary-1.0",
            "ng_title": self._title(),
        }
        common |= {"from": self.world.sender} | ({"ng_tenant": tenant_argument} if tenant_argument else {})
        return [
            common
            | item
            | {"timestamp": int((at + timedelta(seconds=after)).timestamp()), "sg_event_id": f"e{number}-{index}"}
            for index, (after, item) in enumerate(self._sendgrid_history(draw, common["email"]))
        ]

    def _sendgrid_history(self, draw: float, to: str) -> list[tuple[int, dict[str, Any]]]:
        accepted = (0, {"event": "processed"})
        if draw < 0.03:
            reply = self._pick(DEFERRALS)[1].format(to=to)
            tries = self.random.randint(1, 4)
            return [accepted] + [
                (60 * n, {"event": "deferred", "attempt": str(n), "response": reply}) for n in range(1, tries + 1)
            ]
        if draw < 0.15:
            _, kind, classification, status, reply = self._pick(BOUNCES)
            bounce = {
                "event": "bounce",
                "type": kind,
                "bounce_classification": classification,
                "reason": reply.format(to=to),
            }
            return [accepted, (self.random.randint(2, 900), bounce | ({"status": status} if status else {}))]
        if draw < 0.18:
            return [(0, {"event": "dropped", "reason": self._pick(DROPS)[1]})]
        delivered = (self.random.randint(2, 40), {"event": "delivered", "response": "250 2.0.0 OK"})
        if draw < 0.185:
            return [accepted, delivered, (3600, {"event": "spamreport"})]
        if draw < 0.20:
            return [accepted]
        return [accepted, delivered]

    def ses(self, messages: int) -> Iterator[str]:
        """Yield SES events as the JSON text that SNS carries."""
        for _ in range(messages):
            yield from self._ses_message()

    def _ses_message(self) -> Iterator[str]:
        number, draw, to = self._next(), self.random.random(), self._address()
        at = self._moment(recent=draw < 0.1)
        mail = {
            "timestamp": _iso(at),
            "source": self.world.sender,
            "messageId": f"0107demo{number:012d}-000000",
            "destination": [to],
            "commonHeaders": {"from": [self.world.sender], "to": [to], "subject": self._title()},
            "tags": {"ses:configuration-set": ["demo"]},
        }
        yield json.dumps({"eventType": "Send", "mail": mail, "send": {}}, ensure_ascii=False)
        yield json.dumps(
            {"mail": mail, **self._ses_outcome(draw, to, at + timedelta(seconds=4), number)}, ensure_ascii=False
        )

    def _ses_outcome(self, draw: float, to: str, at: datetime, number: int) -> dict[str, Any]:
        if draw < 0.1:
            delayed = [{"emailAddress": to, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect"}]
            until = _iso(at + timedelta(hours=14))
            delay = {"timestamp": _iso(at), "delayType": "TransientCommunicationFailure", "expirationTime": until}
            return {"eventType": "DeliveryDelay", "deliveryDelay": delay | {"delayedRecipients": delayed}}
        if draw < 0.3:
            _, kind, subtype, status, reply = self._pick(SES_BOUNCES)
            recipients = [{"emailAddress": to, "action": "failed", "status": status, "diagnosticCode": reply}]
            bounce = {"feedbackId": f"fb-{number}", "bounceType": kind, "bounceSubType": subtype, "timestamp": _iso(at)}
            return {"eventType": "Bounce", "bounce": bounce | {"bouncedRecipients": recipients}}
        return {
            "eventType": "Delivery",
            "delivery": {"timestamp": _iso(at), "recipients": [to], "smtpResponse": "250 OK"},
        }

    def lineworks(self, messages: int, domain: str) -> list[dict[str, Any]]:
        return [self._lineworks_result(domain) for _ in range(messages)]

    def _lineworks_result(self, domain: str) -> dict[str, Any]:
        number, person = self._next(), self.random.choice(self.world.people)
        result: dict[str, Any] = {
            "notice_id": f"lw-{number}",
            "user_id": f"{person}@{domain}",
            "title": self._title(),
            "sent_at": _iso(self._moment()),
        }
        if self.random.random() < 0.7:
            return result | {"status": 201}
        _, status, code, description = self._pick(LINEWORKS_ERRORS)
        if "not in the organization" in description:
            result["user_id"] = f"{person}@partner.example"
        return result | {"status": status, "code": code, "description": description}

    def twilio(self, messages: int) -> list[dict[str, str]]:
        items = []
        for _ in range(messages):
            number = self._next()
            params = {"MessageSid": f"SM{number:032x}", "AccountSid": "AC" + "0" * 32, "ApiVersion": "2010-04-01"}
            params |= {"To": f"+4477009{self.random.randint(0, 99999):05d}", "From": "+447700900000"}
            if self.random.random() < 0.75:
                params |= {"MessageStatus": "delivered", "SmsStatus": "delivered"}
            else:
                params |= {
                    "MessageStatus": "undelivered",
                    "SmsStatus": "undelivered",
                    "ErrorCode": self._pick(TWILIO_ERRORS)[1],
                }
            items.append(params)
        return items

    def smpp(self, messages: int) -> list[dict[str, Any]]:
        items = []
        for _ in range(messages):
            number, at = self._next(), self._moment()
            receipt: dict[str, Any] = {"id": f"rcpt{number}", "to": f"+8190{self.random.randint(0, 99999999):08d}"}
            receipt |= {"title": self._title(), "done_date": at.strftime("%y%m%d%H%M")}
            if self.random.random() < 0.75:
                items.append(receipt | {"stat": "DELIVRD", "err": "000"})
            else:
                _, stat, err = self._pick(SMPP_ERRORS)
                items.append(receipt | {"stat": stat, "err": err})
        return items


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
