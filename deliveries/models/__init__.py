"""Rows, constraints and small properties; no I/O, no verbs."""

from deliveries.models.inbox import Connection, ConnectionEvent, Quarantined, RawWebhook, Route, UnparsedItem
from deliveries.models.ledger import Delivery, DeliveryLink, Event
from deliveries.models.tally import Tally, TallyDelta

__all__ = [
    "Connection",
    "ConnectionEvent",
    "Delivery",
    "DeliveryLink",
    "Event",
    "Quarantined",
    "RawWebhook",
    "Route",
    "Tally",
    "TallyDelta",
    "UnparsedItem",
]
