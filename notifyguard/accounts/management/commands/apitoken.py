"""Creates an API token and prints it, the only time that it is seen."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from notifyguard.accounts.api_tokens import issue
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Role
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tenants import TenantError, find_tenant

MOST_DAYS = 3650


class Command(BaseCommand):
    """Prints ``{"token", "prefix", "expires_at"}`` with ``--json``, else the token alone on its line."""

    help = "Create an API token of a tenant; it is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--name", default="Command line")
        parser.add_argument("--days", type=int, metavar="N", help="ends after so many days; default: never")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--days must be between 1 and {MOST_DAYS}.")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        try:
            tenant = find_tenant(options["tenant"])
        except TenantError as error:
            raise CommandError(str(error)) from error
        with tenant_scope(tenant.id):
            row, token = issue(name=options["name"], role=options["role"], expires_at=expires_at, actor=COMMAND_LINE)
        ends = expires_at.isoformat() if expires_at else None
        said = {"token": token, "prefix": row.prefix, "expires_at": ends}
        self.stdout.write(json.dumps(said) if options["json"] else token)
