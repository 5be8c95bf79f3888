"""Works stored webhooks again, after a parser was put right; what is in the ledger already changes nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from deliveries import inbox
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenants import TenantError, find_tenant, list_tenants

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    """Prints a line a tenant: webhooks read, new events, deliveries changed."""

    help = "Work stored webhooks again. With --dry-run nothing is kept, but the counts are those of the real thing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default="", metavar="SLUG", help="default: every tenant, and the operator")
        parser.add_argument(
            "--since", type=_since, metavar="WHEN", help="received since: 2026-11-20T09:00+09:00, 2026-11-20, 24h, 7d"
        )
        parser.add_argument("--dry-run", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            tenants = [find_tenant(options["tenant"])] if options["tenant"] else list_tenants()
        except TenantError as error:
            raise CommandError(str(error)) from error
        total = inbox.NOTHING
        for tenant in tenants:
            worked = inbox.replay(tenant.id, since=options["since"], dry_run=options["dry_run"])
            self.stdout.write(_line(tenant, worked))
            total += worked
        if options["dry_run"]:
            self.stdout.write("Dry run: nothing was changed.")
        elif total.changed == 0:
            self.stdout.write("Nothing changed: all of it was in the ledger already.")


def _line(tenant: Tenant, worked: inbox.Worked) -> str:
    return f"{tenant.slug}: {worked.raws} webhooks, {worked.new_events} new events, {worked.changed} deliveries changed"


def _since(text: str) -> datetime:
    """Read ISO 8601 (without a zone UTC) or an age in minutes, hours or days; argparse words the ``ValueError``."""
    age = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if age:
        return timezone.now() - timedelta(**{_UNITS[age[2]]: int(age[1])})
    at = parse_datetime(text)
    day = parse_date(text) if at is None else None
    if day is not None:
        at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if at is None:
        raise ValueError
    return at if at.tzinfo else at.replace(tzinfo=UTC)
