"""Rows, constraints and small properties; no I/O, no verbs."""

from deliveries.models.contact import Contact, ContactImport
from deliveries.models.inbox import Connection, ConnectionEvent, Quarantined, RawWebhook, Route, UnparsedItem
from deliveries.models.ledger import Delivery, DeliveryLink, Event
from deliveries.models.notice import Notice
from deliveries.models.sending import Attempt, Pace, PlanCount, ResendHook, ResendPlan, RetryPolicy
from deliveries.models.suppression import Suppression
from deliveries.models.tally import Tally, TallyDelta

__all__ = [
    "Attempt",
    "Connection",
    "ConnectionEvent",
    "Contact",
    "ContactImport",
    "Delivery",
    "DeliveryLink",
    "Event",
    "Notice",
    "Pace",
    "PlanCount",
    "Quarantined",
    "RawWebhook",
    "ResendHook",
    "ResendPlan",
    "RetryPolicy",
    "Route",
    "Suppression",
    "Tally",
    "TallyDelta",
    "UnparsedItem",
]
