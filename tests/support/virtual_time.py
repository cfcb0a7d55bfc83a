"""An event loop whose clock jumps: an hour of timers passes in a blink, in the same order every time.

When nothing is ready the loop does not wait for its next timer: it sets its clock to it. It does wait, for
real, while somebody outside the loop owes it an answer: executor and anyio worker threads and SQLite's
threads are known, other work is announced with ``real_work()``. Sockets between tasks of this process need
nothing: what was sent on the loopback is there before ``send`` returns.

Does not belong here: wall time (``scheduler.clock.LoopClock`` follows this loop), or anything to test with it.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from anyio._backends._asyncio import WorkerThread

T = TypeVar("T")
P = ParamSpec("P")

#: Modules whose futures a thread fulfils: executors (``wrap_future``), aiosqlite's connections and the SQLite store's.
_FULFILLED_BY_THREADS = frozenset({"asyncio.futures", "aiosqlite.core", "scheduler.stores.sqlite.thread", "scheduler.stores.sqlite.writer"})
#: Real seconds between two looks at whether a thread still works; an answer ends the wait at once.
_LOOK_S = 0.05
#: Without timers, work or traffic for so many real seconds nothing will ever happen.
STUCK_AFTER_S = 5.0


class StuckError(RuntimeError):
    """Every task waits for something that nobody is going to do."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop factory: ``asyncio.Runner(loop_factory=VirtualTimeLoop)``. Starts at second 0.

    ``patience_s``: real seconds to wait for a thread before each jump. Lower it for a thread that is meant
    to hang while time passes.
    """

    patience_s = float("inf")

    def __init__(self) -> None:
        self._virtual_s = 0.0
        self._owed = 0
        super().__init__(_JumpingSelector(self))
        # Timers this close to the clock are due: rounding must not make the loop jump by nothing for ever.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual_s

    def jump(self, seconds: float) -> None:
        self._virtual_s += seconds

    def _run_once(self) -> None:
        # A timer that is due early brings the clock to its time: two tasks that wait for the same moment, and each
        # look at the clock when they are woken, would else wake early by turns for ever.
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if timers and self._virtual_s < timers[0].when() < self._virtual_s + self._clock_resolution:
            self._virtual_s = timers[0].when()
        super()._run_once()  # type: ignore[misc]

    def create_future(self) -> asyncio.Future[Any]:
        future = super().create_future()
        if sys._getframe(1).f_globals.get("__name__") in _FULFILLED_BY_THREADS:
            self._owed += 1
            future.add_done_callback(self._paid)
        return future

    def _paid(self, future: asyncio.Future[Any]) -> None:
        self._owed -= 1

    @contextmanager
    def real_work(self) -> Iterator[None]:
        """Hold the clock while something outside the loop (a process, a thread of one's own) is at work."""
        self._owed += 1
        try:
            yield
        finally:
            self._owed -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        with self.real_work():
            await super().shutdown_default_executor(*args)

    def is_owed(self) -> bool:
        """Whether a thread (or other real work) is going to wake this loop."""
        return self._owed > 0 or any(
            isinstance(thread, WorkerThread) and thread.loop is self and thread not in thread.idle_workers and not thread.stopping
            for thread in threading.enumerate()
        )


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop would wait, jump."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        looks = 0
        while not events and timeout != 0 and looks * _LOOK_S < self._loop.patience_s and self._loop.is_owed():
            events = super().select(_LOOK_S)
            looks += 1
        if events or timeout == 0:
            return events
        if timeout is None:
            return self._until_stuck()
        self._loop.jump(timeout)
        return []

    def _until_stuck(self) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(STUCK_AFTER_S)
        if not events:
            waiting = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(self._loop)))
            raise StuckError(f"no timer, no thread and no traffic is left to wake any of: {waiting}")
        return events


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Decorate an async test: it runs in virtual time. Its fixtures must be plain ones; open stores inside."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return wrapper
