"""``job.pool``: how a handler calls a provider within its pool's quota.

    async with job.pool.request(tokens=estimate) as call:
        response = await client.create(...)
        call.observe(response.usage, response.headers)

Entering waits for a place; leaving reports what came of it. A client's error that means "later" leaves the block as
this project's own, with the time that the pool is held.

Does not belong here: waiting and booking (``booth.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from anyio import from_thread

from scheduler.booth import Booth, Place
from scheduler.clock import Clock, SystemClock
from scheduler.errors import RateLimitError, SchedulerError
from scheduler.pools.answers import error_from_exception
from scheduler.pools.messages import Cost
from scheduler.pools.quotas import Reading, read_quotas
from scheduler.pools.rejection import read_rejection
from scheduler.pools.thrown import thrown_answer
from scheduler.pools.usage import read_usage


class TimeLimit(Protocol):
    """An attempt's time limit, which waiting for the quota does not use up."""

    def left_s(self) -> float:
        """Seconds left; inf without a limit."""
        ...

    def extend(self, by_s: float) -> None: ...


#: Waiting that adds up to less is not worth moving the time limit for, in seconds.
_WORTH_S = 0.25
#: A limit with less than this left may pass while a call waits, in seconds.
_LENT_S = 60.0


class Call:
    """One call to the provider, under way."""

    __slots__ = ("_booth", "_clock", "actual", "readings")

    def __init__(self, clock: Clock, booth: Booth | None) -> None:
        self._clock = clock
        self._booth = booth
        self.actual: Cost | None = None
        self.readings: tuple[Reading, ...] = ()

    def observe(self, usage: object = None, headers: Mapping[str, str] | None = None) -> None:
        """Tell what the provider answered: its ``usage`` (a total, an ``(input, output)`` pair, or the client's own object) and its
        response ``headers``. What cannot be read is ignored; the estimate then stands.
        """
        self.actual = read_usage(usage) or self.actual
        if headers is not None and self._booth is not None and self._booth.wants_reading():
            with suppress(Exception):  # not a mapping after all, or one that raises: an answer that came is not lost for it
                self.readings = read_quotas(headers, self._clock.now())


class JobPool:
    """A job's pool. ``name`` is None where its handler names none: calls then go at once."""

    def __init__(self, name: str | None, booth: Booth | None, task_type: str, clock: Clock, limit: TimeLimit | None = None) -> None:
        self.name = name
        self._booth = booth
        self._limit = limit
        self._waited_s = self._began_at = 0.0
        self._waiting = 0
        #: A call was cancelled under way.
        self.was_cut = False
        self._task_type = task_type
        self._clock = clock
        self._asked = False
        self._expected = booth is not None
        if booth is not None:
            booth.expected[task_type] += 1

    def __repr__(self) -> str:
        return f"JobPool({self.name!r})"

    def request(self, tokens: float | None = None, *, output_tokens: float | None = None) -> PoolRequest:
        """A place for one call that will use about ``tokens`` in all, ``output_tokens`` of them in the answer.

        Without an estimate the mean of earlier calls of the same task type is taken. Entering waits until the quota has room;
        it raises ``PoolHeldError`` when the pool is held for longer (let it pass: the job is put off and keeps its attempt).
        Raises ``SchedulerError`` for an estimate that is no number.
        """
        if tokens is not None:
            _check("tokens", tokens)
        if output_tokens is not None:
            _check("output_tokens", output_tokens)
        return PoolRequest(self, tokens, output_tokens)

    def over(self) -> None:
        """The attempt ended; for the engine."""
        self._came()
        if self._booth is not None and self._task_type not in self._booth.callers:
            self._booth.silent.add(self._task_type)

    def _came(self) -> None:
        """It is not expected to ask any more: it asked, or ended."""
        if self._expected and self._booth is not None:
            self._expected = False
            self._booth.expected[self._task_type] -= 1

    async def _enter(self, place: Place) -> None:
        """Wait for the place; the time limit stands still meanwhile."""
        booth, limit = self._booth, self._limit
        if booth is None or limit is None:
            return None if booth is None else await booth.enter(place)
        # A limit that might pass while the call waits is moved first; what was too much is taken back.
        ahead_s = 2.0 * booth.long_wait_s() + _LENT_S
        lent_s = ahead_s if limit.left_s() < ahead_s else 0.0
        if lent_s:
            limit.extend(lent_s)
        self._waiting += 1
        if self._waiting == 1:  # a handler may have several calls wait at once
            self._began_at = self._clock.monotonic()
        try:
            await booth.enter(place)
        finally:
            self._waiting -= 1
            self._waited_s -= lent_s
            if self._waiting == 0:
                self._waited_s += self._clock.monotonic() - self._began_at
            if abs(self._waited_s) > _WORTH_S and self._waiting == 0:
                limit.extend(self._waited_s)
                self._waited_s = 0.0

    def _begin(self, tokens: float | None, output_tokens: float | None) -> Place | None:
        if self._booth is None:
            return None
        if not self._asked:
            self._asked = True
            self._booth.callers.add(self._task_type)
            self._booth.silent.discard(self._task_type)
            self._came()
        return self._booth.place(self._task_type, tokens, output_tokens)


