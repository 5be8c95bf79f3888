"""The Japanese catalogue: every text is there, with the placeholders of the English one."""

from __future__ import annotations

import re

import pytest
from babel.messages.pofile import read_po
from django.conf import settings

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")


def messages():
    with (settings.BASE_DIR / "locale/ja/LC_MESSAGES/django.po").open("rb") as file:
        return [message for message in read_po(file, locale="ja") if message.id]


def texts(message) -> tuple[str, str]:
    """The English text (its plural where it has one) and the Japanese one."""
    english = message.id[-1] if isinstance(message.id, tuple) else message.id
    return english, message.string[0] if isinstance(message.string, tuple) else message.string


def test_every_text_is_translated():
    assert [message.id for message in messages() if not texts(message)[1] or message.fuzzy] == []


def test_every_translation_keeps_the_placeholders():
    placeholders = [[sorted(PLACEHOLDER.findall(text)) for text in texts(message)] for message in messages()]
    assert [pair for pair in placeholders if pair[0] != pair[1]] == []


@pytest.mark.parametrize("name", ["base.css", "components.css"])
def test_colours_are_written_in_the_tokens_only(name):
    css = (settings.BASE_DIR / "static/css" / name).read_text()
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgb|hsl|oklch)a?\(", css) == []
