"""No tenant sees or touches another's rows: by any route, and by any statement of the application's role.

The routes are found in the URL resolver and the tables in the models and the catalog: what is new and unguarded fails
here without anybody having thought of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.utils import DatabaseError, IntegrityError, ProgrammingError
from django.test import Client
from django.urls import URLPattern, get_resolver

from deliveries import ledger
from deliveries.connections import add_route, create_connection
from deliveries.enums import Kind
from deliveries.inbox import store
from deliveries.models import (
    Attempt,
    ConnectionEvent,
    Contact,
    ContactImport,
    Delivery,
    DeliveryLink,
    Notice,
    PlanCount,
    Quarantined,
    ResendHook,
    ResendPlan,
    RetryPolicy,
    Suppression,
    UnparsedItem,
)
from deliveries.tallies import fold
from notifyguard.accounts.audit import COMMAND_LINE
from notifyguard.accounts.models import Membership, Role, Tenant, User
from notifyguard.accounts.permissions import RIGHTS, may
from notifyguard.accounts.tenancy import NoTenantError, TenantOwned, tenant_scope
from notifyguard.accounts.tokens import create_api_token
from notifyguard.ids import uuid7
from tests.factories import AT, connect, event, reported

pytestmark = pytest.mark.django_db

# Open to everybody, each for a reason: the token in the address is the key; whoever can reach the port may know that
# the process lives; the login must come before the login; the schema describes the API and holds no data.
PUBLIC = {"webhook", "healthz", "readyz", "metrics", "api-schema", "set_language", "language"}
# A person's own: behind the login, of no tenant.
PERSONAL = {"home"}
# Pages about shared connections: not there for any tenant but the operator's.
OPERATORS = {"quarantine"}
# The library's pages of the login and of a person's own account.
ALLAUTH = "accounts/"
TENANT = "t/<slug:slug>/"
API = "api/v1/"

NOT_ALLOWED = 405
LOGIN = re.compile(r"^/accounts/login/")


def tenant_models() -> list[type[TenantOwned]]:
    """Every model that subclasses TenantOwned and has a table."""

    def below(model):
        for child in model.__subclasses__():
            if not child._meta.abstract:
                yield child
            yield from below(child)

    return sorted(below(TenantOwned), key=lambda model: model._meta.db_table)


TABLES = [model._meta.db_table for model in tenant_models()]


@dataclass
class Filled:
    """A tenant with a row in every tenant-owned table, each text of which holds ``mark``."""

    tenant: Tenant
    mark: str
    ids: dict[str, str] = field(default_factory=dict)
    people: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    webhook_token: str = ""


def fill(tenant: Tenant, operator: Tenant) -> Filled:
    """Put something that could leak into every tenant-owned table of a tenant."""
    mark = f"secret-of-{tenant.slug}"
    source = connect(tenant, "ses", name=mark)
    filled = Filled(tenant, mark, webhook_token=source.token)
    with tenant_scope(operator.id):
        values = {"topic": f"arn:aws:sns:ap-northeast-1:123456789012:{tenant.slug}"}
        shared = create_connection(
            provider="ses", name=mark, values=values, actor=COMMAND_LINE, shared=True, route_by="tag:tenant"
        )
        route = add_route(shared, tenant_id=tenant.id, value=mark, actor=COMMAND_LINE)
    with tenant_scope(tenant.id):
        raw = store(source, body=mark.encode(), headers={"x": mark}, received_at=AT)
        bounce = event(recipient=f"{mark}@x.example", provider_message_id=mark, title=mark, reply=f"550 5.1.1 {mark}")
        ledger.record(tenant.id, reported(bounce, connection=source))
        fold(tenant.id)
        later = event(Kind.DEFERRED, recipient=f"{mark}@y.example", provider_message_id=f"{mark}-2", reply=mark)
        ledger.record(tenant.id, reported(later, connection=source))
        delivery = Delivery.objects.get(recipient=f"{mark}@x.example")
        DeliveryLink(delivery=delivery, match_key=uuid7()).save()
        place = {"connection_id": source.id, "raw_id": raw.id, "received_at": AT}
        UnparsedItem(id=uuid7(), item_index=0, reason=mark, raw=mark, **place).save()
        Quarantined(id=uuid7(), item_index=1, route_value=mark, **place).save()
        ConnectionEvent(id=uuid7(), kind="account_status", occurred_at=AT, detail=mark, **place).save()
        for role in Role:
            person = User.objects.create(email=f"{role}@{tenant.slug}.test", name=f"{role} {mark}", password="!")
            filled.people[role] = person
            Membership(user=person, role=role).save()
            token_row, filled.tokens[role] = create_api_token(name=mark, role=role, tenant_id=tenant.id)
        sending = fill_sending(mark, delivery)
    filled.ids = sending | {
        "slug": tenant.slug,
        "delivery_id": str(delivery.id),
        "connection_id": str(source.id),
        "route_id": str(route.id),
        "membership_id": str(membership_of(filled, Role.VIEWER).id),
        "token_id": str(token_row.id),
        "provider": "ses",
        "code": "BOUNCE_TRANSIENT_GENERAL",
        "step": "pause",
    }
    return filled


def fill_sending(mark: str, delivery: Delivery) -> dict[str, str]:
    """Put something that could leak into the tables of sending, in the scope's tenant; returns the ids for routes."""
    contact = Contact(external_id=mark, name=mark, email=f"{mark}@x.example", email_key=f"{mark}@x.example")
    upload = ContactImport(file_name=mark, created_by=mark)
    notice = Notice(title=mark, idempotency_key=mark)
    plan = ResendPlan(status="ready", selection=mark, created_by=mark)
    entry = Suppression(
        channel="email", recipient=mark, recipient_key=mark, reason="bounce", note=mark, since=AT, event_id=uuid7()
    )
    for row in (contact, upload, notice, plan, entry):
        row.save()
    attempt = Attempt(
        delivery=delivery, plan=plan, why="resend", channel="email", connection_id=delivery.connection_id, answer=mark
    )
    for row in (
        attempt,
        PlanCount(plan=plan, phase="preview", outcome="ready", n=1),
        RetryPolicy(code=mark),
        ResendHook(url=f"https://{mark}.example", secret_sealed=b"x"),
    ):
        row.save()
    return {
        "contact_id": str(contact.id),
        "external_id": mark,
        "import_id": str(upload.id),
        "notice_id": str(notice.id),
        "plan_id": str(plan.id),
        "attempt_id": str(attempt.id),
        "suppression_id": str(entry.id),
    }