def _check(what: str, value: object) -> None:
    if type(value) is int and value >= 0:  # nearly always
        return
    if not (isinstance(value, int | float) and 0 <= value < math.inf):
        raise SchedulerError(f"{what} must be a number, 0 or more, not {value!r}")


class PoolRequest:
    """The context manager behind ``request``."""

    __slots__ = ("_call", "_output_tokens", "_place", "_pool", "_tokens")

    def __init__(self, pool: JobPool, tokens: float | None, output_tokens: float | None) -> None:
        self._pool = pool
        self._tokens = tokens
        self._output_tokens = output_tokens
        self._place: Place | None = None
        self._call = Call(pool._clock, pool._booth)

    async def __aenter__(self) -> Call:
        self._place = self._pool._begin(self._tokens, self._output_tokens)
        if self._place is not None:
            await self._pool._enter(self._place)
        return self._call

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        place, booth, now = self._place, self._pool._booth, self._pool._clock.now()
        self._place = None
        if error is None:
            if place is not None and booth is not None:
                booth.answered(place, self._call.actual, self._call.readings)
            return
        if place is None or booth is None:
            return
        self._pool.was_cut |= not isinstance(error, Exception)
        rejection = read_rejection(error, now)
        if rejection is None:
            answer = thrown_answer(error)
            booth.failed(place, read_quotas(answer.headers, now) if answer is not None else self._call.readings)
            return
        held_s = await booth.rejected(place, rejection)
        ours = error if isinstance(error, RateLimitError) else error_from_exception(error, now)
        if isinstance(ours, RateLimitError):
            if held_s is not None:
                ours.retry_after_s = held_s
            if ours is not error:
                raise ours from error


#: No pool at all, for everybody: calls go at once, and nothing is noted.
UNPACED = JobPool(None, None, "", SystemClock())


class ThreadJobPool(JobPool):
    """The pool of a sync handler, which runs in a thread: ``with job.pool.request(...) as call``."""

    def request(self, tokens: float | None = None, *, output_tokens: float | None = None) -> ThreadRequest:  # type: ignore[override]
        """As ``JobPool.request``, for a ``with`` block."""
        return ThreadRequest(super().request(tokens, output_tokens=output_tokens))


class ThreadRequest:
    """Enters and leaves in the event loop."""

    def __init__(self, request: PoolRequest) -> None:
        self._request = request

    def __enter__(self) -> Call:
        return from_thread.run(self._request.__aenter__)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from_thread.run(self._request.__aexit__, kind, error, trace)


#: The same for sync handlers.
THREAD_UNPACED = ThreadJobPool(None, None, "", SystemClock())
