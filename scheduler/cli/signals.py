"""What SIGINT and SIGTERM do to a process that runs jobs: drain, then at once, and never later than promised.

A thread listens, told by the interpreter's wake-up file descriptor: neither the event loop nor Python's own signal
handlers serve when a handler blocks the loop. The latter run between two instructions of the main thread, and one
that is just about to fall asleep in C when the signal comes does not get to the next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn, Self

import anyio
import typer

from scheduler.clock import SystemClock
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
    two seconds, the process exits with what ``code_at_deadline`` says. Outside the main thread it does nothing.
    """

    def __init__(
        self, scheduler: Scheduler, code_at_deadline: Callable[[], int] = lambda: 0, *, on_stop: Callable[[int], None] = lambda number: None
    ) -> None:
        self.received: int | None = None
        self._told = anyio.Event()
        self._scheduler = scheduler
        self._code_at_deadline = code_at_deadline
        self._on_stop = on_stop
        self._grace_s = scheduler.settings.scheduler.drain_grace_s
        self._before: dict[int, Any] = {}
        self._deadline: float | None = None
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # A signal may come before there is anything to stop.
        self._leave = self._scheduler.events.subscribe(lambda event: self._drain(), ServiceStarted)
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._listener = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._listener.start()
        if threading.current_thread() is threading.main_thread():
            self._mouth_before = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
            # Without a handler of Python's nothing is written to the descriptor.
            self._before = {number: signal.signal(number, lambda number, frame: None) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._mouth_before)
        self._leave()
        self._mouth.close()
        self._listener.join()
        self._ear.close()

    def _listen(self) -> None:
        """One byte is one signal; none until the deadline ends the process, the end of the stream ends the thread."""
        while True:
            self._ear.settimeout(None if self._deadline is None else max(0.001, self._deadline - SystemClock.monotonic()))
            try:
                numbers = self._ear.recv(64)
            except TimeoutError:
                leave_at_once(self._code_at_deadline())
            if not numbers:
                return
            for number in numbers:
                if number in SIGNALS:
                    self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if self.received is None:
            self.received = number
        elif self._grace_s > 0:
            self._grace_s = 0.0
        else:
            leave_at_once(self._code_at_deadline())
        self._deadline = SystemClock.monotonic() + min(self._grace_s + CLOSING_S, threading.TIMEOUT_MAX)
        self._loop.call_soon_threadsafe(self._drain)

    async def wait(self) -> None:
        """Until the first signal."""
        await self._told.wait()

    def _drain(self) -> None:
        if self.received is not None:
            self._told.set()
            self._on_stop(self.received)
            self._scheduler.stop(grace_s=self._grace_s)


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
