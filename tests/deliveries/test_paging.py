"""Keyset pages: every row once, in order, in both directions, whatever the ties and whatever is asked for."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from deliveries import ledger, queries
from deliveries.enums import Kind
from deliveries.paging import BadCursor, keyset_page
from notifyguard.accounts.tenancy import tenant_scope
from tests.factories import connect, event, reported

pytestmark = pytest.mark.django_db


@pytest.fixture
def errors(acme):
    """``errors(0, 0, 5)`` puts a bounce on acme's list for each minute; gives the list in acme's scope."""
    source = connect(acme, "ses")

    def write(*minutes):
        bounces = [
            event(Kind.BOUNCED, minute, recipient=f"p{number}@example.test", provider_message_id=f"m{number}")
            for number, minute in enumerate(minutes)
        ]
        ledger.record(acme.id, reported(*bounces, connection=source))
        return queries.error_list(acme.id)

    with tenant_scope(acme.id):
        yield write


def walk(rows, size, direction="next", cursor=None):
    """Follow a list page by page; returns the pages."""
    pages = [keyset_page(rows, field="failed_at", cursor=cursor, size=size)]
    while following := getattr(pages[-1], direction):
        pages.append(keyset_page(rows, field="failed_at", cursor=following, size=size))
    return pages


@given(minutes=st.lists(st.integers(0, 3), min_size=1, max_size=13), size=st.integers(1, 5))
def test_pages_show_every_row_once_newest_first_and_the_way_back_shows_the_same(errors, minutes, size):
    rows = errors(*minutes)
    expected = [row.id for row in rows]
    forward = walk(rows, size)
    assert [row.id for page in forward for row in page.rows] == expected
    back = walk(rows, size, "previous", forward[-1].previous) if len(forward) > 1 else []
    assert [page.rows for page in reversed(back)] == [page.rows for page in forward[:-1]]
    assert [page.first for page in forward] == [True] + [False] * (len(forward) - 1)


def test_ties_are_broken_by_id(errors):
    rows = errors(0, 0, 0, 0)
    pages = walk(rows, 1)
    assert [page.rows[0].id for page in pages] == sorted((row.id for row in rows), reverse=True)


def test_the_first_page_has_no_way_back_and_the_last_none_on(errors):
    first, last = walk(errors(0, 1, 2), 2)
    assert (first.previous, first.first, last.next, last.first) == (None, True, None, False)
    assert first.next is not None
    assert last.previous is not None


def test_rows_that_arrive_while_paging_do_not_move_the_pages(errors):
    first = keyset_page(errors(0, 1, 2, 3), field="failed_at", cursor=None, size=2)
    older = [row.id for row in queries.error_list(first.rows[0].tenant_id)][2:]
    rows = errors(0, 1, 2, 3, 50, 60)
    assert [row.id for row in keyset_page(rows, field="failed_at", cursor=first.next, size=2).rows] == older


def test_the_way_back_to_the_newest_rows_ends_in_a_full_first_page(errors):
    pages = walk(errors(*range(5)), 2)
    cursor = keyset_page(errors(*range(5)), field="failed_at", cursor=pages[1].previous, size=3)
    assert (cursor.first, len(cursor.rows), cursor.previous) == (True, 3, None)


def test_a_list_that_has_shrunk_gives_an_empty_last_page(errors):
    rows = errors(0, 1)
    first = keyset_page(rows, field="failed_at", cursor=None, size=1)
    page = keyset_page(rows.exclude(id=rows[1].id), field="failed_at", cursor=first.next, size=1)
    assert (page.rows, page.next, page.previous, page.first) == ([], None, None, False)


@pytest.mark.parametrize("size", [1, 20])
def test_a_page_is_one_query_whatever_its_size(errors, size, django_assert_num_queries):
    rows = errors(*range(30))
    cursor = keyset_page(rows, field="failed_at", cursor=None, size=3).next
    with django_assert_num_queries(1):
        keyset_page(rows, field="failed_at", cursor=cursor, size=size)


def test_a_page_is_one_range_of_the_index(errors):
    rows = errors(*range(5)).filter(channel="email")
    page = keyset_page(rows, field="failed_at", cursor=None, size=2)
    with database.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    with CapturedPlans() as plans:
        keyset_page(rows, field="failed_at", cursor=page.next, size=2)
    assert "Index Scan using error_newest" in plans[0]
    assert "Index Cond: ((tenant_id = " in plans[0]
    assert "(ROW(failed_at, id) < ROW(" in plans[0]
    assert "Sort" not in plans[0]


class CapturedPlans(list):
    """The plans of the queries run inside."""

    def __enter__(self):
        self.wrapper = database.execute_wrapper(self._explain)
        self.wrapper.__enter__()
        return self

    def __exit__(self, *error):
        self.wrapper.__exit__(*error)

    def _explain(self, execute, sql, params, many, context):
        execute(f"EXPLAIN {sql}", params, many, context)
        self.append("\n".join(row[0] for row in context["cursor"].fetchall()))
        return execute(sql, params, many, context)


def packed(field: bytes, direction: bytes, microseconds: int) -> str:
    raw = field + direction + microseconds.to_bytes(8, "big", signed=True) + bytes(16)
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@given(
    cursor=st.one_of(
        st.text(min_size=1),
        st.binary(min_size=1).map(lambda raw: urlsafe_b64encode(raw).decode()),
        st.sampled_from(
            [
                packed(b"a", b">", 0),  # of another list
                packed(b"f", b"?", 0),
                packed(b"f", b">", 2**63 - 1),
                packed(b"f", b">", 0) + "=",
                packed(b"f", b">", 0)[:-1] + "!",
                " " + packed(b"f", b">", 0),
            ]
        ),
    )
)
def test_a_garbled_cursor_is_refused_with_advice(acme, cursor):
    with tenant_scope(acme.id), pytest.raises(BadCursor, match="Start again at the first page"):
        keyset_page(queries.error_list(acme.id), field="failed_at", cursor=cursor)


def test_a_cursor_of_any_time_is_a_place(errors):
    rows = errors(0)
    assert keyset_page(rows, field="failed_at", cursor=packed(b"f", b">", 0)).rows == []
    far = (datetime(9999, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert len(keyset_page(rows, field="failed_at", cursor=packed(b"f", b">", far)).rows) == 1
