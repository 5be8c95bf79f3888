"""The text of a notice, sealed at rest and erased at its end of life."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from deliveries.models import Notice
from notifyguard.sealing import seal, unseal

ERASED_AT_ONCE = 1000


class Body(NamedTuple):
    text: str
    html: str


def seal_body(body: Body) -> bytes:
    return seal(tuple(body))


def body_of(notice: Notice) -> Body | None:
    """Return the text, or None when we never held it or its time has come."""
    if notice.body_sealed is None or (notice.body_until and notice.body_until <= timezone.now()):
        return None
    return Body(*unseal(bytes(notice.body_sealed)))


def erase_old(before: datetime) -> int:
    """Erase one batch of bodies whose end of life is past, in the scope's tenant; returns how many."""
    old = Notice.objects.filter(body_sealed__isnull=False, body_until__lte=before).order_by("body_until")
    ids = list(old.values_list("id", flat=True)[:ERASED_AT_ONCE])
    return Notice.objects.filter(id__in=ids).update(body_sealed=None) if ids else 0
