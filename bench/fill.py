"""Fills the bench database with deliveries by SQL: many tenants, one holding half, five in a hundred failing."""

from __future__ import annotations

import uuid

from django.db import connection
from psycopg2.extensions import connection as Link

from deliveries import tallies
from notifyguard.accounts.models import Tenant, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope
from notifyguard.ids import uuid7

DOMAINS = ["example.com", "example.co.jp", "mail.example", "example.net", "rare.example"]

# Numbers decide everything, so that each run looks at the same rows. ``hash`` spreads what should not correlate.
_FILL = """
INSERT INTO deliveries_delivery (tenant_id, id, match_key, channel, provider, connection_id, provider_message_id,
    recipient, recipient_key, domain, sender, title, title_key, name, first_at, received_at, occurred_at, deferrals,
    attempt, orphan, rank, rank_order, event_id, kind, verdict, state, reply, smtp_code, enhanced_code, error_state,
    failed_at, code, reason, persistence, rule, rules_version)
SELECT %(tenant)s, gen_random_uuid(), gen_random_uuid(), channel, provider, connection_id, 'msg' || n,
    recipient, recipient, domain, 'notices@sender.example', title, lower(title), '', at, at, at, 0,
    1, false, 4, 1, gen_random_uuid(), kind, '', state, reply, '', '', failing,
    CASE WHEN failing IS NOT NULL THEN at END,
    CASE WHEN failing IS NOT NULL THEN codes[1 + hash %% 4] END,
    CASE WHEN failing IS NOT NULL THEN reasons[1 + hash %% 4] END,
    CASE WHEN failing IS NOT NULL THEN CASE hash %% 2 WHEN 0 THEN 'hard' ELSE 'soft' END END, 'bench', 1
FROM (
    SELECT n, abs(hashint4(n)) AS hash, domain,
        'person' || n || '@' || domain AS recipient, 'Notice ' || n %% 5000 AS title,
        now() - n * (interval '90 days' / %(rows)s) AS at,
        CASE WHEN n %% 10 < 7 THEN 'email' WHEN n %% 10 < 9 THEN 'sms' ELSE 'lineworks' END AS channel,
        CASE WHEN n %% 10 < 7 THEN 'sendgrid' WHEN n %% 10 < 9 THEN 'twilio' ELSE 'lineworks' END AS provider,
        (%(connections)s::uuid[])[1 + n %% 3] AS connection_id,
        CASE WHEN n %% 20 = 0 THEN (ARRAY['bounced', 'deferred', 'blocked', 'dropped'])[1 + abs(hashint4(n)) %% 4]
            END AS failing,
        CASE WHEN n %% 20 = 0 THEN (ARRAY['bounced', 'deferred', 'blocked', 'dropped'])[1 + abs(hashint4(n)) %% 4]
            ELSE 'delivered' END AS state,
        CASE WHEN n %% 20 = 0 THEN 'bounced' ELSE 'delivered' END AS kind,
        CASE WHEN n %% 20 = 0 THEN '550 5.1.1 user unknown' ELSE '250 OK' END AS reply,
        ARRAY['BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE', 'BOUNCE_TRANSIENT_GENERAL', 'BOUNCE_TRANSIENT_MBX_FULL',
            'BOUNCE_TRANSIENT_CONTENT_REJECTED'] AS codes,
        ARRAY['userunknown', 'networkerror', 'mailboxfull', 'spamdetected'] AS reasons
    FROM (SELECT n, (%(domains)s::text[])[CASE WHEN n %% 5000 = 0 THEN 5 ELSE 1 + n %% 4 END] AS domain
        FROM generate_series(1, %(rows)s) n) numbered
) made
"""


def fill(owner: Link, deliveries: int, tenants: int) -> list[Tenant]:
    """Make the tenants and their deliveries; the first tenant holds half of them all. Returns the tenants."""
    made = [_tenant(f"bench-{number}") for number in range(tenants)]
    for number, tenant in enumerate(made):
        rows = deliveries // 2 if number == 0 else deliveries // 2 // (tenants - 1)
        values = {"tenant": tenant.id, "rows": rows, "domains": DOMAINS, "connections": [str(_id(n)) for n in range(3)]}
        with tenant_scope(tenant.id), connection.cursor() as cursor:
            cursor.execute(_FILL, values)
        tallies.fold(tenant.id)
    with owner.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE deliveries_delivery")
        cursor.execute("VACUUM ANALYZE deliveries_tally")
    return made


def empty(owner: Link) -> None:
    with owner.cursor() as cursor:
        cursor.execute(
            "TRUNCATE deliveries_delivery, deliveries_deliverylink, deliveries_attempt,"
            " deliveries_tally, deliveries_tallydelta"
        )


def _tenant(slug: str) -> Tenant:
    with tenant_scope(operator_tenant_id()):
        tenant: Tenant = Tenant.objects.get_or_create(slug=slug, defaults={"name": slug, "id": uuid7()})[0]
        return tenant


def _id(number: int) -> uuid.UUID:
    return uuid.UUID(int=number + 1)
