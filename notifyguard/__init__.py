"""Composition: settings, URLs, Celery; everything may be imported here, nothing imports it."""

from notifyguard.celery import app as celery_app

__all__ = ["celery_app"]
