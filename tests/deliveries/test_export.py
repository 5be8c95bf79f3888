"""The download: what the filter shows, whole, safe to open in a spreadsheet, and nothing left behind."""

from __future__ import annotations

import contextlib
import csv
import io
import threading

import pytest
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from deliveries import ledger
from deliveries.enums import Channel, Kind
from deliveries.export import ExportFailed, _defused, defuse
from deliveries.models import Delivery
from notifyguard.accounts.models import AuditEntry, Role
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

FORMULAS = [
    '=HYPERLINK("http://evil.test","x")',
    "+819012345678",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\ttab",
    "  =1",
    "　=1",
    "\u00a0=1",
    "＝1",
    "＋1",
    "－1",
    "＠SUM",
    "−1",
]
HARMLESS = ["taro@example.test", "Payslip", "1+1=2", "'=1", "日本語", "a\n=1", "550 5.1.1 -", "#1"]


@pytest.fixture
def record(committed_db, sakura):
    source = connect(sakura, "ses", name="=Mail")

    def write(*events, channel=Channel.EMAIL):
        with tenant_scope(sakura.id):
            ledger.record(sakura.id, reported(*events, connection=source, channel=channel))

    return write


@pytest.fixture
def download(committed_db, member, client_as, sakura):
    """``download("state=bounced")`` is the response that sakura's manager gets."""
    client = client_as(member(Role.MANAGER, sakura, "manager@sakura.test"))
    return lambda query="", **headers: client.get(f"/t/sakura/errors/export?{query}", headers=headers)


def to(recipient, kind=Kind.BOUNCED, minutes=0, **values):
    return event(kind, minutes, recipient=recipient, provider_message_id=values.pop("message", recipient), **values)


def many(number):
    return [to(f"user{index}@example.test", title="Monthly notice " * 9) for index in range(number)]


def cells(response, encoding="utf-8-sig", delimiter=","):
    text = b"".join(response.streaming_content).decode(encoding)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def export_threads():
    return [thread for thread in threading.enumerate() if thread.name == "export"]


def open_transactions():
    """The states of the test database's other sessions that have a transaction open."""
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND xact_start IS NOT NULL"
        )
        return [row[0] for row in cursor.fetchall()]


def test_the_file_is_what_the_filter_shows_newest_first(record, download):
    record(to("old@x.example"), to("new@x.example", minutes=1), to("fine@x.example", Kind.DELIVERED))
    record(to("late@x.example", Kind.DEFERRED))
    table = cells(download("state=bounced"))
    place = table[0].index("Recipient")
    assert [row[place] for row in table[1:]] == ["new@x.example", "old@x.example"]


def test_a_row_says_everything_in_the_tenants_time(record, download, sakura):
    record(to("taro@example.test", message="message-1", title='Pay, "slip"', sender="hr@sakura.example"))
    header, row = cells(download())
    with tenant_scope(sakura.id):
        stored = Delivery.objects.get()
    said = dict(zip(header, row, strict=True))
    explained = [said.pop(name) for name in ("Explanation", "Recommended action", "Who can act", "When it fails")]
    assert all(explained)
    assert said == {
        "Failed at (Asia/Tokyo)": "2026-11-20 18:00:00",
        "Channel": "Email",
        "State": "Bounced",
        "Recipient": "taro@example.test",
        "Name": "",
        "Title": 'Pay, "slip"',
        "Reason code": "BOUNCE_PERMANENT_MAILBOX_UNAVAILABLE",
        "Persistence": "Permanent",
        "Reason": "Address does not exist",
        "Provider": "Amazon SES",
        "Connection": "'=Mail",
        "Sender": "hr@sakura.example",
        "Receiving domain": "example.test",
        "Reply code": "550",
        "Enhanced status code": "5.1.1",
        "Reply": "550 5.1.1 User unknown",
        "Provider's message id": "message-1",
        "First event at (Asia/Tokyo)": "2026-11-20 18:00:00",
        "Deferrals": "0",
        "Tried until (Asia/Tokyo)": "",
        "Delivery id": str(stored.id),
    }


def test_headers_and_labels_are_in_the_readers_language(record, download):
    record(to("taro@example.test"))
    header, row = cells(download(**{"accept-language": "ja"}))
    assert header[0] == "エラー日時（Asia/Tokyo）"
    assert [name for name in header if name.isascii()] == []
    assert row[header.index("状態")] == "バウンス"


def test_explanations_are_in_the_readers_language(record, download):
    record(to("taro@example.test"))
    japanese = "".join(map("".join, cells(download(**{"accept-language": "ja"}))))
    english = "".join(map("".join, cells(download(**{"accept-language": "en"}))))
    assert any("ぁ" <= character <= "ヿ" for character in japanese)
    assert not any("ぁ" <= character <= "ヿ" for character in english)