def membership_of(filled: Filled, role: str) -> Membership:
    with tenant_scope(filled.tenant.id):
        return Membership.objects.get(user=filled.people[role])


@pytest.fixture
def acme_filled(acme, operator):
    return fill(acme, operator)


@pytest.fixture
def sakura_filled(sakura, operator):
    return fill(sakura, operator)


@pytest.fixture
def both(acme_filled, sakura_filled):
    return acme_filled, sakura_filled


def count(table: str, condition: str = "true", *parameters: object) -> int:
    with database.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE {condition}", parameters)  # noqa: S608
        return cursor.fetchone()[0]


def run(statement: str, *parameters: object) -> int:
    """Run a statement in a savepoint; returns how many rows it touched."""
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


def catalog(owner_link, query: str, *parameters: object) -> list[tuple]:
    with owner_link.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


# --- Tables


def test_both_tenants_have_something_to_leak_in_every_table(both):
    for filled in both:
        with tenant_scope(filled.tenant.id):
            assert [table for table in TABLES if not count(table)] == []


def test_without_a_tenant_there_are_no_rows(both):
    assert [table for table in [*TABLES, "accounts_tenant"] if count(table)] == []


def test_without_a_tenant_a_query_of_a_model_is_an_error(both):
    for model in tenant_models():
        with pytest.raises(NoTenantError):
            model.objects.count()


def test_a_tenants_scope_shows_no_row_of_another(both):
    mine, theirs = both
    for inside, outside in ((mine, theirs), (theirs, mine)):
        with tenant_scope(inside.tenant.id):
            assert [table for table in TABLES if count(table, "tenant_id <> %s", inside.tenant.id)] == []
            assert [model for model in tenant_models() if model.unscoped.filter(tenant_id=outside.tenant.id)] == []
            assert count("accounts_tenant", "id <> %s", inside.tenant.id) == 0


