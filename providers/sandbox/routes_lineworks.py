"""LINE WORKS: tokens for service accounts, and messages of bots under the rate limit of a window.

Sources: https://developers.worksmobile.com/en/docs/auth-jwt, https://developers.worksmobile.com/en/docs/rate-limits
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import jwt

from providers.sandbox import magic
from providers.sandbox.calls import Answer, Call, json_answer, object_of, text_of
from providers.sandbox.config import REVOKED, LineWorksAccount
from providers.sandbox.magic import Fate
from providers.sandbox.sent import Notice
from providers.sandbox.world import World

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TEXT_LIMIT = 2000
TOKENS_KEPT = 10_000
ASSERTION_LIFETIME_S = 3600

_WORDS = {
    400: ("BAD_REQUEST", "Bad request"),
    401: ("UNAUTHORIZED", "Authentication failed"),
    403: ("FORBIDDEN", "Forbidden"),
    404: ("NOT_FOUND", "Not found"),
    429: ("TOO_MANY_REQUESTS", "API rate limit exceeded"),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error"),
    503: ("SERVICE_UNAVAILABLE", "Service unavailable"),
}
_SCOPE = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Window:
    """Calls of one domain within one window, which begins with its first call."""

    def __init__(self, limit: int, length_s: float) -> None:
        self._limit, self._length_s = limit, length_s
        self._lock = threading.Lock()
        self._used, self._ends_at = 0, 0.0

    def use(self, calls: int = 1) -> tuple[bool, dict[str, str]]:
        """Use up ``calls``; tell whether they were within the budget, and what the answer's headers say of it."""
        with self._lock:
            now = time.monotonic()
            if now >= self._ends_at:
                self._used, self._ends_at = 0, now + self._length_s
            within = self._used < self._limit
            self._used = min(self._limit, self._used + calls)
            return within, {
                "rateLimit-ssed": str(self._used),
                "rateLimit-limit": str(self._limit),
                "rateLimit-remaining": str(self._limit - self._used),
                "rateLimit-reset": str(math.ceil(self._ends_at - now)),
            }


class _Grant(NamedTuple):
    """What an access token stands for; ``ends_at`` is of the monotonic clock."""

    account: LineWorksAccount
    client_id: str
    scopes: frozenset[str]
    ends_at: float


class LineWorksRoutes:
    """Everything under /oauth2/v2.0/ and /v1.0/bots/."""

    name = "lineworks"

    def __init__(self, world: World) -> None:
        self._world = world
        self._forget()
        world.on_reset(self._forget)

    def _forget(self) -> None:
        config = self._world.config
        self._grants: dict[str, _Grant] = {}
        self._windows: dict[str, Window] = defaultdict(
            lambda: Window(config.lineworks_limit, config.lineworks_window_s)
        )

    def drain(self, calls: int, client_id: str = "") -> dict[str, str]:
        """Use up calls of a domain's budget, as another app of it would; return what the headers say now."""
        return self._windows[client_id or self._last_client()].use(calls)[1]

    def _last_client(self) -> str:
        """Return the client whose budget is meant when none is named: whoever got the last token."""
        return next((grant.client_id for grant in list(self._grants.values())[-1:]), "")

    def purpose(self, call: Call) -> str:
        if call.path == "/oauth2/v2.0/token":
            return "token"
        return "send" if call.method == "POST" and call.path.endswith("/messages") else "other"

    def refusal(self, status: int) -> Answer:
        code, description = _WORDS.get(status, _WORDS[500 if status >= HTTPStatus.INTERNAL_SERVER_ERROR else 400])
        return _error(status, code, description, _TOKEN if status == HTTPStatus.UNAUTHORIZED else None)

    def answer(self, call: Call) -> Answer:
        if self.purpose(call) == "token":
            return self._token(call.form) if call.method == "POST" else self.refusal(404)
        grant = self._granted(call.bearer)
        if grant is None:
            return self.refusal(401)
        match call.method, call.parts[1:]:
            case "GET", ["bots", bot]:
                return self._bot(bot, grant.account)
            case "POST", ["bots", bot, "users", user_id, "messages"]:
                return self._send(call, bot, user_id, grant)
        return self.refusal(404)

    def _token(self, form: Mapping[str, str]) -> Answer:
        client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
        account = self._world.accounts.find(LineWorksAccount, client_id)
        if account is None or client_secret in ("", REVOKED) or account.client_secret not in ("", client_secret):
            return _token_error(401, "invalid_client", "Client authentication failed.")
        if form.get("grant_type") != GRANT:
            return _token_error(400, "unsupported_grant_type", "The grant type is not supported.")
        scopes = frozenset(form.get("scope", "").replace(",", " ").split())
        if not scopes:
            return _token_error(400, "invalid_scope", "The scope is missing.")
        fault = _assertion_fault(form.get("assertion", ""), client_id, account)
        if fault:
            return _token_error(400, "invalid_grant", fault)
        token = secrets.token_urlsafe(32)
        self._grants[token] = _Grant(account, client_id, scopes, time.monotonic() + account.token_lifetime_s)
        if len(self._grants) > TOKENS_KEPT:
            self._grants.pop(next(iter(self._grants)), None)
        words = {"access_token": token, "refresh_token": secrets.token_urlsafe(32), "token_type": "Bearer"}
        expiry = {"scope": " ".join(sorted(scopes)), "expires_in": str(account.token_lifetime_s)}
        return json_answer(200, {**words, **expiry})

    def _granted(self, token: str) -> _Grant | None:
        """Return what a token stands for; without configured accounts any token is as good as an issued one."""
        found = self._grants.get(token)
        if found:
            return found if time.monotonic() < found.ends_at else None
        account = self._world.accounts.find(LineWorksAccount, token)
        if not token or account is None or any(isinstance(a, LineWorksAccount) for a in self._world.accounts.all()):
            return None
        return _Grant(account, "", frozenset({"bot"}), math.inf)

    def _bot(self, bot: str, account: LineWorksAccount) -> Answer:
        if account.bots and bot not in account.bots:
            return _error(404, "BOT_NOT_EXIST", "Bot does not exist")
        words = {"botName": "Sandbox", "description": "", "enableCallback": False, "isPrivate": False}
        return json_answer(200, {"botId": int(bot) if bot.isdecimal() else bot, **words})

    def _send(self, call: Call, bot: str, user_id: str, grant: _Grant) -> Answer:
        within, headers = self._windows[grant.client_id].use()
        if not within:
            return _error(429, "TOO_MANY_REQUESTS", "API rate limit exceeded", headers)
        refused = _refused(bot, object_of(call.json()), grant) or _REFUSALS.get(magic.of_user(user_id))
        if refused:
            return refused.with_headers(headers)
        fates = {magic.of_user(user_id)}
        status = magic.refused_status(fates)
        if status:
            spent = {"rateLimit-remaining": "0"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}
            return self.refusal(status).with_headers({**headers, **spent})
        self._world.sent.record(self.name, "", [Notice(user_id, "", _text(object_of(call.json())))])
        return magic.bend(Answer(201, headers=headers), fates, self._world.config.slow_s)


