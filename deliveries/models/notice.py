"""What is to be sent: a notice is the content; each recipient's delivery points at it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7


class Notice(TenantOwned):
    """The content somebody wants sent. The body is encrypted and erased at ``body_until``; None: we never held it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(max_length=500, blank=True)
    kind = models.CharField(max_length=100, blank=True)  # the tenant's own, e.g. "invoice": the newest of each replaces
    sender = models.CharField(max_length=320, blank=True)
    sender_name = models.CharField(max_length=200, blank=True)
    body_sealed = models.BinaryField(null=True)
    body_until = models.DateTimeField(null=True)
    use_by = models.DateTimeField(null=True)  # later than this it is of no use to the recipient
    # The tenant's key of the request that made it, and a digest of that request: the same key never makes two.
    idempotency_key = models.CharField(max_length=200, blank=True)
    request_digest = models.UUIDField(null=True)
    created_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"], name="notice_once", condition=~Q(idempotency_key="")
            )
        ]
        indexes = [
            models.Index(
                fields=["tenant", "body_until"], name="notice_body_age", condition=Q(body_sealed__isnull=False)
            )
        ]
