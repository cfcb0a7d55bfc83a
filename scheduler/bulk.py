"""The bulk path in: streams jobs into the store, a transaction a portion, in flat memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable
from typing import Any

from anyio import lowlevel

from scheduler.job import Draft, NewJob, Receipt

#: Others get a turn of the event loop after so many drafts.
TURN = 64


class Bulk:
    """``await`` it for the list of receipts, or ``async for`` over it to let them stream."""

    def __init__(
        self,
        jobs: Iterable[NewJob] | AsyncIterable[NewJob],
        draft: Callable[[NewJob], Draft],
        store: Callable[[list[Draft], float], Coroutine[Any, Any, list[Receipt]]],
        now: Callable[[], float],
        portion: int,
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
        """One portion is on its way to the disk while the next is drafted."""
        under_way: asyncio.Future[list[Receipt]] | None = None
        refusal: Exception | None = None
        portions = self._portions()
        try:
            while True:
                try:
                    portion = await anext(portions, None)
                except Exception as error:  # a bad job, or the iterable's own failure: what came before it is stored first
                    portion, refusal = None, error
                earlier, under_way = under_way, self._sent(portion)
                for receipt in await earlier if earlier is not None else ():
                    yield receipt
                if under_way is None:
                    break
        finally:
            if under_way is not None:  # left early: what was handed over is stored all the same
                await asyncio.wait([under_way])
        if refusal is not None:
            raise refusal

    def _sent(self, portion: list[Draft] | None) -> asyncio.Future[list[Receipt]] | None:
        return None if portion is None else asyncio.ensure_future(self._store(portion, self._now()))

    async def _portions(self) -> AsyncIterator[list[Draft]]:
        """Checked drafts; those before a refused job are passed on first, so that what is acknowledged is a prefix."""
        portion: list[Draft] = []
        try:
            async for new in _each(self._jobs):
                portion.append(self._draft(new))
                if len(portion) % TURN == 0:
                    await lowlevel.checkpoint()
                if len(portion) >= self._portion:
                    yield portion
                    portion = []
        except Exception:
            if portion:
                yield portion
            raise
        if portion:
            yield portion


async def _each(jobs: Iterable[NewJob] | AsyncIterable[NewJob]) -> AsyncIterator[NewJob]:
    if isinstance(jobs, AsyncIterable):
        async for new in jobs:
            yield new
    else:
        for new in jobs:
            yield new