def _assertion_fault(assertion: str, client_id: str, account: LineWorksAccount) -> str:
    """Return what is wrong with the JWT, or nothing. Its signature is checked where the account has a public key."""
    check = bool(account.public_key)
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            account.public_key,
            algorithms=["RS256"],
            options={"verify_signature": check, "verify_exp": True, "require": ["iss", "sub", "iat", "exp"]},
        )
        algorithm = jwt.get_unverified_header(assertion).get("alg")
    except (jwt.PyJWTError, ValueError):
        return "The assertion is not valid."
    if algorithm != "RS256":
        return "The assertion is not signed with RS256."
    if claims["iss"] != client_id or account.service_account not in ("", claims["sub"]):
        return "The assertion belongs to another client or service account."
    if claims["exp"] - claims["iat"] > ASSERTION_LIFETIME_S:
        return "The assertion is valid for more than 60 minutes."
    return ""


def _refused(bot: str, body: Mapping[str, Any], grant: _Grant) -> Answer | None:
    if not grant.scopes & {"bot", "bot.message"}:
        return _error(403, "FORBIDDEN", "Not allowed api: insufficient scope", _SCOPE)
    if grant.account.bots and bot not in grant.account.bots:
        return _error(404, "BOT_NOT_EXIST", "Bot does not exist")
    content = object_of(body.get("content"))
    if not text_of(content.get("type")):
        return _error(400, "MISSING_PARAMETER", "content.type is missing")
    if content["type"] == "text" and not text_of(content.get("text")):
        return _error(400, "MISSING_PARAMETER", "content.text is missing")
    if len(_text(body)) > TEXT_LIMIT:
        return _error(400, "LIMIT_EXCEEDED", "content.text is longer than 2000 characters")
    return None


def _text(body: Mapping[str, Any]) -> str:
    return text_of(object_of(body.get("content")).get("text"))


def _error(status: int, code: str, description: str, headers: Mapping[str, str] | None = None) -> Answer:
    return json_answer(status, {"code": code, "description": description}, headers)


def _token_error(status: int, word: str, description: str) -> Answer:
    return json_answer(status, {"error": word, "error_description": description})


_REFUSALS = {
    Fate.UNKNOWN: _error(404, "USER_NOT_EXIST", "User does not exist"),
    Fate.FOREIGN: _error(403, "FORBIDDEN", "User is not in the organization"),
    Fate.SCOPE: _error(403, "FORBIDDEN", "Not allowed api: insufficient scope", _SCOPE),
    Fate.DAILY: _error(403, "LIMIT_EXCEEDED", "Daily message limit exceeded"),
}