def test_an_inner_scope_replaces_the_outer_one_and_gives_it_back(both):
    mine, theirs = both
    with tenant_scope(mine.tenant.id):
        with tenant_scope(theirs.tenant.id):
            assert count("deliveries_delivery", "tenant_id = %s", mine.tenant.id) == 0
        assert count("deliveries_delivery", "tenant_id = %s", mine.tenant.id) > 0
    assert count("deliveries_delivery") == 0


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_put_into_another_tenant(both, table):
    mine, theirs = both
    with database.cursor() as cursor:
        columns = [f'"{column.name}"' for column in database.introspection.get_table_description(cursor, table)]
    others = ", ".join(column for column in columns if column != '"tenant_id"')
    copied = f"INSERT INTO {table} (tenant_id, {others}) SELECT %s, {others} FROM {table} LIMIT 1"  # noqa: S608
    with tenant_scope(mine.tenant.id), pytest.raises(ProgrammingError, match="row-level security policy"):
        run(copied, theirs.tenant.id)


@pytest.mark.parametrize("table", TABLES)
def test_no_row_of_another_tenant_can_be_changed_or_deleted(both, table):
    mine, theirs = both
    with tenant_scope(mine.tenant.id):
        for statement in (
            f"UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = %s",  # noqa: S608
            f"DELETE FROM {table} WHERE tenant_id = %s",  # noqa: S608
        ):
            assert touched(statement, theirs.tenant.id) in (0, "permission denied")
    with tenant_scope(theirs.tenant.id):
        assert count(table) > 0


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_moved_to_another_tenant(both, table):
    mine, theirs = both
    with tenant_scope(mine.tenant.id):
        moved = touched(f"UPDATE {table} SET tenant_id = %s", theirs.tenant.id)  # noqa: S608
    assert moved in ("permission denied", "row-level security")


def touched(statement: str, *parameters: object) -> int | str:
    try:
        return run(statement, *parameters)
    except ProgrammingError as error:
        return next(words for words in ("permission denied", "row-level security") if words in str(error))


