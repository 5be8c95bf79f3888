"""Is the process up, is what it needs up, and the numbers for Prometheus."""

from __future__ import annotations

import hmac
from datetime import timedelta

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

SWEEP_LAG_LIMIT = timedelta(minutes=5)


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """Database, broker and sweep: 200 when webhooks can be taken and are being worked, else 503 with what is wrong.

    The broker being away is reported but keeps the answer at 200: webhooks are still accepted, and kept.
    """
    checks = {"database": _database(), "broker": _broker()}
    checks["inbox"] = _inbox() if checks["database"] == "ok" else "unknown"
    ready = checks["database"] == "ok" and checks["inbox"] == "ok"
    return JsonResponse({"ready": ready, **checks}, status=200 if ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text, for whoever sends ``Authorization: Bearer <NOTIFYGUARD_METRICS_TOKEN>``."""
    expected = f"Bearer {settings.METRICS_TOKEN}"
    given = request.headers.get("Authorization", "")
    if not settings.METRICS_TOKEN or not hmac.compare_digest(given.encode(), expected.encode()):
        return HttpResponse("Not found.", status=404, content_type="text/plain")
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # noqa: BLE001 -- any failure is the answer
        return "away"
    return "ok"


def _broker() -> str:
    try:
        cache.get("readyz")
    except Exception:  # noqa: BLE001 -- any failure is the answer
        return "away"
    return "ok"


def _inbox() -> str:
    """Late when the oldest webhook has waited longer than the sweep could explain."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT oldest_pending_webhook()")
        oldest = cursor.fetchone()[0]
    return "late" if oldest and timezone.now() - oldest > SWEEP_LAG_LIMIT else "ok"
