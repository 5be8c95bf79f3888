"""Sends through a bot of LINE WORKS, a notice a call. There is no vendor's library for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode

import jwt

from providers import payload
from providers.base import Channel, Field
from providers.http import HttpError, Response, request, retry_after
from providers.lineworks import is_foreign, read_answer
from providers.payload import Item, UnreadableError, text_of
from providers.senders.outcome import (
    DAILY_WAIT_S,
    NETWORK,
    clip,
    missing,
    of_http_error,
    of_status,
    only_refusal,
    phrase,
    value,
)
from providers.sending import Accepted, Account, Budget, Outgoing, Refused, SendResult, Sent, Token, TryLater

# API and authorisation of the two editions: https://developers.worksmobile.com/en/docs/auth-jwt
_HOSTS: Final[Mapping[str, tuple[str, str]]] = {
    "": ("https://www.worksapis.com", "https://auth.worksmobile.com"),
    "gov": ("https://gov.worksapis.com", "https://auth.gov-naverworks.com"),
}
_SCOPE: Final = "bot bot.message"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_LIFETIME_S: Final = 600  # 60 minutes at most
_SHORTER_LIFETIME_S: Final = 3600.0  # of the two that the console offers for access tokens
_TEXT_LIMIT: Final = 2000
_WINDOW_S: Final = 60.0  # over which calls are counted
_CREATED: Final = range(200, 300)
_UNAUTHORISED: Final = 401
_TOO_OFTEN: Final = 429


class _NoTokenError(Exception):
    """No access token could be had, so nothing was sent."""

    def __init__(self, result: SendResult) -> None:
        super().__init__(type(result).__name__)
        self.result = result


class LineWorksSender:
    """One bot of a LINE WORKS account, with an app's service account."""

    name = "lineworks"
    channel = Channel.LINEWORKS
    fields = (
        Field(
            "client_id", "Client ID", help="Of the app in the Developer Console; it needs the scopes bot, bot.message."
        ),
        Field("client_secret", "Client Secret", secret=True),
        Field("service_account", "Service Account", help="Of the app, e.g. abc12.serviceaccount@example.com."),
        Field("private_key", "Private key", secret=True, help="Of the service account; the whole PEM file."),
        Field("bot_id", "Bot ID"),
        Field("domain", "Domain", required=False, help="Of the organisation's login IDs; several with commas."),
        Field("edition", "Edition", required=False, help="gov for the government edition."),
        Field(
            "per_minute", "Calls a minute", required=False, help="The plan's limit; 60 with the free plan, else 240."
        ),
    )
    batch = 1
    at_once = 4  # https://developers.worksmobile.com/en/docs/rate-limits: calls at the same time are limited as well
    per_minute = 240

    def account_key(self, account: Account) -> str:
        """Return the domain: all apps and bots of a LINE WORKS account share its limits."""
        return (value(account, "domain") or value(account, "service_account")).rpartition("@")[2].lower()

    def send(self, notices: Sequence[Outgoing], account: Account) -> Sent:
        """Send one notice, with a new token and once more if the first token is refused.

        Source: https://developers.worksmobile.com/en/docs/bot-user-message-send
        """
        user_id = notices[0].recipient
        path = f"users/{quote(user_id, safe='')}/messages"
        try:
            answer = _authorised(account, partial(_call, account, "POST", path, _message(notices[0])))
        except _NoTokenError as error:
            return Sent(results=[error.result])
        except HttpError as error:
            return Sent(results=[of_http_error(error)])
        return Sent(results=[_result(answer, user_id, account)], budget=_budget(answer))

    def probe(self, account: Account) -> Refused | TryLater | None:
        """Ask for the bot: token, scope and bot are right if LINE WORKS shows it."""
        try:
            answer = _authorised(account, partial(_call, account, "GET", "", None))
        except _NoTokenError as error:
            return only_refusal(error.result)
        except HttpError as error:
            return only_refusal(of_http_error(error))
        if answer.status in _CREATED:
            return None
        return only_refusal(_about_bot(_result(answer, "", account)))


def _message(notice: Outgoing) -> bytes:
    text = "\n".join(filter(None, (notice.title, notice.text)))
    if len(text) > _TEXT_LIMIT:
        text = f"{text[: _TEXT_LIMIT - 1]}…"
    return json.dumps({"content": {"type": "text", "text": text}}).encode()


def _authorised(account: Account, call: Callable[[str], Response]) -> Response:
    """Make the call with the account's token. A 401 says that nothing was done, so it may be made once more."""
    renew = partial(_renewed, account)
    token = account.tokens.get(renew)
    answer = call(token)
    return call(account.tokens.get(renew, not_this=token)) if answer.status == _UNAUTHORISED else answer


def _call(account: Account, method: str, path: str, body: bytes | None, token: str) -> Response:
    bot = quote(value(account, "bot_id"), safe="")
    url = f"{_hosts(account)[0]}/v1.0/bots/{bot}{'/' if path else ''}{path}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return _request(account, method, url, headers, body)


