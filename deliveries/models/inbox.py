"""Where webhooks arrive: connections, the raw inbox, and what could not be read or routed."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from deliveries.enums import RawStatus
from deliveries.models.fields import DeflatedField
from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7
from providers.registry import PROVIDERS


def provider_choices() -> list[tuple[str, str]]:
    return [(name, provider.label) for name, provider in PROVIDERS.items()]


class Connection(TenantOwned):
    """One provider account that reports to us. ``shared``: owned by the operator, its events routed to tenants."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.CharField(max_length=32, choices=provider_choices)
    name = models.CharField(max_length=200)
    token = models.CharField(max_length=64)
    secrets_sealed = models.BinaryField()
    settings = models.JSONField(default=dict)
    sending_sealed = models.BinaryField(null=True)  # the sender's fields; None: nothing is sent through it
    send_order = models.SmallIntegerField(default=0)  # of several of a channel the least is used first
    shared = models.BooleanField(default=False)
    route_by = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    disabled_at = models.DateTimeField(null=True)
    last_event_at = models.DateTimeField(null=True)
    seen_kinds = ArrayField(models.CharField(max_length=16), default=list)
    rejected_count = models.BigIntegerField(default=0)
    last_rejected_at = models.DateTimeField(null=True)
    last_rejected_reason = models.CharField(max_length=40, blank=True)
    account_status = models.CharField(max_length=200, blank=True)
    account_status_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "token"], name="connection_token_once")]

    def __str__(self) -> str:
        return self.name


class Route(TenantOwned):
    """A tenant's share of a shared connection: events whose route value is ``value`` are this tenant's."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection_id = models.UUIDField()  # the operator's row: a key across tenants is not allowed
    provider = models.CharField(max_length=32)
    name = models.CharField(max_length=200)
    value = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    last_event_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["connection_id", "value"], name="route_value_once")]


class RawWebhook(TenantOwned):
    """One webhook as it came, verified. The queue of record: everything after it can be redone from it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, models.DO_NOTHING, db_constraint=False, db_index=False)
    received_at = models.DateTimeField()
    headers = models.JSONField(default=dict)
    body = DeflatedField()
    status = models.SmallIntegerField(default=RawStatus.PENDING)
    error = models.CharField(max_length=500, blank=True)
    processed_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = [
            models.Index(fields=["tenant", "id"], name="raw_pending", condition=Q(status=RawStatus.PENDING)),
            models.Index(fields=["tenant", "id"], name="raw_failed", condition=Q(status=RawStatus.FAILED)),
            models.Index(fields=["tenant", "received_at"], name="raw_age"),
        ]


class UnparsedItem(TenantOwned):
    """An item of a webhook that could not be read, kept and shown with the reason."""

    id = models.UUIDField(
        primary_key=True, editable=False
    )  # a digest of where it came from: replay makes no second one
    connection_id = models.UUIDField()
    raw_id = models.UUIDField()
    item_index = models.IntegerField()
    received_at = models.DateTimeField()
    reason = models.CharField(max_length=500)
    raw = models.TextField(blank=True)

    class Meta(TenantOwned.Meta):
        indexes = [models.Index(fields=["tenant", "-received_at", "-id"], name="unparsed_newest")]


class Quarantined(TenantOwned):
    """An event of a shared connection whose tenant is not known; the operator's row until a route is added."""

    id = models.UUIDField(primary_key=True, editable=False)
    connection_id = models.UUIDField()
    raw_id = models.UUIDField()
    item_index = models.IntegerField()
    received_at = models.DateTimeField()
    route_value = models.CharField(max_length=254, blank=True)
    released_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = [
            models.Index(
                fields=["tenant", "connection_id", "route_value"], name="quarantine_held", condition=Q(released_at=None)
            )
        ]


class ConnectionEvent(TenantOwned):
    """What a provider said about the account or the connection: suspended, subscribed, bot removed."""

    id = models.UUIDField(primary_key=True, editable=False)
    connection_id = models.UUIDField()
    raw_id = models.UUIDField()
    kind = models.CharField(max_length=40)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    detail = models.CharField(max_length=500, blank=True)
    data = models.JSONField(default=dict)
    handled_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = [models.Index(fields=["tenant", "connection_id", "-occurred_at"], name="connection_event_newest")]
