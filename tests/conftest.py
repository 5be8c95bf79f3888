"""A real PostgreSQL with the same two roles as in production, a cast of people, and signed webhooks."""

from __future__ import annotations

import os

import psycopg2
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import translation
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg2 import sql

from notifyguard.accounts.models import Membership, Role, Tenant, User, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope

# People are made by the hundred here; the real hasher stays for what the browser tests log in with.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]

hypothesis_settings.register_profile(
    "fast", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("fast")


@pytest.fixture(autouse=True)
def english():
    """Requests in Japanese leave their language behind in the thread; each test begins in English."""
    with translation.override("en"):
        yield


KEPT_TABLES = {"django_migrations", "django_content_type"}


def _owner(database: str):
    link = psycopg2.connect(os.environ["DATABASE_OWNER_URL"], dbname=database)
    link.autocommit = True
    return link


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment, django_db_blocker):
    """Make this worker's own database: the owner migrates it, the tests run as the application's role."""
    base = connections["owner"].settings_dict["NAME"]
    name = f"test_{base}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with django_db_blocker.unblock():
        server = _owner(base)
        with server.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for alias in ("default", "owner"):
            connections[alias].close()
            connections[alias].settings_dict["NAME"] = name
        call_command("migrate", database="owner", verbosity=0, skip_checks=True)
        connections["owner"].close()
    yield
    with django_db_blocker.unblock():
        for alias in ("default", "owner"):
            connections[alias].close()
        with server.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        server.close()


@pytest.fixture
def committed_db(django_db_setup, django_db_blocker):
    """For races, workers and browsers: real commits, and empty tables again afterwards."""
    with django_db_blocker.unblock():
        yield
        connections["default"].close()
        _empty_tables()


def _empty_tables() -> None:
    link = _owner(connections["default"].settings_dict["NAME"])
    with link.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'deliveries_event_%%'"
        )
        tables = [row[0] for row in cursor.fetchall() if row[0] not in KEPT_TABLES and row[0] != "accounts_tenant"]
        cursor.execute("TRUNCATE " + ", ".join(f'"{table}"' for table in tables))
        cursor.execute("DELETE FROM accounts_tenant WHERE id <> %s", [str(operator_tenant_id())])
    link.close()


@pytest.fixture
def owner_link(db_or_committed):
    """A connection of the owner's role to the test database, for looking at what row-level security hides."""
    link = _owner(connections["default"].settings_dict["NAME"])
    yield link
    link.close()


@pytest.fixture
def db_or_committed(request):
    return request.getfixturevalue("committed_db" if "committed_db" in request.fixturenames else "db")


def make_tenant(slug: str, **values) -> Tenant:
    with tenant_scope(operator_tenant_id()):
        return Tenant.objects.create(slug=slug, name=values.pop("name", slug.title()), **values)


@pytest.fixture
def operator(db_or_committed) -> Tenant:
    with tenant_scope(operator_tenant_id()):
        return Tenant.objects.get(id=operator_tenant_id())


@pytest.fixture
def acme(db_or_committed) -> Tenant:
    return make_tenant("acme", timezone="Europe/London")


@pytest.fixture
def sakura(db_or_committed) -> Tenant:
    return make_tenant("sakura", timezone="Asia/Tokyo", language="ja")


@pytest.fixture
def member():
    """``member("viewer", acme)`` makes a person with that role; without a role, a stranger."""

    def make(role: str | None = Role.ADMIN, tenant: Tenant | None = None, email: str = "") -> User:
        number = User.objects.count()
        person = User.objects.create_user(email or f"person{number}@example.test", "correct horse battery")
        if role and tenant:
            with tenant_scope(tenant.id):
                Membership(user=person, role=role).save()
        return person

    return make


@pytest.fixture
def client_as():
    """``client_as(person)`` is a browser session of that person."""

    def make(person: User) -> Client:
        client = Client()
        client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return make
