"""Prepares a PostgreSQL server for NotifyGuard: the two roles and the database, before every migration."""

from __future__ import annotations

from typing import Any

import psycopg2
from django.core.management.base import BaseCommand, CommandError

from notifyguard.env import ConfigurationError, env
from notifyguard.roles import UnsafeRoleError, prepare_roles


class Command(BaseCommand):
    """Reads ``DATABASE_ADMIN_URL``, ``DATABASE_OWNER_URL`` and ``DATABASE_URL``; needs no table of the application."""

    help = "Create or correct the owner's role, the application's role and the database."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            prepare_roles(env("DATABASE_ADMIN_URL"), owner_url=env("DATABASE_OWNER_URL"), app_url=env("DATABASE_URL"))
        except (ConfigurationError, UnsafeRoleError, ValueError) as error:
            raise CommandError(str(error)) from error
        except psycopg2.Error as error:
            raise CommandError(f"The server refused: {str(error).strip()}") from error
        self.stdout.write("The roles and the database are ready.")
