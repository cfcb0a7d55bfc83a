"""Whatever a handler does becomes an outcome: odd exceptions, odd manners."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import scheduler.dispatcher
from scheduler import (
    AIProviderError,
    InvalidOutputError,
    JobContext,
    OverloadedError,
    ProviderRefusedError,
    QuotaExhaustedError,
    RateLimitError,
    Registry,
    Status,
)
from scheduler.events import HandlerUnresponsive
from tests.support.engine import engine, in_real_time
from tests.support.odd_jobs import DeafHandler, outcome, raising
from tests.support.virtual_time import in_virtual_time

QUICK = {"max_attempts": 1}


class Odd(BaseException):
    """Neither an error nor an exit."""


class Unreadable(Exception):
    """An error that cannot even be read."""

    @property
    def status_code(self) -> int:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")


class OddReason(RateLimitError):
    """A module's own error that sets its reason to whatever it has at hand."""

    def __init__(self, reason: Any) -> None:
        super().__init__("odd")
        self.reason = reason  # type: ignore[misc]


@pytest.mark.parametrize("target_type", ["async", "sync"])
@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
        StopIteration("x"),
        StopAsyncIteration(),
        Odd(),
        Unreadable(),
        MemoryError(),
        RecursionError(),
        BaseExceptionGroup("several", [SystemExit(1), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
@in_virtual_time
async def test_whatever_a_handler_raises_fails_its_job_and_the_service_lives(error: BaseException, target_type: str) -> None:
    async with engine(raising(error), scheduler=QUICK) as at:
        status, reason, _ = await outcome(at, target_type)
    assert (status, reason) == (Status.FAILED_JOB_LOGIC, "handler_error")


@pytest.mark.parametrize("retry_after_s", ["30", "soon", object(), float("nan"), -5, 10**400, True, b"7"], ids=lambda hint: repr(hint)[:9])
@in_virtual_time
async def test_a_hint_that_is_no_number_is_no_reason_to_fall(retry_after_s: Any) -> None:
    async with engine(raising(RateLimitError(retry_after_s=retry_after_s)), scheduler={"give_up_after_s": 0}) as at:
        status, reason, _ = await outcome(at, "async")
    assert (status, reason) == (Status.FAILED_AI, "gave_up_waiting")
    async with engine(raising(AIProviderError(retry_after_s=retry_after_s)), scheduler=QUICK) as at:
        status, reason, _ = await outcome(at, "async")
    assert (status, reason) == (Status.FAILED_AI, "provider_error")


@pytest.mark.parametrize("reason", [None, 7, {"not": "a word"}, object(), "bad\udcff", "x" * 5_000], ids=lambda value: str(value)[:12])
@in_virtual_time
async def test_a_reason_that_is_no_word_does_not_hold_up_the_other_outcomes(sqlite: str, reason: Any) -> None:
    async with engine(raising(OddReason(reason)), sqlite) as at:
        odd = await at.scheduler.enqueue("odd", "async")
        sound = await at.scheduler.enqueue("sound")
        async with at.running():
            await at.until_status(sound.job_id, Status.COMPLETED, limit_s=5.0)
            job = await at.until_status(odd.job_id, Status.RATE_LIMITED, limit_s=5.0)
    assert isinstance(job.reason, str)
    assert len(job.reason) < 200


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([ValueError(), RateLimitError()], (Status.RATE_LIMITED, "rate_limited")),
        ([AIProviderError(), OverloadedError()], (Status.RATE_LIMITED, "overloaded")),
        ([RateLimitError(), QuotaExhaustedError()], (Status.RATE_LIMITED, "quota_exhausted")),
        ([ValueError(), ProviderRefusedError()], (Status.FAILED_AI, "refused")),
        ([ValueError(), InvalidOutputError()], (Status.FAILED_AI, "invalid_output")),
        ([ValueError(), KeyError()], (Status.FAILED_JOB_LOGIC, "handler_error")),
        ([ExceptionGroup("inner", [ExceptionGroup("innermost", [RateLimitError()])])], (Status.RATE_LIMITED, "rate_limited")),
    ],
)
@in_virtual_time
async def test_the_most_telling_error_of_a_group_speaks_for_it(errors: list[Exception], expected: tuple[Status, str]) -> None:
    async with engine(raising(ExceptionGroup("group", errors)), scheduler=QUICK) as at:
        receipt = await at.scheduler.enqueue("odd", "async")
        async with at.running():
            job = await at.until_status(receipt.job_id, Status.RATE_LIMITED, Status.FAILED_AI, Status.FAILED_JOB_LOGIC)
    assert (job.status, job.reason) == expected


@in_virtual_time
async def test_a_handler_that_swallows_its_time_limit_and_returns_still_timed_out(store: str) -> None:
    routes = Registry()

    @routes.handler("work", timeout_s=10.0, max_attempts=1)
    async def work(job: JobContext) -> str:
        try:
            await anyio.sleep(100.0)
        except asyncio.CancelledError:
            return "as if nothing had happened"
        return "done"

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.result) == (Status.FAILED_TIMEOUT, None)


@in_real_time
async def test_a_handler_that_ignores_its_time_limit_for_ever_is_ended_from_outside(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler.dispatcher, "UNRESPONSIVE_S", 0.1)
    handler = DeafHandler()
    async with engine(handler.routes, store, scheduler={"poll_interval_s": 0.05}) as at, at.running():
        receipt = await at.scheduler.enqueue("deaf", timeout_s=0.05, max_attempts=1)
        job = await at.until_status(receipt.job_id, Status.FAILED_TIMEOUT, limit_s=5.0)
        assert "ignored its cancellation" in (job.error or "")
        (event,) = at.history.of(HandlerUnresponsive)
        assert "deaf" in event.handler
        other = await at.scheduler.enqueue("sound")
        await at.until_status(other.job_id, Status.COMPLETED, limit_s=5.0)
        handler.release()
        await at.until(lambda: handler.log[-1] == "returned", limit_s=5.0)
        await anyio.sleep(0.05)
        job = await at.job(receipt.job_id)
        assert (job.status, job.result) == (Status.FAILED_TIMEOUT, None)


@in_virtual_time
async def test_a_handler_that_cancels_its_own_task_harms_nobody_else() -> None:
    routes = raising(ValueError())

    @routes.handler("odd", "self")
    async def odd(job: JobContext) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "returned before anybody noticed"

    async with engine(routes, scheduler={"concurrency": 1}) as at:
        status, _, _ = await outcome(at, "self")
        assert status is Status.COMPLETED
