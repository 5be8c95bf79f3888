"""Recipients that a tenant does not send to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from deliveries.models.indexes import prefix_index
from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7


class Suppression(TenantOwned):
    """Our decision not to send to a recipient. Removed entries stay, with who, when and why."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    channel = models.CharField(max_length=16)
    recipient = models.CharField(max_length=320)
    recipient_key = models.CharField(max_length=320)
    reason = models.CharField(max_length=16)  # enums.SuppressionReason
    code = models.CharField(max_length=48, blank=True)  # the reason code of the failure behind it
    since = models.DateTimeField()  # when the failure occurred, or the entry was made by hand
    event_id = models.UUIDField(null=True)  # the event that it follows from
    match_key = models.UUIDField(null=True)  # and the attempt that this event speaks of
    connection_id = models.UUIDField(null=True)  # through which it was reported: where the provider lists it, too
    note = models.CharField(max_length=500, blank=True)
    created_by = models.CharField(max_length=254, blank=True)  # empty: by itself
    created_at = models.DateTimeField(default=timezone.now)

    removed_at = models.DateTimeField(null=True)
    removed_by = models.CharField(max_length=254, blank=True)
    removal_reason = models.CharField(max_length=500, blank=True)
    provider_state = models.CharField(max_length=16, blank=True)  # enums.ProviderState
    provider_answer = models.CharField(max_length=500, blank=True)
    provider_checked_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "channel", "recipient_key"],
                name="suppression_once",
                condition=Q(removed_at__isnull=True),
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-since", "-id"], name="suppression_newest"),
            prefix_index("recipient_key", "suppression_recipient"),
            models.Index(
                fields=["tenant", "id"], name="suppression_at_provider", condition=Q(provider_state="removing")
            ),
        ]