def test_cells_that_start_a_formula_are_defused_wherever_they_come_from(record, download):
    texts = FORMULAS + HARMLESS
    record(*(to(f"p{n}@x.example", minutes=-n, title=text, sender=text, reply=text) for n, text in enumerate(texts)))
    record(to("+819012345678", Kind.UNDELIVERED, 5), channel=Channel.SMS)
    header, phone, *rows = cells(download())
    columns = [header.index(name) for name in ("Title", "Sender", "Reply")]
    expected = [f"'{text}" for text in FORMULAS] + HARMLESS
    assert [[row[column] for column in columns] for row in rows] == [[text] * 3 for text in expected]
    assert phone[header.index("Recipient")] == "'+819012345678"


@pytest.mark.django_db
@given(text=st.text(st.sampled_from("=+-@\t\r\n＝＋－＠− \u00a0\u3000\u200b\ufeffa1日'"), max_size=5))
def test_postgres_defuses_as_python_does(text):
    defused = _defused("cell")
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {defused.text} FROM (SELECT %s::varchar AS cell) t", [*defused.parameters, text])  # noqa: S608
        assert (cursor.fetchone()[0] or "") == defuse(text)


def test_utf_8_begins_with_a_byte_order_mark(record, download):
    record(to("taro@example.test", title="給与明細 🎉"))
    response = download()
    content = b"".join(response.streaming_content)
    assert (content[:3], response["Content-Type"]) == (b"\xef\xbb\xbf", "text/csv; charset=utf-8")
    assert "給与明細 🎉" in content.decode()


def test_cp932_shows_what_it_cannot_write(record, download):
    record(to("taro@example.test", title="給与明細 🎉 9〜10時 髙橋 £"))
    response = download("encoding=cp932")
    header, row = cells(response, "cp932")
    assert response["Content-Type"] == "text/csv; charset=Shift_JIS"
    assert row[header.index("Title")] == "給与明細 〓 9～10時 髙橋 ￡"


def test_cp932_is_whole_wherever_the_chunks_are_cut(record, download):
    title = "給与明細" * 40
    record(*(to(f"p{n}@x.example", title=title) for n in range(400)))
    header, *rows = cells(download("encoding=cp932"), "cp932")
    assert {row[header.index("Title")] for row in rows} == {title}
    assert len(rows) == 400


def test_tsv_is_separated_by_tabs(record, download):
    record(to("taro@example.test", reply="one\ttwo\nthree"))
    response = download("format=tsv")
    assert response["Content-Type"] == "text/tab-separated-values; charset=utf-8"
    header, row = cells(response, delimiter="\t")
    assert row[header.index("Reply")] == "one\ttwo\nthree"


def test_the_file_is_named_for_tenant_day_and_format(record, download):
    name = download("format=tsv")["Content-Disposition"]
    assert name.startswith('attachment; filename="notification-errors-sakura-20')
    assert name.endswith('.tsv"')


def test_there_is_no_row_cap(record, download):
    record(*many(3000))
    assert len(cells(download())) == 3001


def test_an_empty_list_is_a_header(record, download):
    assert len(cells(download())) == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("state=lost", "state: There is no state “lost”"),
        ("encoding=ebcdic", "encoding: There is no encoding “ebcdic”: use utf-8 or cp932."),
        ("format=xls", "format: There is no format “xls”: use csv or tsv."),
    ],
)
def test_an_invalid_address_is_refused_with_the_reason(record, download, query, message):
    response = download(query)
    assert response.status_code == 422
    assert response.content.decode().startswith(message)


def test_an_export_is_audited_without_addresses(record, download, sakura):
    record(to("taro@example.test"))
    cells(download("recipient=taro@example.test&q=taro&state=bounced&from=2026-11-20"))
    with tenant_scope(sakura.id):
        entry = AuditEntry.objects.get(action="errors.exported")
    assert (entry.actor, entry.object_id) == ("manager@sakura.test", str(sakura.id))
    assert entry.after == {
        "filter": {"recipient": "…", "q": "…", "state": ["bounced"], "from": "2026-11-20"},
        "fmt": "csv",
        "encoding": "utf-8",
        "language": "en",
    }


def test_the_download_begins_before_the_database_is_asked(record, download):
    response = download()
    assert next(iter(response.streaming_content)).startswith(b"\xef\xbb\xbfFailed at (Asia/Tokyo),")
    assert export_threads() == []


def test_a_finished_download_leaves_nothing_behind(record, download):
    record(*many(10))
    cells(download())
    assert export_threads() == []
    assert open_transactions() == []


def test_an_abandoned_download_leaves_nothing_behind(record, download):
    record(*many(3000))
    with contextlib.closing(download()) as response:
        chunks = iter(response.streaming_content)
        next(chunks)
        next(chunks)
        assert len(export_threads()) == 1
        assert open_transactions() == ["active"]
    assert export_threads() == []
    assert open_transactions() == []


def test_a_download_that_breaks_off_does_not_look_whole(record, download):
    record(*many(3000))
    chunks = iter(download().streaming_content)
    next(chunks)
    next(chunks)
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'"
        )
        assert cursor.fetchall() == [(True,)]
    with pytest.raises(ExportFailed):
        list(chunks)
    assert export_threads() == []
