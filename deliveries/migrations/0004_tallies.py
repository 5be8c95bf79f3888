"""Triggers on deliveries append what changed in the counts of the error list."""

from django.db import migrations

FACETS = """
    SELECT d.tenant_id, (d.failed_at AT TIME ZONE t.timezone)::date AS day, d.channel, f.facet, f.value, {sign} AS n
    FROM {rows} d JOIN accounts_tenant t ON t.id = d.tenant_id
    CROSS JOIN LATERAL (VALUES ('state', d.error_state), ('code', d.code), ('domain', d.domain),
        ('connection', d.connection_id::text)) f (facet, value)
    WHERE d.error_state IS NOT NULL AND f.value <> ''
"""
ADDED = FACETS.format(rows="added", sign="1")
REMOVED = FACETS.format(rows="removed", sign="-1")


def tally(operation: str, referencing: str, changes: str) -> str:
    """SQL of one trigger and its function; transition tables must be named per operation."""
    return f"""
CREATE FUNCTION tally_{operation}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deliveries_tallydelta (tenant_id, day, channel, facet, value, n)
    SELECT tenant_id, day, channel, facet, value, sum(n) FROM ({changes}) changes
    GROUP BY tenant_id, day, channel, facet, value HAVING sum(n) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_{operation} AFTER {operation.upper()} ON deliveries_delivery {referencing}
    FOR EACH STATEMENT EXECUTE FUNCTION tally_{operation}();
"""


def untally(operation: str) -> str:
    return f"DROP TRIGGER tally_{operation} ON deliveries_delivery; DROP FUNCTION tally_{operation}();"


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0003_ledger")]

    operations = [
        migrations.RunSQL(tally("insert", "REFERENCING NEW TABLE AS added", ADDED), untally("insert")),
        migrations.RunSQL(tally("delete", "REFERENCING OLD TABLE AS removed", REMOVED), untally("delete")),
        migrations.RunSQL(
            tally("update", "REFERENCING OLD TABLE AS removed NEW TABLE AS added", f"{ADDED} UNION ALL {REMOVED}"),
            untally("update"),
        ),
    ]
