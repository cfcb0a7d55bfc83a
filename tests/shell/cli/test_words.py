"""What people write and read: durations, times, spans, tables; and the counts of a run."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.cli.options import duration_s, moment
from scheduler.cli.progress import Rate
from scheduler.cli.render import clean, emit_json, local_time, plural, shortened, span, tail
from scheduler.cli.tables import Column, _fitted
from scheduler.cli.tally import Tally
from scheduler.events import Events, JobCancelled, JobCompleted, JobEnqueued, JobFailed, JobInterrupted, JobRateLimited, JobStarted
from scheduler.job import Status, Transition
from scheduler.times import utc_time
from tests.support.jobs import T0, a_draft, a_job


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("5m", 300),
        ("2h", 7_200),
        ("7d", 604_800),
        ("1w", 604_800),
        ("1h30m", 5_400),
        ("0.5s", 0.5),
        ("90", 90),
        (" 1H ", 3_600),
    ],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10x", "-5m", "1m-", "1e9d", "inf", "nan", "99999999999999w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|thousand years"):
        duration_s(text)


def test_a_moment_is_a_time_or_lies_a_duration_away() -> None:
    assert moment("10m", T0) == T0 + 600
    assert moment("10m", T0, ago=True) == T0 - 600
    assert moment("2023-11-14T22:13:20Z", 0.0) == T0
    assert moment("2023-11-14T23:13:20+01:00", 0.0) == T0
    with pytest.raises(ValueError, match="that long from now"):
        moment("tomorrow", T0)
    with pytest.raises(ValueError, match="that long ago"):
        moment("0000-01-01", T0, ago=True)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 ms"),
        (0.00042, "0.42 ms"),
        (0.0125, "12.5 ms"),
        (0.99951, "1.0 s"),
        (12.34, "12.3 s"),
        (59.9, "59.9 s"),
        (200, "3m 20s"),
        (7_500, "2h 05m"),
        (3 * 86_400 + 4 * 3_600, "3d 04h"),
        (float("inf"), "without end"),
        (None, "without end"),
    ],
)
def test_a_span_is_as_exact_as_people_need(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown


def test_times_that_no_calendar_has_are_left_out() -> None:
    assert utc_time(T0) == "2023-11-14T22:13:20.000Z"
    assert [utc_time(at) for at in (None, float("inf"), float("nan"), 1e300)] == [None] * 4
    assert local_time(float("inf")) is None


def test_text_is_shown_and_not_obeyed() -> None:
    assert clean("a\x1b[2Jb\x00\x9b\u202e\ud800") == r"a\x1b[2Jb\x00\x9b\u202e\ud800"
    assert shortened("one\ntwo  three", 9) == "one two …"
    assert tail("/a/long/path.py", 8) == "…path.py"
    assert (plural(1, "job"), plural(0, "job"), plural(2_000, "job")) == ("1 job", "0 jobs", "2,000 jobs")


def test_json_has_no_infinities(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"a": [float("inf"), 1.5], "b": None}, indent=None)
    assert capsys.readouterr().out == '{"a": [null, 1.5], "b": null}\n'


HEADS = [Column("id"), Column("path", fit="start"), Column("none"), Column("age", minor=True)]
ROWS = [["0123456789", "x" * 60, "", "5 s"]]


@pytest.mark.parametrize(
    ("room", "kept", "widths"),
    [
        (100, [0, 1, 3], [10, 60, 3]),
        (50, [0, 1, 3], [10, 33, 3]),
        (37, [0, 1, 3], [10, 20, 3]),
        (36, [0, 1], [10, 24]),
        (5, [0, 1], [10, 20]),
    ],
)
def test_a_table_gives_up_length_then_minor_columns_and_never_whole_ones(room: int, kept: list[int], widths: list[int]) -> None:
    found, fitted = _fitted(HEADS, ROWS, room)
    assert found == kept
    assert [fitted[place] for place in found] == widths


def test_a_rate_is_of_the_last_ten_seconds() -> None:
    rate = Rate()
    assert rate.per_s(0, 0.0) == 0.0
    assert rate.per_s(100, 1.0) == 100.0
    for second in range(2, 30):
        last = rate.per_s(100, float(second))
    assert last == 0.0


def end(status: Status, reason: str | None = None, **more: Any) -> Transition:
    return Transition(status, reason, **more)


@pytest.fixture
def bus() -> Events:
    return Events()


async def test_a_run_counts_its_own_jobs_once_each_whatever_happens_to_them(bus: Events) -> None:
    tally = Tally(expecting=True)
    tally.follow(bus)
    jobs = [a_job(job_id=f"j{number}", task_type="a") for number in range(5)]
    for job in jobs[:4]:
        bus.emit(JobEnqueued(T0, a_draft("a", job_id=job.job_id)))
    tally.expect("left over", "b")
    for job in jobs:  # the fifth is somebody else's
        bus.emit(JobStarted(T0, job, 0.0))
    assert (tally.running, tally.waiting, tally.done) == (4, 1, 0)
    bus.emit(JobCompleted(T0, jobs[0], end(Status.COMPLETED, result_json="{}"), 2.0, 0.0))
    bus.emit(JobFailed(T0, jobs[1], end(Status.FAILED_AI, "auth"), 3.0, 0.0))
    bus.emit(JobRateLimited(T0, jobs[2], end(Status.RATE_LIMITED, "rate_limited"), 1.0, 0.0))
    bus.emit(JobInterrupted(T0, jobs[3], end(Status.PENDING, "interrupted"), 1.0, 0.0))
    bus.emit(JobCompleted(T0, jobs[4], end(Status.COMPLETED), 9.0, 0.0))
    assert (tally.running, tally.waiting, tally.done, tally.failed) == (0, 3, 2, 1)
    assert tally.by_status() == {"pending": 2, "rate_limited": 1, "completed": 1, "failed_ai": 1}
    assert tally.by_reason() == {"auth": 1, "rate_limited": 1}
    assert [slow.job_id for slow in tally.slowest] == ["j1", "j0"]
    assert not tally.all_ended.is_set()
    bus.emit(JobCancelled(T0, jobs[2]))
    tally.found([a_job(job_id="left over", status=Status.COMPLETED), a_job(job_id="j3", status=Status.RETRY_AI, reason="timeout")])
    assert tally.by_status() == {"retry_ai": 1, "completed": 2, "failed_ai": 1, "cancelled": 1}
    tally.gone(["j3"])
    assert tally.all_ended.is_set()


async def test_a_run_that_expects_nothing_counts_what_ends_here(bus: Events) -> None:
    tally = Tally(expecting=False)
    leave = tally.follow(bus)
    bus.emit(JobEnqueued(T0, a_draft("a", job_id="x")))
    assert tally.open == {}
    for number in range(20):
        bus.emit(JobStarted(T0, a_job(job_id=str(number)), 0.0))
        bus.emit(JobCompleted(T0, a_job(job_id=str(number)), end(Status.COMPLETED, result_json="{}"), float(number), 0.0))
    assert tally.by_status() == {"completed": 20}
    assert [slow.duration_s for slow in tally.slowest] == [19.0, 18.0, 17.0, 16.0, 15.0]
    assert sum(map(len, tally.samples.values())) == 2
    leave()
    bus.emit(JobStarted(T0, a_job(job_id="later"), 0.0))
    assert tally.running == 0
