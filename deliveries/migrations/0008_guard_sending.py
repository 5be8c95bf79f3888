"""The tables of sending get composite keys, row-level security and grants; workers learn who has what waiting."""

from django.db import migrations

from notifyguard.accounts.tenancy import GrantTable, GuardTenantTable, app_role

# Ids of tenants and nothing else: what a worker may know before it enters a tenant's scope.
TENANTS_WITH_WORK = """
CREATE OR REPLACE FUNCTION tenants_with_work(work text) RETURNS TABLE (tenant_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.id FROM accounts_tenant t WHERE CASE work
        WHEN 'inbox' THEN EXISTS (
            SELECT FROM deliveries_rawwebhook r WHERE r.tenant_id = t.id AND r.status = 0)
        WHEN 'tally' THEN EXISTS (
            SELECT FROM deliveries_tallydelta d WHERE d.tenant_id = t.id)
        WHEN 'subscription' THEN EXISTS (
            SELECT FROM deliveries_connectionevent e WHERE e.tenant_id = t.id
                AND e.kind = 'subscription_requested' AND e.handled_at IS NULL
                AND e.received_at > now() - interval '2 days')
        WHEN 'sending' THEN EXISTS (
            SELECT FROM deliveries_attempt a WHERE a.tenant_id = t.id
                AND a.status = 'queued' AND a.plan_id IS NULL AND a.due_at <= now())
        WHEN 'lost' THEN EXISTS (
            SELECT FROM deliveries_attempt a WHERE a.tenant_id = t.id AND a.status = 'sending')
        WHEN 'plan' THEN EXISTS (
            SELECT FROM deliveries_resendplan p WHERE p.tenant_id = t.id
                AND (p.status IN ('preparing', 'running') OR p.status = 'cancelled' AND p.finished_at IS NULL))
        WHEN 'unlisting' THEN EXISTS (
            SELECT FROM deliveries_suppression s WHERE s.tenant_id = t.id AND s.provider_state = 'removing')
        END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0007_sending")]

    operations = [
        GuardTenantTable("deliveries_contact"),
        GuardTenantTable("deliveries_contactimport"),
        GuardTenantTable("deliveries_notice"),
        GuardTenantTable("deliveries_suppression"),
        GuardTenantTable("deliveries_resendplan"),
        GuardTenantTable("deliveries_plancount", references={"plan_id": "deliveries_resendplan"}),
        GuardTenantTable(
            "deliveries_attempt",
            references={"delivery_id": "deliveries_delivery", "plan_id": "deliveries_resendplan"},
        ),
        GuardTenantTable("deliveries_retrypolicy"),
        GuardTenantTable("deliveries_resendhook"),
        GrantTable("deliveries_pace"),
        migrations.RunSQL(TENANTS_WITH_WORK, migrations.RunSQL.noop),
        migrations.RunSQL(
            f'GRANT EXECUTE ON FUNCTION tenants_with_work(text) TO "{app_role()}"', migrations.RunSQL.noop
        ),
    ]
