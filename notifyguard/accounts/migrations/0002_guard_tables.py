"""Tenant-owned tables get composite keys, row-level security and grants; the operator's tenant is made."""

from django.db import migrations

from notifyguard.accounts.models import OPERATOR_SLUG, operator_tenant_id
from notifyguard.accounts.tenancy import GrantTable, GuardTenantTable, app_role

SCOPE = "(SELECT nullif(current_setting('app.tenant', true), '')::uuid)"
PERSON = "(SELECT nullif(current_setting('app.user', true), '')::bigint)"
IN_OPERATORS_SCOPE = f"{SCOPE} = '{operator_tenant_id()}'"

REFUSE_CHANGES = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(f'GRANT USAGE ON SCHEMA public TO "{app_role()}"', migrations.RunSQL.noop),
        migrations.RunSQL(REFUSE_CHANGES, "DROP FUNCTION refuse_change()"),
        GrantTable("accounts_user"),
        GuardTenantTable("accounts_membership", also=f"user_id = {PERSON}"),
        GuardTenantTable("accounts_apitoken"),
        GuardTenantTable("accounts_auditentry", privileges="SELECT, INSERT"),
        GuardTenantTable(
            "accounts_tenant",
            column="id",
            privileges="SELECT, INSERT, UPDATE",
            also=f"{IN_OPERATORS_SCOPE} OR id IN (SELECT tenant_id FROM accounts_membership WHERE user_id = {PERSON})",
        ),
        migrations.RunSQL(
            f"CREATE POLICY operator_adds ON accounts_tenant FOR INSERT WITH CHECK ({IN_OPERATORS_SCOPE})",
            "DROP POLICY operator_adds ON accounts_tenant",
        ),
        migrations.RunSQL(
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_auditentry"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
            "DROP TRIGGER append_only ON accounts_auditentry",
        ),
        migrations.RunSQL(
            "INSERT INTO accounts_tenant (id, slug, name, timezone, language, created_at)"
            f" VALUES ('{operator_tenant_id()}', '{OPERATOR_SLUG}', 'Operator', 'UTC', 'en', now())",
            migrations.RunSQL.noop,
        ),
    ]
