"""How fast, and when done: only the time of attempts counts, and pauses are added where the end is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.eta import FAR_S, Pace, ends_at
from scheduler.job import Status
from tests.support.jobs import T0, a_job, a_window

LEFT = '{"percent":50,"left_s":30.0,"at":1700000000.0}'


class TestPace:
    def test_nothing_is_known_before_something_moved(self) -> None:
        pace = Pace(0.0, 0.0)
        assert pace.rate() is None
        pace.moved(5.0, 0.0)
        assert pace.rate() is None

    def test_a_steady_pace_is_its_rate(self) -> None:
        pace = Pace(100.0, 0.0)
        for second in range(1, 1_000):
            pace.moved(100.0 + second, 2.0 * second)
        assert pace.rate() == pytest.approx(2.0)

    def test_what_is_new_counts_for_more(self) -> None:
        pace = Pace(0.0, 0.0)
        pace.moved(1_000.0, 100.0)
        pace.moved(1_300.0, 700.0)
        assert pace.rate() == pytest.approx(1.6, rel=0.1), "not the 0.54 of all its time"

    def test_an_earlier_attempt_is_a_beginning(self) -> None:
        assert Pace(0.0, 50.0, earlier=3.0).rate() == pytest.approx(3.0)

    @given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=30))
    def test_no_sequence_makes_it_negative(self, moves: list[tuple[float, float]]) -> None:
        pace = Pace(0.0, 0.0)
        for at, done in moves:
            pace.moved(at, done)
        rate, left_s = pace.rate(), pace.left_s(100.0)
        assert rate is None or rate > 0
        assert left_s is None or 0 <= left_s < FAR_S

    def test_what_hardly_moves_has_no_end(self) -> None:
        pace = Pace(0.0, 0.0)
        pace.moved(1e6, 5e-324)
        assert (pace.rate(), pace.left_s(100.0)) == (None, None)
        pace.moved(2e6, 1e-300)
        assert pace.left_s(100.0) is None

    def test_what_is_left_is_told_at_the_pace(self) -> None:
        pace = Pace(0.0, 0.0)
        pace.moved(10.0, 20.0)
        assert pace.left_s(100.0) == pytest.approx(40.0)
        pace.moved(50.0, 100.0)
        assert pace.left_s(100.0) == 0.0


class TestEnd:
    def test_a_running_job_ends_when_its_work_is_done(self) -> None:
        assert ends_at(a_job(progress_json=LEFT), [], ["lane"], T0 + 10) == T0 + 30
        assert ends_at(a_job(progress_json=LEFT), [], ["lane"], T0 + 40) == T0 + 40

    def test_a_pause_puts_it_off(self) -> None:
        job = a_job(status=Status.RATE_LIMITED, progress_json=LEFT)
        assert ends_at(job, [a_window("lane", T0 + 100), a_window("other", T0 + 900)], ["lane"], T0) == T0 + 130

    def test_so_does_its_own_time(self) -> None:
        assert ends_at(a_job(status=Status.PENDING, run_after=T0 + 60, progress_json=LEFT), [], [], T0) == T0 + 90

    @pytest.mark.parametrize(
        "job",
        [a_job(), a_job(progress_json='{"percent":50}'), a_job(status=Status.COMPLETED, progress_json=LEFT)],
        ids=["no progress", "no pace", "over"],
    )
    def test_it_may_be_unknown(self, job: object) -> None:
        assert ends_at(job, [], [], T0) is None  # type: ignore[arg-type]

    def test_or_never(self) -> None:
        assert ends_at(a_job(status=Status.PENDING, progress_json=LEFT), [a_window("lane", float("inf"))], ["lane"], T0) is None
