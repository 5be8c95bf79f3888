"""Vonage's SMS API: sending, and the delivery receipts that follow.

Source: https://developer.vonage.com/en/api/sms
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from providers.sandbox import magic, vonage
from providers.sandbox.calls import JSON, Answer, Call, json_answer, object_of
from providers.sandbox.config import REVOKED, VonageAccount
from providers.sandbox.magic import Fate
from providers.sandbox.outbox import Post
from providers.sandbox.sent import Notice
from providers.sandbox.world import World

NETWORK = "44010"

_NUMBER = re.compile(r"\d{7,15}")
# Characters of a message that fits in one part, and of each part of one that does not: as 7-bit text, and as UCS-2.
_PLAIN_PARTS, _UNICODE_PARTS = (160, 153), (70, 67)


class _Step(NamedTuple):
    after: float
    status: str
    code: str


class _Event(NamedTuple):
    url: str
    account: VonageAccount
    params: Mapping[str, str]


_COURSES: dict[Fate, tuple[_Step, ...]] = {
    Fate.UNDELIVERED: (_Step(2, "failed", "3"),),
    Fate.REJECTED: (_Step(2, "rejected", "6"),),
    Fate.EXPIRED: (_Step(2, "expired", "1"),),
    Fate.ACCEPTED: (),
}
_ARRIVES = (_Step(1, "accepted", "0"), _Step(2, "delivered", "0"))
_THROTTLED = ("1", "Throughput Rate Exceeded - please wait [ 250 ] and retry")
_REFUSALS = {
    Fate.HANDOVER: ("15", "Illegal Sender Address - rejected"),
    Fate.OPTED_OUT: ("7", "Number barred"),
    Fate.ERROR429: _THROTTLED,
}


class VonageRoutes:
    """/sms/json and the balance."""

    name = "vonage"

    def __init__(self, world: World) -> None:
        self._world = world

    def purpose(self, call: Call) -> str:
        return "send" if call.path == "/sms/json" else "other"

    def refusal(self, status: int) -> Answer:
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return _refused(*_THROTTLED)
        return json_answer(status, {"title": "Error", "detail": "The request was not processed."})

    def answer(self, call: Call) -> Answer:
        given = {**call.query, **_parameters(call)}
        user, password = call.basic
        api_key, api_secret = given.get("api_key") or user, given.get("api_secret") or password
        account = self._world.accounts.find(VonageAccount, api_key) if api_key else None
        # A call that is signed carries no secret; its signature is not checked.
        genuine = account and (
            "sig" in given or (api_secret not in ("", REVOKED) and account.api_secret in ("", api_secret))
        )
        if call.path == "/account/get-balance":
            return json_answer(200, {"value": 10.0, "autoReload": False}) if genuine else self.refusal(401)
        if call.path != "/sms/json":
            return self.refusal(404)
        return self._send(given, account, api_key) if account and genuine else _refused("4", "Bad Credentials")

    def _send(self, given: Mapping[str, str], account: VonageAccount, api_key: str) -> Answer:
        fault = _fault(given)
        if fault:
            return _refused(*fault)
        to, reference = given["to"], given.get("client-ref", "")
        fates = {magic.of_number(to)}
        status = magic.refused_status(fates)
        if status:
            return self.refusal(status)
        ids = [f"0A{secrets.token_hex(7).upper()}" for _ in range(_parts(given["text"]))]
        self._world.sent.record(self.name, ids[0], [Notice(f"+{to}", reference.removeprefix("ng-"), given["text"])])
        for message_id in ids:
            self._report(account, given, message_id, api_key)
        return magic.bend(_taken(ids, to, reference), fates, self._world.config.slow_s)

    def _report(self, account: VonageAccount, given: Mapping[str, str], message_id: str, api_key: str) -> None:
        url, delay_s = given.get("callback") or account.url, self._world.config.delay_s
        if not url:
            return
        outbox, reference = self._world.outbox(account, _pack), given.get("client-ref", "")
        for step in _COURSES.get(magic.of_number(given["to"]), _ARRIVES):
            at = datetime.fromtimestamp(time.time() + step.after * delay_s, UTC)
            params = {
                "msisdn": given["to"],  # the recipient; "to" is the sender
                "to": given["from"],
                "network-code": NETWORK,
                "messageId": message_id,
                "price": "0.03330000",
                "status": step.status,
                "scts": at.strftime("%y%m%d%H%M"),
                "err-code": step.code,
                "api-key": api_key,
                "message-timestamp": at.strftime("%Y-%m-%d %H:%M:%S"),
                **({"client-ref": reference} if reference else {}),
            }
            outbox.add([_Event(url, account, params)], step.after * delay_s)


def _parameters(call: Call) -> dict[str, str]:
    if JSON in call.headers.get("content-type", ""):
        return {name: str(value) for name, value in object_of(call.json()).items()}
    return call.form


def _fault(given: Mapping[str, str]) -> tuple[str, str] | None:
    """Return status and words of the refusal of a message that Vonage would not take."""
    for name in ("to", "from", "text"):
        if not given.get(name):
            return "2", f"Missing {name} param"
    if not _NUMBER.fullmatch(given["to"]):
        return "3", "Invalid to param"
    return _REFUSALS.get(magic.of_number(given["to"]))


def _parts(text: str) -> int:
    whole, part = _PLAIN_PARTS if text.isascii() else _UNICODE_PARTS
    return 1 if len(text) <= whole else math.ceil(len(text) / part)


def _taken(ids: Sequence[str], to: str, reference: str) -> Answer:
    words = {"to": to, "status": "0", "remaining-balance": "10.0", "message-price": "0.0333", "network": NETWORK}
    if reference:
        words["client-ref"] = reference
    messages = [{**words, "message-id": message_id} for message_id in ids]
    return json_answer(200, {"message-count": str(len(ids)), "messages": messages})


def _refused(status: str, words: str) -> Answer:
    return json_answer(200, {"message-count": "1", "messages": [{"status": status, "error-text": words}]})


def _pack(events: Sequence[_Event]) -> list[Post]:
    posts = []
    for event in events:
        params, account = event.params, event.account
        if account.signature_secret:
            method = account.signature_method
            params = vonage.sign_params(params, account.signature_secret, method, int(time.time()))
        posts.append(Post(event.url, msgspec.json.encode(params), {"Content-Type": JSON}))
    return posts
