"""The sandbox's own routes, by which a test, the demo or the bench looks at it and steers it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from providers.sandbox.calls import Answer, Call, json_answer
from providers.sandbox.config import Account, Fault
from providers.sandbox.routes_lineworks import LineWorksRoutes
from providers.sandbox.world import World

CERTIFICATE = "/_sandbox/sns-certificate.pem"


class _Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    calls: int
    client_id: str = ""


class Control:
    """Everything under /_sandbox. Only the certificate is for everybody: the rest answers to this machine alone."""

    def __init__(self, world: World, lineworks: LineWorksRoutes, *, is_local: bool) -> None:
        self._world = world
        self._lineworks = lineworks
        self._routes: dict[tuple[str, str], Callable[[Call], Answer]] = {("GET", CERTIFICATE): self._certificate}
        if is_local:
            self._routes |= {
                ("GET", "/_sandbox"): self._about,
                ("GET", "/_sandbox/sns-signer"): self._signer,
                ("GET", "/_sandbox/sent"): self._sent,
                ("GET", "/_sandbox/counts"): self._counts,
                ("POST", "/_sandbox/accounts"): self._accounts,
                ("POST", "/_sandbox/faults"): self._faults,
                ("POST", "/_sandbox/lineworks/drain"): self._drain,
                ("POST", "/_sandbox/reset"): self._reset,
            }

    def answer(self, call: Call) -> Answer:
        route = self._routes.get((call.method, call.path))
        if route is None:
            return json_answer(404, {"error": "There is no such route."})
        try:
            return route(call)
        except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
            return json_answer(400, {"error": str(error)})

    def counts(self) -> dict[str, object]:
        """Return what was taken and what became of the webhooks."""
        return {**self._world.sent.counts(), "events": self._world.tally.counts()}

    def _about(self, _call: Call) -> Answer:
        return json_answer(200, {"sns_certificate_url": self._world.certificate_url})

    def _certificate(self, _call: Call) -> Answer:
        return Answer(200, self._world.signer.certificate_pem, {"Content-Type": "application/x-pem-file"})

    def _signer(self, _call: Call) -> Answer:
        signer = self._world.signer
        fields = {"private_pem": signer.private_pem, "certificate_pem": signer.certificate_pem.decode()}
        return json_answer(200, {**fields, "certificate_url": signer.certificate_url})

    def _sent(self, call: Call) -> Answer:
        rows = self._world.sent.rows(call.query.get("provider", ""), int(call.query.get("since", "0")))
        return json_answer(200, {"sent": rows})

    def _counts(self, _call: Call) -> Answer:
        return json_answer(200, self.counts())

    def _accounts(self, call: Call) -> Answer:
        for account in msgspec.json.decode(_as_list(call.body), type=list[Account]):
            self._world.accounts.put(account)
        return json_answer(200, {"accounts": len(self._world.accounts.all())})

    def _faults(self, call: Call) -> Answer:
        for fault in msgspec.json.decode(_as_list(call.body), type=list[Fault]):
            self._world.faults.add(fault)
        return json_answer(200, {})

    def _drain(self, call: Call) -> Answer:
        drain = msgspec.json.decode(call.body, type=_Drain)
        return json_answer(200, self._lineworks.drain(drain.calls, drain.client_id))

    def _reset(self, _call: Call) -> Answer:
        self._world.reset()
        return json_answer(200, {})


def _as_list(body: bytes) -> bytes:
    return body if body.lstrip()[:1] == b"[" else b"[" + body + b"]"
