"""The ledger and its projection: what providers reported, and what became of each delivery."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from deliveries.models.indexes import prefix_index
from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7

ON_THE_LIST = Q(error_state__isnull=False)


def _error_index(*fields: str, name: str) -> models.Index:
    """An index over the error list only, newest first: 95 % of deliveries arrive and never touch it."""
    return models.Index(fields=["tenant", *fields, "-failed_at", "-id"], name=name, condition=ON_THE_LIST)


class Event(TenantOwned):
    """One report, immutable. A trigger refuses UPDATE and DELETE; the table is partitioned by month of occurrence.

    ``id`` is a digest of what identifies the report, ``match_key`` of the attempt it speaks of: events may come
    before, or without, a delivery of ours. The key is ``(tenant_id, match_key, id, occurred_at)``: it keeps
    duplicates out and finds a timeline.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    match_key = models.UUIDField()
    connection_id = models.UUIDField()
    raw_id = models.UUIDField()
    raw_index = models.IntegerField()
    kind = models.CharField(max_length=16)
    verdict = models.CharField(max_length=120)
    recipient = models.CharField(max_length=320)
    reply = models.TextField()
    smtp_code = models.CharField(max_length=3)
    enhanced_code = models.CharField(max_length=12)
    provider_event_id = models.CharField(max_length=200)
    provider_message_id = models.CharField(max_length=200)
    deferred_until = models.DateTimeField(null=True)


class Delivery(TenantOwned):
    """One notice to one recipient through one channel: the row that people see.

    A projection: ``rank_*`` and what follows from them are those of the event that decides the state
    (deliveries/state.py), so any order and any number of duplicates end in the same row. While it is on the
    Notification Error List ``error_state`` repeats ``state``, ``failed_at`` repeats ``occurred_at`` and ``code``
    says why; otherwise the three are empty, so that the error list's partial indexes cost the other 95 % nothing.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    match_key = models.UUIDField()
    channel = models.CharField(max_length=16)
    provider = models.CharField(max_length=32)
    connection_id = models.UUIDField()  # may be the operator's row: no key across tenants
    provider_message_id = models.CharField(max_length=200)
    recipient = models.CharField(max_length=320)
    recipient_key = models.CharField(max_length=320)  # lower-cased, for equality and prefix search
    domain = models.CharField(max_length=255)  # receiving domain, registrable or not; empty for SMS
    sender = models.CharField(max_length=320)
    title = models.CharField(max_length=500)
    title_key = models.CharField(max_length=500)
    name = models.CharField(max_length=200, default="")  # the person's, once a contact is known
    contact_id = models.UUIDField(null=True)
    notice_id = models.UUIDField(null=True)
    attempts = models.SmallIntegerField(default=1, db_default=1)  # hand-overs so far, the first included

    first_at = models.DateTimeField()
    received_at = models.DateTimeField()
    occurred_at = models.DateTimeField()
    first_deferred_at = models.DateTimeField(null=True)
    deferred_until = models.DateTimeField(null=True)
    deferrals = models.IntegerField(default=0)
    attempt = models.SmallIntegerField(default=1)
    orphan = models.BooleanField(default=False)  # an event without a message id that matched no delivery yet

    rank = models.SmallIntegerField()
    rank_order = models.SmallIntegerField()
    event_id = models.UUIDField()
    kind = models.CharField(max_length=16)
    verdict = models.CharField(max_length=120)
    state = models.CharField(max_length=16)
    reply = models.TextField()
    smtp_code = models.CharField(max_length=3)
    enhanced_code = models.CharField(max_length=12)

    error_state = models.CharField(max_length=16, null=True)  # noqa: DJ001 -- null keeps it out of the partial indexes
    failed_at = models.DateTimeField(null=True)
    code = models.CharField(max_length=48, null=True)  # noqa: DJ001 -- as above
    reason = models.CharField(max_length=40, null=True)  # noqa: DJ001 -- as above
    persistence = models.CharField(max_length=4, null=True)  # noqa: DJ001 -- as above
    rule = models.CharField(max_length=80, null=True)  # noqa: DJ001 -- as above
    rules_version = models.SmallIntegerField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "match_key"], name="delivery_match_key_once")]
        indexes = [
            models.Index(fields=["tenant", "-first_at", "-id"], name="delivery_newest"),
            prefix_index("recipient_key", "delivery_recipient"),
            prefix_index("provider_message_id", "delivery_message"),
            prefix_index("recipient_key", "delivery_orphan", condition=Q(orphan=True)),
            _error_index(name="error_newest_of_all"),
            _error_index("channel", name="error_newest"),
            _error_index("channel", "error_state", name="error_by_state"),
            _error_index("channel", "code", name="error_by_code"),
            _error_index("channel", "reason", name="error_by_reason"),
            _error_index("domain", name="error_by_domain"),
            _error_index("connection_id", name="error_by_connection"),
            prefix_index("title_key", "error_by_title", condition=ON_THE_LIST),
            prefix_index("name", "error_by_name", condition=ON_THE_LIST),
            models.Index(fields=["tenant", "-first_at", "-id"], name="delivery_waiting", condition=Q(state="queued")),
            prefix_index("title_key", "delivery_by_title", condition=~Q(title_key="")),
            prefix_index("name", "delivery_by_name", condition=~Q(name="")),
            models.Index(
                fields=["tenant", "contact_id", "-first_at"],
                name="delivery_of_contact",
                condition=Q(contact_id__isnull=False),
            ),
            models.Index(
                fields=["tenant", "notice_id"], name="delivery_of_notice", condition=Q(notice_id__isnull=False)
            ),
        ]

    @property
    def is_open(self) -> bool:
        return self.error_state is not None


class DeliveryLink(TenantOwned):
    """A further match key of a delivery: an event without a message id that was matched to it later, or a resend."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    match_key = models.UUIDField()
    delivery = models.ForeignKey(Delivery, models.CASCADE, db_constraint=False, related_name="links")
    attempt = models.SmallIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "match_key"], name="link_match_key_once")]
