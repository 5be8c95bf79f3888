"""Sends through Amazon SES, SendEmail of its API v2, a notice a call, and reads the account's suppression list."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formataddr
from functools import cache, lru_cache
from threading import Lock
from typing import Any, Final

from providers.base import Channel, Field
from providers.http import CONNECT_TIMEOUT_S
from providers.payload import Item
from providers.senders.outcome import (
    DAILY_WAIT_S,
    PER_MINUTE,
    clip,
    error_of_status,
    hush,
    missing,
    no_list_answer,
    of_exception,
    of_status,
    only_refusal,
    phrase,
    value,
)
from providers.sending import Accepted, Account, Listed, Outgoing, Refused, SendResult, Sent, TryLater

# SES throttles with several names, and with 400 as well as 429.
_TOO_OFTEN: Final = frozenset(
    {"TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException"}
)
_CLIENTS_KEPT: Final = 128
_MAKING = Lock()  # a session is not made for several threads

hush("boto3", "botocore", "urllib3")  # a path of the suppression list holds the address


class _FailedError(Exception):
    """SES answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class SesSender:
    """An IAM user's keys in one region."""

    name = "ses"
    channel = Channel.EMAIL
    fields: tuple[Field, ...] = (
        Field("access_key_id", "Access key ID", help="Of an IAM user that may ses:SendEmail and ses:GetAccount."),
        Field("secret_access_key", "Secret access key", secret=True),
        Field("region", "Region", help="Where the identity is verified, e.g. ap-northeast-1."),
        Field("configuration_set", "Configuration set", help="Its event destination is the connection's SNS topic."),
        Field("sender", "Sender address", help="Of a verified identity."),
        Field("sender_name", "Sender name", required=False),
        PER_MINUTE,
    )
    batch = 1
    at_once = 4
    per_minute = 600

    def account_key(self, account: Account) -> str:
        """Return key and region: SES counts by AWS account and region, and a key belongs to one account."""
        return f"{value(account, 'access_key_id')}/{value(account, 'region')}"

    def send(self, notices: Sequence[Outgoing], account: Account) -> Sent:
        """Send one notice. Source: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html."""
        try:
            answer = _call(account, "send_email", **_email(notices[0], account))
        except _FailedError as error:
            return Sent(results=[_result(error)])
        except Exception as error:  # noqa: BLE001 -- whatever the client makes of a broken answer
            return Sent(results=[of_exception(error)])
        return Sent(results=[Accepted(provider_message_id=str(answer.get("MessageId", "")), answer=phrase(200))])

    def probe(self, account: Account) -> Refused | TryLater | None:
        """Ask for the account's state; SES says there whether it lets the account send."""
        try:
            answer = _call(account, "get_account")
        except _FailedError as error:
            return only_refusal(_result(error))
        except Exception as error:  # noqa: BLE001 -- as in send
            return only_refusal(of_exception(error))
        if answer.get("SendingEnabled", True):
            return None
        return Refused(verdict="400 SendingPausedException", answer="Sending is paused for the account.")

    def listed(self, recipient: str, account: Account) -> list[Listed]:
        """Return the account's entry. SES keeps the case of addresses and finds only the exact one."""
        for address in dict.fromkeys((recipient, recipient.lower())):
            if found := _list_call(account, "get_suppressed_destination", address):
                entry = found["SuppressedDestination"]
                return [Listed(list_name=entry["Reason"], recipient=entry["EmailAddress"], reason=_listed_at(entry))]
        return []

    def unlist(self, entry: Listed, account: Account) -> None:
        """Delete the account's entry for the address as SES writes it."""
        _list_call(account, "delete_suppressed_destination", entry.recipient)


def _email(notice: Outgoing, account: Account) -> Item:
    text = notice.text or ("" if notice.html else notice.title)
    parts = {"Text": text, "Html": notice.html}
    sender = _mailbox(notice.sender_name or value(account, "sender_name"), notice.sender or value(account, "sender"))
    return {
        "FromEmailAddress": sender,
        "Destination": {"ToAddresses": [_mailbox(notice.name, notice.recipient)]},
        "Content": {
            "Simple": {
                "Subject": _content(notice.title),
                "Body": {name: _content(part) for name, part in parts.items() if part},
            }
        },
        "EmailTags": [{"Name": name, "Value": tag} for name, tag in _tags(notice, account.route_by).items()],
        "ConfigurationSetName": value(account, "configuration_set"),
    }


