"""How often a job runs, and what counts: attempts, refunds, backoff, time limits, crashes."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from scheduler import AIProviderError, JobContext, ProviderRefusedError, RateLimitError, Registry, Status
from scheduler.events import JobLost, JobRetrying
from scheduler.stores.base import Want
from tests.support.engine import engine
from tests.support.virtual_time import in_virtual_time


def failing(error: BaseException, runs: list[int]) -> Registry:
    """One route whose handler notes its attempt and raises ``error``."""
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        runs.append(job.attempt)
        raise error

    return routes


@in_virtual_time
async def test_a_job_whose_provider_always_fails_runs_exactly_three_times(store: str) -> None:
    runs: list[int] = []
    async with engine(failing(AIProviderError("boom"), runs), store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert runs == [1, 2, 3]
    assert (job.status, job.reason, job.attempts) == (Status.FAILED_AI, "provider_error", 3)
    assert "boom" in (job.error or "")


@in_virtual_time
async def test_our_own_failing_code_ends_as_job_logic_after_every_attempt(store: str) -> None:
    runs: list[int] = []
    async with engine(failing(ValueError("bug"), runs), store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert runs == [1, 2, 3]
    assert (job.status, job.reason, job.error) == (Status.FAILED_JOB_LOGIC, "handler_error", "ValueError: bug")


@in_virtual_time
async def test_a_refusal_for_good_is_not_tried_again(store: str) -> None:
    runs: list[int] = []
    async with engine(failing(ProviderRefusedError("no"), runs), store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert runs == [1]
    assert (job.status, job.reason) == (Status.FAILED_AI, "refused")


@in_virtual_time
async def test_a_handler_that_is_always_too_slow_ends_as_timeout(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work", timeout_s=30.0)
    async def work(job: JobContext) -> None:
        runs.append(anyio.current_time())
        await anyio.sleep(3_600.0)

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
        assert anyio.current_time() >= 90.0
    assert len(runs) == 3
    assert (job.status, job.reason, job.attempts) == (Status.FAILED_TIMEOUT, "timeout", 3)
    assert "30 s" in (job.error or "")


@in_virtual_time
async def test_a_handler_within_its_time_limit_is_left_alone() -> None:
    routes = Registry()

    @routes.handler("work", timeout_s=30.0)
    async def work(job: JobContext) -> str:
        await anyio.sleep(29.9)
        return "done"

    async with engine(routes) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        assert (await at.job(receipt.job_id)).result == "done"


@pytest.mark.parametrize(
    ("own", "handlers", "configured", "expected"), [(None, None, None, 3), (None, 4, None, 4), (None, 4, 2, 2), (1, 4, 2, 1)]
)
@in_virtual_time
async def test_the_jobs_own_limit_beats_the_configured_one_which_beats_the_handlers(
    own: int | None, handlers: int | None, configured: int | None, expected: int
) -> None:
    routes, runs = Registry(), []

    @routes.handler("work", max_attempts=handlers)
    async def work(job: JobContext) -> None:
        runs.append(job.attempt)
        raise AIProviderError

    async with engine(routes, task_types={"work": {"max_attempts": configured}}) as at:
        await at.scheduler.enqueue("work", max_attempts=own)
        await at.scheduler.run(until_empty=True)
    assert runs == list(range(1, expected + 1))


@in_virtual_time
async def test_a_configured_time_limit_beats_the_handlers_and_a_jobs_own_beats_both() -> None:
    routes, ran_s = Registry(), []

    @routes.handler("work", timeout_s=100.0, max_attempts=1)
    async def work(job: JobContext) -> None:
        began = anyio.current_time()
        try:
            await anyio.sleep(1_000.0)
        finally:
            ran_s.append(round(anyio.current_time() - began, 3))

    async with engine(routes, task_types={"work": {"timeout_s": 20.0}}, scheduler={"concurrency": 1}) as at:
        await at.scheduler.enqueue("work")
        await at.scheduler.enqueue("work", timeout_s=5.0)
        await at.scheduler.run(until_empty=True)
    assert ran_s == [20.0, 5.0]


@in_virtual_time
async def test_waits_between_attempts_stay_within_the_doubling_bound() -> None:
    runs: list[int] = []
    async with engine(failing(AIProviderError(), runs), scheduler={"max_attempts": 6, "backoff_base_s": 2.0, "backoff_max_s": 10.0}) as at:
        await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        delays = [event.fields()["delay_s"] for event in at.history.of(JobRetrying)]
    assert len(delays) == 5
    assert all(0.0 <= delay <= bound for delay, bound in zip(delays, [2.0, 4.0, 8.0, 10.0, 10.0], strict=True))


@in_virtual_time
async def test_a_retry_after_is_a_floor_that_jitter_never_undercuts() -> None:
    routes, started = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        started.append(anyio.current_time())
        raise AIProviderError("later", retry_after_s=50.0)

    async with engine(routes) as at:
        await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
    assert [later - earlier >= 50.0 for earlier, later in pairwise(started)] == [True, True]


@in_virtual_time
async def test_a_rate_limit_gives_the_attempt_back_however_often(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> str:
        runs.append(job.attempt)
        if len(runs) <= 7:
            raise RateLimitError(retry_after_s=10.0)
        return "done"

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert runs == [1] * 8
    assert (job.status, job.attempts, job.reason, job.error) == (Status.COMPLETED, 1, None, None)


@in_virtual_time
async def test_rate_limits_between_failures_change_nothing_about_the_count(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        runs.append(job.attempt)
        raise RateLimitError(retry_after_s=5.0) if len(runs) % 2 else AIProviderError()

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert runs == [1, 1, 2, 2, 3, 3]
    assert (job.status, job.attempts) == (Status.FAILED_AI, 3)


@in_virtual_time
async def test_waiting_for_the_provider_is_bounded(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        runs.append(anyio.current_time())
        raise RateLimitError(retry_after_s=600.0)

    async with engine(routes, store, scheduler={"give_up_after_s": 3_600.0, "poll_interval_s": 60.0}) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
        assert 3_600.0 <= anyio.current_time() < 3_700.0
    assert 6 <= len(runs) <= 7
    assert (job.status, job.reason, job.attempts) == (Status.FAILED_AI, "gave_up_waiting", 0)


@in_virtual_time
async def test_jobs_behind_a_pause_that_outlasts_their_patience_fail_without_running_again(store: str) -> None:
    routes, runs = Registry(), []

    @routes.handler("work")
    async def work(job: JobContext) -> None:
        runs.append(job.job_id)
        raise RateLimitError(retry_after_s=80_000.0)

    async with engine(routes, store, scheduler={"give_up_after_s": 60.0, "concurrency": 3}) as at:
        for _ in range(3):
            await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        jobs = await at.scheduler.jobs(reason="gave_up_waiting")
        assert anyio.current_time() < 200.0
    assert len(jobs) == len(runs) == 3


@in_virtual_time
async def test_a_job_that_loses_its_worker_three_times_is_parked(store: str) -> None:
    """The third crash parks it; no attempt is counted, for the job ended none."""
    async with engine(failing(ValueError(), []), store, scheduler={"concurrency": 0}) as at:
        at.alone = False
        receipt = await at.scheduler.enqueue("work")
        seen = []
        for _ in range(3):
            claims = await at.scheduler.store.claim([Want("work", 1, ("work",))], "a worker that died", at.scheduler.clock.now())
            assert len(claims.claims) == 1
            await at.scheduler.run(until_empty=True)
            job = await at.job(receipt.job_id)
            seen.append((job.status, job.reason, job.crashes, job.attempts))
        assert len(at.history.of(JobLost)) == 2
    assert seen == [
        (Status.PENDING, "worker_lost", 1, 0),
        (Status.PENDING, "worker_lost", 2, 0),
        (Status.FAILED_JOB_LOGIC, "worker_lost", 3, 0),
    ]
