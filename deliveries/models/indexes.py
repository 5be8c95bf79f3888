"""Indexes that several tables have in common."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


def prefix_index(field: str, name: str, condition: Q | None = None) -> models.Index:
    """An index for equality and prefix search; under row-level security nothing else can use one (LIKE leaks)."""
    operators = ["uuid_ops", "varchar_pattern_ops"]
    return models.Index(fields=["tenant", field], name=name, opclasses=operators, condition=condition)
