"""``make bench``: prints the figures of DESIGN as ratios from one run; ``BENCH_JSON=path`` writes them as well."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

import django


@dataclass(frozen=True)
class Measure:
    """One figure, its runs and what it should reach; ``at_most`` says that smaller is better."""

    name: str
    runs: list[float]
    unit: str
    reach: float
    at_most: bool = False

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    @property
    def met(self) -> bool:
        return self.value <= self.reach if self.at_most else self.value >= self.reach


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--large", action="store_true", help="10 million deliveries and 200 tenants")
    parser.add_argument(
        "--only", choices=["ingest", "ack", "reading", "csv", "classify", "handover"], help="one part alone"
    )
    chosen = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notifyguard.settings")
    django.setup()
    from bench.database import bench_database  # noqa: PLC0415 -- after Django's set-up

    with bench_database() as owner:
        measures = list(_measures(owner, large=chosen.large, only=chosen.only))
    for measure in measures:
        _print(measure)
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps({measure.name: _as_json(measure) for measure in measures}, indent=1))


def _measures(owner, *, large: bool, only: str | None):  # noqa: ANN001, ANN202 -- psycopg2's connection; a generator of Measure
    from bench import ack, classify, handover, ingest, reading  # noqa: PLC0415 -- after Django's set-up

    if only in (None, "ingest"):
        found = ingest.measure(owner, events=200_000 if large else 60_000, plain_events=2_000, runs=3)
        yield Measure("ingest_vs_plain", found["ingest_vs_plain"], "×", 20)
        yield Measure("ingest_vs_copy", found["ingest_vs_copy"], "of COPY", 0.70)
        yield Measure("ingest_two_workers_vs_plain", found["two_workers_vs_plain"], "×", 20)
        yield Measure("ingest_events_per_s", found["ours"], "events/s", 0)
        yield Measure("plain_events_per_s", found["plain"], "events/s", 0)
        yield Measure("copy_events_per_s", found["copy"], "events/s", 0)
    if only in (None, "ack"):
        yield Measure("ack_p99_ms", [ack.measure(webhooks=300)], "ms", 30, at_most=True)
    if only in (None, "reading"):
        size, tenants = (10_000_000, 200) if large else (1_000_000, 20)
        found = reading.measure(owner, small=100_000, large=size, tenants=tenants, rounds=3)
        small, big = found["list_p95_ms_small"], found["list_p95_ms_large"]
        yield Measure("list_p95_ms", [big], "ms", 50, at_most=True)
        yield Measure("list_growth", [big / small], "× of 100,000 rows", 1.3, at_most=True)
        yield Measure("dashboard_p95_ms", [found["dashboard_p95_ms"]], "ms", 30, at_most=True)
    if only in (None, "csv"):
        found = reading.measure_csv(owner, rows=1_000_000 if large else 200_000)
        yield Measure("csv_vs_copy", [found["csv_vs_copy"]], "of COPY TO STDOUT", 0.60)
        yield Measure("csv_first_byte_ms", [found["csv_first_byte_ms"]], "ms", 200, at_most=True)
        yield Measure("csv_memory_mb", [found["csv_memory_mb"]], "MB", 64, at_most=True)
        yield Measure("csv_rows_per_s", [found["csv_rows_per_s"]], "rows/s", 0)
    if only in (None, "handover"):
        yield Measure("handover_per_s", handover.measure_rate(owner, deliveries=20_000, runs=3), "deliveries/s", 0)
        found = handover.measure_plan(owner, rows=1_000_000, handed_over=50_000 if large else 10_000)
        yield Measure("resend_memory_mb", [found["memory_mb"]], "MB", 64, at_most=True)
        yield Measure("resend_prepared_per_s", [found["prepared_per_s"]], "rows/s", 0)
        yield Measure("resend_handed_per_s", [found["handed_per_s"]], "rows/s", 0)
    if only in (None, "classify"):
        yield Measure("classify_per_s", classify.measure(replies=100_000, runs=3), "replies/s", 100_000)


def _print(measure: Measure) -> None:
    if not measure.reach:
        print(f"{measure.name:28} {measure.value:12,.0f} {measure.unit}")
        return
    verdict = "met" if measure.met else "not met"
    bound = "at most" if measure.at_most else "at least"
    print(f"{measure.name:28} {measure.value:12,.2f} {measure.unit:18} reach {bound} {measure.reach:,g}: {verdict}")


def _as_json(measure: Measure) -> dict[str, object]:
    return {
        "value": measure.value,
        "unit": measure.unit,
        "reach": measure.reach or None,
        "met": measure.met,
        "runs": measure.runs,
    }


if __name__ == "__main__":
    main()
