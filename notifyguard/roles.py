"""Prepares the two PostgreSQL roles and the database that the application works in, again and again without harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection, encrypt_password


class UnsafeRoleError(Exception):
    """A role can do more than it may: row-level security would not bind it."""


@dataclass(frozen=True)
class Login:
    """One role, its password and the database it works in."""

    role: str
    password: str = field(repr=False)
    database: str

    @classmethod
    def from_url(cls, url: str) -> Login:
        """Read ``postgresql://role:password@host/database``; raise ``ValueError`` if a part is missing."""
        parts = urlsplit(url)
        login = cls(unquote(parts.username or ""), unquote(parts.password or ""), unquote(parts.path.lstrip("/")))
        if not (login.role and login.password and login.database):
            raise ValueError("A database URL must name a role, its password and a database.")
        return login


def prepare_roles(admin_url: str, *, owner_url: str, app_url: str, owner_creates_databases: bool = False) -> None:
    """Create or correct the owner's role, the application's role and their database on the server of ``admin_url``.

    The administrator need not be a superuser: CREATEROLE and CREATEDB are enough. ``owner_creates_databases`` is for
    tests, which make databases of their own. Raises ``UnsafeRoleError`` before anything is changed, ``ValueError`` for
    URLs that do not belong together and ``psycopg2.Error`` if the server refuses.
    """
    owner, app = Login.from_url(owner_url), Login.from_url(app_url)
    if owner.database != app.database:
        raise ValueError("DATABASE_OWNER_URL and DATABASE_URL must name the same database.")
    if owner.role == app.role:
        raise ValueError("DATABASE_OWNER_URL and DATABASE_URL must name two different roles.")
    with _connect(admin_url) as server:
        prepare_server(server, owner, app, owner_creates_databases=owner_creates_databases)
    with _connect(admin_url, dbname=owner.database) as inside:
        grant_database(inside, owner, app)


def prepare_server(server: connection, owner: Login, app: Login, *, owner_creates_databases: bool = False) -> None:
    """Create the two roles, and the database if there is none; ``server`` must be in autocommit mode."""
    with server.cursor() as cursor:
        _refuse_unsafe(cursor, owner.role, app.role)
        _write_role(cursor, owner, "CREATEDB" if owner_creates_databases else "")
        _write_role(cursor, app, "")
        _join_owner(cursor, owner.role)
        _write_database(cursor, owner)


def grant_database(inside: connection, owner: Login, app: Login) -> None:
    """Let only the owner create in the database, and only the two roles enter it.

    Tables are not granted here: each migration grants what the application may do with the tables it makes.
    """
    names = {
        "database": sql.Identifier(owner.database),
        "owner": sql.Identifier(owner.role),
        "app": sql.Identifier(app.role),
    }
    with inside.cursor() as cursor:
        for statement in (
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {app}",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "GRANT USAGE, CREATE ON SCHEMA public TO {owner}",
            "GRANT USAGE ON SCHEMA public TO {app}",
        ):
            cursor.execute(sql.SQL(statement).format(**names))


@contextmanager
def _connect(url: str, **overrides: str) -> Iterator[connection]:
    opened = psycopg2.connect(url, connect_timeout=10, **overrides)
    opened.autocommit = True
    try:
        yield opened
    finally:
        opened.close()


def _refuse_unsafe(cursor: Any, *roles: str) -> None:
    """Stop at a role that exists with too much power: it may be the administrator's own, named by mistake."""
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolbypassrls)", [list(roles)])
    for (role,) in cursor.fetchall():
        raise UnsafeRoleError(f"Role {role} is a superuser or has BYPASSRLS: row-level security would not bind it.")


def _write_role(cursor: Any, login: Login, privileges: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login.role])
    verb = "ALTER" if cursor.fetchone() else "CREATE"
    # Hashed here, so that a server that logs its statements does not log the password.
    secret = encrypt_password(login.password, login.role, cursor.connection, "scram-sha-256")
    cursor.execute(
        sql.SQL("{verb} ROLE {role} LOGIN {privileges} PASSWORD {secret}").format(
            verb=sql.SQL(verb),
            role=sql.Identifier(login.role),
            privileges=sql.SQL(privileges),
            secret=sql.Literal(secret),
        )
    )


def _join_owner(cursor: Any, role: str) -> None:
    """An administrator who is no superuser must be a member of a role to give a database to it."""
    cursor.execute("SELECT pg_has_role(current_user, %s, 'USAGE')", [role])
    if not cursor.fetchone()[0]:
        cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))


def _write_database(cursor: Any, owner: Login) -> None:
    names = {"database": sql.Identifier(owner.database), "owner": sql.Identifier(owner.role)}
    cursor.execute(
        "SELECT pg_encoding_to_char(encoding), pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s",
        [owner.database],
    )
    found = cursor.fetchone()
    if found is None:
        statement = "CREATE DATABASE {database} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'"
        cursor.execute(sql.SQL(statement).format(**names))
    elif found[0] != "UTF8":
        raise ValueError(f"Database {owner.database} has the encoding {found[0]}; NotifyGuard needs UTF8.")
    elif found[1] != owner.role:
        cursor.execute(sql.SQL("ALTER DATABASE {database} OWNER TO {owner}").format(**names))
