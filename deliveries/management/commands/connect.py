"""Connects a provider from the command line and prints the URL to paste in the provider's console."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from deliveries.accounts import set_sending
from deliveries.connections import ConnectionInputError, add_route, create_connection, secret_field, webhook_url
from deliveries.models import Connection
from deliveries.web.steps import place_of_url
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import OPERATOR_SLUG, Tenant
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tenants import TenantError, find_tenant
from providers.registry import PROVIDERS, SENDERS, get_provider


class Command(BaseCommand):
    """Prints the URL and where it goes.

    With ``--json`` an object of id, webhook_url, provider, name, tenant, shared, route_by, routes and sends.
    """

    help = "Connect a provider to a tenant, or a shared provider account to the operator, and print its webhook URL."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("provider", choices=sorted(PROVIDERS))
        parser.add_argument("--tenant", default="", metavar="SLUG", help="whose connection it is")
        parser.add_argument("--name", default="", help="default: the provider's name")
        key = parser.add_mutually_exclusive_group()
        key.add_argument("--secret", help="the provider's secret; - reads it from standard input")
        key.add_argument("--public-key", dest="secret", metavar="KEY", help="the same, for SendGrid's verification key")
        key.add_argument("--secret-file", type=Path, metavar="PATH", help="a file that holds the secret")
        parser.add_argument("--topic", metavar="ARN", help="Amazon SES: the SNS topic")
        parser.add_argument(
            "--setting", action="append", default=[], metavar="KEY=VALUE", help="another field of the provider"
        )
        parser.add_argument(
            "--shared",
            action="store_true",
            help="the operator's connection, whose events are routed; --tenant then has a route of its slug",
        )
        parser.add_argument(
            "--route-by", default="", metavar="KEY", help="what tells tenants apart, e.g. custom:tenant"
        )
        parser.add_argument(
            "--route",
            action="append",
            default=[],
            metavar="SLUG=VALUE",
            help="lead events with this value to this tenant; VALUE alone means the tenant of --tenant",
        )
        parser.add_argument(
            "--sending",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a field that sending takes, e.g. api_key=…; NAME=@PATH reads a file, NAME=- standard input",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            said = _connect(options)
        except (ConnectionInputError, TenantError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(said, ensure_ascii=False) if options["json"] else _tell(said))


def _connect(options: dict[str, Any]) -> dict[str, Any]:
    """Create the connection and its routes in one transaction, and return what there is to say of them."""
    slug, is_shared = options["tenant"], options["shared"]
    if not slug and not is_shared:
        raise CommandError("Say whose connection it is: --tenant <slug>, or --shared for the operator's.")
    if options["route"] and not is_shared:
        raise CommandError("Only a shared connection has routes: add --shared, or leave out --route.")
    tenant = find_tenant(slug) if slug else None
    owner = find_tenant(OPERATOR_SLUG) if is_shared or tenant is None else tenant
    with tenant_scope(owner.id):
        row = create_connection(
            provider=options["provider"],
            name=options["name"],
            values=_values(options),
            actor=COMMAND_LINE,
            shared=is_shared,
            route_by=options["route_by"],
        )
        if options["sending"]:
            set_sending(row, _sending(options), actor=COMMAND_LINE)
        routes = _routes(tenant, options["route"]) if is_shared else []
        for target, value in routes:
            add_route(row, tenant_id=target.id, value=value, actor=COMMAND_LINE)
    return _describe(row, owner, routes)


def _values(options: dict[str, Any]) -> dict[str, str]:
    provider = options["provider"]
    values = dict(_pair(text, "--setting") for text in options["setting"])
    secret = _read_secret(options)
    if secret:
        field = secret_field(provider)
        if field is None:
            raise CommandError(f"{get_provider(provider).label} has no secret: leave out --secret.")
        values[field.name] = secret
    if options["topic"]:
        values["topic"] = options["topic"]
    return values


def _sending(options: dict[str, Any]) -> dict[str, str]:
    """Return what the connection sends with. Raises ``CommandError`` for a provider that nothing is sent through."""
    if options["provider"] not in SENDERS:
        raise CommandError(f"Nothing is sent through {options['provider']}: leave out --sending.")
    given = dict(_pair(text, "--sending") for text in options["sending"])
    return {name: _value(text) for name, text in given.items()}


def _value(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    return _read_file(Path(text[1:])) if text.startswith("@") else text


def _read_secret(options: dict[str, Any]) -> str:
    path: Path | None = options["secret_file"]
    if path is not None:
        return _read_file(path)
    if options["secret"] == "-":  # noqa: S105 -- the usual word for standard input
        return sys.stdin.read().strip()
    return options["secret"] or ""


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The secret's file can't be read: {path}") from error


def _routes(tenant: Tenant | None, given: list[str]) -> list[tuple[Tenant, str]]:
    """Read ``slug=value`` or ``value``. A tenant that is named without a value is known by its slug."""
    routes = []
    for text in given:
        if "=" in text:
            slug, value = _pair(text, "--route")
            routes.append((find_tenant(slug), value))
        elif tenant is None:
            raise CommandError(f"--route {text} names no tenant: write --route <slug>={text}, or add --tenant.")
        else:
            routes.append((tenant, text))
    if tenant and not tenant.is_operator and not any(target == tenant for target, _value in routes):
        routes.append((tenant, tenant.slug))
    return routes


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise CommandError(f"{option} must be name=value, not {name!r}.")
    return name, value


def _describe(row: Connection, owner: Tenant, routes: list[tuple[Tenant, str]]) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "webhook_url": webhook_url(row),
        "provider": row.provider,
        "name": row.name,
        "tenant": owner.slug,
        "shared": row.shared,
        "route_by": row.route_by,
        "routes": [{"tenant": tenant.slug, "value": value} for tenant, value in routes],
        "sends": row.sending_sealed is not None,
    }


def _tell(said: dict[str, Any]) -> str:
    lines = [
        f"{get_provider(said['provider']).label} is connected as “{said['name']}”.",
        "",
        f"  {said['webhook_url']}",
        "",
        str(place_of_url(said["provider"])),
    ]
    lines += [f"Events with {said['route_by']} = {route['value']} go to {route['tenant']}." for route in said["routes"]]
    if said["sends"]:
        lines.append("Notices can be sent through it.")
    return "\n".join(lines)
