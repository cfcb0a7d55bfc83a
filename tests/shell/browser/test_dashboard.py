"""The dashboard in a real browser, against a real service: what people see follows what happens, and what they do happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from scheduler import NewJob
from tests.support.browser import Watched
from tests.support.served import Served, until

pytestmark = pytest.mark.slow


def confirm(page: Page) -> None:
    """Say yes to the question that is open."""
    page.locator("dialog button[type=submit]").click()
    expect(page.locator("dialog")).to_have_count(0)


def gate(folder: Path) -> str:
    return str(folder / "gate")


class TestAJob:
    def test_it_is_followed_live_from_the_start_to_its_end(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        page.goto(service.url)
        expect(page.locator("#live")).to_have_text("live")
        job = service.enqueue("gated", {"until": gate(tmp_path), "say": "by hand"}, target_type="document", target_id="d-1")
        running = page.locator(".running li")
        expect(running).to_contain_text("25 %")
        expect(running).to_contain_text("by hand")
        page.get_by_role("link", name="gated").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("gated document d-1")
        expect(page.locator(".job-head .badge")).to_have_text("Running")
        expect(page.locator("section > .progress .percent")).to_have_text("25 %")
        Path(gate(tmp_path)).touch()
        expect(page.locator(".job-head .badge")).to_have_text("Completed")
        expect(page.locator("section > .progress .percent")).to_have_text("100 %")
        names = page.locator(".timeline li strong")
        expect(names).to_have_text(["Enqueued", "Started", "Completed"])
        expect(page.locator("[data-document=result] pre")).to_contain_text('"did": "it"')
        assert service.job(job)["status"] == "completed"
        assert (watched.complaints, watched.dialogs, watched.forbidden()) == ([], [], [])

    def test_its_result_is_a_download(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        Path(gate(tmp_path)).touch()
        job = service.enqueue("gated", {"until": gate(tmp_path)})
        service.until_status(job, "completed")
        watched.page.goto(f"{service.url}#/jobs/{job}")
        with watched.page.expect_download() as download:
            watched.page.get_by_role("button", name="Download").click()
        assert json.loads(Path(download.value.path()).read_text("utf-8")) == {"said": None, "did": "it"}

    def test_it_is_cancelled_and_sent_back(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        job = service.enqueue("gated", {"until": gate(tmp_path)}, target_id="d-2")
        service.until_status(job, "processing")
        page.goto(f"{service.url}#/jobs/{job}")
        page.get_by_role("button", name="Cancel…").click()
        expect(page.locator("dialog h2")).to_have_text("Cancel gated d-2?")
        page.get_by_role("button", name="Not now").click()
        assert service.job(job)["status"] == "processing", "asking is not doing"
        page.get_by_role("button", name="Cancel…").click()
        confirm(page)
        expect(page.locator(".job-head .badge")).to_have_text("Cancelled")
        Path(gate(tmp_path)).touch()
        page.get_by_role("button", name="Retry…").click()
        confirm(page)
        expect(page.locator(".job-head .badge")).to_have_text("Completed")
        expect(page.locator(".timeline li strong")).to_contain_text(
            ["Enqueued", "Started", "Cancelled", "Sent back by hand", "Started", "Completed"]
        )

    def test_why_it_waits_is_a_sentence_and_a_pause_is_one_of_the_reasons(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        service.ask("POST", "api/pauses", {"scope": "gated", "for_s": 3_600})
        job = service.enqueue("gated", {"until": gate(tmp_path)})
        page.goto(f"{service.url}#/jobs/{job}")
        expect(page.locator(".why")).to_contain_text("waits for the pause of gated")
        page.goto(f"{service.url}#/lanes")
        lane = page.locator("tr", has_text="gated")
        expect(lane).to_contain_text(re.compile(r"opens in 5\d min"))
        lane.get_by_role("button", name="Resume…").click()
        confirm(page)
        expect(lane).to_contain_text("Open")
        service.until_status(job, "processing")

    def test_one_job_is_paused_and_let_go(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        job = service.enqueue("gated", {"until": gate(tmp_path)}, run_after="2100-01-01T00:00:00Z")
        page.goto(f"{service.url}#/jobs/{job}")
        page.get_by_role("button", name="Pause…").click()
        confirm(page)
        expect(page.locator(".job-head .badge")).to_have_text("Paused")
        assert service.job(job)["held"]
        page.get_by_role("button", name="Resume…").click()
        confirm(page)
        expect(page.locator(".job-head .badge")).to_have_text("Pending")

    def test_what_failed_of_a_long_job_is_shown_and_only_that_is_run_again(self, service: Served, watched: Watched) -> None:
        page = watched.page
        job = service.enqueue("listing", {"items": ["a", "b", "c", "d"], "bad": ["c"]})
        service.until_status(job, "failed_job_logic")
        page.goto(f"{service.url}#/jobs/{job}")
        page.locator("[data-failed-items] summary").click()
        expect(page.locator("[data-failed-items] tbody tr")).to_contain_text(["c"])
        page.get_by_role("button", name="Retry…").click()
        page.get_by_label("Only failed items").check()
        confirm(page)
        life = ["Enqueued", "Started", "Failed for good", "Sent back by hand", "Started", "Failed for good"]
        expect(page.locator(".timeline li strong")).to_have_text(life)
        assert service.job(job)["ledgers"][0]["done"] == 3

    def test_it_is_deleted(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        job = service.enqueue("picky", {"unless": gate(tmp_path)})
        service.until_status(job, "failed_ai")
        watched.page.goto(f"{service.url}#/jobs/{job}")
        watched.page.get_by_role("button", name="Delete…").click()
        confirm(watched.page)
        expect(watched.page.get_by_role("heading", level=1)).to_have_text("Jobs")
        watched.page.goto(f"{service.url}#/jobs/{job}")
        expect(watched.page.locator("main")).to_contain_text("No such job")


class TestManyJobs:
    def test_filters_find_them_and_are_kept_in_the_address(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        for number in range(3):
            service.enqueue("picky", {"unless": gate(tmp_path), "gone": number == 0}, target_id=f"t-{number}", owner=f"o-{number}")
        until(lambda: service.ask("GET", "api/stats")["by_status"] == {"failed_ai": 3}, "all fail")
        page.goto(f"{service.url}#/queue")
        page.get_by_role("link", name="3: picky, failed_ai").click()
        rows = page.locator("table[role=table] tbody tr")
        expect(rows).to_have_count(3)
        page.locator("[data-pick=reason] > summary").click()
        page.get_by_label("model_gone").check()
        page.locator("[data-pick=reason]").get_by_role("button", name="Show").click()
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("t-0")
        assert "reason=model_gone" in page.url
        page.go_back()
        expect(rows).to_have_count(3)
        page.get_by_label("Search text").fill("t-2")
        page.get_by_role("button", name="Search").click()
        expect(rows).to_contain_text(["t-2"])
        page.goto(f"{service.url}#/jobs?owner=o-1")
        expect(rows).to_contain_text(["t-1"])

    def test_all_that_failed_for_a_reason_are_sent_back_and_the_question_says_how_many(
        self, service: Served, watched: Watched, tmp_path: Path
    ) -> None:
        page = watched.page
        jobs = [service.enqueue("picky", {"unless": gate(tmp_path), "gone": number < 2}) for number in range(5)]
        until(lambda: service.ask("GET", "api/stats")["by_status"] == {"failed_ai": 5}, "all fail")
        page.goto(f"{service.url}#/jobs")
        expect(page.get_by_role("button", name="Retry all…")).to_be_disabled()
        page.goto(f"{service.url}#/now")
        page.locator(".bars-list").get_by_role("link", name="invalid_request").click()
        page.get_by_role("button", name="Retry all…").click()
        expect(page.locator("dialog h2")).to_have_text("Retry 3 jobs?")
        expect(page.locator("dialog")).to_contain_text("reason invalid_request")
        lives = [service.ask("GET", f"api/jobs/{job}/history")["entries"] for job in jobs]
        assert "job.requeued" not in [entry["name"] for life in lives for entry in life], "asking is not doing"
        Path(gate(tmp_path)).touch()
        confirm(page)
        expect(page.locator("#notices")).to_contain_text("3 jobs sent back")
        until(
            lambda: service.ask("GET", "api/stats")["by_status"] == {"completed": 3, "failed_ai": 2}, "those three run, the others do not"
        )

    def test_a_hundred_thousand_leave_the_page_small(self, browser: Browser, tmp_path: Path) -> None:
        service = Served(tmp_path)
        service.store(NewJob("idle", "document", str(number), run_after=4e9) for number in range(100_000))
        service.start()
        watched = Watched(browser)
        page = watched.page
        try:
            page.goto(service.url)
            expect(page.locator(".tile", has_text="Waiting")).to_contain_text("100,000")
            page.goto(f"{service.url}#/jobs")
            rows = page.locator("table[role=table] tbody tr")
            expect(rows).to_have_count(50)
            page.get_by_role("link", name="Older").click()
            expect(page.get_by_role("link", name="Newest")).to_be_visible()
            expect(rows).to_have_count(50)
            expect(rows.first).to_contain_text("99949")
            for number in range(300):
                service.enqueue("idle", target_id=f"new-{number}", run_after="2100-01-01T00:00:00Z")
            expect(page.locator(".news")).to_contain_text("changes elsewhere")
            expect(rows).to_have_count(50)
            assert page.locator("body *").count() < 2_000
            page.goto(f"{service.url}#/queue")
            expect(page.get_by_role("link", name="100,300: all jobs")).to_be_visible()
        finally:
            watched.context.close()
            service.end()


class TestTheService:
    def test_a_page_survives_its_restart(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        job = service.enqueue("gated", {"until": gate(tmp_path), "say": "before"}, target_id="d-3")
        page.goto(f"{service.url}#/jobs/{job}")
        expect(page.locator("section > .progress .percent")).to_have_text("25 %")
        service.end()
        expect(page.locator("#live")).to_have_text("reconnecting…")
        expect(page.get_by_role("heading", level=1)).to_have_text("gated d-3")
        service.start()
        expect(page.locator("#live")).to_have_text("live")
        Path(gate(tmp_path)).touch()
        expect(page.locator(".job-head .badge")).to_have_text("Completed")
        expect(page.locator(".timeline li strong")).to_have_text(["Enqueued", "Started", "Its worker was lost", "Started", "Completed"])

    def test_nothing_stirs_the_reader_of_a_page_that_changes(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        """Rows stay the elements that they are, so that focus and selection do."""
        page = watched.page
        job = service.enqueue("gated", {"until": gate(tmp_path)}, target_id="d-4")
        page.goto(f"{service.url}#/jobs")
        row = page.locator("table[role=table] tbody tr")
        expect(row).to_contain_text("Running")
        row.get_by_role("link").focus()
        Path(gate(tmp_path)).touch()
        expect(row).to_contain_text("Completed")
        assert page.evaluate("document.activeElement.getAttribute('href')") == f"#/jobs/{job}"


class TestPeople:
    def test_everything_is_reached_by_keyboard(self, service: Served, watched: Watched, tmp_path: Path) -> None:
        page = watched.page
        job = service.enqueue("gated", {"until": gate(tmp_path)}, target_id="d-5")
        service.until_status(job, "processing")
        page.goto(service.url)
        expect(page.locator(".running li")).to_have_count(1)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        page.keyboard.press("/")
        page.keyboard.type("d-5")
        page.keyboard.press("Enter")
        link = page.locator("table[role=table] tbody a")
        expect(link).to_have_count(1)
        tabbed_to(page, f"document.activeElement.getAttribute('href') === '#/jobs/{job}'")
        page.keyboard.press("Enter")
        expect(page.locator(".job-head .badge")).to_have_text("Running")
        tabbed_to(page, "document.activeElement.dataset.action === 'cancel'")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Not now")).to_be_focused()
        for _ in range(6):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        assert page.evaluate("document.activeElement.dataset.action") == "cancel", "focus returns to where it was"
        page.keyboard.press("Enter")
        tabbed_to(page, "document.activeElement.type === 'submit'")
        page.keyboard.press("Enter")
        expect(page.locator(".job-head .badge")).to_have_text("Cancelled")

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_a_phone_shows_all_of_it_without_scrolling_sideways(
        self, browser: Browser, service: Served, theme: str, tmp_path: Path
    ) -> None:
        long = "a_very_long_name_without_any_place_to_break_it_" * 4
        failed = service.enqueue("picky", {"unless": gate(tmp_path), "say": long}, target_type=long, target_id=long, owner="o" * 200)
        service.until_status(failed, "failed_ai")
        service.enqueue("gated", {"until": gate(tmp_path), "say": long}, target_id=long)
        service.enqueue(long, run_after="2100-01-01T00:00:00Z")
        service.ask("POST", "api/pauses", {"scope": f"owner:{long}", "for_s": None})
        watched = Watched(browser, viewport={"width": 390, "height": 844}, color_scheme=theme)
        page = watched.page
        try:
            for place, sign in (
                ("#/now", ".running li"),
                ("#/queue", ".matrix"),
                ("#/jobs", "table[role=table] tbody tr"),
                ("#/lanes", ".closed li"),
                (f"#/jobs/{failed}", ".timeline li"),
                ("docs", ".route"),
                ("static/example.html", "#start"),
            ):
                page.goto(service.url + place)
                expect(page.locator(sign).first).to_be_visible()
                assert watched.overflow() <= 0, place
        finally:
            watched.context.close()

    def test_light_and_dark_can_be_chosen_and_stay_chosen(self, service: Served, watched: Watched) -> None:
        page = watched.page
        page.goto(service.url)
        background = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(background)
        page.get_by_role("button", name="Light or dark").click()
        chosen = page.evaluate(background)
        page.reload()
        assert before != chosen == page.evaluate(background)

    def test_what_the_api_offers_is_written_down(self, service: Served, watched: Watched) -> None:
        page = watched.page
        page.goto(f"{service.url}docs")
        expect(
            page.locator(".route .path", has_text="/api/jobs/{id}/why").or_(page.locator(".route .path", has_text="/why"))
        ).to_have_count(1)
        for route in page.locator(".route > summary").all():
            route.click()
        expect(page.locator(".route .body").first).to_contain_text("Answers")
        assert (watched.complaints, watched.forbidden()) == ([], [])


def tabbed_to(page: Page, is_there: str) -> None:
    """Press Tab until ``is_there`` holds, as somebody without a mouse does."""
    for _ in range(80):
        if page.evaluate(is_there):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to it: {is_there}")
