"""The ledger: partitioned by month, append-only, guarded by tenant."""

from django.db import migrations

from notifyguard.accounts.tenancy import app_role, guard_statements

CREATE = """
CREATE TABLE deliveries_event (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    match_key uuid NOT NULL,
    connection_id uuid NOT NULL,
    raw_id uuid NOT NULL,
    raw_index integer NOT NULL,
    kind varchar(16) NOT NULL,
    verdict varchar(120) NOT NULL,
    recipient varchar(320) NOT NULL,
    reply text NOT NULL,
    smtp_code varchar(3) NOT NULL,
    enhanced_code varchar(12) NOT NULL,
    provider_event_id varchar(200) NOT NULL,
    provider_message_id varchar(200) NOT NULL,
    deferred_until timestamptz,
    -- An id always comes with the same match key, so one index keeps duplicates out and finds a timeline.
    PRIMARY KEY (tenant_id, match_key, id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE TABLE deliveries_event_default PARTITION OF deliveries_event DEFAULT;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON deliveries_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

# Lent to the application, which may not create tables. A month whose events already went to the default partition
# stays there: nothing is moved, nothing fails.
ENSURE_PARTITION = """
CREATE FUNCTION ensure_event_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month);
    name text := 'deliveries_event_' || to_char(first, 'YYYYMM');
BEGIN
    IF to_regclass(name) IS NOT NULL OR first < now() - interval '3 years' OR first > now() + interval '1 year' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_event_partition', 0));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I PARTITION OF deliveries_event FOR VALUES FROM (%L) TO (%L)',
        name, first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month')::timestamp AT TIME ZONE 'UTC');
EXCEPTION WHEN check_violation THEN
    RETURN;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0002_guard_tables")]

    operations = [
        migrations.RunSQL(CREATE, "DROP TABLE deliveries_event"),
        migrations.RunSQL(guard_statements("deliveries_event"), migrations.RunSQL.noop),
        migrations.RunSQL(f'GRANT SELECT, INSERT ON deliveries_event TO "{app_role()}"', migrations.RunSQL.noop),
        migrations.RunSQL(ENSURE_PARTITION, "DROP FUNCTION ensure_event_partition(date)"),
        migrations.RunSQL(
            f"""REVOKE ALL ON FUNCTION ensure_event_partition(date) FROM PUBLIC;
            GRANT EXECUTE ON FUNCTION ensure_event_partition(date) TO "{app_role()}";
            SELECT ensure_event_partition((now() + make_interval(months => n))::date) FROM generate_series(-2, 2) n""",
            migrations.RunSQL.noop,
        ),
    ]
