"""The providers, those that send, and those with lists of their own, by name: the only list of them."""

from __future__ import annotations

from providers import lineworks, sendgrid, ses, smpp, twilio, vonage
from providers.base import Provider
from providers.senders import lineworks as lineworks_sender
from providers.senders import sendgrid as sendgrid_sender
from providers.senders import ses as ses_sender
from providers.senders import twilio as twilio_sender
from providers.senders import vonage as vonage_sender
from providers.sending import Sender, SuppressionLists

_ALL: tuple[Provider, ...] = (
    sendgrid.PROVIDER,
    ses.PROVIDER,
    lineworks.PROVIDER,
    twilio.PROVIDER,
    vonage.PROVIDER,
    smpp.PROVIDER,
)
PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}

_SENDING: tuple[Sender, ...] = (
    sendgrid_sender.SENDER,
    ses_sender.SENDER,
    lineworks_sender.SENDER,
    twilio_sender.SENDER,
    vonage_sender.SENDER,
)
SENDERS: dict[str, Sender] = {sender.name: sender for sender in _SENDING}
LISTS: dict[str, SuppressionLists] = {"sendgrid": sendgrid_sender.SENDER, "ses": ses_sender.SENDER}


def get_provider(name: str) -> Provider:
    """Return a provider by its name. Raises ``KeyError`` for a name that is not in the registry."""
    return PROVIDERS[name]


def get_sender(name: str) -> Sender:
    """Return a sender by its provider's name. Raises ``KeyError`` for one that does not send."""
    return SENDERS[name]
