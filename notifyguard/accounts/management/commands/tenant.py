"""Creates an organisation, or lists those that there are."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.tenants import TenantError, create_tenant, list_tenants


class Command(BaseCommand):
    """``tenant create <slug>`` prints the new tenant, ``tenant list`` all of them; ``--json`` for programs."""

    help = "Create an organisation, or list those that there are."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        create = acts.add_parser("create", help="create an organisation")
        create.add_argument("slug", help="the word in its pages' addresses: letters, digits, - and _")
        create.add_argument("--name", default="", help="default: the slug")
        create.add_argument("--timezone", default="UTC", help="e.g. Asia/Tokyo; what is a day in its numbers")
        create.add_argument("--language", default="en", choices=[code for code, _name in settings.LANGUAGES])
        listing = acts.add_parser("list", help="list the organisations")
        for sub in (create, listing):
            sub.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["act"] == "list":
            self._list(as_json=options["json"])
            return
        try:
            tenant = create_tenant(
                slug=options["slug"],
                name=options["name"],
                timezone=options["timezone"],
                language=options["language"],
                actor=COMMAND_LINE,
            )
        except TenantError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            json.dumps(_describe(tenant)) if options["json"] else f"{tenant.name} is at /t/{tenant.slug}/."
        )

    def _list(self, *, as_json: bool) -> None:
        tenants = list_tenants()
        if as_json:
            self.stdout.write(json.dumps([_describe(tenant) for tenant in tenants], ensure_ascii=False))
        else:
            for tenant in tenants:
                self.stdout.write(f"{tenant.slug}\t{tenant.name}\t{tenant.timezone}\t{tenant.language}")


def _describe(tenant: Tenant) -> dict[str, str]:
    return {
        "id": str(tenant.id),
        "slug": tenant.slug,
        "name": tenant.name,
        "timezone": tenant.timezone,
        "language": tenant.language,
    }
