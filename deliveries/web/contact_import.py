"""The import of contacts from a CSV file: upload, look at what would change, apply or discard."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from deliveries import contact_import as verbs
from deliveries.contact_file import TEMPLATES, ImportFileError
from deliveries.contact_import import (
    APPLYING,
    CHANGED,
    DOUBLE,
    ERROR,
    MOST_BYTES,
    NEW,
    READING,
    READY,
    UNCHANGED,
    Judged,
)
from deliveries.contacts import Value
from deliveries.models import ContactImport
from deliveries.tell import tell
from deliveries.web.contacts import LABELS
from deliveries.web.forms import PlainForm
from deliveries.web.request import TenantRequest, posted
from notifyguard.accounts.permissions import tenant_page

PAGE_SIZE = 50
RECENT = 10
# So many lines are worked within a second or two; more are left to a worker.
AT_ONCE = 2_000

WHY = {
    "rows": gettext_lazy("The file has too many rows: split it into files of at most 200,000."),
    "csv": gettext_lazy(
        "The file can't be read as CSV: save it again from your spreadsheet, and check quotation marks."
    ),
    "old": gettext_lazy("Nobody applied it within a day, so its content was erased: upload the file again."),
}


@dataclass(frozen=True, slots=True)
class Tab:
    """One kind of rows in the preview."""

    name: str
    label: Any
    kinds: frozenset[str]
    count_of: str


TABS = (
    Tab("errors", gettext_lazy("With errors"), frozenset({ERROR, DOUBLE}), "errors"),
    Tab("changed", gettext_lazy("Changed"), frozenset({CHANGED}), "changed"),
    Tab("new", gettext_lazy("New"), frozenset({NEW}), "new"),
    Tab("unchanged", gettext_lazy("Unchanged"), frozenset({UNCHANGED}), "unchanged"),
)


class ImportForm(PlainForm):
    """The file."""

    file = forms.FileField(
        label=gettext_lazy("CSV file"),
        help_text=gettext_lazy("UTF-8 or as Excel saves it (Shift_JIS); commas or tabs. At most 200,000 rows."),
        widget=forms.FileInput({"accept": ".csv,.tsv,.txt,text/csv"}),
    )

    def clean_file(self) -> UploadedFile[Any]:
        file: UploadedFile[Any] = self.cleaned_data["file"]
        if (file.size or 0) > MOST_BYTES:
            text = _("The file is larger than %(most)s: split it.") % {"most": filesizeformat(MOST_BYTES)}
            raise forms.ValidationError(text)
        return file


@require_http_methods(["GET", "HEAD", "POST"])
@tenant_page("correct")
def contact_imports(request: TenantRequest) -> HttpResponse:
    """Take a file; without one, show the form and the latest imports."""
    form = ImportForm(posted(request), request.FILES if request.method == "POST" else None)
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            row = verbs.receive(file, file_name=file.name or "", actor=request.actor)
        except ImportFileError as error:
            form.add_error("file", str(error))
        else:
            tenant_id = request.tenant.id
            _work(request, row, "deliveries.read_contact_import", lambda: verbs.read(tenant_id, row.id))
            return redirect("contact_import", request.tenant.slug, row.id)
    recent = ContactImport.objects.defer("content_sealed").order_by("-created_at")[:RECENT]
    page = {"form": form, "recent": recent}
    return render(request, "contacts/imports.html", page, status=422 if form.errors else 200)


@require_safe
@tenant_page("correct")
def contact_template(request: TenantRequest) -> HttpResponse:
    """An empty file with the header in the person's language, in the encoding that Excel opens."""
    text = io.StringIO()
    csv.writer(text).writerow(TEMPLATES["ja" if (get_language() or "").startswith("ja") else "en"])
    response = HttpResponse(text.getvalue().encode("utf-8-sig"), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="contacts.csv"'
    return response


@require_safe
@tenant_page("correct")
def contact_import(request: TenantRequest, import_id: uuid.UUID) -> HttpResponse:
    """An import: how far it is, what it would change, or what became of it. htmx asks for the progress alone."""
    row = _find(import_id)
    context = _context(request, row)
    waiting = row.counts.get("state") in (READING, APPLYING)
    if request.headers.get("HX-Request") and waiting:
        return render(request, "contacts/_import_progress.html", context)
    response = render(request, "contacts/import.html", context)
    if request.headers.get("HX-Request"):
        response.headers["HX-Refresh"] = "true"  # the work is done: the whole page is another one now
    return response


@require_POST
@tenant_page("correct")
def contact_import_apply(request: TenantRequest, import_id: uuid.UUID) -> HttpResponse:
    """Write the good rows, at once or by a worker; the same again for a worker that was not told."""
    row = _find(import_id)
    lines = len(row.counts.get("kinds", ""))
    if row.counts.get("state") == READING:
        _tell(request, row, "deliveries.read_contact_import")
    elif verbs.approve(row, actor=request.actor):
        row.counts["lines"] = lines
        tenant_id = request.tenant.id
        _work(request, row, "deliveries.apply_contact_import", lambda: verbs.apply(tenant_id, row.id))
    else:
        messages.error(request, _("This import is over: upload the file again."))
    return redirect("contact_import", request.tenant.slug, row.id)


@require_POST
@tenant_page("correct")
def contact_import_discard(request: TenantRequest, import_id: uuid.UUID) -> HttpResponse:
    row = _find(import_id)
    if row.applied_at is None:
        verbs.discard(row, actor=request.actor)
        messages.success(request, _("The import is discarded: nothing was changed, and the file is erased."))
    return redirect("contact_imports", request.tenant.slug)


def _work(request: TenantRequest, row: ContactImport, task: str, at_once: Callable[[], None]) -> None:
    if int(row.counts.get("lines", 0)) <= AT_ONCE:
        at_once()
    else:
        _tell(request, row, task)


def _tell(request: TenantRequest, row: ContactImport, task: str) -> None:
    """The import's page has a button that tells again, for when the broker was away."""
    arguments = [str(request.tenant.id), str(row.id)]
    transaction.on_commit(lambda: tell(task, *arguments))


def _find(import_id: uuid.UUID) -> ContactImport:
    found: ContactImport | None = ContactImport.objects.filter(id=import_id).first()
    if found is None:
        raise Http404
    return found


def _context(request: TenantRequest, row: ContactImport) -> dict[str, Any]:
    counts = row.counts
    context: dict[str, Any] = {
        "import": row,
        "state": counts.get("state"),
        "counts": counts,
        "why": WHY.get(counts.get("why", "")),
        "to_write": counts.get("new", 0) + counts.get("changed", 0),
        "done": verbs.progress(row.id),
        "total": len(counts.get("kinds", "")) or counts.get("lines", 0),
    }
    return context | _preview(request, row) if counts.get("state") == READY else context


def _preview(request: TenantRequest, row: ContactImport) -> dict[str, Any]:
    """The rows of the chosen tab, else of the first that has any."""
    counts = row.counts
    shown = [tab for tab in TABS if counts.get(tab.count_of)] or list(TABS[:1])
    tab = next((tab for tab in shown if tab.name == request.GET.get("show")), shown[0])
    number = _page_number(request)
    total = int(counts.get(tab.count_of, 0))
    first = (number - 1) * PAGE_SIZE
    return {
        "tabs": [(other, counts[other.count_of], other is tab) for other in shown if counts.get(other.count_of)],
        "tab": tab,
        "rows": [_shown(item) for item in verbs.page_of_rows(row, kinds=tab.kinds, first=first, size=PAGE_SIZE)],
        "number": number,
        "previous": number - 1 if number > 1 else 0,
        "next": number + 1 if first + PAGE_SIZE < total else 0,
    }


def _page_number(request: TenantRequest) -> int:
    text = request.GET.get("page", "")
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 6 else 1  # noqa: PLR2004 -- enough


def _shown(item: Judged) -> dict[str, Any]:
    return {
        "number": item.number,
        "who": _who(item),
        "errors": item.errors,
        "changes": [(LABELS[change.field], _text(change.before), _text(change.after)) for change in item.changes],
    }


def _who(item: Judged) -> str:
    contact = item.contact
    kept = (contact.name or contact.external_id) if contact else ""
    told = (item.values.get(name) for name in ("name", "external_id", "email", "phone", "lineworks_id"))
    return kept or next((str(value) for value in told if value), "")


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return _("yes") if value else ""
    return value
