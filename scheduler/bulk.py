"""The bulk path in: streams jobs into the store, a transaction a portion, in flat memory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable

from scheduler.job import Draft, NewJob, Receipt


class Bulk:
    """``await`` it for the list of receipts, or ``async for`` over it to let them stream."""

    def __init__(
        self,
        jobs: Iterable[NewJob] | AsyncIterable[NewJob],
        draft: Callable[[NewJob], Draft],
        store: Callable[[list[Draft], float], Awaitable[list[Receipt]]],
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
        async for portion in self._portions():
            for receipt in await self._store(portion, self._now()):
                yield receipt

    async def _portions(self) -> AsyncIterator[list[Draft]]:
        """Checked drafts; those before a refused job are passed on first, so that what is acknowledged is a prefix."""
        portion: list[Draft] = []
        try:
            async for new in _each(self._jobs):
                portion.append(self._draft(new))
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
