"""Slots: the tasks that attempts run in, started once and used again.

Starting an anyio task costs twenty times what handing work to a waiting one does, and a handler that never
waits needs no second task at all. So slots take work by turns: whoever takes a piece rouses the next slot
before it starts, and the next finds the queue empty if the first never had to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio import lowlevel
from anyio.abc import TaskGroup

W = TypeVar("W")

#: A slot whose work never waits lets others run after so many pieces.
TURN = 64


class Slots(Generic[W]):
    """Runs ``work`` for each piece given, each in a slot of its own as soon as it waits."""

    def __init__(self, tasks: TaskGroup, work: Callable[[W], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._work = work
        self._queue: deque[W] = deque()
        self._idle: list[anyio.Event] = []
        self._rousing = False

    def give(self, pieces: list[W]) -> None:
        """Have ``pieces`` worked on. The caller bounds how many are out at a time."""
        self._queue.extend(pieces)
        self._rouse()

    def _rouse(self) -> None:
        """Have one more slot come, unless one is on its way already."""
        if self._rousing or not self._queue:
            return
        self._rousing = True
        if self._idle:
            self._idle.pop().set()
        else:
            self._tasks.start_soon(self._slot, name="slot")

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
            called = anyio.Event()
            self._idle.append(called)
            await called.wait()
