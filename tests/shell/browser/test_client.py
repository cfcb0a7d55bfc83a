"""``client.js`` in a page of its own: a job is started and followed, whatever happens to the connection meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Watched
from tests.support.served import Served, until

pytestmark = pytest.mark.slow

#: Starts a job with the client and keeps what it was told; ``ended`` is set once it is over.
_FOLLOW = """
async (job) => {
  const { JobClient, countersOf, percentOf } = await import("/client.js");
  const client = new JobClient({ pollSeconds: 0.2 });
  window.seen = [];
  window.client = client;
  const onProgress = (job) => window.seen.push({ id: job.job_id, status: job.status, percent: percentOf(job), counters: countersOf(job) });
  window.stopping = new AbortController();
  client.startJob(job, { onProgress, signal: window.stopping.signal }).then(
    (job) => (window.ended = { result: job.result, percent: percentOf(job) }),
    (error) => (window.ended = { error: error.name, message: error.message, status: error.job?.status ?? error.status ?? null }),
  );
}
"""


def follow(page: Page, service: Served, job: dict[str, Any]) -> None:
    page.goto(f"{service.url}static/example.html")
    page.evaluate(_FOLLOW, job)


def ended(page: Page) -> Any:
    until(lambda: page.evaluate("window.ended !== undefined"), "it is over")
    return page.evaluate("window.ended")


def seen(page: Page) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = page.evaluate("window.seen")
    return told


def until_percent(page: Page, percent: float) -> None:
    until(lambda: percent in [job["percent"] for job in seen(page)], f"{percent} %")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_a_job_is_started_and_followed_to_its_result(service: Served, watched: Watched, gate: Path) -> None:
    follow(watched.page, service, {"task_type": "gated", "payload": {"until": str(gate)}})
    until_percent(watched.page, 25)
    gate.touch()
    assert ended(watched.page) == {"result": {"said": None, "did": "it"}, "percent": 100}
    percents = [job["percent"] for job in seen(watched.page)]
    assert percents == sorted(percents)
    assert (watched.complaints, watched.forbidden()) == ([], [])


def test_counters_come_from_what_is_recorded_of_items(service: Served, watched: Watched) -> None:
    follow(watched.page, service, {"task_type": "listing", "payload": {"items": ["a", "b", "c"], "bad": ["b"]}})
    end = ended(watched.page)
    assert (end["error"], end["status"]) == ("JobFailedError", "failed_job_logic")
    assert seen(watched.page)[-1]["counters"] == {"done": 2, "failed": 1, "total": 3, "seen": 3}


def test_a_job_that_fails_or_is_cancelled_is_an_error_that_says_how(service: Served, watched: Watched, gate: Path) -> None:
    follow(watched.page, service, {"task_type": "picky", "payload": {"unless": str(gate), "say": "not today"}})
    end = ended(watched.page)
    assert (end["error"], end["status"]) == ("JobFailedError", "failed_ai")
    assert "not today" in end["message"]
    follow(watched.page, service, {"task_type": "gated", "payload": {"until": str(gate)}})
    until_percent(watched.page, 25)
    watched.page.evaluate("window.client.cancel(window.seen[0].id)")
    assert ended(watched.page)["status"] == "cancelled"


def test_what_is_refused_is_a_problem_with_its_detail(service: Served, watched: Watched) -> None:
    follow(watched.page, service, {"task_type": ""})
    assert (ended(watched.page)["error"], ended(watched.page)["status"]) == ("ProblemError", 422)


def test_without_events_it_asks_again_and_again(service: Served, watched: Watched, gate: Path) -> None:
    watched.page.route("**/events", lambda route: route.abort())
    follow(watched.page, service, {"task_type": "gated", "payload": {"until": str(gate)}})
    until_percent(watched.page, 25)
    gate.touch()
    assert ended(watched.page)["percent"] == 100


def test_it_goes_on_behind_the_last_entry_when_the_service_comes_back(service: Served, watched: Watched, gate: Path) -> None:
    asked: list[str | None] = []
    watched.page.on("request", lambda request: request.url.endswith("/events") and asked.append(request.headers.get("last-event-id")))
    follow(watched.page, service, {"task_type": "gated", "payload": {"until": str(gate)}})
    until_percent(watched.page, 25)
    service.end()
    service.start()
    until(lambda: watched.page.evaluate("true") and asked[-1] is not None, "it asks for what it has missed")
    gate.touch()
    assert ended(watched.page)["percent"] == 100
    assert asked[0] is None


def test_an_answer_that_is_lost_makes_no_second_job(service: Served, watched: Watched, gate: Path) -> None:
    lost: list[str] = []

    def lose(route: Any) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().json()["job_id"])
        route.abort()

    gate.touch()
    watched.page.route("**/api/jobs", lose)
    follow(watched.page, service, {"task_type": "gated", "payload": {"until": str(gate)}})
    assert ended(watched.page)["percent"] == 100
    assert service.ask("GET", "api/stats")["total"] == 1
    assert seen(watched.page)[0]["id"] == lost[0]


def test_who_stops_following_leaves_the_job_alone(service: Served, watched: Watched, gate: Path) -> None:
    follow(watched.page, service, {"task_type": "gated", "payload": {"until": str(gate)}})
    until_percent(watched.page, 25)
    job = seen(watched.page)[0]["id"]
    watched.page.evaluate("window.stopping.abort()")
    assert ended(watched.page)["error"] == "AbortError"
    assert service.job(job)["status"] == "processing"


def test_the_example_page_does_what_it_shows(service: Served, watched: Watched, gate: Path) -> None:
    page = watched.page
    page.goto(f"{service.url}static/example.html")
    page.get_by_label("Task type").fill("gated")
    page.get_by_label("Payload (JSON)").fill(json.dumps({"until": str(gate)}))
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#state")).to_contain_text("a quarter")
    gate.touch()
    expect(page.locator("#result")).to_contain_text('"did": "it"')
    until(lambda: service.ask("GET", "api/stats")["by_status"] == {"completed": 1}, "the job is done")
