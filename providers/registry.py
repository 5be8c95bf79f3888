"""The providers by name: the only list of them."""

from __future__ import annotations

from providers import lineworks, sendgrid, ses, smpp, twilio, vonage
from providers.base import Provider

_ALL: tuple[Provider, ...] = (
    sendgrid.PROVIDER,
    ses.PROVIDER,
    lineworks.PROVIDER,
    twilio.PROVIDER,
    vonage.PROVIDER,
    smpp.PROVIDER,
)
PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}


def get_provider(name: str) -> Provider:
    """Return a provider by its name. Raises ``KeyError`` for a name that is not in the registry."""
    return PROVIDERS[name]
