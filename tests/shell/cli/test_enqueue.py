"""``enqueue``: one job, and as many as a file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.enqueue import Lines
from tests.shell.cli.command import call, run, started


def stored() -> list[Any]:
    """All jobs, oldest first."""
    found: list[Any] = call("jobs", "--json", "--limit", "10000").json
    return found[::-1]


def bulk(here: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    """A file of these lines."""
    encoded = [json.dumps(line).encode() if isinstance(line, dict) else line.encode() if isinstance(line, str) else line for line in lines]
    path = here / "jobs.jsonl"
    path.write_bytes(b"\n".join(encoded))
    return path


def test_a_job_is_stored_with_all_that_the_flags_say() -> None:
    said = call(
        *("enqueue", "good", "file", "7", "--payload", '{"a": [1]}', "--priority", "-2", "--owner", "ann"),
        *("--max-attempts", "5", "--timeout", "1m30s", "--unique-key", "k", "--run-after", "2030-01-31T18:00:00+01:00", "--json"),
    )
    assert said.json["created"] is True
    (job,) = stored()
    assert job["job_id"] == said.json["job_id"]
    assert (job["task_type"], job["target_type"], job["target_id"], job["payload"]) == ("good", "file", "7", {"a": [1]})
    assert (job["priority"], job["owner"], job["max_attempts"], job["timeout_s"], job["unique_key"]) == (-2, "ann", 5, 90.0, "k")
    assert job["run_after"] == "2030-01-31T17:00:00.000Z"


def test_a_job_may_name_an_address_that_is_told_of_its_end() -> None:
    refused = call("enqueue", "good", "--webhook", "https://hooks.example/x", code=2)
    assert "[webhook] secret_env" in refused.err
    assert stored() == []
    said = call("enqueue", "good", "--webhook", "https://hooks.example/x", "--set", "webhook.secret_env=HOOK_SECRET", "--json")
    job, delivery = stored()
    assert (job["job_id"], delivery["task_type"], delivery["target_id"]) == (said.json["job_id"], "deliver_webhook", said.json["job_id"])


def test_a_payload_comes_from_a_file_or_standard_input(here: Path) -> None:
    (here / "payload.json").write_text('{"from": "file"}', encoding="utf-8")
    call("enqueue", "good", "--payload", "@payload.json")
    call("enqueue", "good", "--payload", "-", stdin='{"from": "stdin"}')
    assert [job["payload"] for job in stored()] == [{"from": "file"}, {"from": "stdin"}]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["good", "--payload", "{"], "--payload is not JSON"),
        (["good", "--payload", "@nowhere.json"], "cannot be read"),
        (["good", "--payload", '{"n": 99999999999999999999}'], "does not fit in 63 bits"),
        (["good", "--run-after", "soon"], "run_after: 'soon' is no time"),
        (["good", "--max-attempts", "0"], "max_attempts must be at least 1"),
        (["good", "--timeout", "0"], "timeout_s must be a number of seconds above 0"),
        (["", "x"], "it has no task_type"),
        (["pool:x"], "is not a name"),
        ([], "say what to enqueue"),
        (["--from", "nowhere.jsonl"], "there is no such file"),
        (["good", "--from", "config.toml"], "leave out the task type"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_the_reason(words: list[str], why: str) -> None:
    said = call("enqueue", *words, code=2)
    assert why in said.err
    assert said.out == ""
    assert stored() == []


def test_a_job_that_stands_already_is_not_stored_again() -> None:
    first = call("enqueue", "good", "--unique-key", "k").out
    again = call("enqueue", "good", "--unique-key", "k")
    assert again.out == first
    assert "this unfinished job stands for it already" in again.err


def test_an_unchanged_target_is_stored_again_only_by_force() -> None:
    words = ("enqueue", "fresh", "file", "7", "--payload", '{"content": "x"}')
    first = call(*words).out
    call("run", "--until-empty")
    again = call(*words)
    assert again.out == first
    assert "nothing has changed" in again.err
    assert call(*words, "--force").out != first


def test_a_job_that_nobody_here_can_do_is_stored_with_a_word_of_doubt() -> None:
    assert "no handler here takes ('unheard-of', '')" in call("enqueue", "unheard-of").err
    assert [job["task_type"] for job in stored()] == ["unheard-of"]


def test_every_line_of_a_file_becomes_a_job(here: Path) -> None:
    lines: list[str | dict[str, Any]] = [{"task_type": "good", "target_id": number, "payload": {"n": number}} for number in range(2_500)]
    said = call("enqueue", "--from", str(bulk(here, *lines)))
    assert said.out == "2,500 lines: stored 2,500 jobs\n"
    assert [job["payload"]["n"] for job in stored()] == list(range(2_500))


def test_bad_lines_are_told_by_number_and_cost_only_themselves(here: Path) -> None:
    lines = bulk(
        here,
        b"\xef\xbb\xbf" + b'{"task_type": "good", "target_id": "first"}',
        "not json",
        "",
        {"task_type": "good", "colour": 1},
        {"task_type": "good", "priority": "high"},
        {"task_type": "good", "target_id": "middle", "run_after": "10m", "priority": None},
        "[1, 2]",
        {"target_type": "file"},
        b'{"task_type": "good", "payload": "\xff"}',
        {"task_type": "good", "payload": {"n": 2**70}},
        {"task_type": "good", "run_after": "whenever"},
        {"task_type": "good", "force": "yes"},
        {"task_type": "good", "payload": "x" * 2_000_000},
        {"task_type": "good", "target_id": "last"},
    )
    said = call("enqueue", "--from", str(lines), "--json", code=2)
    assert [job["target_id"] for job in stored()] == ["first", "middle", "last"]
    summary = said.json
    errors = {error["line"]: error["error"] for error in summary.pop("errors")}
    assert summary == {"lines": 14, "created": 3, "existing": 0, "unchanged": 0, "bad": 10}
    assert sorted(errors) == [2, 4, 5, 7, 8, 9, 10, 11, 12, 13]
    assert said.err.splitlines() == [f"line {number}: {why}" for number, why in errors.items()]
    reasons = {2: "not JSON", 4: "unknown field 'colour'", 5: "priority must be a whole number", 7: "not an object", 8: "no task_type"}
    reasons |= {9: "not JSON", 10: "63 bits", 11: "run_after: 'whenever'", 12: "force must be true or false", 13: "longer than 2,000,000"}
    for number, why in reasons.items():
        assert why in errors[number]


def test_lines_that_stand_already_are_counted_apart(here: Path) -> None:
    call("enqueue", "fresh", "file", "7", "--payload", '{"content": "x"}')
    call("run", "--until-empty")
    fresh = {"task_type": "fresh", "target_type": "file", "target_id": "7", "payload": {"content": "x"}}
    said = call(
        "enqueue", "--from", str(bulk(here, fresh, {"task_type": "good", "unique_key": "k"}, {"task_type": "good", "unique_key": "k"}))
    )
    assert said.out == "3 lines: stored 1 job, 1 waiting already, 1 unchanged\n"


def test_a_line_without_end_does_not_fill_memory(here: Path) -> None:
    lines = Lines()
    for _ in range(200):
        assert list(lines._parsed(b"x" * 100_000)) == []
    assert len(lines._half) < 2_100_000
    assert list(lines._parsed(None)) == []
    assert lines.errors == [{"line": 1, "error": "longer than 2,000,000 bytes"}]


def test_standard_input_is_stored_as_it_comes() -> None:
    process = started("enqueue", "--from", "-")
    assert process.stdin is not None
    process.stdin.write('{"task_type": "good", "target_id": "early"}\n')
    process.stdin.flush()
    while not stored():  # the pipe is still open: nothing but this line can have come
        assert process.poll() is None
    out, err = process.communicate('{"task_type": "good", "target_id": "late"}', timeout=30)
    assert (process.returncode, out, err) == (0, "2 lines: stored 2 jobs\n", "")
    assert [job["target_id"] for job in stored()] == ["early", "late"]


def test_an_empty_input_is_no_error() -> None:
    assert run("enqueue", "--from", "-").out == "0 lines: stored 0 jobs\n"
