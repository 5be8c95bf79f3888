"""What an answer to a send call, or its absence, means for a notice: one reading for all senders."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from socket import gaierror

from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NewConnectionError, ProxyError

from providers.base import Field
from providers.http import HttpError, OutcomeUnknown, PermanentError, TransientError
from providers.payload import storable
from providers.sending import Account, NoAnswer, Refused, SendResult, TryLater

ANSWER_LIMIT = 1000
NETWORK = "network"
# A day's limit is asked about once an hour: it may be raised at any time, and a rolling day frees a little each hour.
DAILY_WAIT_S = 3600.0

PER_MINUTE = Field("per_minute", "Calls a minute", required=False, help="If the account may make more or fewer.")

_NOTHING_LEFT = (
    NewConnectionError,  # also of a name that can't be resolved
    ConnectTimeoutError,
    ProxyError,  # urllib3 raises it only until the proxy has connected
    LocationParseError,
    gaierror,
    ConnectionRefusedError,
    ssl.SSLCertVerificationError,
)
# OpenSSL's reasons that belong to the handshake. Others may come while the answer is awaited.
_HANDSHAKE = ("HANDSHAKE", "PROTOCOL", "WRONG_VERSION_NUMBER", "UNRECOGNIZED_NAME", "HTTP_REQUEST", "CERTIFICATE")
_TOO_OFTEN = 429
_PASSING = frozenset({408, 425})
_PROVIDER_TROUBLE = 500
_REFUSALS_FROM = 400


def clip(*words: object) -> str:
    """Return the words as an answer: those that are not empty, in a form that can be stored, not too long."""
    return storable(" ".join(filter(None, map(str, words))))[:ANSWER_LIMIT]


def phrase(status: int) -> str:
    """Return a status with its words, e.g. "201 Created"."""
    known = status in HTTPStatus.__members__.values()
    return f"{status} {HTTPStatus(status).phrase}" if known else str(status)


def hush(*loggers: str) -> None:
    """Keep a vendor's client from logging: it writes addresses, texts and even keys."""
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def missing(fields: Iterable[Field], account: Account) -> str:
    """Return the first required field without a value, or "".

    Ask before any client is made: left without credentials, they take the installation's from the environment.
    """
    return next((field.name for field in fields if field.required and not value(account, field.name)), "")


def value(account: Account, name: str) -> str:
    """Return one of the account's values, trimmed: a pasted key often ends with a line break."""
    return account.values.get(name, "").strip()


def of_status(status: int, verdict: str, answer: str, wait_s: float | None = None) -> SendResult:
    """Read an HTTP status other than success. After a 504 nobody knows what happened behind the gateway.

    The same is true of a success or a redirect that the provider does not document for the call.
    """
    if status == HTTPStatus.GATEWAY_TIMEOUT or status < _REFUSALS_FROM:
        return NoAnswer(verdict=verdict, answer=answer)
    if status == _TOO_OFTEN:
        return TryLater(verdict=verdict, answer=answer, wait_s=wait_s, account_wide=True)
    if status in _PASSING or status >= _PROVIDER_TROUBLE:
        return TryLater(verdict=verdict, answer=answer, wait_s=wait_s)
    return Refused(verdict=verdict, answer=answer)


def of_exception(error: BaseException) -> TryLater | NoAnswer:
    """Read what a client raised instead of an answer. In doubt the request has left."""
    if any(map(_is_before, _causes(error))):
        return not_connected()
    return unanswered()


def not_connected() -> TryLater:
    """Return the result of a call of which nothing left."""
    return TryLater(verdict=NETWORK, answer="No connection could be made.")


def unanswered() -> NoAnswer:
    """Return the result of a call that left and has no whole answer."""
    return NoAnswer(verdict=NETWORK, answer="No answer came.")


def of_http_error(error: HttpError) -> TryLater | NoAnswer:
    """Read what ``providers.http`` raised instead of an answer."""
    result = NoAnswer if isinstance(error, OutcomeUnknown) else TryLater
    return result(verdict=NETWORK, answer=str(error))


def only_refusal(result: SendResult) -> Refused | TryLater:
    """Return a result as that of a probe, which sends nothing and so leaves nothing in doubt."""
    if isinstance(result, (Refused, TryLater)):
        return result
    return TryLater(verdict=result.verdict if isinstance(result, NoAnswer) else "", answer=result.answer)


def error_of_status(status: int, wait_s: float | None = None) -> HttpError:
    """Return what reading or clearing a list raises for a status other than success."""
    message = f"The answer was HTTP {status}."
    if status == _TOO_OFTEN or status in _PASSING or status >= _PROVIDER_TROUBLE:
        return TransientError("status", message, wait_s)
    return PermanentError("status", message)


def no_list_answer() -> TransientError:
    """Return what reading or clearing a list raises without an answer: either may be repeated."""
    return TransientError("disconnected", "No whole answer came.")


def _is_before(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLError) and any(word in (error.reason or "") for word in _HANDSHAKE):
        return True
    return isinstance(error, _NOTHING_LEFT)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Go down to what the socket said: clients wrap it in arguments, in ``reason`` and in the exception chain."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if not isinstance(cause, BaseException) or cause in seen:
            continue
        seen.append(cause)
        yield cause
        waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
