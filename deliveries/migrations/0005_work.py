"""What workers may know across tenants: whose inbox waits, and since when. Ids and a time, nothing else."""

from django.db import migrations

from notifyguard.accounts.tenancy import app_role

TENANTS_WITH_WORK = """
CREATE FUNCTION tenants_with_work(work text) RETURNS TABLE (tenant_id uuid)
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
        END
$$;
CREATE FUNCTION oldest_pending_webhook() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT min(oldest.received_at) FROM accounts_tenant t CROSS JOIN LATERAL (
        SELECT r.received_at FROM deliveries_rawwebhook r WHERE r.tenant_id = t.id AND r.status = 0
        ORDER BY r.id LIMIT 1) oldest
$$;
REVOKE ALL ON FUNCTION tenants_with_work(text), oldest_pending_webhook() FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0004_tallies")]

    operations = [
        migrations.RunSQL(
            TENANTS_WITH_WORK, "DROP FUNCTION tenants_with_work(text); DROP FUNCTION oldest_pending_webhook()"
        ),
        migrations.RunSQL(
            f'GRANT EXECUTE ON FUNCTION tenants_with_work(text), oldest_pending_webhook() TO "{app_role()}"',
            migrations.RunSQL.noop,
        ),
    ]
