"""``logs``: reading lines back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.clock import SystemClock
from scheduler.times import utc_time
from tests.shell.cli.command import call, on_terminal, run, started


def line(event: str = "job.completed", level: str = "info", ago_s: float = 0.0, **fields: Any) -> str:
    return json.dumps({"timestamp": utc_time(SystemClock.now() - ago_s), "level": level, "event": event, **fields})


def log(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_what_a_service_logged_is_read_from_the_configured_file() -> None:
    bad = call("enqueue", "bad").out.strip()
    call("enqueue", "good")
    call("run", "--until-empty", code=1)
    events = [json.loads(one)["event"] for one in call("logs", "--json").lines]
    assert events[0] == "service.started"
    assert {"job.failed", "job.completed"} < set(events)
    (failed,) = [json.loads(one) for one in call("logs", "--job", bad, "--json").lines]
    assert (failed["event"], failed["reason"], failed["error"]) == ("job.failed", "handler_error", "RuntimeError: no good")


def test_rotated_files_are_read_oldest_first(here: Path) -> None:
    for number, name in enumerate(("service.log.2", "service.log.1", "service.log")):
        log(here / name, line(number=number))
    assert [json.loads(one)["number"] for one in call("logs", "--json").lines] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--job", "j1"], [0]),
        (["--type", "b"], [1]),
        (["--event", "lane."], [2]),
        (["--event", "job.failed"], [1]),
        (["--level", "warning"], [1, 2]),
        (["--reason", "timeout"], [1]),
        (["--since", "30m"], [1, 2]),
        (["--until", "30m"], [0]),
        (["--since", "2h", "--until", "5m"], [0, 1]),
        (["--text", "TOO long"], [1]),
        (["--type", "b", "--level", "critical"], []),
    ],
)
def test_lines_are_selected_by_every_filter(here: Path, words: list[str], kept: list[int]) -> None:
    path = log(
        here / "other.log",
        line("job.completed", ago_s=3_600, job_id="j1", task_type="a", number=0),
        line("job.failed", "error", ago_s=600, job_id="j2", task_type="b", reason="timeout", error="took too long", number=1),
        line("lane.paused", "warning", scope="a", number=2),
    )
    assert [json.loads(one)["number"] for one in call("logs", path, "--json", *words).lines] == kept


def test_lines_come_from_standard_input() -> None:
    assert run("logs", "-", "--event", "job.failed", stdin=line("job.failed", "error") + "\n" + line()).out.count("\n") == 1


def test_people_see_local_time_and_one_line_for_each_record(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    when = {"timestamp": "2030-01-31T18:00:00.000000Z"}
    path = log(here / "other.log", json.dumps({**when, "level": "error", "event": "job.failed", "error": "one\ntwo\x1b[2J", "owner": ""}))
    assert run("logs", path).out == "2030-01-31 23:30:00+05:30 error   job.failed         error=one\\ntwo\\x1b[2J\n"
    assert "\x1b[2J" not in on_terminal(["logs", path]).out


def test_lines_that_are_no_records_are_counted_and_passed_over(here: Path) -> None:
    path = log(here / "other.log", "Traceback (most recent call last):", line(), "[1]")
    said = call("logs", path)
    assert len(said.lines) == 1
    assert said.err == "2 lines of 3 passed over: not JSON objects\n"
    assert call("logs", path, "--summary", "--json").json["malformed"] == 2


def test_a_summary_adds_up(here: Path) -> None:
    done = [line(duration_s=0.1 * number, waited_s=1, task_type="a", job_id=f"j{number}", attempt=1) for number in range(1, 11)]
    failed = [line("job.failed", "error", task_type="a", reason="timeout", error=f"took {n} s", job_id="f") for n in (5, 6)]
    pauses = [
        line("lane.paused", "warning", scope="a", paused_s=60, reason="rate_limited", strikes=1),
        line("lane.resumed", scope="a", reason="manual"),
    ]
    path = log(here / "other.log", *done, *failed, *pauses)
    summary = call("logs", path, "--summary", "--json", "--top", "3").json
    assert summary["events"] == {"job.completed": 10, "job.failed": 2, "lane.paused": 1, "lane.resumed": 1}
    assert summary["reasons"] == {"timeout": 2}
    assert summary["durations"]["a"]["p50_s"] == pytest.approx(0.5, rel=0.02)
    assert [slow["job_id"] for slow in summary["slowest"]] == ["j10", "j9", "j8"]
    assert [(error["count"], error["fingerprint"]) for error in summary["errors"]] == [(2, "took <n> s")]
    shown = call("logs", path, "--summary").out
    for part in (
        "Events",
        "Reasons",
        "Durations of attempts",
        "Waits from due to start",
        "Pauses",
        "Slowest attempts",
        "Errors (1 distinct)",
    ):
        assert f"\n{part}\n" in shown


def test_a_file_is_followed_as_it_grows(here: Path) -> None:
    path = log(here / "other.log", *(line(number=number) for number in range(30)))
    process = started("logs", path, "--follow", "--json")
    assert process.stdout is not None
    assert [json.loads(process.stdout.readline())["number"] for _ in range(10)] == list(range(20, 30))
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(line(number=30) + "\n")
    assert json.loads(process.stdout.readline())["number"] == 30
    process.send_signal(2)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nowhere.log"], "there is no log file nowhere.log"),
        ([], "there is no log file service.log yet"),
        (["--set", "log.path="], "no log file is configured"),
        (["-", "--level", "loud"], "unknown level 'loud'"),
        (["-", "--since", "yesterday"], "'yesterday' is no time"),
        (["-", "--follow"], "--follow takes one file"),
        (["-", "--follow", "--summary"], "cannot be summed up"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(words: list[str], why: str) -> None:
    assert why in call("logs", *words, code=2).err
