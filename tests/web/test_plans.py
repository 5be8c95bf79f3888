"""The pages of bulk resends: begun from a list, approved, followed and stopped by those who may."""

from __future__ import annotations

import re
from html import unescape

import pytest

from deliveries import plans
from deliveries.enums import PlanStatus
from deliveries.models import Attempt, ResendPlan
from notifyguard.accounts.tenancy import tenant_scope
from tests.failures import bounced, sends

pytestmark = pytest.mark.django_db

NEW = "/t/acme/resends/new"


@pytest.fixture(autouse=True)
def source(acme):
    return sends(acme)


@pytest.fixture
def manager(acme, member, client_as):
    return client_as(member("manager", acme, "hanako@example.test"))


@pytest.fixture
def begin(acme, manager):
    """Begin a resend as a manager does, and let a worker prepare it; returns its page's address."""

    def make(**fields):
        url = manager.post(NEW, fields).url
        with tenant_scope(acme.id):
            made = ResendPlan.objects.latest("created_at")
        plans.prepare(acme.id, made.id)
        return url

    return make


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def status(acme) -> str:
    with tenant_scope(acme.id):
        return ResendPlan.objects.latest("created_at").status


def test_all_that_the_list_shows_becomes_a_plan_that_says_what_would_happen(acme, manager, begin):
    bounced(acme, "a@example.com", "b@example.com", "no address")
    html = manager.get("/t/acme/errors/?channel=email").content.decode()
    selection = unescape(re.search(r'name="selection" value="([^"]*)"', html)[1])
    page = text_of(manager.get(begin(selection=selection, all="1")).content.decode())
    assert "Of 3 notices, 2 would go." in page
    assert "Will be sent 2 Address or content is not valid 1" in page
    assert "Approve: send 2 notices" in page


def test_only_the_ticked_rows_are_chosen_and_none_is_an_error(acme, manager, begin):
    rows = bounced(acme, "a@example.com", "b@example.com")
    assert "Of 1 notice, 1 would go." in text_of(manager.get(begin(delivery=rows[0].id, chosen="1")).content.decode())
    html = manager.post(NEW, {"chosen": "1", "selection": "channel=email"}, follow=True).content.decode()
    assert "Choose at least one notice to send again." in html


def test_a_filter_that_makes_no_sense_is_refused_where_the_person_was(acme, manager):
    answer = manager.post(
        NEW, {"selection": "chanel=email"}, headers={"Referer": "http://testserver/t/acme/undelivered/"}
    )
    assert answer.url == "http://testserver/t/acme/undelivered/"
    assert (
        manager.post(NEW, {"selection": "a=1"}, headers={"Referer": "https://evil.example/"}).url == "/t/acme/errors/"
    )


def test_a_plan_being_prepared_or_running_looks_again_by_itself(acme, manager):
    bounced(acme, "a@example.com")
    url = manager.post(NEW, {"selection": ""}).url
    assert "hx-trigger" in manager.get(url).content.decode()
    with tenant_scope(acme.id):
        made = ResendPlan.objects.get()
    plans.prepare(acme.id, made.id)
    assert "hx-trigger" not in manager.get(url).content.decode()
    manager.post(f"{url}step", {"act": "approve"})
    assert "hx-trigger" in manager.get(url).content.decode()


def test_a_plan_is_approved_paused_continued_and_cancelled(acme, manager, begin):
    bounced(acme, "a@example.com")
    url = begin(selection="")
    seen = []
    for step in ("approve", "pause", "continue", "cancel", "continue"):
        manager.post(f"{url}step", {"act": step})
        seen.append(status(acme))
    assert seen == [
        PlanStatus.RUNNING,
        PlanStatus.PAUSED,
        PlanStatus.RUNNING,
        PlanStatus.CANCELLED,
        PlanStatus.CANCELLED,
    ]
    assert manager.post(f"{url}step", {"act": "explode"}).status_code == 404


def test_looking_anew_with_other_wishes_discards_the_plan_before(acme, manager, begin):
    bounced(acme, "a@example.com")
    begin(selection="channel=email")
    with tenant_scope(acme.id):
        first = ResendPlan.objects.get()
    begin(selection=first.selection, newest_of_kind="on", instead_of=first.id)
    with tenant_scope(acme.id):
        assert list(ResendPlan.objects.order_by("created_at").values_list("status", "newest_of_kind")) == [
            ("cancelled", False),
            ("ready", True),
        ]


def test_rows_are_shown_by_outcome_and_page_by_page(acme, manager, begin, monkeypatch):
    monkeypatch.setattr("deliveries.web.plans.ROWS", 2)
    bounced(acme, "a@example.com", "b@example.com", "c@example.com", "no address")

    def recipients(html):
        return [text_of(found) for found in re.findall(r'</a><div class="soft">(.*?)</div>', html)]

    url = begin(selection="")
    first = manager.get(f"{url}?outcome=ready").content.decode()
    more = unescape(re.search(r'rel="next" href="([^"]*)"', first)[1])
    second = manager.get(url + more).content.decode()
    assert sorted(recipients(first) + recipients(second)) == ["a @example.com", "b @example.com", "c @example.com"]
    assert recipients(manager.get(f"{url}?outcome=invalid").content.decode()) == ["no address"]


def test_the_result_is_downloaded_as_a_file(acme, manager, begin):
    bounced(acme, "a@example.com")
    answer = manager.get(f"{begin(selection='')}results")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert len(b"".join(answer.streaming_content).splitlines()) == 2


def test_a_viewer_looks_and_cannot_send(acme, begin, member, client_as):
    bounced(acme, "a@example.com")
    url, viewer = begin(selection=""), client_as(member("viewer", acme))
    html = viewer.get(url).content.decode()
    assert "Your role may look, not send." in text_of(html)
    assert 'id="approve"' not in html
    assert [viewer.post(path).status_code for path in (NEW, f"{url}step")] == [403, 403]
    assert 'id="bulk"' not in viewer.get("/t/acme/errors/").content.decode()


def test_another_tenants_plan_is_not_there(acme, sakura, begin, member, client_as):
    bounced(acme, "a@example.com")
    path = begin(selection="").replace("/acme/", "/sakura/")
    stranger = client_as(member("admin", sakura))
    assert [stranger.get(path).status_code, stranger.post(f"{path}step", {"act": "approve"}).status_code] == [404, 404]


def test_the_list_of_resends_is_newest_first_and_says_how_each_stands(acme, manager, begin):
    assert "Nothing was resent in bulk yet" in manager.get("/t/acme/resends/").content.decode()
    bounced(acme, "a@example.com")
    begin(selection="")
    manager.post(NEW, {"selection": ""})
    html = manager.get("/t/acme/resends/").content.decode()
    assert re.findall(r'<span class="badge \w+-tone">([^<]*)</span>', html) == ["Being prepared", "Waits for approval"]


def test_nothing_is_sent_before_the_approval(acme, manager, begin):
    bounced(acme, "a@example.com")
    begin(selection="")
    with tenant_scope(acme.id):
        assert set(Attempt.objects.filter(plan__isnull=False).values_list("status", flat=True)) == {"queued"}
