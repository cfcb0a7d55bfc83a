"""``run`` and ``serve``: counting, and stopping when told to."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scheduler.clock import SystemClock
from tests.shell.cli.command import call, on_terminal, run, started


def status(job_id: str) -> Any:
    return call("show", job_id, "--json").json["status"]


def running(here: Path, verb: str, task_type: str, *words: str) -> tuple[subprocess.Popen[str], str]:
    """A service with one job under way that does not end by itself."""
    job_id = call("enqueue", task_type, "--payload", json.dumps({"started": str(here / "started")})).out.strip()
    service = started(verb, *words)
    while not (here / "started").exists():
        assert service.poll() is None
    return service, job_id


def test_a_run_until_empty_counts_what_it_ran() -> None:
    for task_type in ("good", "good", "bad"):
        call("enqueue", task_type)
    said = run("run", "--until-empty", "--json", code=1)
    summary = said.json
    assert summary.pop("seconds") > 0
    assert summary == {"jobs": {"completed": 2, "failed_job_logic": 1}, "reasons": {"handler_error": 1}}


def test_a_run_without_failures_is_done() -> None:
    call("enqueue", "good")
    assert call("run", "--until-empty").lines[0].startswith("1 job ended in ")
    assert call("run", "--until-empty", "--json").json["jobs"] == {}


def test_a_run_on_a_terminal_shows_how_far_it_is_and_leaves_the_summary() -> None:
    for _ in range(3):
        call("enqueue", "good")
    said = on_terminal(["run", "--until-empty"])
    assert said.code == 0
    assert "Running" in said.plain
    assert "waiting" in said.plain
    assert "3 jobs ended in" in said.plain


@pytest.mark.parametrize(("verb", "code"), [("serve", 0), ("run", 0)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_hands_back_what_the_grace_period_does_not_suffice_for(here: Path, verb: str, code: int, number: int) -> None:
    service, job_id = running(here, verb, "waiting")
    service.send_signal(number)
    service.communicate(timeout=30)
    assert service.returncode == code
    job = call("show", job_id, "--json").json
    assert (job["status"], job["attempts"]) == ("pending", 0)
    assert call("stats", "--json").json["workers"] == []


def test_a_second_signal_ends_the_grace_period(here: Path) -> None:
    service, job_id = running(here, "serve", "waiting", "--set", "scheduler.drain_grace_s=600")
    service.terminate()
    while not any(json.loads(line)["event"] == "service.draining" for line in call("logs", "--json").lines):
        assert service.poll() is None
    service.terminate()
    service.communicate(timeout=30)
    assert service.returncode == 0
    assert status(job_id) == "pending"


@pytest.mark.parametrize("task_type", ["stubborn", "blocking"])
def test_a_handler_that_cannot_be_stopped_does_not_keep_the_process(here: Path, task_type: str) -> None:
    service, _ = running(here, "serve", task_type)
    began = SystemClock.monotonic()
    service.terminate()
    service.communicate(timeout=30)
    took_s = SystemClock.monotonic() - began
    assert service.returncode == 0
    assert took_s >= 0.3, "the grace period; the handler would have kept it for ten minutes"


def test_a_signal_that_does_not_wake_the_main_thread_stops_the_process_too() -> None:
    call("enqueue", "deaf")
    service = started("serve")
    service.communicate(timeout=30)
    assert service.returncode == 0


def test_a_service_logs_json_to_standard_error_and_nothing_to_standard_output() -> None:
    call("enqueue", "good")
    with started("serve", "--set", "log.path=") as service:
        assert service.stderr is not None
        assert service.stdout is not None
        events = [json.loads(service.stderr.readline())["event"] for _ in range(3)]
        service.terminate()
        events += [json.loads(line)["event"] for line in service.stderr]
        assert service.stdout.read() == ""
    assert events == ["http.listening", "service.started", "job.completed", "service.draining", "service.stopped"]


def test_a_service_logs_json_also_on_a_terminal_unless_told_otherwise() -> None:
    def is_up() -> bool:
        return bool(call("stats", "--json").json["workers"])

    words = ["serve", "--set", "log.path="]
    assert all(json.loads(line)["event"] for line in on_terminal(words, until=is_up).out.splitlines())
    assert "http.listening" in on_terminal([*words, "--set", "log.format=console"], until=is_up).plain.splitlines()[0].split("{")[0]


def test_a_failed_job_shows_in_the_exit_code_of_run_also_after_a_signal(here: Path) -> None:
    call("enqueue", "bad", "--priority", "1")
    service, _ = running(here, "run", "waiting", "--concurrency", "2")
    while not call("jobs", "--status", "failed_job_logic", "--json").json:
        assert service.poll() is None
    service.terminate()
    service.communicate(timeout=30)
    assert service.returncode == 1


def test_the_log_level_is_checked() -> None:
    assert "level = 'loud'" in call("run", "--until-empty", "--log-level", "loud", code=2).err
