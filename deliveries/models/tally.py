"""Counts that are kept, not scanned for: a trigger on deliveries appends deltas, a sweep folds them together."""

from __future__ import annotations

from django.db import models

from notifyguard.accounts.tenancy import TenantOwned


class CountRow(TenantOwned):
    """``n`` open deliveries of one day (the tenant's own calendar) with ``value`` in ``facet``.

    Facets: ``state``, ``code``, ``domain``, ``connection``.
    """

    day = models.DateField()
    channel = models.CharField(max_length=16)
    facet = models.CharField(max_length=16)
    value = models.CharField(max_length=255)
    n = models.BigIntegerField()

    class Meta(TenantOwned.Meta):
        abstract = True


class Tally(CountRow):
    """The folded counts."""

    class Meta(TenantOwned.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "facet", "day", "channel", "value"], name="tally_once")
        ]


class TallyDelta(CountRow):
    """What changed since the last fold: appended, so that two workers never wait for one counter."""
