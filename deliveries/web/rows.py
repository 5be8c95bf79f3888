"""What a row of the error list says of a delivery: its title, why it failed, how often it was tried, what is next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from deliveries import explain
from deliveries.enums import State
from deliveries.models import Delivery
from deliveries.queries import tries, tries_until
from deliveries.web.tried import Tried

ID_TAIL = 12


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """``again`` is a later attempt that has no verdict yet."""

    delivery: Delivery
    title: str
    url: str
    cause: str
    next_step: str
    tries: int
    tries_until: datetime | None
    again: Tried | None = None


def error_rows(deliveries: Iterable[Delivery], *, slug: str, back: str) -> list[ErrorRow]:
    """Return the rows; ``back`` is the list's query, which the delivery's page leads back to."""
    language = get_language() or "en"
    return [
        ErrorRow(
            delivery=row,
            title=title_of(row),
            url=f"{reverse('delivery', args=[slug, row.id])}?{urlencode({'back': back})}",
            cause=explain.cause(row.code or "", row.reason or "", language),
            next_step=explain.next_step(row.code or "", row.reason or "", State(row.state), language),
            tries=tries(row),
            tries_until=tries_until(row),
        )
        for row in deliveries
    ]


def title_of(delivery: Delivery) -> str:
    """Return the notice's title; without one, the end of the message id keeps rows apart."""
    if delivery.title:
        return delivery.title
    if delivery.provider_message_id:
        return _("(no title) …%(tail)s") % {"tail": delivery.provider_message_id[-ID_TAIL:]}
    return _("(no title)")
