"""``jobs``, ``show``, ``cancel`` and ``retry``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.shell.cli.command import call, on_terminal


def enqueued(*words: str) -> str:
    """A new job's id."""
    return call("enqueue", *words).out.strip()


def listed(*words: str) -> list[Any]:
    found: list[Any] = call("jobs", "--json", *words).json
    return found


def ids(*words: str) -> list[str]:
    return [job["job_id"] for job in listed(*words)]


def test_jobs_are_listed_newest_first_page_by_page() -> None:
    first, second, third = (enqueued("good") for _ in range(3))
    assert ids("--limit", "2") == [third, second]
    assert ids("--limit", "2", "--before", second) == [first]


def test_a_page_that_is_full_says_how_to_get_the_next() -> None:
    enqueued("good")
    last = enqueued("good")
    assert call("jobs", "--limit", "1").err == f"there may be more: --before {last}\n"
    assert call("jobs").err == ""


def test_jobs_are_filtered_by_everything_there_is_a_flag_for() -> None:
    mine = enqueued("good", "file", "7", "--owner", "ann")
    other = enqueued("bad", "folder", "8")
    call("run", "--until-empty", code=1)
    assert ids("--type", "good") == ids("--target-type", "file") == ids("--target-id", "7") == ids("--owner", "ann") == [mine]
    assert ids("--status", "failed_job_logic") == ids("--reason", "handler_error") == [other]
    assert ids("--status", "failed_job_logic", "--status", "completed") == [other, mine]
    assert ids("--type", "good", "--type", "bad", "--reason", "handler_error") == [other]
    assert ids("--owner", "nobody") == []


def test_a_listing_in_json_is_json_also_when_nothing_is_there() -> None:
    assert call("jobs", "--json").out == "[]\n"
    assert call("jobs").out == "no jobs\n"


def test_show_tells_everything_about_a_job() -> None:
    job_id = enqueued("good", "file", "7", "--payload", '{"text": "Grüße"}', "--priority", "3", "--unique-key", "k")
    call("run", "--until-empty")
    job = call("show", job_id, "--json").json
    assert (job["job_id"], job["task_type"], job["target_type"], job["target_id"]) == (job_id, "good", "file", "7")
    assert (job["status"], job["reason"], job["attempts"], job["priority"], job["unique_key"]) == ("completed", None, 1, 3, "k")
    assert job["payload"] == {"text": "Grüße"}
    assert job["result"] == {"got": {"text": "Grüße"}}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job["finished_at"].endswith("Z")


def test_show_gives_people_local_times_with_their_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = enqueued("good", "--run-after", "2030-01-31T18:00Z")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    said = on_terminal(["show", job_id])
    assert "2030-01-31 23:30:00+05:30" in said.out


def test_show_tells_why_a_job_failed_without_obeying_what_it_says() -> None:
    job_id = enqueued("bad", "--payload", r'{"say": "\u001b[2J [red]oh[/red]"}')
    call("run", "--until-empty", code=1)
    said = on_terminal(["show", job_id])
    assert r"\x1b[2J [red]oh[/red]" in said.out
    assert "\x1b[2J" not in said.out


@pytest.mark.parametrize("verb", ["show", "cancel", "retry"])
def test_an_unknown_job_is_an_error_that_names_it(verb: str) -> None:
    assert call(verb, "nope", code=2).err == "scheduler: there is no job nope\n"


def test_a_foreign_job_looks_like_none() -> None:
    job_id = enqueued("good", "--owner", "ann")
    assert call("show", job_id, "--owner", "ann").code == 0
    assert call("show", job_id, "--owner", "bob", code=2).err == f"scheduler: there is no job {job_id}\n"
    assert call("cancel", job_id, "--owner", "bob", code=2).err == f"scheduler: there is no job {job_id}\n"


def test_cancel_and_retry_move_the_jobs_they_name() -> None:
    one, two, three = (enqueued("good") for _ in range(3))
    assert call("cancel", one, two).out == "cancelled 2 jobs (were: 2 pending)\n"
    assert sorted(ids("--status", "cancelled")) == sorted([one, two])
    assert call("retry", one).out == "retried 1 job (were: 1 cancelled)\n"
    assert sorted(ids("--status", "pending")) == sorted([one, three])


def test_one_unknown_id_among_many_changes_nothing() -> None:
    job_id = enqueued("good")
    assert call("cancel", job_id, "nope", code=2).err == "scheduler: there is no job nope\n"
    assert ids("--status", "pending") == [job_id]


def test_what_cannot_be_moved_is_left_alone_and_said_so() -> None:
    job_id = enqueued("good")
    assert call("retry", job_id).err == f"{job_id} is pending: left alone\n"
    call("run", "--until-empty")
    assert call("cancel", job_id).out == "cancelled 0 jobs\n"
    assert ids("--status", "completed") == [job_id]


def test_many_are_moved_by_status_reason_or_type() -> None:
    for _ in range(3):
        enqueued("bad")
    enqueued("good")
    call("run", "--until-empty", code=1)
    assert call("retry", "--reason", "handler_error", "--json").json == {"retried": 3, "was": {"failed_job_logic": 3}}
    assert call("cancel", "--type", "bad", "--status", "pending").out == "cancelled 3 jobs (were: 3 pending)\n"
    assert call("retry", "--status", "cancelled", "--type", "good").out == "retried 0 jobs\n"


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_moving_jobs_without_saying_which_is_refused(verb: str) -> None:
    job_id = enqueued("good")
    assert "say which jobs: ids, or at least one of --status" in call(verb, code=2).err
    assert "ids or filters, not both" in call(verb, job_id, "--type", "good", code=2).err
    assert ids("--status", "pending") == [job_id]


def test_a_status_that_does_not_exist_is_an_error_that_lists_those_that_do() -> None:
    assert "there is no status 'done'; there are pending, processing" in call("jobs", "--status", "done", code=2).err
    assert "status completed does not go with this" in call("cancel", "--status", "completed", code=2).err


def test_a_table_fits_the_terminal_and_never_cuts_an_id() -> None:
    job_id = enqueued("good", "file", "/a/very/long/path/to/some/module/that/goes/on/and/on/for/a/while.py::Class.method")
    for width in (80, 120):
        lines = on_terminal(["jobs"], width).plain.splitlines()
        assert max(map(len, lines)) <= width
        assert any(job_id in line and "Class.method" in line for line in lines), lines
