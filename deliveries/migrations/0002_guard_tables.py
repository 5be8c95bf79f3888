"""Tenant-owned tables get composite keys, row-level security and grants."""

from django.db import migrations

from notifyguard.accounts.models import operator_tenant_id
from notifyguard.accounts.tenancy import GuardTenantTable

IN_OPERATORS_SCOPE = f"(SELECT nullif(current_setting('app.tenant', true), '')::uuid) = '{operator_tenant_id()}'"


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0001_initial"), ("accounts", "0003_grant_shared_tables")]

    operations = [
        GuardTenantTable("deliveries_connection"),
        GuardTenantTable("deliveries_route", also=IN_OPERATORS_SCOPE),
        GuardTenantTable("deliveries_rawwebhook", references={"connection_id": "deliveries_connection"}),
        GuardTenantTable("deliveries_unparseditem", references={"connection_id": "deliveries_connection"}),
        GuardTenantTable("deliveries_quarantined", references={"connection_id": "deliveries_connection"}),
        GuardTenantTable("deliveries_connectionevent", references={"connection_id": "deliveries_connection"}),
        GuardTenantTable("deliveries_delivery"),
        GuardTenantTable("deliveries_deliverylink", references={"delivery_id": "deliveries_delivery"}),
        GuardTenantTable("deliveries_tally"),
        GuardTenantTable("deliveries_tallydelta"),
        migrations.RunSQL(
            # Room on each page for the update from "accepted" to "delivered", which then touches no index.
            "ALTER TABLE deliveries_delivery SET (fillfactor = 80)",
            "ALTER TABLE deliveries_delivery RESET (fillfactor)",
        ),
        migrations.RunSQL(
            "ALTER TABLE deliveries_rawwebhook ALTER COLUMN body SET STORAGE EXTERNAL",  # deflated already
            "ALTER TABLE deliveries_rawwebhook ALTER COLUMN body SET STORAGE EXTENDED",
        ),
    ]
