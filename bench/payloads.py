"""SendGrid batches as a busy account sends them: mostly delivered, some deferred, some refused."""

from __future__ import annotations

import random
import time

import msgspec

BATCH = 500
REPLIES = [
    ("bounce", "bounce", "Invalid Address", "5.1.1", "550 5.1.1 <{}>: Recipient address rejected: User unknown"),
    ("bounce", "blocked", "Mailbox Unavailable", "4.2.2", "452 4.2.2 The mailbox of {} is over quota"),
    ("bounce", "blocked", "Reputation", "5.7.1", "554 5.7.1 Service unavailable; client host blocked for {}"),
    ("dropped", "", "", "", "Bounced Address"),
]


def batches(events: int, *, seed: int = 7) -> list[bytes]:
    """Return bodies of 500 events each: per message one ``processed`` and one later word, shuffled within 2,000."""
    rng = random.Random(seed)  # noqa: S311 -- the same load in each run
    start = int(time.time()) - 86_400
    items: list[dict[str, object]] = []
    for number in range(events // 2):
        items += _message(number, start + number // 50, rng)
    for offset in range(0, len(items), 2000):
        window = items[offset : offset + 2000]
        rng.shuffle(window)
        items[offset : offset + 2000] = window
    return [msgspec.json.encode(items[at : at + BATCH]) for at in range(0, len(items), BATCH)]


def _message(number: int, at: int, rng: random.Random) -> list[dict[str, object]]:
    email = f"person{number}@{rng.choice(['example.com', 'example.co.jp', 'mail.example', 'example.net'])}"
    common = {
        "email": email,
        "sg_message_id": f"msg{number:015d}.recvd-5f54b5d587-pczjm-1-67BADEEA-6.0",
        "smtp-id": f"<msg{number:015d}@geopod-ismtpd-12>",
        "category": ["invoice"],
        "ng_title": f"Invoice {number % 1000}",
    }
    first = common | {"event": "processed", "timestamp": at, "sg_event_id": f"p{number:020d}"}
    return [first, common | _outcome(number, email, at, rng)]


def _outcome(number: int, email: str, at: int, rng: random.Random) -> dict[str, object]:
    draw = rng.random()
    base: dict[str, object] = {"timestamp": at + 3, "sg_event_id": f"o{number:020d}", "ip": "192.0.2.10", "tls": 1}
    if draw < 0.90:
        return base | {"event": "delivered", "response": f"250 2.0.0 OK {at} e9e14a558f8cb-{number}"}
    if draw < 0.94:
        return base | {"event": "deferred", "attempt": "0", "response": f"451 4.7.1 Greylisted for {email}, try again"}
    event, kind, classification, status, reply = rng.choice(REPLIES)
    outcome = base | {"event": event, "reason": reply.format(email)}
    return outcome | {"type": kind, "bounce_classification": classification, "status": status} if kind else outcome
