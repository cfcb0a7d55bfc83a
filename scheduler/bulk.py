"""The bulk path in: streams jobs into the store, a transaction a portion, in flat memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from anyio import lowlevel

from scheduler.job import Draft, NewJob, Receipt

#: Others get a turn of the event loop after so many drafts.
TURN = 64
#: Jobs in a transaction, and in one step of SQLite.
PORTION = 1_024
#: Portions on their way while the next is drafted: one that SQLite works on, one ready for its thread to go on with.
AHEAD = 2

#: Adds the next drafts to a portion; True when no more will come.
Fill = Callable[[list[Draft]], Coroutine[Any, Any, bool]]


class Bulk:
    """``await`` it for the list of receipts, or ``async for`` over it to let them stream."""

    def __init__(
        self,
        jobs: Iterable[NewJob] | AsyncIterable[NewJob],
        draft: Callable[[NewJob], Draft],
        store: Callable[[list[Draft], float], Coroutine[Any, Any, list[Receipt]]],
        now: Callable[[], float],
        portion: int = PORTION,
    ) -> None:
        self._jobs = jobs
        self._draft = draft
        self._store = store
        self._now = now
        self._portion = portion

    def __await__(self) -> Generator[object, None, list[Receipt]]:
        return self._all().__await__()

    async def _all(self) -> list[Receipt]:
        return [receipt async for receipt in self]

    async def __aiter__(self) -> AsyncIterator[Receipt]:
        """Portions are on their way to the disk while the next is drafted."""
        under_way: deque[asyncio.Future[list[Receipt]]] = deque()
        refusal: Exception | None = None
        portions = self._portions()
        try:
            while True:
                try:
                    portion = await anext(portions, None)
                except Exception as error:  # a bad job, or the iterable's own failure: what came before it is stored first
                    portion, refusal = None, error
                if portion is not None:
                    under_way.append(asyncio.ensure_future(self._store(portion, self._now())))
                while under_way and (portion is None or len(under_way) > AHEAD):
                    for receipt in await under_way.popleft():
                        yield receipt
                if portion is None:
                    break
        finally:
            if under_way:  # left early: what was handed over is stored all the same
                await asyncio.wait(under_way)
        if refusal is not None:
            raise refusal

    async def _portions(self) -> AsyncIterator[list[Draft]]:
        """Checked drafts; those before a refused job are passed on first, so that what is acknowledged is a prefix."""
        fill = self._fill_from_stream(aiter(self._jobs)) if isinstance(self._jobs, AsyncIterable) else self._fill_from(iter(self._jobs))
        ended = False
        while not ended:
            portion: list[Draft] = []
            try:
                while not ended and len(portion) < self._portion:
                    ended = await fill(portion)
            except Exception:
                if portion:
                    yield portion
                raise
            if portion:
                yield portion

    def _fill_from(self, jobs: Iterator[NewJob]) -> Fill:
        async def fill(portion: list[Draft]) -> bool:
            before = len(portion)
            for new in islice(jobs, TURN):
                portion.append(self._draft(new))
            await lowlevel.checkpoint()
            return len(portion) - before < TURN

        return fill

    def _fill_from_stream(self, jobs: AsyncIterator[NewJob]) -> Fill:
        async def fill(portion: list[Draft]) -> bool:
            try:
                new = await anext(jobs)
            except StopAsyncIteration:
                return True
            portion.append(self._draft(new))
            if len(portion) % TURN == 0:
                await lowlevel.checkpoint()
            return False

        return fill
