"""Handing over: attempts, which are also the queue of what is to be sent, and what paces them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from deliveries.enums import AttemptStatus, PlanStatus
from deliveries.models.ledger import Delivery
from notifyguard.accounts.tenancy import TenantOwned
from notifyguard.ids import uuid7

_IS_QUEUED = Q(status=AttemptStatus.QUEUED)


class ResendPlan(TenantOwned):
    """A bulk resend: its selection is frozen as queued attempts, looked at, approved, and can be stopped."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    status = models.CharField(max_length=12, default=PlanStatus.PREPARING)
    selection = models.CharField(max_length=4000, blank=True)  # the filter, as in the list's URL
    other_way = models.CharField(max_length=16, blank=True)  # the channel to send through instead, if any
    newest_of_kind = models.BooleanField(default=False)
    include_stale = models.BooleanField(default=False)
    per_minute = models.IntegerField(null=True)  # slower than the providers allow, if somebody asks
    error = models.CharField(max_length=500, blank=True)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=timezone.now)
    approved_by = models.CharField(max_length=254, blank=True)
    approved_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="plan_newest"),
            models.Index(
                fields=["tenant", "id"],
                name="plan_under_way",
                condition=Q(status__in=[PlanStatus.PREPARING, PlanStatus.RUNNING, PlanStatus.CANCELLED]),
            ),
        ]


class PlanCount(TenantOwned):
    """How many rows of a plan have an outcome: kept, so that a progress bar scans nothing.

    ``phase`` is ``preview`` (what each row would come to) or ``outcome`` (what it came to).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.ForeignKey(ResendPlan, models.CASCADE, db_constraint=False, db_index=False, related_name="counts")
    phase = models.CharField(max_length=8)
    outcome = models.CharField(max_length=24)
    n = models.BigIntegerField(default=0)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "plan", "phase", "outcome"], name="plan_count_once")]


class Attempt(TenantOwned):
    """One hand-over of a delivery to a provider, from the queue to the provider's answer.

    ``id`` is what providers echo (``attempt_ref``). Before the call it becomes ``sending`` in a transaction of its
    own: what is found so after a crash may have been sent, and is never sent again by itself.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    delivery = models.ForeignKey(Delivery, models.CASCADE, db_constraint=False, db_index=False, related_name="tried")
    plan = models.ForeignKey(ResendPlan, models.SET_NULL, null=True, db_constraint=False, db_index=False)
    why = models.CharField(max_length=12)  # enums.AttemptWhy
    status = models.CharField(max_length=12, default=AttemptStatus.QUEUED)
    channel = models.CharField(max_length=16)
    connection_id = models.UUIDField()  # to send through; may be the operator's row
    recipient = models.CharField(max_length=320, blank=True)  # empty: the contact's at the time of sending
    number = models.SmallIntegerField(default=0)  # of the delivery's attempts; given when it is handed over
    due_at = models.DateTimeField(default=timezone.now)  # waits live here
    tries = models.SmallIntegerField(default=0)  # calls that the provider asked to repeat later
    outcome = models.CharField(max_length=24, blank=True)  # why it was not sent, for people (enums.Outcome)
    verdict = models.CharField(max_length=120, blank=True)
    answer = models.CharField(max_length=1000, blank=True)
    provider_message_id = models.CharField(max_length=200, blank=True)
    created_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)

    class Meta(TenantOwned.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "delivery"], name="attempt_one_sending", condition=Q(status=AttemptStatus.SENDING)
            ),
            models.UniqueConstraint(
                fields=["tenant", "plan", "delivery"], name="attempt_once_a_plan", condition=Q(plan__isnull=False)
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "connection_id", "due_at", "id"],
                name="attempt_due",
                condition=_IS_QUEUED & Q(plan__isnull=True),
            ),
            models.Index(
                fields=["tenant", "plan", "connection_id", "due_at", "id"],
                name="attempt_due_in_plan",
                condition=_IS_QUEUED & Q(plan__isnull=False),
            ),
            models.Index(fields=["tenant", "sent_at"], name="attempt_sending", condition=Q(status="sending")),
            models.Index(fields=["tenant", "delivery", "-id"], name="attempt_of_delivery"),
        ]


class RetryPolicy(TenantOwned):
    """How a tenant's temporary failures are tried again by themselves; ``code`` "" is for all without their own."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(max_length=48, blank=True)
    enabled = models.BooleanField(default=True)
    tries = models.SmallIntegerField(default=3)
    first_wait_s = models.IntegerField(default=3600)
    factor = models.FloatField(default=2.0)
    longest_wait_s = models.IntegerField(default=86_400)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "code"], name="retry_policy_once")]


class ResendHook(TenantOwned):
    """Where a tenant's own product is asked to send a notice again whose body we do not hold; one a tenant."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    url = models.CharField(max_length=500)
    secret_sealed = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)
    last_called_at = models.DateTimeField(null=True)
    last_answer = models.CharField(max_length=200, blank=True)

    class Meta(TenantOwned.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant"], name="resend_hook_once")]


class Pace(models.Model):
    """How fast one provider account may be called, shared by all workers, connections and tenants that use it.

    Belongs to no tenant: ``key`` is a digest of provider and account, and nothing here tells whose it is.
    """

    key = models.UUIDField(primary_key=True, editable=False)
    per_minute = models.FloatField()  # the speed now
    ready = models.FloatField(default=0)  # calls that may be made at once
    counted_at = models.DateTimeField(default=timezone.now)
    paused_until = models.DateTimeField(null=True)
    run_began_at = models.DateTimeField(null=True)  # LINE WORKS: half speed after 30 minutes without a break
    raised_at = models.DateTimeField(default=timezone.now)
    # What the provider last said of its own budget, and what we did of it.
    budget_limit = models.IntegerField(null=True)
    budget_remaining = models.IntegerField(null=True)
    budget_resets_at = models.DateTimeField(null=True)
    own_calls = models.IntegerField(default=0)  # ours in the provider's present window
    told_at = models.DateTimeField(null=True)
    token_sealed = models.BinaryField(null=True)
    token_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.key)
