"""``pause``, ``resume``, ``pauses``, ``stats``, ``handlers`` and ``prune``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scheduler.clock import SystemClock
from tests.shell.cli.command import call, started


def test_a_paused_task_type_does_not_run_until_it_is_resumed() -> None:
    call("enqueue", "good")
    assert call("pause", "good").out == "paused good until you run: scheduler resume good\n"
    call("run", "--until-empty")
    assert call("stats", "--json").json["by_status"] == {"pending": 1}
    assert call("resume", "good").out == "resumed good (it was closed: manual)\n"
    call("run", "--until-empty")
    assert call("stats", "--json").json["by_status"] == {"completed": 1}


def test_the_pause_of_a_pool_shows_under_each_task_type_that_draws_on_it() -> None:
    call("pause", "pool:main", "--for", "10m")
    rows = [line.split() for line in call("pauses").lines[1:]]
    assert [row[:2] for row in rows] == [["pool:main", "itself"], ["good", "pool:main"]]
    (pause,) = call("pauses", "--json").json
    assert (pause["scope"], pause["task_types"], pause["reason"], pause["gate"]) == ("pool:main", ["good"], "manual", "closed")
    assert 590 < pause["remaining_s"] <= 600
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", pause["until"])


def test_a_pause_tells_why_it_stands_and_which_job_set_it() -> None:
    job_id = call("enqueue", "limited").out.strip()
    service = started("serve")
    while not call("pauses", "--json").json:
        assert service.poll() is None
    service.terminate()
    service.communicate(timeout=30)
    (pause,) = call("pauses", "--json").json
    assert (pause["scope"], pause["task_types"], pause["reason"], pause["set_by"]) == ("pool:provider", ["limited"], "rate_limited", job_id)
    assert job_id in call("pauses").out


def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    call("pause", "good", "--for", "2h")
    call("pause", "good", "--for", "1m")
    (pause,) = call("pauses", "--json").json
    assert pause["remaining_s"] > 7_000


def test_nothing_paused_is_an_answer_too() -> None:
    assert call("pauses").out == "nothing is paused\n"
    assert call("pauses", "--json").json == []
    assert call("resume", "good").out == "good was not paused\n"
    assert call("resume", "good", "--json").json == {"scope": "good", "resumed": False, "reason": None}


def test_a_scope_that_nobody_knows_is_paused_with_a_word_of_doubt() -> None:
    assert "no handler or setting here knows 'goof'; there are bad, blocking" in call("pause", "goof").err
    assert call("pause", "good").err == ""


@pytest.mark.parametrize(
    ("words", "why"), [(["pool:"], "is not a task type, nor pool:NAME"), (["good", "--for", "soon"], "is no duration")]
)
def test_what_cannot_be_paused_is_refused(words: list[str], why: str) -> None:
    said = call("pause", *words, code=2)
    assert why in " ".join(said.err.replace("│", " ").split())
    assert call("pauses", "--json").json == []


def test_pauses_show_also_when_no_handler_loads() -> None:
    call("pause", "pool:main")
    said = call("pauses", "--json", "--set", "handlers.modules=['nowhere']")
    assert [pause["scope"] for pause in said.json] == ["pool:main"]
    assert "'nowhere' cannot be imported" in said.err


def test_stats_count_by_type_status_and_reason() -> None:
    for task_type in ("good", "good", "bad"):
        call("enqueue", task_type, "--owner", "ann")
    call("run", "--until-empty", code=1)
    call("enqueue", "good")
    counts = call("stats", "--json").json
    assert counts["total"] == 4
    assert counts["unfinished"] == 1
    assert counts["by_status"] == {"pending": 1, "completed": 2, "failed_job_logic": 1}
    assert counts["by_task_type"] == {"bad": {"failed_job_logic": 1}, "good": {"completed": 2, "pending": 1}}
    assert counts["reasons"] == {"handler_error": 1}
    assert call("stats", "--owner", "ann", "--json").json["total"] == 3
    assert re.search(r"^good +1 +0 +2 +0 +0 +3$", call("stats").out, re.MULTILINE)


def test_handlers_show_the_limits_in_force(here: Path) -> None:
    with (here / "config.toml").open("a") as file:
        file.write('[task_types.bad]\nconcurrency = 2\ntimeout_s = 5\npool = "provider"\n[pools.provider]\nconcurrency = 4\n')
    found = {route.pop("task_type"): route for route in call("handlers", "--json", "--set", "scheduler.timeout_s=inf").json}
    assert found["good"] == {
        "target_type": None,
        "handler": "tests.shell.cli.handlers_to_call.good",
        "pool": "main",
        "concurrency": 10,
        "max_attempts": 3,
        "timeout_s": None,
        "freshness": False,
    }
    assert found["bad"] | {"handler": ""} == found["good"] | {
        "handler": "",
        "pool": "provider",
        "concurrency": 2,
        "max_attempts": 1,
        "timeout_s": 5.0,
    }
    assert found["limited"]["concurrency"] == 4
    assert found["fresh"]["freshness"] is True
    assert re.search(r"^fresh +any +tests\.shell\.cli\.handlers_to_call\.fresh +10 +3 +10m 00s +yes$", call("handlers").out, re.MULTILINE)


def test_prune_deletes_what_ended_long_enough_ago_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for task_type in ("good", "bad"):
        call("enqueue", task_type)
    call("run", "--until-empty", code=1)
    waiting = call("enqueue", "good").out.strip()
    assert call("prune").out == "deleted 0 jobs\n"
    assert call("prune", "--completed-after", "1h").out == "deleted 0 jobs\n"
    now = SystemClock.now()
    monkeypatch.setattr(SystemClock, "now", staticmethod(lambda: now + 7_200))
    assert call("prune", "--completed-after", "1h", "--json").json == {"deleted": 1}
    assert call("stats", "--json").json["by_status"] == {"pending": 1, "failed_job_logic": 1}
    assert call("prune", "--failed-after", "1h").out == "deleted 1 job\n"
    assert [job["job_id"] for job in call("jobs", "--json").json] == [waiting]


def test_prune_that_can_delete_nothing_says_what_to_set() -> None:
    assert "[retention] keeps every job" in call("prune").err
    assert call("prune", "--failed-after", "30d").err == ""
