"""Slots: the tasks that attempts run in, started once and used again.

Starting an anyio task costs twenty times what handing work to a waiting one does, and a handler that never
waits needs no second task at all. So slots take work by turns: whoever takes a piece rouses the next slot
before it starts, and the next finds the queue empty if the first never had to wait.

Slots are tasks of the loop rather than of a task group, because a group waits for its tasks, and work that
ignores its cancellation for ever must not keep the service from ending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio import lowlevel

W = TypeVar("W")

#: A slot whose work never waits lets others run after so many pieces.
TURN = 128
#: Seconds that work gets to end once the slots are closed; then it is left behind.
PATIENCE_S = 0.5


class Slots(Generic[W]):
    """Runs ``work`` for each piece given, each in a slot of its own as soon as it waits. ``run`` is its task."""

    def __init__(self, work: Callable[[W], Awaitable[None]]) -> None:
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] | None = None
        self._closed = False
        self._queue: deque[W] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._rousing = False

    async def run(self) -> None:
        """Until cancelled; then the slots end. Raises what ``work`` raises: it never should."""
        self._failure = asyncio.get_running_loop().create_future()
        try:
            await self._failure
        finally:
            self._closed = True  # for slots whose work ends only later
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait(self._tasks, timeout=PATIENCE_S)

    def give(self, pieces: list[W]) -> None:
        """Have ``pieces`` worked on. The caller bounds how many are out at a time."""
        self._queue.extend(pieces)
        self._rouse()

    def _rouse(self) -> None:
        """Have one more slot come, unless one is on its way already."""
        if self._rousing or not self._queue:
            return
        self._rousing = True
        while self._idle:
            called = self._idle.pop()
            if not called.done():  # else its slot was cancelled
                called.set_result(None)
                return
        task = asyncio.get_running_loop().create_task(self._slot(), name="slot")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _slot(self) -> None:
        while True:
            self._rousing = False
            taken = 0
            while self._queue:
                piece = self._queue.popleft()
                self._rouse()
                await self._work(piece)
                taken += 1
                if taken % TURN == 0:
                    await lowlevel.checkpoint()
            if self._closed:
                return
            called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(called)
            await called
