"""The dashboard: the 30-day number, failures per day, what fails most, and which sources have gone silent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from deliveries import queries
from deliveries.enums import State
from deliveries.queries import UNDELIVERED_STATES, Count, Source
from deliveries.sources import SILENT_AFTER
from deliveries.web.filterbar import code_name
from deliveries.web.request import TenantRequest
from notifyguard.accounts.models import Tenant
from notifyguard.accounts.permissions import tenant_page

DAYS = 30
TOP = 8
# From the foot of a bar to its top: what is final first, what may still pass last.
STACK = (*(state for state in State if state in UNDELIVERED_STATES), State.DEFERRED)
CHART_WIDTH, CHART_HEIGHT, BAR_WIDTH = 600, 160, 14


@dataclass(frozen=True, slots=True)
class Segment:
    state: State
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of the chart, in the SVG's own units, and the same as numbers for the table."""

    day: date
    x: float
    segments: list[Segment]
    numbers: list[int]
    total: int
    url: str


@dataclass(frozen=True, slots=True)
class Chart:
    bars: list[Bar]
    states: list[State]
    greatest: int


@dataclass(frozen=True, slots=True)
class Top:
    """One line of a list of what fails most; ``share`` of the longest bar, in percent."""

    label: str
    n: int
    share: float
    url: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    source: Source
    is_silent: bool


@require_safe
@tenant_page("browse")
def dashboard(request: TenantRequest) -> HttpResponse:
    tenant = request.tenant
    since = timezone.now().astimezone(tenant.zone).date() - timedelta(days=DAYS - 1)
    sources = [_source_line(source, timezone.now()) for source in queries.sources(tenant.id)]
    context = {
        "days": DAYS,
        "undelivered": queries.undelivered_number(tenant, DAYS),
        "undelivered_url": _list_url(tenant, state=sorted(UNDELIVERED_STATES), **{"from": [since.isoformat()]}),
        "chart": chart_of(tenant, queries.failures_per_day(tenant, DAYS)),
        "reasons": _tops(tenant, "code", queries.top_reasons(tenant, DAYS, TOP), since),
        "domains": _tops(tenant, "domain", queries.top_domains(tenant, DAYS, TOP), since),
        "sources": sources,
        "troubled": [line.source for line in sources if line.source.account_status],
    }
    return render(request, "deliveries/dashboard.html", context)


def _list_url(tenant: Tenant, **parameters: list[str]) -> str:
    query = QueryDict(mutable=True)
    for name, values in parameters.items():
        query.setlist(name, values)
    return f"{reverse('error_list', args=[tenant.slug])}?{query.urlencode()}"


def chart_of(tenant: Tenant, days: list[tuple[date, dict[State, int]]]) -> Chart:
    """Stack the failures of each day; the tallest day fills the height."""
    totals = [sum(numbers.values()) for _day, numbers in days]
    greatest = max(totals, default=0)
    states = [state for state in STACK if any(state in numbers for _day, numbers in days)]
    slot = CHART_WIDTH / max(len(days), 1)
    bars = [
        Bar(
            day=day,
            x=round(index * slot + (slot - BAR_WIDTH) / 2, 2),
            segments=_segments(numbers, greatest),
            numbers=[numbers.get(state, 0) for state in states],
            total=total,
            url=_list_url(tenant, **{"from": [day.isoformat()], "to": [day.isoformat()]}),
        )
        for index, ((day, numbers), total) in enumerate(zip(days, totals, strict=True))
    ]
    return Chart(bars, states, greatest)


def _segments(numbers: dict[State, int], greatest: int) -> list[Segment]:
    segments, y = [], float(CHART_HEIGHT)
    for state in STACK:
        if n := numbers.get(state, 0):
            height = n / greatest * CHART_HEIGHT
            y -= height
            segments.append(Segment(state, round(y, 2), round(height, 2)))
    return segments


def _tops(tenant: Tenant, name: str, counts: list[Count], since: date) -> list[Top]:
    longest = max((count.n for count in counts), default=1)
    return [
        Top(
            label=code_name(count.value) if name == "code" else count.value,
            n=count.n,
            share=round(100 * count.n / longest, 1),
            url=_list_url(tenant, **{name: [count.value], "from": [since.isoformat()]}),
        )
        for count in counts
    ]


def _source_line(source: Source, now: datetime) -> SourceLine:
    return SourceLine(source, source.last_event_at is None or now - source.last_event_at > SILENT_AFTER)
