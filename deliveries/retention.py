"""Deletes by age, in batches: raw webhooks, the texts of notices, imports that nobody applied."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from deliveries import bodies, contact_import
from deliveries.enums import RawStatus
from deliveries.models import Quarantined, RawWebhook
from notifyguard.accounts.models import Tenant, operator_tenant_id
from notifyguard.accounts.tenancy import tenant_scope

BATCH = 500


def apply() -> int:
    """Delete worked raw webhooks older than the retention; returns how many."""
    with tenant_scope(operator_tenant_id()):
        tenants = list(Tenant.objects.values_list("id", flat=True))
    before = timezone.now() - timedelta(days=settings.RAW_RETENTION_DAYS)
    deleted = 0
    for tenant_id in tenants:
        with tenant_scope(tenant_id):
            contact_import.forget_old(timezone.now())
        _erase_bodies(tenant_id)
        while True:
            with tenant_scope(tenant_id):
                held = Quarantined.objects.filter(released_at=None).values("raw_id")  # waits for a route, so it stays
                old = RawWebhook.objects.filter(received_at__lt=before, status=RawStatus.DONE).exclude(id__in=held)
                old = old.order_by("received_at")
                ids = list(old.values_list("id", flat=True)[:BATCH])
                RawWebhook.objects.filter(id__in=ids).delete()
            deleted += len(ids)
            if len(ids) < BATCH:
                break
    return deleted


def _erase_bodies(tenant_id: uuid.UUID) -> None:
    erased = bodies.ERASED_AT_ONCE
    while erased == bodies.ERASED_AT_ONCE:
        with tenant_scope(tenant_id):
            erased = bodies.erase_old(timezone.now())
