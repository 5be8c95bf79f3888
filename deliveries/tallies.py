"""Folds the appended count deltas into the counts that pages read."""

from __future__ import annotations

import uuid

from django.db import connection

from notifyguard.accounts.tenancy import tenant_scope


def fold(tenant_id: uuid.UUID) -> None:
    """Move a tenant's deltas into its tallies. Readers add both tables up, so they never see a half."""
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('fold-' || %s, 0))", [str(tenant_id)])
        if cursor.fetchone()[0]:
            cursor.execute(_FOLD, {"tenant": tenant_id})


_FOLD = """
WITH gone AS (
    DELETE FROM deliveries_tallydelta WHERE tenant_id = %(tenant)s RETURNING day, channel, facet, value, n
)
INSERT INTO deliveries_tally AS t (tenant_id, day, channel, facet, value, n)
SELECT %(tenant)s, day, channel, facet, value, sum(n) FROM gone
GROUP BY day, channel, facet, value HAVING sum(n) <> 0 ORDER BY facet, day, channel, value
ON CONFLICT (tenant_id, facet, day, channel, value) DO UPDATE SET n = t.n + excluded.n
"""


def recount(tenant_id: uuid.UUID) -> None:
    """Count a tenant's open deliveries anew: its time zone changed, and with it what a day is."""
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE deliveries_delivery IN SHARE MODE")
        cursor.execute("DELETE FROM deliveries_tallydelta WHERE tenant_id = %s", [tenant_id])
        cursor.execute("DELETE FROM deliveries_tally WHERE tenant_id = %s", [tenant_id])
        cursor.execute(_RECOUNT, {"tenant": tenant_id})


_RECOUNT = """
INSERT INTO deliveries_tally (tenant_id, day, channel, facet, value, n)
SELECT d.tenant_id, (d.failed_at AT TIME ZONE t.timezone)::date, d.channel, f.facet, f.value, count(*)
FROM deliveries_delivery d JOIN accounts_tenant t ON t.id = d.tenant_id
CROSS JOIN LATERAL (VALUES ('state', d.error_state), ('code', d.code), ('domain', d.domain),
    ('connection', d.connection_id::text)) f (facet, value)
WHERE d.tenant_id = %(tenant)s AND d.error_state IS NOT NULL AND f.value <> ''
GROUP BY 1, 2, 3, 4, 5
"""
