"""What each row of a resend plan came to, as a file: read batch by batch, so that memory stays flat."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _

from deliveries import words
from deliveries.attempts import OUTCOMES
from deliveries.export import defuse
from deliveries.models import Attempt, ResendPlan
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenancy import tenant_scope

BATCH = 2000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # by which Excel knows UTF-8


def results(plan: ResendPlan, tenant: Tenant, language: str) -> Iterator[bytes]:
    """Yield a CSV with one row an attempt; each batch is read in a scope of its own while the file is on its way."""
    with translation.override(language):
        yield _BYTE_ORDER_MARK + _lines([_header(tenant)])
    last: uuid.UUID | None = None
    while True:
        with tenant_scope(tenant.id), translation.override(language):
            read = _batch(plan, last)
            lines = _lines(_rows(read, tenant)) if read else b""
        if not read:
            return
        yield lines
        last = read[-1][0]


_READ = (
    *("delivery_id", "delivery__title", "delivery__name", "channel", "recipient", "delivery__recipient"),
    *("outcome", "sent_at", "answer", "provider_message_id"),
)


def _batch(plan: ResendPlan, last: uuid.UUID | None) -> list[tuple[Any, ...]]:
    rows = Attempt.objects.filter(plan_id=plan.id).order_by("delivery_id")
    return list((rows.filter(delivery_id__gt=last) if last else rows).values_list(*_READ)[:BATCH])


def _header(tenant: Tenant) -> list[str]:
    return [
        _("Delivery id"),
        _("Title"),
        _("Name"),
        _("Channel"),
        _("Recipient"),
        _("Outcome"),
        _("What it means"),
        _("Handed over (%(zone)s)") % {"zone": tenant.timezone},
        _("Answer"),
        _("Provider's message id"),
    ]


def _rows(read: Sequence[tuple[Any, ...]], tenant: Tenant) -> Iterator[list[str]]:
    outcomes = {str(outcome): str(word) for outcome, word in OUTCOMES.items()}
    channels = {str(channel): str(word) for channel, word in words.CHANNELS.items()}
    zone = tenant.zone
    for delivery_id, title, name, channel, recipient, last_recipient, outcome, sent_at, answer, message_id in read:
        sent = sent_at.astimezone(zone).isoformat(sep=" ", timespec="seconds") if sent_at else ""
        texts = (title, name, channels[channel], recipient or last_recipient, outcome, outcomes.get(outcome, ""))
        yield [str(delivery_id), *map(defuse, texts), sent, defuse(answer), defuse(message_id)]


def _lines(rows: Iterator[list[str]] | list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
