"""What arrived and could not be read: items with the reason, and webhooks that failed as a whole."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from deliveries import quarantine
from deliveries.enums import RawStatus
from deliveries.models import Connection, RawWebhook, UnparsedItem
from deliveries.paging import BadCursor, keyset_page
from deliveries.tell import tell_workers
from deliveries.web.request import TenantRequest
from notifyguard.accounts.permissions import tenant_page

PAGE_SIZE = 25
MOST_FAILED = 25


@tenant_page("browse")
@require_safe
def unparsed(request: TenantRequest) -> HttpResponse:
    """The items, newest first; above them, on the first page, the newest failed webhooks."""
    try:
        page = keyset_page(
            UnparsedItem.objects.all(), field="received_at", cursor=request.GET.get("cursor"), size=PAGE_SIZE
        )
    except BadCursor as error:
        raise Http404(str(error)) from error
    failed = _newest_failed() if page.first else []
    connections = Connection.objects.in_bulk({row.connection_id for row in [*page.rows, *failed]})
    return render(request, "connections/unparsed.html", {"page": page, "failed": failed, "connections": connections})


@tenant_page("configure")
@require_POST
def unparsed_retry(request: TenantRequest) -> HttpResponse:
    """Put the failed webhooks back in the queue."""
    count = quarantine.retry_failed(actor=request.actor)
    if count:
        tenant_id = request.tenant.id
        transaction.on_commit(lambda: tell_workers(tenant_id))
    said = ngettext(
        "%(count)d webhook is back in the queue. If it fails again, it comes back to this page.",
        "%(count)d webhooks are back in the queue. Those that fail again come back to this page.",
        count,
    )
    messages.success(request, said % {"count": count} if count else _("No webhook was waiting to be tried again."))
    return redirect("unparsed", request.tenant.slug)


def _newest_failed() -> list[RawWebhook]:
    rows = RawWebhook.objects.filter(status=RawStatus.FAILED).defer("body", "headers").order_by("-id")
    return list(rows[:MOST_FAILED])
