"""What every verb does with settings, errors, pipes and the terminal."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scheduler.cli.app import app
from tests.shell.cli.command import call, on_terminal, run, started

VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group has them


def test_every_verb_explains_itself() -> None:
    for verb in VERBS:
        assert f"{verb} [OPTIONS]" in call(verb, "--help").out


def test_the_version_is_the_packages() -> None:
    assert call("--version").out.strip() == version("ai-job-scheduler")


def test_without_a_verb_there_is_help_and_wrong_use() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "Usage" in result.output
    call("frobnicate", code=2)
    call("jobs", "--frobnicate", code=2)


def test_a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def limits(*words: str) -> tuple[int, float]:
        route = call("handlers", "--json", *words).json[1]
        return route["max_attempts"], route["timeout_s"]

    assert limits("--set", "handlers.modules=['tests.shell.cli.handlers_to_call']") == (3, 600.0)
    file = here / "config.toml"
    file.write_text(file.read_text("utf-8").replace("[scheduler]", "[scheduler]\nmax_attempts = 4\ntimeout_s = 7"), "utf-8")
    assert limits() == (4, 7.0)
    monkeypatch.setenv("SCHEDULER_MAX_ATTEMPTS", "5")
    assert limits() == (5, 7.0)
    assert limits("--set", "scheduler.max_attempts=6") == (6, 7.0)


def test_settings_come_from_the_named_file_then_the_variable_then_the_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("named", "variable"):
        (here / f"{name}.toml").write_text(f'[scheduler]\nstore = "sqlite:///{name}.db"\n', encoding="utf-8")
    monkeypatch.setenv("SCHEDULER_CONFIG", "variable.toml")
    call("jobs", "--config", "named.toml")
    assert (here / "named.db").exists()
    assert not (here / "variable.db").exists()
    call("jobs")
    assert (here / "variable.db").exists()
    assert not (here / "jobs.db").exists()
    monkeypatch.delenv("SCHEDULER_CONFIG")
    call("jobs")
    assert (here / "jobs.db").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--config", "nowhere.toml"], "nowhere.toml: no such file"),
        (["--store", "redis://localhost"], "store = 'redis://localhost': use sqlite:///FILE"),
        (["--store", "sqlite:///no/such/folder/jobs.db"], "does not exist: create it"),
        (["--store", "sqlite:///config.toml"], "is damaged"),
        (["--set", "scheduler.concurrency=-1"], "concurrency = '-1': input should be greater than or equal to 0"),
        (["--set", "scheduler.speed=9"], "has no key 'speed'"),
        (["--set", "engine.concurrency=1"], "there is no section 'engine'"),
        (["--set", "concurrency"], "write SECTION.KEY=VALUE"),
        (["--set", "handlers.modules=['"], "not a TOML array"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(words: list[str], why: str) -> None:
    said = run("jobs", *words, code=2)
    assert why in said.err
    assert said.err.startswith("scheduler: ")
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_handler_module_that_cannot_be_loaded_stops_only_what_needs_it() -> None:
    broken = ("--set", "handlers.modules=['nowhere_to_be_found']")
    assert "'nowhere_to_be_found' cannot be imported" in call("run", "--until-empty", *broken, code=2).err
    assert "'nowhere_to_be_found' cannot be imported" in call("handlers", *broken, code=2).err
    assert call("jobs", *broken).out == "no jobs\n"


def test_a_reader_that_goes_away_is_no_error(here: Path) -> None:
    lines = "".join(json.dumps({"task_type": "good", "target_id": number}) + "\n" for number in range(3_000))
    (here / "jobs.jsonl").write_text(lines, encoding="utf-8")
    call("enqueue", "--from", "jobs.jsonl")
    with started("jobs", "--limit", "3000") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 141


def test_elsewhere_than_on_a_terminal_there_are_no_colours_and_nothing_is_cut() -> None:
    target = "x" * 500
    call("enqueue", "good", "", target)
    plain = run("jobs")
    assert "\x1b" not in plain.out
    assert target in plain.out
    assert "\x1b[" in on_terminal(["jobs"]).out


def test_other_processes_see_a_change_at_once() -> None:
    with started("serve") as service:
        job_id = call("enqueue", "good").out.strip()
        while call("show", job_id, "--json").json["status"] != "completed":
            assert service.poll() is None
        service.terminate()
