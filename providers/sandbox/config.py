"""What a sandbox is told: its accounts, its pace, and the faults asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from providers.sandbox import sendgrid

REVOKED = "revoked"  # no account has this credential, whatever the configuration says

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class _Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="provider"):
    """Of each account, the first field is the name its calls give; left out, it takes the calls no other one takes."""

    @property
    def credential(self) -> str:
        return str(getattr(self, self.__struct_fields__[0]))


class SendGridAccount(_Account, frozen=True, tag="sendgrid"):
    api_key: str = ""
    url: str = ""  # of the Event Webhook; without it nothing is posted
    private_key: str = ""  # PEM; without it the webhook is not signed

    def __post_init__(self) -> None:
        if self.private_key:  # better to fail here than in the thread that posts
            sendgrid.sign(self.private_key, b"", datetime.now(UTC))


class SesAccount(_Account, frozen=True, tag="ses"):
    access_key_id: str = ""
    url: str = ""  # what the SNS topic is subscribed by
    topic: str = "arn:aws:sns:ap-northeast-1:123456789012:sandbox"


class LineWorksAccount(_Account, frozen=True, tag="lineworks"):
    client_id: str = ""
    client_secret: str = ""  # these are compared where they are given
    service_account: str = ""
    public_key: str = ""  # PEM; the key that has to have signed the JWT
    bots: tuple[str, ...] = ()
    token_lifetime_s: int = 86_400


class TwilioAccount(_Account, frozen=True, tag="twilio"):
    account_sid: str = ""
    auth_token: str = ""  # callbacks are signed with it; without it with the password of the call


class VonageAccount(_Account, frozen=True, tag="vonage"):
    api_key: str = ""
    api_secret: str = ""
    url: str = ""  # of receipts, unless the call names a callback
    signature_secret: str = ""  # without it receipts are not signed
    signature_method: Literal["md5hash", "md5", "sha1", "sha256", "sha512"] = "sha256"


Account = SendGridAccount | SesAccount | LineWorksAccount | TwilioAccount | VonageAccount
_Kind = TypeVar("_Kind", SendGridAccount, SesAccount, LineWorksAccount, TwilioAccount, VonageAccount)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The accounts, and what holds for all of them."""

    accounts: tuple[Account, ...] = ()
    delay_s: Seconds = 0.3  # from acceptance to the first event, and from one event to the next
    duplicates: Share = 0.0  # of the events that are reported a second time
    shuffle: bool = False  # events of one notice arrive in any order
    batch: Count = 500  # events in a post at most, where the provider batches
    posters: Count = 4  # posts under way for one account
    tries: Count = 5  # of a post that is not answered 2xx
    retry_s: Seconds = 0.5  # before the second try; doubles with each
    slow_s: Seconds = 5.0  # how long "slow" takes
    seed: int | None = None  # makes duplicates and order the same each time
    lineworks_limit: Count = 240
    lineworks_window_s: Seconds = 60.0


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The next ``times`` calls of a provider are answered like this; of "hang", "reset" and "close" see ``Manner``."""

    provider: Literal["sendgrid", "ses", "lineworks", "twilio", "vonage"]
    answer: (
        Annotated[int, msgspec.Meta(ge=400, le=599)]
        | Literal["hang", "reset", "close"]
        | dict[Literal["slow_s"], Seconds]
    )
    times: Count = 1
    on: Literal["send", "token", "other"] = "send"
    taken: bool = True  # whether a call that is not refused takes effect, although its answer is late or lost


class Accounts:
    """The accounts by provider and credential; they may be changed while calls are answered."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._lock = threading.Lock()
        self._by_kind: dict[type[Any], dict[str, Account]] = {}
        for account in accounts:
            self.put(account)

    def put(self, account: Account) -> None:
        """Add an account, in place of the one with the same credential."""
        with self._lock:
            self._by_kind.setdefault(type(account), {})[account.credential] = account

    def all(self) -> tuple[Account, ...]:
        with self._lock:
            return tuple(account for accounts in self._by_kind.values() for account in accounts.values())

    def find(self, kind: type[_Kind], credential: str) -> _Kind | None:
        """Return whose credential it is; where no account of the provider is configured, anybody's is good."""
        if credential == REVOKED:
            return None
        own: dict[str, Any] = self._by_kind.get(kind, {})
        return own.get(credential) or own.get("") if own else kind()


class Faults:
    """What is to go wrong next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, provider: str, purpose: str) -> Fault | None:
        """Return the oldest fault for such a call, and count it down."""
        with self._lock:
            for at, (fault, left) in enumerate(self._waiting):
                if (fault.provider, fault.on) == (provider, purpose):
                    self._waiting[at : at + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None