def _content(text: str) -> Item:
    return {"Data": text, "Charset": "UTF-8"}


def _tags(notice: Outgoing, route_by: str) -> dict[str, str]:
    tags = {"ng_attempt": notice.attempt_ref}
    kind, _, name = route_by.partition(":")
    if kind == "tag" and notice.route:
        tags[name] = notice.route
    return tags


def _mailbox(name: str, address: str) -> str:
    """Return name and address as a header would have them: SES takes ASCII only, the domain in punycode."""
    local, at, domain = address.rpartition("@")
    try:
        return formataddr((name, f"{local}{at}{domain.encode('idna').decode()}"))
    except UnicodeError:  # SES says better than we could what is wrong with it
        return address


def _call(account: Account, operation: str, **parameters: object) -> Item:
    """Make one call and return its answer. Raises ``_FailedError`` when SES refuses it, else what botocore raises."""
    # A process that only takes webhooks never sends, and the client takes half a second to import.
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError  # noqa: PLC0415

    if name := missing(SENDER.fields, account):
        raise _FailedError(400, "MissingParameter", f"{name} is missing.")
    try:
        client = _client(*_identity(account))
    except (BotoCoreError, ValueError) as error:
        raise _FailedError(400, "InvalidParameter", "The region is not valid.") from error
    try:
        answer: Item = getattr(client, operation)(**parameters)
    except ClientError as error:
        raise _failed(error.response) from error
    except ParamValidationError as error:
        raise _FailedError(400, "InvalidParameter", "A required parameter is missing or invalid.") from error
    return answer


def _identity(account: Account) -> tuple[str, str, str, str, float]:
    names = ("access_key_id", "secret_access_key", "region")
    key, secret, region = (value(account, name) for name in names)
    return key, secret, region, account.api_url, account.timeout_s


@lru_cache(maxsize=_CLIENTS_KEPT)
def _client(key: str, secret: str, region: str, url: str, timeout_s: float) -> Any:
    """Return a client that never repeats a call: SES takes no idempotency key. It may be used by several threads."""
    from botocore.config import Config  # noqa: PLC0415 -- as _call

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
        read_timeout=timeout_s,
    )
    with _MAKING:
        return _session().client(
            "sesv2",
            region_name=region,
            endpoint_url=url or None,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=config,
        )


@cache
def _session() -> Any:
    """Return the session that makes all clients: it keeps the API's description, which takes 150 ms to read."""
    from boto3.session import Session  # noqa: PLC0415 -- as _call

    return Session()


def _failed(response: Item) -> _FailedError:
    error, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    return _FailedError(int(about.get("HTTPStatusCode", 0)), str(error.get("Code", "")), str(error.get("Message", "")))


def _result(error: _FailedError) -> SendResult:
    """Read an error of SendEmail.

    A used-up day is to be tried later, not refused: nothing was sent, and as the day rolls some of the quota comes
    back each hour. It holds for the whole account.
    """
    verdict, answer = clip(error.status, error.code), clip(error.status, f"{error.code}:", error.message)
    if error.code in _TOO_OFTEN:
        wait_s = DAILY_WAIT_S if "daily" in error.message.lower() else None
        return TryLater(verdict=verdict, answer=answer, wait_s=wait_s, account_wide=True)
    return of_status(error.status, verdict, answer)


def _list_call(account: Account, operation: str, address: str) -> Item | None:
    """Return an answer about the suppression list, None if the address is not on it. Raises ``HttpError``."""
    try:
        return _call(account, operation, EmailAddress=address)
    except _FailedError as error:
        if error.code == "NotFoundException":
            return None
        if error.code in _TOO_OFTEN:
            raise error_of_status(429) from error
        raise error_of_status(error.status) from error
    except Exception as error:
        raise no_list_answer() from error


def _listed_at(entry: Item) -> str:
    at = entry.get("LastUpdateTime")
    return f"Since {at:%Y-%m-%d}." if at else ""


SENDER = SesSender()
