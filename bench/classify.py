"""The classifier on replies that differ from each other, one core, nothing cached."""

from __future__ import annotations

import random
import time

from deliveries.classify import Report, classify
from deliveries.enums import Channel, Kind

SHAPES = (
    "550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table",
    "452 4.2.2 The email account {to} that you tried to reach is over quota",
    "554 5.7.1 Service unavailable; Client host [192.0.2.{n}] blocked using a block list",
    "421 4.7.0 Too many messages from 192.0.2.{n}, try again in {n} seconds",
    "552 5.3.4 Message of {n} bytes exceeds the maximum size",
    "451 4.7.1 <{to}>: greylisted, please try again in {n} seconds",
    "550 5.7.26 This mail from {to} is unauthenticated",
    "host mx{n}.example.com said: 550 {to} no such user here (in reply to RCPT TO)",
)


def measure(*, replies: int, runs: int) -> list[float]:
    """Return replies per second of each run."""
    rng = random.Random(5)  # noqa: S311 -- the same load in each run
    rates = []
    for run in range(runs):
        reports = [_report(rng, run * replies + number) for number in range(replies)]
        begun = time.perf_counter()
        for report in reports:
            classify(report)
        rates.append(replies / (time.perf_counter() - begun))
    return rates


def _report(rng: random.Random, number: int) -> Report:
    reply = rng.choice(SHAPES).format(to=f"person{number}@example.com", n=number % 250)
    return Report(
        channel=Channel.EMAIL,
        provider="sendgrid",
        kind=Kind.BOUNCED,
        verdict="bounce/unclassified",
        smtp_code=reply[:3] if reply[0].isdigit() else "",
        enhanced_code="",
        reply=reply,
    )
