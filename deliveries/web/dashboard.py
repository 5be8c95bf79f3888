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
from deliveries.enums import Channel, State
from deliveries.queries import UNDELIVERED_STATES, Count
from deliveries.sources import SILENT_AFTER, Source, SourceState, list_shares, list_sources
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
class Part:
    """One channel's share of the undelivered number, with the address of exactly these rows."""

    channel: Channel
    n: int
    url: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A connection of the tenant, or its share of one of the operator's, and how it stands."""

    name: str
    heard_at: datetime | None
    state: SourceState
    account_status: str = ""


@require_safe
@tenant_page("browse")
def dashboard(request: TenantRequest) -> HttpResponse:
    tenant = request.tenant
    since = timezone.now().astimezone(tenant.zone).date() - timedelta(days=DAYS - 1)
    parts = _parts(tenant, since)
    sources = _source_lines()
    context = {
        "days": DAYS,
        "undelivered": sum(part.n for part in parts),
        "parts": parts,
        "chart": chart_of(tenant, queries.failures_per_day(tenant, DAYS)),
        "reasons": _tops(tenant, "code", queries.top_reasons(tenant, DAYS, TOP), since),
        "domains": _tops(tenant, "domain", queries.top_domains(tenant, DAYS, TOP), since),
        "sources": sources,
        "suspended": [line for line in sources if line.state == SourceState.SUSPENDED],
    }
    return render(request, "deliveries/dashboard.html", context)


def _parts(tenant: Tenant, since: date) -> list[Part]:
    wanted: dict[str, list[str]] = {"state": sorted(UNDELIVERED_STATES), "from": [since.isoformat()]}
    return [
        Part(channel, n, _list_url(tenant, channel=[channel.value], **wanted))
        for channel, n in queries.undelivered_by_channel(tenant, DAYS).items()
    ]


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


def _source_lines() -> list[SourceLine]:
    """How the scope's sources stand; of a shared one the tenant knows only when it was last heard."""
    own = [_own_line(source) for source in list_sources()]
    return [
        *own,
        *(SourceLine(share.name, share.last_event_at, _hearing(share.last_event_at)) for share in list_shares()),
    ]


def _own_line(source: Source) -> SourceLine:
    return SourceLine(source.connection.name, source.heard_at, source.state, source.connection.account_status)


def _hearing(heard_at: datetime | None) -> SourceState:
    if heard_at is None:
        return SourceState.WAITING
    return SourceState.SILENT if timezone.now() - heard_at > SILENT_AFTER else SourceState.HEALTHY
