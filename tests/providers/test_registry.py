"""What every provider in the registry must have."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.base import Channel, Field
from providers.registry import PROVIDERS, get_provider

ROOT = Path(__file__).parents[2]


def test_the_six_providers_are_listed():
    assert list(PROVIDERS) == ["sendgrid", "ses", "lineworks", "twilio", "vonage", "smpp"]


def test_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        get_provider("pigeon")


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_provider_is_complete(name):
    provider = get_provider(name)
    assert (provider.name, type(provider.channel)) == (name, Channel)
    assert provider.label
    assert all(type(field) is Field and field.label for field in provider.fields)
    assert len({field.name for field in provider.fields}) == len(provider.fields)
    assert all(header == header.lower() for header in provider.kept_headers)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_provider_has_its_page_and_its_payloads(name):
    assert (ROOT / "docs" / "providers" / f"{name}.md").is_file()
    assert (ROOT / "tests" / "payloads" / name / "SOURCES.md").is_file()
