"""``enrich`` and ``find``: the main job on real input."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.shell.cli.command import call, on_terminal, run, started

CONFIG = """
[scheduler]
store = "sqlite:///jobs.db"
drain_grace_s = 5
"""
CODE = '''
def parse_header(line):
    """Split a header line into its name and its value."""
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


class Mailbox:
    """A folder of letters that remembers which were read."""

    def unread(self):
        """Letters that nobody has opened yet."""
        return [letter for letter in self.letters if not letter.opened]
'''
DOCUMENT = "# Harbour rules\n\nShips announce their arrival to the harbour master. Anchoring in the fairway is forbidden.\n"
CHAT = '{"title": "Tides", "messages": [{"role": "user", "content": "When is high tide?"}, {"role": "assistant", "content": "At six."}]}'


@pytest.fixture(autouse=True)
def tree(here: Path) -> Path:
    """A folder of code, a document and a conversation: five targets."""
    (here / "config.toml").write_text(CONFIG, encoding="utf-8")
    folder = here / "tree"
    folder.mkdir()
    (folder / "mail.py").write_text(CODE, encoding="utf-8")
    (folder / "rules.md").write_text(DOCUMENT, encoding="utf-8")
    (folder / "chat.json").write_text(CHAT, encoding="utf-8")
    return folder


def enriched(*words: str, code: int = 0) -> Any:
    summary = call("enrich", "tree", "--json", *words, code=code).json
    assert summary.pop("seconds") > 0
    return summary


def test_a_folder_is_enriched_without_key_and_server() -> None:
    assert enriched() == {"targets": 5, "unchanged": 0, "jobs": {"completed": 5}, "reasons": {}, "skipped": {}}
    tasks = {(job["task_type"], job["target_type"]) for job in call("jobs", "--json").json}
    assert tasks == {
        ("enrich_entity_summary_keywords", "code_entity"),
        ("enrich_entity_summary_keywords", "project_document"),
        ("generate_topics", "conversation"),
    }


def test_a_second_run_does_only_what_changed(tree: Path) -> None:
    enriched()
    assert enriched() == {"targets": 5, "unchanged": 5, "jobs": {}, "reasons": {}, "skipped": {}}
    (tree / "mail.py").write_text(CODE.replace("nobody has", "no one has"), encoding="utf-8")
    summary = enriched()
    assert (summary["targets"], summary["unchanged"], summary["jobs"]) == (5, 3, {"completed": 2})  # the method, and the class around it


def test_force_does_everything_again() -> None:
    enriched()
    assert enriched("--force")["jobs"] == {"completed": 5}


def test_what_was_learned_can_be_found() -> None:
    enriched()
    (best, *_) = call("find", "header", "line", "--json").json
    assert (best["title"], best["target_type"], best["ai_status"], best["start_line"]) == ("parse_header", "code_entity", "completed", 2)
    assert "Split a header line into its name and its value." in best["summary"]
    assert best["model"].startswith("local:")
    assert best["stale"] is False
    assert "harbour" in call("find", "anchor").out.lower()
    assert call("find", "zeppelin").out == "nothing found\n"
    assert call("find", "zeppelin", "--json").json == []


def test_finding_before_anything_was_scanned_says_what_to_do(here: Path) -> None:
    assert "fill one with `scheduler enrich PATH`" in call("find", "x", code=2).err
    assert not (here / "catalog.db").exists()


def test_found_words_stand_out_on_a_terminal() -> None:
    enriched()
    said = on_terminal(["find", "letters"])
    assert "\x1b[1;33mletters\x1b[0m" in said.out.lower()
    assert "\x02" not in said.out


def test_a_path_that_does_not_exist_changes_nothing(here: Path) -> None:
    said = run("enrich", "tree", "nowhere", code=2)
    assert said.err == "scheduler: cannot scan 'nowhere': No such file or directory. Name files or folders that exist.\n"
    assert sorted(path.name for path in here.iterdir()) == ["config.toml", "tree"]


def test_a_provider_without_a_key_changes_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY" in run("enrich", "tree", "--set", "provider.kind=openai", code=2).err
    assert sorted(path.name for path in here.iterdir()) == ["config.toml", "tree"]


def test_without_the_handlers_for_it_there_is_nothing_to_run() -> None:
    said = call("enrich", "tree", "--set", "handlers.modules=['tests.shell.cli.handlers_to_call']", code=2)
    assert "add 'handlers.enrichment' to [handlers] modules" in said.err


def test_targets_that_vanished_are_forgotten(tree: Path) -> None:
    enriched()
    (tree / "rules.md").unlink()
    assert "1 no longer there" in call("enrich", "tree").lines[0]
    assert all(hit["target_type"] != "project_document" for hit in call("find", "harbour", "--json").json)


def test_a_lost_catalog_is_filled_again_from_the_jobs(here: Path) -> None:
    enriched()
    for path in here.glob("catalog.db*"):
        path.unlink()
    assert enriched()["unchanged"] == 5
    assert call("find", "header", "--json").json[0]["ai_status"] == "completed"


def test_only_this_runs_jobs_count_and_foreign_ones_are_left_alone() -> None:
    call("enqueue", "of_somebody_else")
    call("enqueue", "generate_topics", "note", "1", "--payload", "[]")
    call("enqueue", "generate_topics", "note", "2", "--payload", '{"text": "later"}', "--run-after", "1d")
    summary = enriched()
    assert summary["jobs"] == {"completed": 5}
    assert call("stats", "--json").json["by_task_type"]["of_somebody_else"] == {"pending": 1}


def test_a_failed_target_shows_in_exit_code_and_catalog_and_is_tried_again() -> None:
    config = ("--set", "scheduler.timeout_s=0.0000001", "--set", "scheduler.max_attempts=1")
    summary = enriched(*config, code=1)
    assert summary["jobs"] == {"failed_timeout": 5}
    assert summary["reasons"] == {"timeout": 5}
    hits = call("find", "harbour", "--json").json
    assert {(hit["ai_status"], hit["reason"]) for hit in hits} == {("failed_timeout", "timeout")}
    assert enriched()["jobs"] == {"completed": 5}


def test_a_pause_by_hand_ends_the_run_with_what_is_left() -> None:
    call("pause", "pool:main")
    said = run("enrich", "tree", "--json", code=1)
    assert said.json["jobs"] == {"pending": 5}
    assert said.err.splitlines()[-1] == "5 jobs left waiting: pool:main is paused until you run `scheduler resume pool:main`"
    call("resume", "pool:main")
    assert enriched() == {"targets": 5, "unchanged": 0, "jobs": {"completed": 5}, "reasons": {}, "skipped": {}}


def test_concurrency_0_runs_nothing_and_says_so() -> None:
    said = run("enrich", "tree", "--concurrency", "0", code=1)
    assert "concurrency is 0 for enrich_entity_summary_keywords" in said.err


def test_jobs_that_another_process_runs_count_too(here: Path) -> None:
    with started("serve") as service:
        while not call("stats", "--json").json["workers"]:
            assert service.poll() is None
        summary = enriched("--concurrency", "1")
        service.terminate()
    assert sum(summary["jobs"].values()) + summary["unchanged"] == 5
    assert summary["jobs"].keys() <= {"completed"}
    assert {hit["ai_status"] for hit in call("find", "harbour", "mail", "tides", "letters", "--json").json} == {"completed"}


def test_a_signal_stops_it_and_the_next_run_goes_on(tree: Path) -> None:
    functions = "\n\n".join(
        f'def function_{number}():\n    """Return the number {number}."""\n    return {number}' for number in range(4_000)
    )
    (tree / "many.py").write_text(functions, encoding="utf-8")
    with started("enrich", "tree", "--json", "--set", "scheduler.dispatch_delay_s=0.001") as process:
        while not (Path("jobs.db").exists() and call("jobs", "--status", "completed", "--limit", "1", "--json").json):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by SIGINT: run the same command again to go on" in err
    done = call("stats", "--json").json["by_status"]["completed"]
    assert 0 < done < 4_005
    summary = enriched()
    assert summary["targets"] == 4_005
    assert summary["unchanged"] >= done
    assert call("stats", "--json").json["by_status"] == {"completed": 4_005}


def test_people_get_a_summary_to_read(tree: Path) -> None:
    (tree / "picture.md").write_bytes(b"\x00\x01\x02")
    said = on_terminal(["enrich", "tree"], 120)
    assert said.code == 0
    assert "Enriching" in said.plain
    for part in (
        "5 targets in",
        "Jobs",
        "Some results",
        "Split a header line",
        "Skipped files",
        "binary",
        "Where the rest is",
        "scheduler find",
    ):
        assert part in said.plain, part
    assert "job.completed" not in said.plain


def test_progress_elsewhere_than_on_a_terminal_stays_out_of_standard_output() -> None:
    said = run("enrich", "tree", "--json")
    assert said.out.count("\n") == 1
    assert said.err == ""


def test_warnings_show_above_the_display_and_everything_goes_to_a_log_file(here: Path) -> None:
    config = ["--set", "scheduler.timeout_s=0.0000001", "--set", "scheduler.max_attempts=1"]
    assert "job.failed" in on_terminal(["enrich", "tree", *config]).plain
    on_terminal(["enrich", "tree", "--set", "log.path=x.log"])
    assert (here / "x.log").read_text("utf-8").count('"job.completed"') == 5


def test_a_folder_that_is_out_of_reach_is_not_forgotten(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enriched()
    scandir = os.scandir

    def refusing(path: str | Path) -> Any:
        if str(path).endswith("tree"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert enriched() == {"targets": 0, "unchanged": 0, "jobs": {}, "reasons": {}, "skipped": {"unreadable": 1}}
    assert call("find", "header", "--json").json