def _request(account: Account, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
    # Only the installation can set another host, a sandbox on the same machine.
    local = bool(account.api_url)
    return request(method, url, headers=headers, body=body, timeout_s=account.timeout_s, allow_loopback=local)


def _hosts(account: Account) -> tuple[str, str]:
    if account.api_url:
        return (account.api_url.rstrip("/"),) * 2
    return _HOSTS["gov" if value(account, "edition").lower().startswith("gov") else ""]


def _renewed(account: Account) -> Token:
    """Ask for an access token. Raises ``_NoTokenError`` with what that means for the notice."""
    if name := missing(SENDER.fields, account):
        raise _NoTokenError(Refused(verdict="token invalid_request", answer=f"{name} is missing."))
    form = {
        "assertion": _assertion(account),
        "grant_type": _GRANT,
        "client_id": value(account, "client_id"),
        "client_secret": value(account, "client_secret"),
        "scope": _SCOPE,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{_hosts(account)[1]}/oauth2/v2.0/token"
    try:
        answer = _request(account, "POST", url, headers, urlencode(form).encode())
    except HttpError as error:  # even if the request left: it was for a token, not for a notice
        raise _NoTokenError(TryLater(verdict=NETWORK, answer=str(error))) from error
    return _token(answer, account)


def _assertion(account: Account) -> str:
    now = int(time.time())
    claims = {
        "iss": value(account, "client_id"),
        "sub": value(account, "service_account"),
        "iat": now,
        "exp": now + _ASSERTION_LIFETIME_S,
    }
    try:
        return jwt.encode(claims, value(account, "private_key"), algorithm="RS256")
    except (jwt.InvalidKeyError, ValueError, TypeError) as error:  # what is no key, no PEM or has a password
        refused = Refused(verdict="token invalid_key", answer="The private key can't be read.")
        raise _NoTokenError(refused) from error


def _token(answer: Response, account: Account) -> Token:
    body = _body(answer)
    token = text_of(body.get("access_token"))
    if answer.status in _CREATED and token:
        return Token(value=token, lifetime_s=_lifetime(body))
    raise _NoTokenError(_token_refused(answer, body, account))


def _lifetime(body: Item) -> float:
    """Return the seconds that a token holds; LINE WORKS writes them as text."""
    seconds = text_of(body.get("expires_in"))
    return float(seconds[:9]) if seconds.isascii() and seconds.isdigit() else _SHORTER_LIFETIME_S


def _token_refused(answer: Response, body: Item, account: Account) -> SendResult:
    wait_s = _wait(answer) if answer.status == _TOO_OFTEN else retry_after(answer)
    result = only_refusal(of_status(answer.status, str(answer.status), phrase(answer.status), wait_s))
    if isinstance(result, TryLater):
        return result
    error = {"error": text_of(body.get("error")) or "unknown", "error_description": body.get("error_description")}
    _, verdict, words = read_answer({"status": str(answer.status), "token_error": error}, "")
    # A service account of another organisation looks like a wrong secret to LINE WORKS.
    foreign = is_foreign(value(account, "service_account"), value(account, "domain"))
    return Refused(verdict=f"{verdict} +domain" if foreign else verdict, answer=clip(words))


def _result(answer: Response, user_id: str, account: Account) -> SendResult:
    if answer.status in _CREATED:
        return Accepted(answer=phrase(answer.status))
    body = _body(answer)
    report = {
        "user_id": user_id,
        "status": str(answer.status),
        "code": body.get("code"),
        "description": body.get("description"),
        "headers": dict(answer.headers),
    }
    try:
        _, verdict, words = read_answer(report, value(account, "domain"))
    except UnreadableError:  # a status that HTTP does not have
        return of_status(answer.status, str(answer.status), phrase(answer.status))
    if verdict.startswith("403 LIMIT_EXCEEDED") or (answer.status == _TOO_OFTEN and "+daily" in verdict):
        return TryLater(verdict=verdict, answer=clip(words), wait_s=DAILY_WAIT_S, account_wide=True)
    wait_s = _wait(answer) if answer.status == _TOO_OFTEN else retry_after(answer)
    return of_status(answer.status, verdict, clip(words), wait_s)


def _about_bot(result: SendResult) -> SendResult:
    """Name the bot in a refusal that names nothing else: it is all that a probe asks for."""
    if isinstance(result, Refused) and result.verdict[:3] in ("400", "403", "404") and "+" not in result.verdict:
        return Refused(verdict=f"{result.verdict} +bot", answer=result.answer)
    return result


def _body(answer: Response) -> Item:
    try:
        loaded = payload.load(answer.body)
    except UnreadableError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _wait(answer: Response) -> float:
    asked = retry_after(answer)
    if asked is not None:
        return asked
    reset = _count(answer, "ratelimit-reset")
    return _WINDOW_S if reset is None else float(reset)


def _budget(answer: Response) -> Budget | None:
    """Read the limit's headers. Source: https://developers.worksmobile.com/en/docs/rate-limits, "ssed" included."""
    limit, remaining = _count(answer, "ratelimit-limit"), _count(answer, "ratelimit-remaining")
    used = _count(answer, "ratelimit-ssed", "ratelimit-used")
    if limit is None or (remaining is None and used is None):
        return None
    left = remaining if remaining is not None else max(0, limit - (used or 0))
    reset = _count(answer, "ratelimit-reset")
    return Budget(limit=limit, remaining=left, reset_s=_WINDOW_S if reset is None else float(reset))


def _count(answer: Response, *names: str) -> int | None:
    for name in names:
        text = answer.headers.get(name, "").strip()
        if text.isascii() and text.isdigit():
            return int(text[:9])
    return None


SENDER = LineWorksSender()
