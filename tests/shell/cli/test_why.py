"""``why`` and ``delete``; jobs chosen by text and time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shell.cli.command import call, on_terminal
from tests.shell.cli.test_jobs import enqueued, ids
from tests.support.postgres_server import a_schema, a_server, with_schema


def test_why_says_what_to_do_when_nobody_works() -> None:
    job_id = enqueued("good", "file", "7")
    assert call("why", job_id).out == "no worker runs: start one with `scheduler serve`\n"
    told = call("why", job_id, "--json").json
    assert told == {
        "sentence": "no worker runs: start one with `scheduler serve`",
        "causes": [{"kind": "no_worker", "sentence": "no worker runs: start one with `scheduler serve`", "until": None, "lost": 0}],
    }


def test_why_lists_several_causes_with_their_times() -> None:
    enqueued("good")
    job_id = enqueued("good")
    call("pause", "good", "--for", "2h")
    said = call("why", job_id)
    assert said.lines[0].startswith("no worker runs: start one with `scheduler serve`; waits for the pause of good (by hand) until ")
    assert said.lines[0].endswith("; `scheduler resume good` opens it, then behind 1 other")
    assert [line.split()[0] for line in said.lines[2:]] == ["cause", "no_worker", "lane_paused", "behind"]
    causes = call("why", job_id, "--json").json["causes"]
    assert [cause["kind"] for cause in causes] == ["no_worker", "lane_paused", "behind"]
    assert causes[1]["until"].endswith("Z")
    assert causes[2]["ahead"] == 1


def test_why_and_watch_tell_the_same_of_a_store_on_postgresql() -> None:
    with a_server() as server:
        store = ("--store", with_schema(server, a_schema("why")))
        enqueued("good", *store)
        job_id = enqueued("good", *store)
        call("pause", "good", "--for", "2h", *store)
        causes = call("why", job_id, "--json", *store).json["causes"]
        assert [cause["kind"] for cause in causes] == ["no_worker", "lane_paused", "behind"]
        assert causes[2]["ahead"] == 1
        picture = call("watch", "--json", *store).json
        assert picture["stats"]["by_status"] == {"pending": 2}
        call("resume", "good", *store)
        call("run", "--until-empty", *store)
        assert "completed at" in call("why", job_id, *store).out


def test_why_tells_how_a_job_ended_without_obeying_what_it_says() -> None:
    job_id = enqueued("bad", "--payload", r'{"say": "\u001b[2J [red]oh[/red]"}')
    call("run", "--until-empty", code=1)
    said = on_terminal(["why", job_id], 200)
    assert r"\x1b[2J [red]oh[/red]" in said.out
    assert "\x1b[2J" not in said.out
    assert "failed_job_logic (handler_error) at" in said.plain


@pytest.mark.parametrize("verb", ["why", "delete"])
def test_a_job_that_is_not_there_or_foreign_is_an_error(verb: str) -> None:
    job_id = enqueued("good", "--owner", "ann")
    assert call(verb, "nope", code=2).err == "scheduler: there is no job nope\n"
    assert call(verb, job_id, "--owner", "bob", code=2).err == f"scheduler: there is no job {job_id}\n"
    assert ids() == [job_id]


def test_deleted_jobs_are_gone_whatever_they_were() -> None:
    one, two, three = (enqueued("good") for _ in range(3))
    call("cancel", one)
    assert call("delete", one, two, one).out == "deleted 2 jobs (were: 1 pending, 1 cancelled)\n"
    assert ids() == [three]
    assert call("delete", three, "nope", code=2).err == "scheduler: there is no job nope\n"
    assert call("delete", three, "--json").json == {"deleted": 1, "was": {"pending": 1}}


def test_jobs_are_chosen_by_text_and_time() -> None:
    readme, other = enqueued("good", "file", "docs/README.md"), enqueued("good", "file", "100%_done")
    assert ids("--text", "readme") == [readme]
    assert ids("--text", "%_D") == [other]
    assert ids("--since", "1h") == [other, readme]
    assert ids("--until", "1h") == []
    assert "no time" in call("jobs", "--since", "yesterday", code=2).err
    assert call("cancel", "--text", "readme", "--since", "1h").out == "cancelled 1 job (were: 1 pending)\n"
    assert call("retry", "--text", "readme", "--until", "1h").out == "retried 0 jobs\n"
    assert call("retry", "--text", "README").out == "retried 1 job (were: 1 cancelled)\n"


def test_a_line_of_a_file_may_name_its_request() -> None:
    line = '{"task_type": "good", "run_after": "10m", "request_key": "r1"}\n'
    Path("jobs.jsonl").write_text(line, encoding="utf-8")
    for _ in range(2):
        call("enqueue", "--from", "jobs.jsonl", "--json")
    assert len(ids()) == 1
