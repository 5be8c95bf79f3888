"""Confirms the SNS subscriptions of registered topics (the request was verified before it was stored)."""

from __future__ import annotations

import uuid
from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from deliveries.models import ConnectionEvent
from notifyguard.accounts.tenancy import tenant_scope
from providers.http import OutcomeUnknown, PermanentError, TransientError
from providers.ses import confirm_subscription

log = structlog.get_logger(__name__)

TOKEN_LIFE = timedelta(days=2)  # Amazon SNS: a confirmation token is valid for two days


def confirm_requested(tenant_id: uuid.UUID) -> None:
    """Confirm what is asked for; what fails for now is tried again by the sweep while the token lives."""
    with tenant_scope(tenant_id):
        waiting = list(
            ConnectionEvent.objects.filter(
                kind="subscription_requested", handled_at=None, received_at__gt=timezone.now() - TOKEN_LIFE
            )
        )
    for request in waiting:
        _confirm(tenant_id, request)


def _confirm(tenant_id: uuid.UUID, request: ConnectionEvent) -> None:
    try:
        confirm_subscription(request.data, tuple(settings.SNS_CERT_URLS))
        detail = "Confirmed."
    except (TransientError, OutcomeUnknown):
        log.warning("subscription.confirm_later", connection_id=str(request.connection_id))
        return
    except PermanentError as error:
        detail = f"Amazon SNS refused the confirmation: {error}"
    with tenant_scope(tenant_id):
        ConnectionEvent.objects.filter(id=request.id).update(handled_at=timezone.now(), detail=detail[:500])
