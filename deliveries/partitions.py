"""The ledger's monthly partitions, made by a function that the owner lends to the application."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from django.db import connection

MONTHS_AHEAD = 2

_known: set[tuple[str, date]] = set()


def ensure(months: Iterable[date]) -> None:
    """Make sure of the partitions of these months (first days). Implausible ones go to the default partition."""
    database = str(connection.settings_dict["NAME"])
    missing = sorted(month for month in set(months) if (database, month) not in _known)
    with connection.cursor() as cursor:
        for month in missing:
            cursor.execute("SELECT ensure_event_partition(%s)", [month])
            _known.add((database, month))


def prepare(today: date | None = None) -> None:
    """Make this month's partition and the next ones ahead of time, so that no webhook waits for it."""
    day = today or datetime.now(UTC).date()
    number = day.year * 12 + day.month - 1
    ensure(date(n // 12, n % 12 + 1, 1) for n in range(number, number + MONTHS_AHEAD + 1))
