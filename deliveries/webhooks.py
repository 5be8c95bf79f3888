"""The one view that providers call: verify, store, answer. Only PostgreSQL is needed; nothing is parsed here."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import Counter

from deliveries import inbox
from deliveries.connections import config_of, find_by_token, note_rejection, tenant_of_webhook
from deliveries.models import Connection
from deliveries.tell import tell_workers
from notifyguard.accounts.tenancy import tenant_scope
from providers.base import QUERY_HEADER, CannotVerifyError, Provider, Request, VerificationError
from providers.registry import PROVIDERS

log = structlog.get_logger(__name__)

ANSWERS = Counter("notifyguard_webhooks_total", "Webhook requests by provider and answer", ["provider", "answer"])
PROBE = "notifyguard_probe"


@csrf_exempt
def receive(request: HttpRequest, provider: str, token: str) -> HttpResponse:
    """Answer 200 once the webhook is committed, 401 if it is not genuine, 404 for a URL that is none of ours.

    A database that is away is our own trouble and answered 503: every provider that repeats at all repeats on that.
    """
    if provider not in PROVIDERS:
        return _answer("unknown", 404, "There is no such provider.")
    try:
        return _receive(request, PROVIDERS[provider], token)
    except (OperationalError, InterfaceError):
        log.exception("webhook.database_away", provider=provider)
        return _answer(provider, 503, "Try again: the database is away.")
    except RequestDataTooBig:
        return _answer(provider, 413, f"The body is larger than {settings.WEBHOOK_BODY_LIMIT} bytes.")
    except UnreadablePostError:
        return _answer(provider, 400, "The body broke off.")


def _receive(request: HttpRequest, provider: Provider, token: str) -> HttpResponse:
    row = _find(provider, token)
    if row is None:
        return _answer(provider.name, 404, "There is no such connection.")
    if PROBE in request.GET:
        return HttpResponse(request.GET[PROBE][:64], content_type="text/plain")
    arrived = as_arrived(request)
    if len(arrived.body) > settings.WEBHOOK_BODY_LIMIT:
        return _answer(provider.name, 413, f"The body is larger than {settings.WEBHOOK_BODY_LIMIT} bytes.")
    # Outside any transaction: the first message of a day may have to fetch a certificate.
    try:
        provider.verify(arrived, config_of(row))
    except CannotVerifyError as error:
        return _answer(provider.name, 503, str(error))
    except VerificationError as error:
        return _reject(row, error)
    return _store(arrived, provider, row)


def _find(provider: Provider, token: str) -> Connection | None:
    tenant_id = tenant_of_webhook(token)
    if tenant_id is None:
        return None
    with tenant_scope(tenant_id):
        return find_by_token(provider.name, token)


def _reject(row: Connection, error: VerificationError) -> HttpResponse:
    with tenant_scope(row.tenant_id):
        note_rejection(row, error.reason)
    return _answer(row.provider, 401, str(error))


def _store(arrived: Request, provider: Provider, row: Connection) -> HttpResponse:
    kept = {name: arrived.headers[name] for name in provider.kept_headers if name in arrived.headers}
    with tenant_scope(row.tenant_id):
        inbox.store(row, body=arrived.body, headers=kept, received_at=arrived.received_at)
    tell_workers(row.tenant_id)
    return _answer(provider.name, 200, "")


def as_arrived(request: HttpRequest) -> Request:
    """Return the request as bytes, under its public URL. A GET's query stands in for the body that it lacks."""
    body = request.META.get("QUERY_STRING", "").encode() if request.method == "GET" else request.body
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers[QUERY_HEADER] = request.META.get("QUERY_STRING", "")
    if request.method == "GET":
        headers["content-type"] = "application/x-www-form-urlencoded"
    return Request(
        method=request.method or "",
        url=settings.PUBLIC_URL + request.get_full_path(),
        headers=headers,
        body=body,
        received_at=timezone.now(),
    )


def _answer(provider: str, status: int, text: str) -> HttpResponse:
    ANSWERS.labels(provider, str(status)).inc()
    return HttpResponse(text, status=status, content_type="text/plain")
