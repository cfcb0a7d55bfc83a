"""What SIGINT and SIGTERM do to a process that runs jobs: drain, then at once, and never later than promised.

Plain signal handlers on purpose, not the event loop's own: Python calls them between two instructions of
whatever runs, so a handler that blocks the loop cannot keep the process from being stopped. The deadline
is kept by a thread for the same reason.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import anyio
import typer

from scheduler.events import ServiceStarted
from scheduler.runtime import Scheduler

#: Recording and closing down may take so long, in seconds, after the grace period.
CLOSING_S = 2.0
#: Tasks that were cancelled last get so many seconds to notice.
_LAST_TURNS_S = 0.01
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignals:
    """While entered, the first signal drains ``scheduler``, the second hands everything back at once.

    ``received`` is the first signal's number. When the scheduler has not ended within the grace period and
    two seconds, the process exits with what ``code_at_deadline`` says.
    """

    def __init__(
        self, scheduler: Scheduler, code_at_deadline: Callable[[], int] = lambda: 0, *, on_stop: Callable[[int], None] = lambda number: None
    ) -> None:
        self.received: int | None = None
        self._scheduler = scheduler
        self._code_at_deadline = code_at_deadline
        self._on_stop = on_stop
        self._grace_s = scheduler.settings.scheduler.drain_grace_s
        self._before: dict[int, Any] = {}
        self._deadline: threading.Timer | None = None
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # A signal may come before there is anything to stop.
        self._leave = self._scheduler.events.subscribe(lambda event: self._drain(), ServiceStarted)
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._leave()
        if self._deadline is not None:
            self._deadline.cancel()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
            self._exit_within(self._grace_s + CLOSING_S)
        elif self._grace_s > 0:
            self._grace_s = 0.0
            self._exit_within(CLOSING_S)
        else:
            self._exit()
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if self.received is not None:
            self._on_stop(self.received)
            self._scheduler.stop(grace_s=self._grace_s)

    def _exit_within(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = threading.Timer(min(seconds, threading.TIMEOUT_MAX), self._exit)
        self._deadline.daemon = True
        self._deadline.start()

    def _exit(self) -> None:
        leave_at_once(self._code_at_deadline())


def run_and_exit(work: Callable[[], Awaitable[None]], report: Callable[[], int]) -> None:
    """Run ``work`` to its end, then ``report`` (what to print, and the exit code) and exit.

    A handler that ignores its cancellation outlives the scheduler that ran it, and would hold up the closing of
    the event loop for ever: then the process leaves without closing it. All that can be recorded is by then.
    """

    async def to_the_end() -> int:
        await work()
        code = report()
        await anyio.sleep(_LAST_TURNS_S)
        if any(task is not asyncio.current_task() for task in asyncio.all_tasks()):
            leave_at_once(code)
        return code

    if code := anyio.run(to_the_end):
        raise typer.Exit(code)


def leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for anybody; what was not recorded, the next service takes back."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, broken, or in use by the thread that hangs
            stream.flush()
    os._exit(code)
