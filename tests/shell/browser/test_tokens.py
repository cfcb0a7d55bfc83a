"""Who needs a token is asked for one, keeps it in this tab, and sees what it may."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Watched
from tests.support.served import Served

pytestmark = pytest.mark.slow

_TOKENS = """
[tokens.op]
sha256 = "{op}"
scope = "operate"

[tokens.looks]
sha256 = "{looks}"
scope = "read"

[tokens.ada]
sha256 = "{ada}"
scope = "write"
owner = "ada"
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    """A service that wants tokens: ``op``, ``looks``, and ``ada`` for that owner."""
    served = Served(tmp_path, _TOKENS.format(**{name: hashlib.sha256(name.encode()).hexdigest() for name in ("op", "looks", "ada")}))
    served.token = "op"
    served.start()
    yield served
    served.end()


def enter(page: Page, token: str) -> None:
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Enter").click()


def test_a_token_is_asked_for_and_stays_in_this_tab(guarded: Served, watched: Watched) -> None:
    page = watched.page
    page.goto(guarded.url)
    enter(page, "wrong")
    expect(page.locator("dialog")).to_contain_text("not known here")
    enter(page, "op")
    expect(page.locator("#live")).to_have_text("live")
    page.reload()
    expect(page.locator("#live")).to_have_text("live")
    assert page.evaluate("[localStorage.length, document.cookie, location.href.includes('op=')]") == [0, "", False]
    other = watched.context.new_page()
    other.goto(guarded.url)
    expect(other.locator("dialog")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    expect(page.locator("dialog")).to_be_visible()


def test_what_a_token_must_not_do_is_disabled_and_says_why(guarded: Served, watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    job = guarded.enqueue("gated", {"until": str(tmp_path / "gate")}, owner="ada")
    page.goto(f"{guarded.url}#/jobs/{job}")
    enter(page, "looks")
    expect(page.get_by_role("button", name="Cancel…")).to_be_disabled()
    expect(page.locator(".job-actions")).to_contain_text("needs a token with the scope “write”; yours has “read”")
    page.goto(f"{guarded.url}#/lanes")
    expect(page.locator("tr", has_text="gated").get_by_role("button", name="Pause…")).to_be_disabled()


def test_an_owner_sees_its_own_jobs_and_nobody_elses(guarded: Served, watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    ours = guarded.enqueue("picky", {"unless": str(tmp_path / "gate")}, owner="ada", target_id="ours")
    theirs = guarded.enqueue("picky", {"unless": str(tmp_path / "gate")}, owner="ben", target_id="theirs")
    for job in (ours, theirs):
        guarded.until_status(job, "failed_ai")
    page.goto(guarded.url)
    enter(page, "ada")
    expect(page.locator(".tile", has_text="Failed")).to_contain_text("1")
    expect(page.locator("#me")).to_contain_text("ada")
    page.goto(f"{guarded.url}#/jobs")
    expect(page.locator("table[role=table] tbody tr")).to_contain_text(["ours"])
    page.goto(f"{guarded.url}#/jobs/{theirs}")
    expect(page.locator("main")).to_contain_text("No such job")
    page.goto(f"{guarded.url}#/lanes")
    expect(page.locator("main")).to_contain_text("Workers are shown to tokens without an owner")
    assert watched.dialogs == []
