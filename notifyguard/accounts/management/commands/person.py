"""Creates a person's account, or gives an existing one roles in further organisations."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Role, Tenant, User
from notifyguard.accounts.people import PeopleError, find_person, normalize_email, password_path, set_role
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.accounts.tenants import TenantError, find_tenant


class Command(BaseCommand):
    """``person create`` prints the link to set a password where none was given."""

    help = "Create a person with roles, or add roles to an existing person."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        create = acts.add_parser("create", help="create a person, or add roles")
        create.add_argument("email")
        create.add_argument("--name", default="")
        create.add_argument(
            "--tenant", action="append", default=[], metavar="SLUG=ROLE", help=f"{', '.join(Role.values)}"
        )
        create.add_argument("--language", default="", choices=["", *(code for code, _name in settings.LANGUAGES)])
        password = create.add_mutually_exclusive_group()
        password.add_argument("--password-stdin", action="store_true", help="read it from standard input")
        password.add_argument("--password", default="", help="others on this machine can see it while this runs")

    def handle(self, *_args: Any, **options: Any) -> None:
        email = _valid_email(options["email"])
        try:
            roles = [_role(text) for text in options["tenant"]]
            with transaction.atomic():
                person, is_new = _person(email, options)
                for tenant, role in roles:
                    with tenant_scope(tenant.id):
                        set_role(person, role, actor=COMMAND_LINE)
        except (TenantError, PeopleError) as error:
            raise CommandError(str(error)) from error
        verb = "can sign in now" if is_new else "had an account already: only the roles were set"
        self.stdout.write(f"{person.email} {verb}.")
        if not person.has_usable_password():
            self.stdout.write(f"To set a password, open once: {settings.PUBLIC_URL}{password_path(person)}")


def _person(email: str, options: dict[str, Any]) -> tuple[User, bool]:
    person = find_person(email)
    password = sys.stdin.readline().rstrip("\r\n") if options["password_stdin"] else options["password"]
    if person is not None:
        if password:
            raise CommandError(f"{email} has an account already, and its password is the person's own to change.")
        return person, False
    if password:
        _check_password(password, email)
    name, language = options["name"].strip(), options["language"]
    return User.objects.create_user(email, password or None, name=name, language=language), True


def _check_password(password: str, email: str) -> None:
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error


def _valid_email(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError as error:
        raise CommandError(f"{text!r} is not an email address.") from error
    return normalize_email(text)


def _role(text: str) -> tuple[Tenant, str]:
    slug, _equals, role = text.partition("=")
    if role not in Role.values:
        raise CommandError(f"--tenant must be <slug>=<role> with a role of {', '.join(Role.values)}, not {text!r}.")
    return find_tenant(slug), role
