"""People: a contact is the person behind several recipients, named by the tenant's own id."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from deliveries.models.indexes import prefix_index
from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7


class Contact(TenantOwned):
    """A person and where to reach them. An empty field: there is no such address."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    external_id = models.CharField(max_length=100, blank=True)  # the tenant's own
    name = models.CharField(max_length=200, blank=True)
    email = models.CharField(max_length=320, blank=True)
    phone = models.CharField(max_length=32, blank=True)  # E.164 where it could be read, else as entered
    lineworks_id = models.CharField(max_length=254, blank=True)
    language = models.CharField(max_length=8, blank=True)
    no_address = models.BooleanField(default=False)  # known to have none: never sent to
    # As recipients are compared: what is searched for and what deliveries are matched by.
    email_key = models.CharField(max_length=320, blank=True)
    lineworks_key = models.CharField(max_length=254, blank=True)
    name_key = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "external_id"], name="contact_external_id_once", condition=~Q(external_id="")
            )
        ]
        indexes = [
            prefix_index("email_key", "contact_email"),
            prefix_index("phone", "contact_phone"),
            prefix_index("lineworks_key", "contact_lineworks"),
            prefix_index("name_key", "contact_name"),
            models.Index(fields=["tenant", "-updated_at", "-id"], name="contact_newest"),
        ]

    def __str__(self) -> str:
        return self.name or self.external_id


class ContactImport(TenantOwned):
    """A CSV of contacts that somebody uploaded: looked at first, applied when they say so, then erased."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    file_name = models.CharField(max_length=200)
    content_sealed = models.BinaryField(null=True)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    applied_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)

    class Meta(TenantOwned.Meta):
        indexes = [models.Index(fields=["tenant", "-created_at"], name="contact_import_newest")]
