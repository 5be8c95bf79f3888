"""The shapes of the API's answers (docs/api.md); keep them stable: people's scripts read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import get_language
from rest_framework import serializers

from deliveries import explain, queries, words
from deliveries.classify import RULES_VERSION
from deliveries.codes import CODES
from deliveries.enums import Actionable, Channel, Kind, Persistence, Stage, State
from deliveries.models import Delivery
from deliveries.queries import TimelineEntry


class TextOrNull(serializers.CharField):
    """A text that may be missing: columns say so by an empty string or by none at all, the API by null."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_null=True, read_only=True, **options)

    def to_representation(self, value: str) -> str | None:  # type: ignore[override]  # null is allowed
        return value or None


class OfCode(serializers.ChoiceField):
    """What the table of reason codes says of a row's code; null without a code."""

    def __init__(self, part: str, **options: Any) -> None:
        super().__init__(source="code", allow_null=True, read_only=True, **options)
        self.part = part

    def to_representation(self, value: str) -> str | None:  # type: ignore[override]  # null is allowed
        code = CODES.get(value)
        return str(getattr(code, self.part)) if code else None


class TextOfCode(serializers.CharField):
    """As ``OfCode``, in the language that is active."""

    def __init__(self, part: str, **options: Any) -> None:
        super().__init__(source="code", allow_null=True, read_only=True, **options)
        self.part = part

    def to_representation(self, value: str) -> str | None:  # type: ignore[override]  # null is allowed
        code = CODES.get(value)
        return str(getattr(code, self.part)[get_language()]) if code else None


class DeliverySerializer(serializers.Serializer[Any]):
    """One notice to one recipient through one channel."""

    id = serializers.UUIDField()
    channel = serializers.ChoiceField(choices=list(Channel))
    provider = serializers.CharField()
    connection = serializers.UUIDField(source="connection_id", help_text="Id of the connection that reported it.")
    provider_message_id = serializers.CharField(help_text="What the provider's send call returned.")
    recipient = serializers.CharField()
    name = serializers.CharField(help_text="The person's name, once known.")
    domain = serializers.CharField(help_text="Receiving domain; empty for LINE WORKS and SMS.")
    sender = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=list(State))
    state_label = serializers.SerializerMethodField()
    open = serializers.BooleanField(source="is_open", help_text="On the Notification Error List.")
    code = TextOrNull(help_text="Reason code; null unless open.")
    reason = TextOrNull(help_text="Why exactly; several reasons share a code.")
    reason_label = serializers.SerializerMethodField()
    persistence = serializers.ChoiceField(choices=list(Persistence), allow_null=True)
    actionable = OfCode("actionable", choices=list(Actionable), help_text="Can the tenant do something about it?")
    stage = OfCode("stage", choices=list(Stage), help_text="When it failed, seen from the send call.")
    explanation = TextOfCode("explanation", help_text="In the language of Accept-Language.")
    action = TextOfCode("action", help_text="The recommended action, in the language of Accept-Language.")
    rule = TextOrNull(help_text="Id of the rule that chose the code.")
    rules_version = serializers.IntegerField(allow_null=True)
    reply = serializers.CharField(help_text="The receiving server's or the API's words.")
    smtp_code = serializers.CharField(help_text="RFC 5321, such as 550; empty if there was none.")
    enhanced_code = serializers.CharField(help_text="RFC 3463, such as 5.1.1; empty if there was none.")
    tries = serializers.SerializerMethodField(help_text="How often the provider is known to have tried.")
    deferred_until = serializers.SerializerMethodField(help_text="Until when the provider still tries, where known.")
    attempt = serializers.IntegerField(help_text="Which hand-over to the provider this is about; 1 is the first.")
    first_at = serializers.DateTimeField(help_text="The earliest event.")
    failed_at = serializers.DateTimeField(allow_null=True, help_text="When it failed; null unless open.")
    occurred_at = serializers.DateTimeField(help_text="When what decides the state occurred, by the provider's clock.")
    received_at = serializers.DateTimeField(help_text="When NotifyGuard was told of it.")

    def get_state_label(self, row: Delivery) -> str:
        return str(words.STATES[State(row.state)])

    def get_reason_label(self, row: Delivery) -> str | None:
        return explain.reason_label(row.reason, get_language()) if row.reason else None

    def get_tries(self, row: Delivery) -> int:
        return queries.tries(row)

    def get_deferred_until(self, row: Delivery) -> datetime | None:
        return queries.tries_until(row)


class EventSerializer(serializers.Serializer[Any]):
    """One thing the provider reported. Code, reason, persistence and rule are today's verdict on a failure."""

    id = serializers.UUIDField(source="event.id")
    kind = serializers.ChoiceField(choices=list(Kind))
    kind_label = serializers.SerializerMethodField()
    occurred_at = serializers.DateTimeField(source="event.occurred_at")
    received_at = serializers.DateTimeField(source="event.received_at")
    verdict = serializers.CharField(source="event.verdict", help_text="The provider's own verdict as a short key.")
    reply = serializers.CharField(source="event.reply")
    smtp_code = serializers.CharField(source="event.smtp_code")
    enhanced_code = serializers.CharField(source="event.enhanced_code")
    provider_event_id = serializers.CharField(source="event.provider_event_id")
    provider_message_id = serializers.CharField(source="event.provider_message_id")
    deferred_until = serializers.DateTimeField(source="event.deferred_until", allow_null=True)
    code = TextOrNull(source="verdict.code", default=None)
    reason = TextOrNull(source="verdict.reason", default=None)
    persistence = serializers.ChoiceField(
        choices=list(Persistence), source="verdict.persistence", allow_null=True, default=None
    )
    rule = TextOrNull(source="verdict.rule", default=None)
    rules_version = serializers.SerializerMethodField()

    def get_kind_label(self, entry: TimelineEntry) -> str:
        return str(words.KINDS[entry.kind])

    def get_rules_version(self, entry: TimelineEntry) -> int | None:
        return RULES_VERSION if entry.verdict else None


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its timeline, oldest event first."""

    events = EventSerializer(many=True)


class UnparsedSerializer(serializers.Serializer[Any]):
    """An item of a webhook that could not be read."""

    id = serializers.UUIDField()
    connection = serializers.UUIDField(source="connection_id")
    webhook = serializers.UUIDField(source="raw_id", help_text="The webhook that it came in.")
    item = serializers.IntegerField(source="item_index", help_text="Its place in the webhook, from 0.")
    received_at = serializers.DateTimeField()
    reason = serializers.CharField(help_text="What was wrong with it, as a sentence.")
    raw = serializers.CharField(help_text="Its text, up to 4,000 characters.")


class ProblemSerializer(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong and what to do, as a sentence.")
    errors = serializers.DictField(  # type: ignore[assignment]  # the framework takes fields off the class
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="With 400: for each parameter what is wrong with it.",
    )
