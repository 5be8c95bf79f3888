"""Whose data a piece of work may touch: the scope, the scoped manager and the database's own guard.

Two guards stand behind each other. The manager filters by tenant and raises outside a scope; row-level security
does the same in PostgreSQL for whatever slips past it (``docs/adr/0003-tenancy.md``).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings
from django.db import connections, migrations, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_current: ContextVar[uuid.UUID | None] = ContextVar("tenant", default=None)


class NoTenantError(RuntimeError):
    """A tenant-owned table was queried outside ``tenant_scope``."""


def current_tenant_id() -> uuid.UUID:
    """Return the tenant of the scope; raise ``NoTenantError`` outside one."""
    tenant_id = _current.get()
    if tenant_id is None:
        raise NoTenantError("No tenant is set: enter tenant_scope(tenant_id) before touching its rows.")
    return tenant_id


@contextmanager
def tenant_scope(tenant_id: uuid.UUID) -> Iterator[None]:
    """Run the block in a transaction that sees the rows of one tenant, in Python and in PostgreSQL.

    Scopes nest: the inner tenant replaces the outer one until the block ends.
    """
    outer = _current.get()
    with transaction.atomic():
        _set_local("app.tenant", str(tenant_id))
        token = _current.set(tenant_id)
        try:
            yield
        finally:
            _current.reset(token)
        link = connections["default"]
        # The end of the transaction, or a roll-back to the savepoint, undoes the setting by itself.
        if (outer is not None or link.savepoint_ids) and not link.needs_rollback:
            _set_local("app.tenant", str(outer or ""))


@contextmanager
def user_scope(user_id: int | None) -> Iterator[None]:
    """Run the block in a transaction that sees the memberships, and the tenants, of one person."""
    with transaction.atomic():
        _set_local("app.user", str(user_id or ""))
        yield
        _set_local("app.user", "")


def _set_local(name: str, value: str) -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


class TenantManager(models.Manager[Any]):
    """The manager of every tenant-owned model: its queries carry the tenant of the scope."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(tenant_id=current_tenant_id())


class TenantOwned(models.Model):
    """A row of one tenant. In the database its key is ``(tenant_id, id)`` (see ``GuardTenantTable``)."""

    tenant = models.ForeignKey(
        "accounts.Tenant", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    objects = TenantManager()
    unscoped = models.Manager()  # for the owner's migrations and for look-ups that only the database's policy limits

    class Meta:
        abstract = True
        base_manager_name = "unscoped"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.tenant_id is None:
            self.tenant_id = current_tenant_id()
        super().save(*args, **kwargs)


class OwnerMigrates:
    """Migrations run on the ``owner`` connection only: the application's role owns no table."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db == "owner"


def app_role() -> str:
    return str(settings.DATABASES["default"]["USER"])


def owner_role() -> str:
    return str(settings.DATABASES["owner"]["USER"])


class GrantTable(migrations.operations.base.Operation):
    """Let the application's role use a table that belongs to no tenant (sessions, people)."""

    reversible = True

    def __init__(self, *tables: str, privileges: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
        self.tables = tables
        self.privileges = privileges

    def state_forwards(self, app_label: str, state: object) -> None:
        """Change nothing in Django's view of the models."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: object, to_state: object
    ) -> None:
        for table in self.tables:
            schema_editor.execute(f'GRANT {self.privileges} ON "{table}" TO "{app_role()}"')

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: object, to_state: object
    ) -> None:
        for table in self.tables:
            schema_editor.execute(f'REVOKE ALL ON "{table}" FROM "{app_role()}"')

    def describe(self) -> str:
        return f"Grant {self.privileges} on {', '.join(self.tables)} to the application's role"


class GuardTenantTable(GrantTable):
    """Give a tenant-owned table its composite key, composite foreign keys, forced row-level security and grants.

    ``references`` maps a column to the table that it points into: ``{"connection_id": "deliveries_connection"}``.
    ``also`` is a further condition under which rows may be read, e.g. a person's own memberships.
    """

    def __init__(
        self,
        table: str,
        *,
        references: dict[str, str] | None = None,
        privileges: str = "SELECT, INSERT, UPDATE, DELETE",
        column: str = "tenant_id",
        also: str = "",
    ) -> None:
        super().__init__(table, privileges=privileges)
        self.table = table
        self.references = references or {}
        self.column = column
        self.also = also

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        keywords = {
            "references": self.references,
            "privileges": self.privileges,
            "column": self.column,
            "also": self.also,
        }
        return type(self).__name__, [self.table], keywords

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: object, to_state: object
    ) -> None:
        for statement in [*self._keys(), *guard_statements(self.table, also=self.also, column=self.column)]:
            schema_editor.execute(statement)
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def _keys(self) -> list[str]:
        statements = []
        if self.column == "tenant_id":
            statements.append(f'ALTER TABLE "{self.table}" DROP CONSTRAINT "{self.table}_pkey"')
            statements.append(f'ALTER TABLE "{self.table}" ADD PRIMARY KEY (tenant_id, id)')
        for column, target in self.references.items():
            statements.append(
                f'ALTER TABLE "{self.table}" ADD CONSTRAINT "{self.table}_{column}_tenant_fk" '
                f'FOREIGN KEY (tenant_id, "{column}") REFERENCES "{target}" (tenant_id, id)'
            )
        return statements

    def describe(self) -> str:
        return f"Guard {self.table} by tenant"


def guard_statements(table: str, *, also: str = "", column: str = "tenant_id") -> list[str]:
    """Return the SQL that turns on forced row-level security: no tenant set, no rows."""
    own = f"{column} = (SELECT nullif(current_setting('app.tenant', true), '')::uuid)"
    statements = [
        f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
        f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY',
        f'CREATE POLICY tenant_rows ON "{table}" USING ({own}) WITH CHECK ({own})',
    ]
    if also:
        statements.append(f'CREATE POLICY also_read ON "{table}" FOR SELECT USING ({also})')
    if owner_role() != app_role():
        statements.append(f'CREATE POLICY owner_rows ON "{table}" TO "{owner_role()}" USING (true) WITH CHECK (true)')
    return statements