@pytest.mark.parametrize("table", ["deliveries_event", "accounts_auditentry"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"])
def test_what_is_append_only_can_not_be_changed_even_at_home(acme_filled, table, statement):
    with tenant_scope(acme_filled.tenant.id), pytest.raises(ProgrammingError, match="permission denied"):
        run(statement.format(table))


@pytest.mark.parametrize("table", ["deliveries_event", "accounts_auditentry"])
def test_a_trigger_stands_behind_the_missing_right(acme_filled, table, owner_link):
    triggers = catalog(
        owner_link,
        "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgenabled = 'O' AND NOT tgisinternal",
        table,
    )
    assert ("append_only",) in triggers


def test_a_row_can_not_point_into_another_tenant(both):
    mine, theirs = both
    with tenant_scope(mine.tenant.id), pytest.raises(IntegrityError, match="foreign key"), transaction.atomic():
        DeliveryLink(delivery_id=theirs.ids["delivery_id"], match_key=uuid7()).save()
        run("SET CONSTRAINTS ALL IMMEDIATE")


def test_keys_between_tenant_owned_tables_carry_the_tenant(db, owner_link):
    keys = catalog(
        owner_link,
        """SELECT c.conname, c.conrelid::regclass::text,
                array(SELECT attname::text FROM pg_attribute a JOIN unnest(c.conkey) n ON a.attnum = n
                      WHERE a.attrelid = c.conrelid ORDER BY array_position(c.conkey, n))
           FROM pg_constraint c
           WHERE c.contype IN ('p', 'f') AND c.conparentid = 0 AND c.conrelid::regclass::text = ANY(%s)
             AND (c.contype = 'p' OR c.confrelid::regclass::text = ANY(%s))""",
        TABLES,
        TABLES,
    )
    assert {table for _name, table, _columns in keys} == set(TABLES)
    assert [name for name, _table, columns in keys if columns[0] != "tenant_id"] == []


def test_every_table_with_a_tenant_has_forced_row_level_security(db, owner_link):
    guarded = catalog(
        owner_link,
        """SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition""",
    )
    assert sorted(guarded) == [(table, True) for table in sorted(TABLES)]
    assert catalog(
        owner_link, "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = 'accounts_tenant'"
    ) == [(True,)]


def test_a_partition_can_not_be_read_past_its_table(db, owner_link):
    role = database.settings_dict["USER"]
    partitions = catalog(
        owner_link,
        """SELECT relname, has_table_privilege(%s, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
           FROM pg_class WHERE relispartition AND relkind = 'r' AND relnamespace = 'public'::regnamespace""",
        role,
    )
    assert len(partitions) > 1
    assert [name for name, reachable in partitions if reachable] == []


def test_the_applications_role_can_not_lift_the_guard(db, owner_link):
    role = database.settings_dict["USER"]
    assert catalog(
        owner_link,
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = %s",
        role,
    ) == [(False,) * 5]
    assert catalog(owner_link, "SELECT relname FROM pg_class WHERE relowner = %s::regrole", role) == []
    assert catalog(owner_link, "SELECT proname FROM pg_proc WHERE proowner = %s::regrole", role) == []
    assert catalog(owner_link, "SELECT roleid::regrole FROM pg_auth_members WHERE member = %s::regrole", role) == []
    with pytest.raises(DatabaseError, match="must be owner"):
        run("ALTER TABLE deliveries_delivery DISABLE ROW LEVEL SECURITY")


def test_what_runs_with_the_owners_rights_is_known(db, owner_link):
    lent = catalog(
        owner_link,
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY proname",
    )
    # Each is in a migration with the reason why it may look across tenants, and what little it tells.
    assert [name for (name,) in lent] == ["ensure_event_partition", "oldest_pending_webhook", "tenants_with_work"]


def test_the_tenant_is_forgotten_with_the_transaction(committed_db, acme):
    with tenant_scope(acme.id):
        assert count("accounts_tenant") == 1
    with database.cursor() as cursor:
        cursor.execute("SELECT current_setting('app.tenant', true)")
        assert not cursor.fetchone()[0]
    assert count("accounts_tenant") == 0


# --- Routes


def routes(resolver=None, prefix: str = "") -> list[tuple[str, URLPattern]]:
    """Every route with its pattern, from the resolver's root."""
    found = []
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        found += [(path, entry)] if isinstance(entry, URLPattern) else routes(entry, path)
    return found


def right_of(route: URLPattern) -> str | None:
    """The right that a route's view names, be it a function or a class."""
    callback = route.callback
    return getattr(callback, "right", None) or getattr(getattr(callback, "view_class", None), "right", None)


def of_tenants() -> list[tuple[str, URLPattern]]:
    return [(path, route) for path, route in routes() if path.startswith(TENANT)]


def of_api() -> list[tuple[str, URLPattern]]:
    return [(path, route) for path, route in routes() if path.startswith(API) and route.name not in PUBLIC]


def reads(route: URLPattern) -> bool:
    """Tell whether an API route answers GET; the others change something and take POST."""
    return "get" in route.callback.view_class.http_method_names


def call(client: Client, route: URLPattern, where: str):
    return client.get(where) if reads(route) else client.post(where, {}, content_type="application/json")


def address(path: str, ids: dict[str, str]) -> str:
    """The address of a route with these ids in the place of its parameters."""
    plain = path.replace(r"^(?:[\s\S]*/)?$", "nowhere/")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: ids[match[1]], plain)


def logged_in(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def stranger() -> User:
    return User.objects.create(email="stranger@example.test", password="!")


def answers(client: Client, where: str) -> dict[str, int]:
    """The status of each method that the route takes."""
    statuses = {method: getattr(client, method)(where).status_code for method in ("get", "post")}
    return {method: status for method, status in statuses.items() if status != NOT_ALLOWED}


def test_every_route_has_an_access_rule():
    rights = frozenset().union(*RIGHTS.values())
    unruled = [
        path
        for path, route in routes()
        if not (
            route.name in PUBLIC
            or route.name in PERSONAL
            or path.startswith(ALLAUTH)
            or (path.startswith((TENANT, API)) and right_of(route) in rights)
        )
    ]
    assert unruled == []


def test_the_list_of_open_routes_names_only_what_exists():
    assert (PUBLIC | PERSONAL) - {route.name for _path, route in routes()} == set()


def test_a_tenants_pages_send_whoever_is_not_logged_in_to_the_login(acme_filled):
    for path, _route in of_tenants():
        for method in ("get", "post"):
            response = getattr(Client(), method)(address(path, acme_filled.ids))
            assert response.status_code in (302, NOT_ALLOWED), path
            assert response.status_code == NOT_ALLOWED or LOGIN.match(response["Location"]), path


def test_a_personal_page_sends_whoever_is_not_logged_in_to_the_login(db):
    for path, route in routes():
        if route.name in PERSONAL:
            assert LOGIN.match(Client().get("/" + path)["Location"])


def test_a_tenants_pages_are_not_there_for_strangers_and_other_tenants(both):
    mine, theirs = both
    for client in (logged_in(stranger()), logged_in(theirs.people[Role.ADMIN])):
        for path, _route in of_tenants():
            given = answers(client, address(path, mine.ids))
            assert given, path
            assert set(given.values()) == {404}, path


def test_a_tenants_pages_refuse_a_member_without_the_right(acme_filled):
    for role, person in acme_filled.people.items():
        client = logged_in(person)
        for path, route in of_tenants():
            if not may(role, right_of(route)):
                given = answers(client, address(path, acme_filled.ids))
                assert given, path
                assert set(given.values()) == {403}, (role, path)


def test_a_tenants_pages_answer_a_member_with_the_right(acme_filled):
    for role, person in acme_filled.people.items():
        client = logged_in(person)
        for path, route in of_tenants():
            if may(role, right_of(route)):
                status = client.get(address(path, acme_filled.ids)).status_code
                expected = (404,) if route.name in OPERATORS else (200, 302, NOT_ALLOWED)
                assert status in expected, (role, path, status)


def test_the_operators_pages_are_there_for_the_operator(operator, acme_filled):
    with tenant_scope(operator.id):
        person = User.objects.create(email="admin@operator.test", password="!")
        Membership(user=person, role=Role.ADMIN).save()
    paths = [path for path, route in of_tenants() if route.name in OPERATORS]
    ids = {**acme_filled.ids, "slug": operator.slug}
    assert [logged_in(person).get(address(path, ids)).status_code for path in paths] == [200]


def test_another_tenants_ids_are_not_there_at_home(both):
    mine, theirs = both
    clients = {role: logged_in(person) for role, person in mine.people.items()}
    named = [(path, route) for path, route in of_tenants() if "_id>" in path]
    assert named
    for path, route in named:
        client = next(client for role, client in clients.items() if may(role, right_of(route)))
        foreign = {**theirs.ids, "slug": mine.tenant.slug}
        given = answers(client, address(path, foreign))
        assert given, path
        assert set(given.values()) == {404}, path


def test_no_page_shows_a_word_of_another_tenant(both):
    mine, theirs = both
    client = logged_in(mine.people[Role.ADMIN])
    showing = 0
    for path, _route in of_tenants():
        response = client.get(address(path, mine.ids))
        content = b"".join(response.streaming_content) if response.streaming else response.content
        assert theirs.mark.encode() not in content, path
        showing += mine.mark.encode() in content
    # It could have leaked: most pages do show the tenant's own.
    assert showing > 5


def test_the_api_needs_a_token_with_the_right(acme_filled):
    for path, route in of_api():
        where = address(path, acme_filled.ids)
        assert call(Client(), route, where).status_code == 401, path
        for role, token in acme_filled.tokens.items():
            status = call(Client(headers={"Authorization": f"Bearer {token}"}), route, where).status_code
            allowed = {200, 404} if "nowhere" in where else {200} if reads(route) else {200, 201, 400, 404, 409}
            assert status in (allowed if may(role, right_of(route)) else {403}), (role, path, status)


def test_the_api_takes_no_session_for_a_token(acme_filled):
    client = logged_in(acme_filled.people[Role.ADMIN])
    assert {call(client, route, address(path, acme_filled.ids)).status_code for path, route in of_api()} == {401}


def test_the_api_shows_no_word_of_another_tenant(both):
    mine, theirs = both
    client = Client(headers={"Authorization": f"Bearer {mine.tokens[Role.ADMIN]}"})
    for path, route in of_api():
        if "_id>" in path:
            expected = {404} if reads(route) else {400, 404}  # an empty body may be what is wrong first
            assert call(client, route, address(path, theirs.ids)).status_code in expected, path
        own = call(client, route, address(path, mine.ids)).content.decode()
        assert theirs.mark not in own, path
        assert mine.mark in own or "nowhere" in address(path, mine.ids) or not reads(route), path


def test_a_webhook_token_opens_no_other_tenant(both):
    token, other = (filled.webhook_token for filled in both)
    tenant_part = 22
    statuses = {
        name: Client().post(f"/webhooks/ses/{tried}", b"{}", content_type="application/json").status_code
        for name, tried in {
            "its own, unsigned": token,
            "the other tenant's name, this one's secret": other[:tenant_part] + token[tenant_part:],
            "no tenant's name": "A" * tenant_part + token[tenant_part:],
        }.items()
    }
    assert list(statuses.values()) == [401, 404, 404], statuses
