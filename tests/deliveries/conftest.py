"""A sandbox in place of the providers."""

from __future__ import annotations

import pytest

from providers.sandbox.server import Sandbox


@pytest.fixture
def sandbox(settings):
    with Sandbox({"delay_s": 0}) as running:
        settings.PROVIDER_URLS = dict.fromkeys(("sendgrid", "ses", "lineworks", "twilio", "vonage"), running.url)
        settings.SEND_TIMEOUT_S = 2
        yield running
