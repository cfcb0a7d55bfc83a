"""The catalog keeps what was learned, follows jobs in any order of news, and finds by any words."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.catalog.catalog import Catalog, Count, Entry, Findings, Recorded, Update
from scheduler.catalog.database import MIGRATIONS
from scheduler.catalog.status import BATCH_SIZE, CatalogFollower, findings_of
from scheduler.catalog.targets import Target
from scheduler.errors import StoreBusyError, StoreDamagedError, StoreError, StoreTooNewError
from scheduler.events import (
    Events,
    JobCancelled,
    JobCompleted,
    JobEnqueued,
    JobFailed,
    JobInterrupted,
    JobLost,
    JobRateLimited,
    JobRequeued,
    JobRetrying,
    JobStarted,
)
from scheduler.job import Draft, Job, Status, Transition
from scheduler.stores.base import JobQuery

RESULT = {"summary": "Counts the pulses of a sensor.", "keywords": ["pulse", "sensor"], "topics": ["hardware"], "model": "local"}


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with Catalog(tmp_path / "catalog.db") as opened:
        yield opened


def target(name: str = "f", *, path: str = "/src/a.py", content_hash: str = "h1", start_line: int = 1) -> Target:
    return Target(f"{path}::{name}", "code_entity", name, path, "python", start_line, start_line + 1, content_hash, {})


def job(name: str = "f", job_id: str = "j1", **changes: Any) -> Job:
    plain = Job(
        seq=1, job_id=job_id, task_type="t", target_type="code_entity", target_id=f"/src/a.py::{name}", payload_json=None,
        status=Status.PENDING, reason=None, error=None, priority=0, run_after=0.0, attempts=1, crashes=0, max_attempts=None,
        timeout_s=None, token=1, worker="w", unique_key=None, owner=None, fingerprint=None, created_at=100.0, started_at=None,
        finished_at=None, waiting_since=None, result_json=None, progress_json=None, state_json=None,
    )  # fmt: skip
    return plain._replace(**changes)


def draft(name: str = "f", job_id: str = "j1") -> Draft:
    return Draft(job_id, "t", "code_entity", f"/src/a.py::{name}", None, 0, 0.0, None, None, None, None, None)


def completed(at: float, of: Job, result: Any = RESULT) -> JobCompleted:
    return JobCompleted(at, of, Transition(Status.COMPLETED, result_json=json.dumps(result)), 1.0, 0.0)


async def entry(catalog: Catalog, name: str = "f") -> Entry:
    found = await catalog.get(f"/src/a.py::{name}")
    assert found is not None
    return found


class TestRecording:
    async def test_a_batch_says_what_is_new_changed_and_unchanged(self, catalog: Catalog) -> None:
        assert await catalog.record([target("f"), target("g")], 1.0) == Recorded(2, 0, 0)
        batch = [target("f", start_line=9), target("g", content_hash="h2"), target("h")]
        assert await catalog.record(batch, 2.0) == Recorded(1, 1, 1)
        moved, edited = await entry(catalog, "f"), await entry(catalog, "g")
        assert (moved.start_line, moved.seen_at, moved.changed_at) == (9, 2.0, 1.0)
        assert (edited.content_hash, edited.changed_at) == ("h2", 2.0)

    async def test_what_was_learned_survives_new_scans_and_an_edit_makes_it_stale(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        assert (await entry(catalog)).is_stale
        await catalog.apply([Update("/src/a.py::f", "code_entity", "j1", 2.0, 3.0, "completed", findings=findings_of(RESULT, 3.0))])
        await catalog.record([target()], 4.0)
        assert not (await entry(catalog)).is_stale
        await catalog.record([target(content_hash="h2")], 5.0)
        edited = await entry(catalog)
        assert edited.is_stale
        assert (edited.summary, edited.keywords, edited.topics, edited.model) == (
            RESULT["summary"], ("pulse", "sensor"), ("hardware",), "local",
        )  # fmt: skip

    async def test_only_targets_below_the_roots_that_were_not_seen_are_forgotten(self, catalog: Catalog) -> None:
        paths = ["/src/a.py", "/src/deep/b.py", "/src-other/c.py", "/srcs/c.py", "/src.py", "/other/d.py", "/src/seen.py"]
        await catalog.record([target(path=path) for path in paths], 1.0)
        await catalog.record([target(path="/src/seen.py")], 2.0)
        assert await catalog.forget_missing([Path("/src")], 2.0) == 2
        assert await catalog.forget_missing(["/src.py"], 2.0) == 1
        left = [path for path in paths if await catalog.get(f"{path}::f")]
        assert left == ["/src-other/c.py", "/srcs/c.py", "/other/d.py", "/src/seen.py"]
        assert await catalog.forget_missing(["/"], 2.0) == 3

    async def test_what_is_forgotten_is_found_no_more(self, catalog: Catalog) -> None:
        await catalog.record([target("pulse_counter")], 1.0)
        assert await catalog.find("pulse")
        await catalog.forget_missing(["/src"], 2.0)
        assert await catalog.find("pulse") == []


class TestFollowingJobs:
    async def test_an_event_that_comes_before_the_mark_is_not_undone_by_it(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        await catalog.apply([Update("/src/a.py::f", "code_entity", "j1", 100.0, 101.0, "completed")])
        await catalog.mark_jobs([("/src/a.py::f", "j1")], 102.0)
        assert (await entry(catalog)).ai_status == "completed"

    async def test_a_new_job_starts_afresh(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        await catalog.apply([Update("/src/a.py::f", "code_entity", "j1", 100.0, 101.0, "failed_ai", "auth", "no key")])
        await catalog.mark_jobs([("/src/a.py::f", "j2")], 102.0)
        now = await entry(catalog)
        assert (now.job_id, now.ai_status, now.reason, now.error) == ("j2", "pending", None, None)

    async def test_a_job_that_fails_later_takes_away_nothing_that_was_learned(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        await catalog.apply([Update("/src/a.py::f", "code_entity", "j1", 2.0, 3.0, "completed", findings=findings_of(RESULT, 3.0))])
        await catalog.apply([Update("/src/a.py::f", "code_entity", "j2", 4.0, 5.0, "failed_ai", "auth", "401")])
        now = await entry(catalog)
        assert (now.ai_status, now.summary, now.keywords, now.topics, now.model, now.enriched_at) == (
            "failed_ai", RESULT["summary"], ("pulse", "sensor"), ("hardware",), "local", 3.0,
        )  # fmt: skip

    async def test_an_older_job_never_overwrites_a_newer_one(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        await catalog.mark_jobs([("/src/a.py::f", "j2")], 102.0)
        await catalog.apply([Update("/src/a.py::f", "code_entity", "j1", 100.0, 103.0, "completed", findings=Findings("old"))])
        now = await entry(catalog)
        assert (now.job_id, now.ai_status, now.summary) == ("j2", "pending", None)

    async def test_older_news_of_the_same_job_changes_nothing(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        for at, status in ((105.0, "completed"), (104.0, "processing")):
            await catalog.apply([Update("/src/a.py::f", "code_entity", "j1", 100.0, at, status)])
        assert (await entry(catalog)).ai_status == "completed"

    async def test_jobs_of_targets_that_the_catalog_does_not_know_change_nothing(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        await catalog.apply([Update("/src/a.py::f", "contact", "j1", 100.0, 101.0, "completed")])
        await catalog.apply([Update("elsewhere", "code_entity", "j1", 100.0, 101.0, "completed")])
        assert await catalog.counts() == [Count("code_entity", None, None, 1)]

    async def test_counts_tell_types_statuses_and_reasons_apart(self, catalog: Catalog) -> None:
        await catalog.record([target(name) for name in "abcd"], 1.0)
        for name, status, reason in (("a", "failed_ai", "auth"), ("b", "failed_ai", "auth"), ("c", "completed", None)):
            await catalog.apply([Update(f"/src/a.py::{name}", "code_entity", "j" + name, 2.0, 3.0, status, reason)])
        assert await catalog.counts() == [
            Count("code_entity", None, None, 1),
            Count("code_entity", "completed", None, 1),
            Count("code_entity", "failed_ai", "auth", 2),
        ]

    async def test_unfinished_targets_come_in_pages(self, catalog: Catalog) -> None:
        statuses = dict(
            zip("abcdefgh", ["pending", "processing", "rate_limited", "retry_ai", "completed", "cancelled", "failed_ai", None], strict=True)
        )
        await catalog.record([target(name) for name in statuses], 1.0)
        await catalog.apply([Update(f"/src/a.py::{name}", "code_entity", "j", 2.0, 3.0, status) for name, status in statuses.items()])
        first = await catalog.unfinished(limit=3)
        rest = await catalog.unfinished(after_id=first[-1].id)
        assert [one.title for one in first + rest] == ["a", "b", "c", "d"]


class TestFinding:
    @pytest.fixture
    async def filled(self, catalog: Catalog) -> Catalog:
        await catalog.record([target("PulseCounter.readAll"), target("parse_date", path="/src/dates.py"), target("x")], 1.0)
        summaries = {
            "/src/a.py::PulseCounter.readAll": RESULT,
            "/src/dates.py::parse_date": {"summary": "Parsing of dates.", "keywords": ["calendar"]},
        }
        updates = [Update(key, "code_entity", "j", 2.0, 3.0, "completed", findings=findings_of(one, 3.0)) for key, one in summaries.items()]
        await catalog.apply(updates)
        return catalog

    @pytest.mark.parametrize(
        ("words", "title"),
        [
            ("sensor", "PulseCounter.readAll"),
            ("HARDWARE", "PulseCounter.readAll"),
            ("counter", "PulseCounter.readAll"),
            ("counter read", "PulseCounter.readAll"),
            ("pulsecounter", "PulseCounter.readAll"),
            ("calend", "parse_date"),
            ("parses", "parse_date"),
            ("dates.py", "parse_date"),
            ("sensor nowhereatall", "PulseCounter.readAll"),
        ],
    )
    async def test_words_are_found_in_names_summaries_keywords_topics_and_paths(self, filled: Catalog, words: str, title: str) -> None:
        assert [hit.entry.title for hit in await filled.find(words)] == [title]

    async def test_a_name_counts_more_than_a_word_in_a_summary(self, filled: Catalog) -> None:
        await filled.record([target("sensor")], 4.0)
        assert [hit.entry.title for hit in await filled.find("sensor")] == ["sensor", "PulseCounter.readAll"]
        assert len(await filled.find("sensor", 1)) == 1

    async def test_the_snippet_marks_what_was_found(self, filled: Catalog) -> None:
        [hit] = await filled.find("pulses", marks=("<", ">"))
        assert hit.snippet == "Counts the <pulses> of a sensor."
        assert [one.snippet for one in await filled.find("x", marks=("<", ">"))] == ["<x>"]

    async def test_the_index_forgets_what_was_learned_before(self, filled: Catalog) -> None:
        again = Findings("Something else.", ("other",), (), "m", 9.0)
        await filled.apply([Update("/src/a.py::PulseCounter.readAll", "code_entity", "j", 2.0, 9.0, "completed", findings=again)])
        assert await filled.find("sensor") == []
        assert [hit.entry.title for hit in await filled.find("something")] == ["PulseCounter.readAll"]

    @pytest.mark.parametrize(
        "words", ["", "   ", '"', "*", "()", "AND", "NOT x", 'NEAR("a" "b")', "title:x", "x^2 -y", "\x00", "\ud800", "²", "a\u0301"]
    )
    async def test_no_words_are_taken_for_search_syntax(self, filled: Catalog, words: str) -> None:
        await filled.find(words)

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(words=st.lists(st.text(max_size=6) | st.sampled_from(['"', "AND", "NEAR", "*", ":", "(", "^", "{", "-", "+"]), max_size=50))
    def test_no_words_are_a_search_error(self, tmp_path: Path, words: list[str]) -> None:
        async def search() -> None:
            async with Catalog(tmp_path / "catalog.db") as catalog:
                await catalog.find(" ".join(words))

        anyio.run(search)


class TestTheFile:
    async def test_it_belongs_to_its_owner_alone(self, catalog: Catalog) -> None:
        await catalog.record([target()], 1.0)
        for path in catalog.path.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_it_keeps_everything_when_it_is_opened_again(self, tmp_path: Path) -> None:
        for _ in range(2):
            async with Catalog(tmp_path / "c.db") as catalog:
                await catalog.record([target()], 1.0)
        with sqlite3.connect(tmp_path / "c.db") as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
            assert connection.execute("SELECT count(*) FROM targets").fetchone() == (1,)
        connection.close()

    async def test_a_newer_schema_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        async with Catalog(tmp_path / "c.db"):
            pass
        connection = sqlite3.connect(tmp_path / "c.db", isolation_level=None)
        connection.execute("PRAGMA user_version = 99")
        with pytest.raises(StoreTooNewError, match=r"schema 99.*upgrade"):
            await Catalog(tmp_path / "c.db").open()
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
        connection.close()

    async def test_a_damaged_file_is_named_as_such(self, tmp_path: Path) -> None:
        (tmp_path / "c.db").write_bytes(b"no database at all " * 500)
        with pytest.raises(StoreDamagedError, match=r"c\.db is damaged or not a catalog"):
            await Catalog(tmp_path / "c.db").open()

    async def test_another_database_is_not_taken_for_a_catalog(self, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / "c.db")
        connection.execute("CREATE TABLE precious (x)")
        connection.close()
        before = (tmp_path / "c.db").read_bytes()
        with pytest.raises(StoreDamagedError, match="not a catalog: choose another file"):
            await Catalog(tmp_path / "c.db").open()
        assert (tmp_path / "c.db").read_bytes() == before

    async def test_a_folder_that_does_not_exist_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"cannot create the catalog .*nowhere.*Choose a folder"):
            await Catalog(tmp_path / "nowhere" / "c.db").open()

    async def test_a_catalog_that_is_not_open_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="is not open"):
            await Catalog(tmp_path / "c.db").counts()

    async def test_a_failed_batch_changes_nothing(self, catalog: Catalog) -> None:
        broken = replace(target("g"), title="g", content_hash=None)  # type: ignore[arg-type]
        with pytest.raises(StoreError):
            await catalog.record([target("f"), broken], 1.0)
        assert await catalog.counts() == []
        assert await catalog.record([target("f")], 1.0) == Recorded(1, 0, 0)

    async def test_a_cancelled_caller_leaves_no_transaction_open(self, catalog: Catalog) -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(catalog.record, [target(f"f{number}")], 1.0)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert await catalog.record([target("after")], 2.0) == Recorded(1, 0, 0)

    async def test_writers_that_come_at_once_take_turns(self, catalog: Catalog) -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(catalog.record, [target(f"f{number}")], 1.0)
        assert await catalog.counts() == [Count("code_entity", None, None, 20)]

    def test_processes_that_create_it_at_once_all_succeed(self, tmp_path: Path) -> None:
        script = (
            "import anyio, sys\nfrom scheduler.catalog.catalog import Catalog\n"
            "async def main():\n async with Catalog(sys.argv[1]) as c:\n  print(await c.counts())\nanyio.run(main)"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "c.db")]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        assert [(*process.communicate(timeout=60), process.returncode) for process in running] == [(b"[]\n", b"", 0)] * 4


class TestTheFollower:
    @pytest.mark.parametrize(
        ("event", "status", "reason", "error"),
        [
            (JobEnqueued(1.0, draft()), "pending", None, None),
            (JobStarted(1.0, job(), 0.0), "processing", None, None),
            (completed(1.0, job()), "completed", None, None),
            (
                JobRateLimited(1.0, job(), Transition(Status.RATE_LIMITED, "overloaded", "529"), 1.0, 0.0),
                "rate_limited",
                "overloaded",
                "529",
            ),
            (JobRetrying(1.0, job(), Transition(Status.RETRY_AI, "timeout", "slow"), 1.0, 0.0), "retry_ai", "timeout", "slow"),
            (JobFailed(1.0, job(), Transition(Status.FAILED_AI, "auth", "401"), 1.0, 0.0), "failed_ai", "auth", "401"),
            (JobCancelled(1.0, job()), "cancelled", "cancelled", None),
            (JobInterrupted(1.0, job(), Transition(Status.PENDING, "interrupted"), 1.0, 0.0), "pending", "interrupted", None),
            (JobLost(1.0, job(), Transition(Status.PENDING, "worker_lost", "gone"), 1.0, 0.0), "pending", "worker_lost", "gone"),
            (JobRequeued(1.0, job(status=Status.FAILED_AI)), "pending", None, None),
        ],
    )
    async def test_every_move_of_a_job_is_followed(
        self, catalog: Catalog, event: Any, status: str, reason: str | None, error: str | None
    ) -> None:
        await catalog.record([target()], 0.5)
        events, follower, complaints = Events(), CatalogFollower(catalog), []
        events.on_error(lambda event, error: complaints.append(error))
        follower.follow(events)
        events.emit(event)
        await follower.flush()
        now = await entry(catalog)
        assert (now.ai_status, now.reason, now.error, now.job_id) == (status, reason, error, "j1")
        assert complaints == []

    async def test_what_a_job_learned_is_kept_although_it_was_sent_back_before_the_flush(self, catalog: Catalog) -> None:
        await catalog.record([target()], 0.5)
        follower = CatalogFollower(catalog)
        follower.note(completed(101.0, job()))
        follower.note(JobStarted(102.0, job(job_id="j2", created_at=101.5), 0.0))
        follower.note(JobStarted(100.5, job(), 0.0))
        assert follower.waiting == 1
        await follower.flush()
        now = await entry(catalog)
        assert (now.job_id, now.ai_status, now.summary, now.enriched_at) == ("j2", "processing", RESULT["summary"], 101.0)

    async def test_notes_are_written_soon_without_anybody_asking(self, catalog: Catalog) -> None:
        await catalog.record([target()], 0.5)
        follower = CatalogFollower(catalog, flush_interval_s=0.0)
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            follower.note(completed(101.0, job()))
            with anyio.fail_after(10):
                while (await entry(catalog)).ai_status != "completed":
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

    async def test_many_notes_do_not_wait_for_the_interval(self, catalog: Catalog) -> None:
        await catalog.record([target(str(number)) for number in range(BATCH_SIZE)], 0.5)
        follower = CatalogFollower(catalog, flush_interval_s=3_600.0)
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            for number in range(BATCH_SIZE):
                follower.note(completed(101.0, job(str(number))))
            with anyio.fail_after(10):
                while follower.waiting:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert await catalog.counts() == [Count("code_entity", "completed", None, BATCH_SIZE)]

    async def test_what_is_left_is_written_when_it_is_stopped(self, catalog: Catalog) -> None:
        await catalog.record([target()], 0.5)
        follower = CatalogFollower(catalog, flush_interval_s=3_600.0)
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            await anyio.lowlevel.checkpoint()
            follower.note(completed(101.0, job()))
            group.cancel_scope.cancel()
        assert (await entry(catalog)).ai_status == "completed"

    async def test_notes_that_cannot_be_written_are_kept_below_newer_ones(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        await catalog.record([target()], 0.5)
        follower = CatalogFollower(catalog)

        async def busy(updates: object) -> None:
            follower.note(JobRequeued(102.0, job(status=Status.FAILED_AI)))
            raise StoreBusyError("locked")

        follower.note(completed(101.0, job()))
        with monkeypatch.context() as patched:
            patched.setattr(catalog, "apply", busy)
            with pytest.raises(StoreBusyError):
                await follower.flush()
        await follower.flush()
        now = await entry(catalog)
        assert (now.ai_status, now.summary) == ("pending", RESULT["summary"])

    async def test_a_catalog_that_cannot_be_written_is_reported_and_tried_again(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await catalog.record([target()], 0.5)
        heard: list[StoreError] = []
        follower = CatalogFollower(catalog, flush_interval_s=0.0, on_error=heard.append)
        apply = catalog.apply

        async def busy_once(updates: Any) -> None:
            if not heard:
                raise StoreBusyError("locked")
            await apply(updates)

        monkeypatch.setattr(catalog, "apply", busy_once)
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            follower.note(completed(101.0, job()))
            with anyio.fail_after(10):
                while (await entry(catalog)).ai_status != "completed":
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert [str(error) for error in heard] == ["locked"]

    async def test_leaving_the_bus_ends_it(self, catalog: Catalog) -> None:
        events, follower = Events(), CatalogFollower(catalog)
        leave = follower.follow(events)
        leave()
        events.emit(completed(1.0, job()))
        assert follower.waiting == 0

    @pytest.mark.parametrize("result", [None, 3, "text", [], {"summary": 1, "keywords": "a", "topics": [1, {"x": 2}, None]}])
    def test_a_result_of_another_kind_teaches_nothing(self, result: Any) -> None:
        found = findings_of(result, 1.0)
        assert found is None or (found.summary, found.keywords, found.model) == (None, None, None)

    async def test_what_a_handler_was_not_asked_for_stays_as_another_one_left_it(self, catalog: Catalog) -> None:
        await catalog.record([target()], 0.5)
        follower = CatalogFollower(catalog)
        follower.note(completed(101.0, job()))
        await follower.flush()
        follower.note(
            completed(103.0, job(job_id="j2", created_at=102.0), {"summary": "", "keywords": [], "topics": ["new"], "model": "m"})
        )
        await follower.flush()
        now = await entry(catalog)
        assert (now.summary, now.keywords, now.topics, now.model) == (RESULT["summary"], ("pulse", "sensor"), ("new",), "m")

    def test_topics_may_be_objects_with_a_name(self) -> None:
        found = findings_of({"topics": ["a", {"name": "b", "weight": 1}, {"topic": "c"}]}, 1.0)
        assert found is not None
        assert found.topics == ("a", "b", "c")


class TestReconciliation:
    async def test_targets_that_a_crash_left_behind_are_repaired_from_the_store(self, catalog: Catalog) -> None:
        names = [f"n{number}" for number in range(BATCH_SIZE + 3)]
        await catalog.record([target(name) for name in names], 0.5)
        await catalog.mark_jobs([(f"/src/a.py::{name}", "j" + name) for name in names], 100.0)
        stored = {
            "j" + name: job(name, "j" + name, status=Status.COMPLETED, finished_at=150.0, result_json=json.dumps(RESULT)) for name in names
        }
        stored["jn1"] = job("n1", "jn1", status=Status.FAILED_AI, reason="auth", error="401", finished_at=150.0)
        stored["jn2"] = job("n2", "jn2", status=Status.RATE_LIMITED, reason="rate_limited")
        del stored["jn3"]

        async def find(query: JobQuery) -> list[Job]:
            assert query.job_ids is not None
            assert query.limit >= len(query.job_ids)
            return [stored[one] for one in query.job_ids if one in stored]

        assert await CatalogFollower(catalog).reconcile(find, 200.0) == len(names)
        assert await catalog.counts() == [
            Count("code_entity", None, "job_missing", 1),
            Count("code_entity", "completed", None, BATCH_SIZE),
            Count("code_entity", "failed_ai", "auth", 1),
            Count("code_entity", "rate_limited", "rate_limited", 1),
        ]
        repaired = await entry(catalog, names[-1])
        assert (repaired.summary, repaired.enriched_at) == (RESULT["summary"], 150.0)

    async def test_news_that_came_after_the_reading_wins(self, catalog: Catalog) -> None:
        await catalog.record([target()], 0.5)
        await catalog.mark_jobs([("/src/a.py::f", "j1")], 100.0)
        follower = CatalogFollower(catalog)

        async def find(query: JobQuery) -> list[Job]:
            read = [job(status=Status.PROCESSING)]
            follower.note(completed(201.0, job()))
            await follower.flush()
            return read

        await follower.reconcile(find, 200.0)
        assert (await entry(catalog)).ai_status == "completed"

    async def test_a_target_whose_job_is_gone_takes_the_next_one(self, catalog: Catalog) -> None:
        await catalog.record([target()], 0.5)
        await catalog.mark_jobs([("/src/a.py::f", "j1")], 100.0)

        async def nothing(query: JobQuery) -> list[Job]:
            return []

        await CatalogFollower(catalog).reconcile(nothing, 200.0)
        assert (await entry(catalog)).ai_status is None
        await catalog.mark_jobs([("/src/a.py::f", "j2")], 201.0)
        assert (await entry(catalog)).ai_status == "pending"
