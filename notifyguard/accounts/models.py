"""Tenants, people, their roles, API tokens and the audit log."""

from __future__ import annotations

import uuid
import zoneinfo
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7

OPERATOR_SLUG = "operator"


class Role(models.TextChoices):
    """What a person or token may do in a tenant; each role includes the ones below it in ``permissions``."""

    ADMIN = "admin", _("Admin")
    SUPPORT = "support", _("Support")
    MANAGER = "manager", _("Manager")
    VIEWER = "viewer", _("Viewer")


def valid_timezone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise ValidationError(_("%(name)s is not a time zone: use a name such as Asia/Tokyo."), params={"name": name})


class Tenant(models.Model):
    """An organisation. The tenant with the slug ``operator`` is the one that runs the installation."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64, default="UTC", validators=[valid_timezone])
    language = models.CharField(max_length=8, default="en")
    body_days = models.PositiveSmallIntegerField(default=30)  # how long the text of a notice is kept
    region = models.CharField(max_length=2, default="JP")  # the country of numbers written without one
    sms_price = models.DecimalField(max_digits=8, decimal_places=4, null=True, blank=True)  # of one part
    sms_currency = models.CharField(max_length=3, blank=True)
    created_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return self.name

    @property
    def is_operator(self) -> bool:
        return self.slug == OPERATOR_SLUG

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.timezone)


class PeopleManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        person = self.model(email=self.normalize_email(email).lower(), **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person


class User(AbstractBaseUser):
    """A person, known by email address; what they may do is in their memberships."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    language = models.CharField(max_length=8, blank=True)
    is_active = models.BooleanField(default=True)
    joined_at = models.DateTimeField(default=now)

    objects = PeopleManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return str(self)


class Membership(TenantOwned):
    """A person's role in a tenant. Operator staff have one in each tenant assigned to them."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=now)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_role_per_person")]


class ApiToken(TenantOwned):
    """A key to the API, shown once and stored as a hash; ``prefix`` tells tokens apart in the list."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=48)
    token_hash = models.CharField(max_length=64)
    role = models.CharField(max_length=16, choices=Role)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "token_hash"], name="token_hash_once")]


class AuditEntry(TenantOwned):
    """One change that a person, a token or the command line made. Append-only: a trigger refuses the rest."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(default=now)
    actor_id = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=254)
    action = models.CharField(max_length=80)
    object_type = models.CharField(max_length=40)
    object_id = models.CharField(max_length=64)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = [models.Index(fields=["tenant", "-at", "-id"], name="audit_newest")]


def operator_tenant_id() -> uuid.UUID:
    """The operator's tenant has a fixed id, so that it is known before any row can be read."""
    return uuid.UUID("00000000-0000-7000-8000-000000000001")
