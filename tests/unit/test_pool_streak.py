"""Job after job fails: three different ones in a row are an outage, one that fails and fails is a bad job."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.job import Lease
from scheduler.pools.streak import JOBS, REMEMBERED, Streak


def lease(job: int, token: int = 1) -> Lease:
    return Lease(job, f"job-{job}", token)


def test_so_many_different_jobs_in_a_row_are_an_outage_and_the_earlier_failures_are_given_back() -> None:
    streak = Streak()
    earlier = [lease(number) for number in range(JOBS - 1)]
    assert [streak.failed(each) for each in earlier] == [[]] * (JOBS - 1)
    assert not streak.is_outage
    assert streak.failed(lease(99)) == earlier
    assert streak.is_outage


def test_one_job_that_fails_and_fails_is_no_outage() -> None:
    streak = Streak()
    assert all(streak.failed(lease(1, token)) == [] for token in range(10 * REMEMBERED))
    assert not streak.is_outage
    assert len(streak.failures) <= REMEMBERED


def test_every_failure_of_the_streak_is_given_back_also_several_of_one_job() -> None:
    streak = Streak()
    failures = [lease(1, 1), lease(1, 2), lease(2, 1)]
    for each in failures:
        streak.failed(each)
    assert streak.failed(lease(3)) == failures


def test_a_success_between_ends_the_streak() -> None:
    streak = Streak()
    for number in range(100):
        streak.failed(lease(number))
        assert streak.succeeded() is False
    assert not streak.is_outage


def test_a_success_ends_the_outage_once() -> None:
    streak = Streak()
    for number in range(JOBS):
        streak.failed(lease(number))
    assert streak.succeeded() is True
    assert streak.succeeded() is False
    assert not streak.is_outage


def test_a_failure_that_was_given_back_otherwise_is_not_given_back_again() -> None:
    streak = Streak()
    streak.failed(lease(1))
    streak.failed(lease(2))
    assert streak.jobs == 2
    streak.forget(lease(1))
    streak.forget(lease(7))
    assert streak.failed(lease(3)) == []
    assert streak.failed(lease(4)) == [lease(2), lease(3)]


def test_failures_during_the_outage_are_not_given_back_twice() -> None:
    streak = Streak()
    for number in range(JOBS):
        streak.failed(lease(number))
    assert streak.failed(lease(7)) == []
    streak.succeeded()
    assert streak.failed(lease(8)) == []
    assert streak.failures == [lease(8)]


@given(st.lists(st.none() | st.integers(0, 5), max_size=100))
def test_no_failure_is_given_back_after_a_success_and_none_twice(ends: list[int | None]) -> None:
    streak, since, given_back = Streak(), set(), []
    for token, job in enumerate(ends):
        if job is None:
            streak.succeeded()
            since.clear()
            continue
        back = streak.failed(lease(job, token))
        since.add(lease(job, token))
        assert set(back) <= since
        given_back += back
    assert len(set(given_back)) == len(given_back)
