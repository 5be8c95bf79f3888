"""What people do, in a real browser, in both languages."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

WORDS = {
    "acme": ("Notification errors", "Address does not exist"),
    "sakura": ("通知エラー一覧", "アドレスが存在しません"),
}


@pytest.mark.parametrize("slug", ["acme", "sakura"])
def test_an_admin_goes_from_the_number_to_the_cause_of_one_notice(page, log_in, slug):
    title, cause = WORDS[slug]
    log_in(slug)
    page.click("a.number, main a:has-text('61'), main a:has-text('62')")
    page.wait_for_url("**/undelivered/")
    page.goto(f"/t/{slug}/errors/?channel=email&q=person7@")
    assert page.locator("h1").inner_text() == title
    page.click("main tbody a >> nth=0")
    page.wait_for_url("**/deliveries/**")
    text = page.locator("main").inner_text()
    assert "person7@example.com" in text and "550 5.1.1 User unknown" in text and cause in text


@pytest.mark.parametrize("slug", ["acme", "sakura"])
def test_filtering_keeps_the_address_and_the_tabs_keep_the_filter(page, log_in, slug):
    log_in(slug)
    page.goto(f"/t/{slug}/errors/?channel=email")
    expect(page.locator("main tbody tr")).to_have_count(25)
    page.goto(f"/t/{slug}/errors/?channel=email&state=deferred")
    expect(page.locator("main tbody tr")).to_have_count(1)
    assert "state=deferred" in page.locator("a[href*='channel=sms']").first.get_attribute("href")


def test_searching_in_the_page_puts_the_search_in_the_address(page, log_in):
    log_in("acme")
    page.goto("/t/acme/errors/?channel=email")
    page.keyboard.press("/")
    page.keyboard.type("invoice 33")
    page.keyboard.press("Enter")
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main tbody")).to_contain_text("person33@example.com")
    assert "q=invoice%2033" in page.url


def test_the_next_page_and_back_again_show_every_row_once(page, log_in):
    log_in("acme")
    page.goto("/t/acme/errors/?channel=email&size=50")
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(50)
    first = rows.all_inner_texts()
    page.click("a[rel=next]")
    expect(rows).to_have_count(11)
    second = rows.all_inner_texts()
    page.click("a[rel=prev]")
    expect(rows).to_have_count(50)
    assert rows.all_inner_texts() == first
    assert len({*first, *second}) == 61


@pytest.mark.parametrize(("slug", "header"), [("acme", "Recipient"), ("sakura", "受信者")])
def test_the_download_holds_what_the_filter_shows(page, log_in, slug, header):
    log_in(slug)
    page.goto(f"/t/{slug}/errors/?channel=email&q=person1")
    page.click("summary:has-text('Download'), summary:has-text('ダウンロード')")
    with page.expect_download() as waiting:
        page.click("a[href*='errors/export'] >> nth=0")
    raw = Path(waiting.value.path()).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"))))
    assert header in rows[0]
    assert len(rows) == 1 + 11


PAGES = [
    "",
    "errors/?channel=email",
    "errors/?channel=email&state=nonsense",
    "errors/?channel=lineworks",
    "connections/",
]
PAGES += [
    "connections/new/",
    "connections/new/sendgrid/",
    "unparsed/",
    "settings/people/",
    "settings/tokens/",
    "settings/audit/",
]


@pytest.mark.parametrize(("slug", "width"), [("acme", 1440), ("sakura", 390)])
def test_no_page_has_a_serious_accessibility_violation_or_scrolls_sideways(page, log_in, slug, width):
    page.set_viewport_size({"width": width, "height": 900})
    log_in(slug)
    page.goto(f"/t/{slug}/errors/?channel=email")
    detail = page.locator("main tbody a").first.get_attribute("href")
    for path in [*(f"/t/{slug}/{path}" for path in PAGES), detail, "/accounts/2fa/", "/accounts/password/change/"]:
        page.goto(path)
        found = Axe().run(page).response["violations"]
        serious = [
            (item["id"], item["nodes"][0]["html"][:120]) for item in found if item["impact"] in {"serious", "critical"}
        ]
        assert (path, serious) == (path, [])
        assert (path, page.evaluate("document.documentElement.scrollWidth")) == (path, width)


def test_the_list_and_a_detail_work_without_javascript(chromium, site):
    context = chromium.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/accounts/login/?next=/t/acme/errors/")
    page.fill("input[name=login]", "admin@acme.example")
    page.fill("input[name=password]", "correct horse battery")
    page.press("input[name=password]", "Enter")
    page.fill("input[name=q]", "person12@")
    page.press("input[name=q]", "Enter")
    page.click("main tbody a >> nth=0")
    assert "person12@example.com" in page.locator("main").inner_text()
    context.close()
