"""What ``watch`` draws of a look, at any size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from scheduler.cli.picture import WIDE, Look, bar, picture, sparkline
from scheduler.job import Status
from scheduler.times import epoch, utc_time
from scheduler.views.jobs import ProgressView, summary
from scheduler.views.operating import BucketView, PauseView, PoolView, StatsView, WorkerView
from tests.support.jobs import T0, a_job

HOSTILE = "\x1b[31mred\x1b]0;title\x07\nnext \u202egnp"


def a_look(running: int = 3, *, hostile: bool = False, mine: bool = False, **counts: int) -> Look:
    """A look at a busy service."""
    bad = HOSTILE if hostile else ""
    jobs = [
        summary(a_job(job_id=f"r{n}", status=Status.PROCESSING, started_at=T0 - 90, attempts=2, target_id=f"{bad}{n}", progress_json=None))
        for n in range(running)
    ]
    if jobs:
        jobs[0] = jobs[0].model_copy(update={"progress": ProgressView(percent=42.0, message=f"{bad}half", left_s=75.0)})
    failed = [summary(a_job(status=Status.FAILED_AI, reason="auth", error=f"{bad}key {n}", finished_at=T0 - 40 - n)) for n in range(3)]
    window: dict[str, Any] = {"gate": "closed", "set_at": None, "set_by": None, "strikes": 2, "probe": None}
    pauses = [
        PauseView(
            scope=f"pool:main{bad}", reason="rate_limited", until=utc_time(T0 + 130), remaining_s=130.0, task_types=["lane"], **window
        ),
        PauseView(scope="lane", reason="paused", until=None, remaining_s=None, task_types=["lane"], **window),
    ]
    pool = PoolView(
        name="main", scope="pool:main", task_types=["lane"], limited_by=None, state="held", calls_per_minute=60.0, in_flight=3,
        max_in_flight=5, waiting=12, calls_last_minute=58.0,
    )  # fmt: skip
    worker = WorkerView(
        worker="w1",
        state="living",
        host=f"h{bad}",
        pid=1,
        started_at=None,
        silent_s=1.0,
        lease_s=35.0,
        running=running,
        by_task_type={},
        offers=None,
    )
    by_status = {"pending": 1_200, "processing": max(running, counts.get("processing", 0)), "completed": 5_000, "failed_ai": 3, **counts}
    stats = StatsView(
        total=sum(by_status.values()), unfinished=0, by_status=by_status, by_task_type={}, reasons={"auth": 3, "timeout": 1}, pauses=pauses,
        workers=[],
    )  # fmt: skip
    buckets = [BucketView(at="", completed=n, failed=n % 2, cancelled=0) for n in range(41)]
    return Look(
        at=T0, source="sqlite:///jobs.db", stats=stats, running=jobs, failed=failed, bucket_s=15.0, buckets=buckets,
        pools=None if mine else [pool], workers=None if mine else [worker],
    )  # fmt: skip


def drawn(look: Look, width: int = 80, height: int = 24, now: float = T0, trouble: str = "") -> str:
    return "\n".join(line.plain.rstrip() for line in picture(look, now, width, height, trouble))


@given(st.integers(1, 250), st.integers(1, 80), st.integers(0, 40), st.booleans(), st.booleans())
def test_it_fits_whatever_the_size(width: int, height: int, running: int, hostile: bool, mine: bool) -> None:
    lines = picture(a_look(running, hostile=hostile, mine=mine), T0, width, height, "reconnecting…")
    assert len(lines) <= height
    assert max(cell_len(line.plain) for line in lines) <= width
    assert not any(character in line.plain for line in lines for character in "\x1b\x07\n\u202e")


def test_at_eighty_by_twenty_four_everything_has_its_place() -> None:
    text = drawn(a_look())
    head = ("1,200 pending", "3 processing", "5,000 completed", "3 failed")
    left = ("Running", "42%", "1m 15s left", "Failed or put off", "auth  3, last 40 s ago")
    right = ("Paused", "2m 10s left", "until resumed", "Pools", "3 of 5 in flight", "Workers", "w1  living")
    for told in head + left + right:
        assert told in text, told


def test_a_wide_terminal_has_two_columns() -> None:
    beside = [line for line in drawn(a_look(), WIDE).splitlines() if line.startswith("Running")]
    assert "Paused" in beside[0]


def test_pauses_count_down_between_looks() -> None:
    assert "1m 10s left" in drawn(a_look(), now=T0 + 60)
    assert "one goes first" in drawn(a_look(), now=T0 + 131)


def test_what_is_wrong_is_said_with_how_old_the_picture_is() -> None:
    assert "as of 7 s ago, reconnecting… gone" in drawn(a_look(), 120, now=T0 + 7, trouble="reconnecting… gone")


def test_a_picture_that_is_old_says_so() -> None:
    assert "as of" not in drawn(a_look(), now=T0 + 4)
    assert "as of 6 s ago" in drawn(a_look(), now=T0 + 6)


def test_what_there_is_no_room_for_is_counted() -> None:
    look = a_look(40, processing=100)
    assert "Running  40 of 100" in drawn(look, height=400)
    shown = sum("attempt 2" in line for line in drawn(look).splitlines())
    assert 0 < shown < 40
    assert f"Running  {shown} of 100" in drawn(look)


def test_no_count_is_lost_where_a_line_is_too_short() -> None:
    text = drawn(a_look(rate_limited=12, retry_ai=1_000, cancelled=77_000), 60)
    for told in ("1,200 pending", "3 processing", "12 rate_limited", "1,000 retry_ai", "5,000 completed", "3 failed", "77,000 cancelled"):
        assert told in text


def test_hostile_text_is_made_visible() -> None:
    text = drawn(a_look(hostile=True), 200, 60)
    assert r"\x1b[31mred\x1b]0;title\x07 next \u202egnp" in text


def test_what_is_not_to_be_seen_is_not_spoken_of() -> None:
    text = drawn(a_look(mine=True))
    assert "Pools" not in text
    assert "Workers" not in text


@pytest.mark.parametrize(("values", "shown"), [([], ""), ([0, 0], "▁▁"), ([0, 1, 1000], "▁▂█"), ([5], "█"), ([1, 2, 3, 4], "▃▅▆█")])
def test_a_sparkline_shows_the_least_and_the_most(values: list[float], shown: str) -> None:
    assert sparkline(values) == shown


@pytest.mark.parametrize(("percent", "shown"), [(0, "    "), (100, "████"), (50, "██  "), (-5, "    "), (140, "████"), (3.2, "▏   ")])
def test_a_bar_is_as_full_as_the_percentage(percent: float, shown: str) -> None:
    assert bar(percent, 4) == shown


@given(st.floats(0, 4e9))
def test_times_come_back_as_they_were_told(at: float) -> None:
    assert epoch(utc_time(at)) == pytest.approx(at, abs=0.001)
