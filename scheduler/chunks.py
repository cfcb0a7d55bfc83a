"""A job over many items: what is left, some at once, split where one is bad, recorded chunk by chunk.

A chunk's outcomes are on disk before its place takes the next one, in one write that the job's lease guards. So whatever ends
an attempt costs the chunks in flight and nothing else, and whoever lost the lease records nothing.

Does not belong here: how stores keep ledgers (``Store.record``), what an error means for the job (``decide.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import anyio

from scheduler.decide import describe, loudest
from scheduler.errors import (
    AuthError,
    InvalidJobError,
    InvalidOutputError,
    InvalidRequestError,
    ItemsFailedError,
    ProviderRefusedError,
    RateLimitError,
    SchedulerError,
)
from scheduler.job import Item, Ledger
from scheduler.values import encode_json, printable

#: Items, or what gives them from a position on.
Items = Iterable[Any] | AsyncIterable[Any] | Callable[[int], Iterable[Any] | AsyncIterable[Any]]
Work = Callable[["Chunk"], Awaitable[Sequence[Any] | None]]
#: So many items in a row that the provider calls invalid, with nothing done between: it is not the items, and each further one costs.
HOPELESS = 3
_KEY_LIMIT = 200


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """In the place of a result: this item failed, for good, because of ``error``."""

    error: str


class Chunk:
    """Some items at once. ``positions`` tells which of all they are, from 0; mostly in a row, not when failed ones are tried again."""

    def __init__(self, items: list[Any], positions: list[int]) -> None:
        self.items = items
        self.positions = positions
        self.counted: Counter[str] = Counter()

    @property
    def first(self) -> int:
        """The position of the first item."""
        return self.positions[0]

    def __len__(self) -> int:
        return len(self.items)

    def count(self, **counters: float) -> None:
        """Add to the job's counters, once this chunk is recorded."""
        for name, value in counters.items():
            self.counted[name] += value  # type: ignore[assignment]  # a Counter holds floats as well

    def halves(self) -> tuple[Chunk, Chunk]:
        middle = len(self.items) // 2
        return Chunk(self.items[:middle], self.positions[:middle]), Chunk(self.items[middle:], self.positions[middle:])


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass over the items came to. ``counters`` are the handler's own."""

    name: str
    total: int
    done: int
    failed: int
    counters: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "total": self.total, "done": self.done, "failed": self.failed, "counters": self.counters}


class Host(Protocol):
    """The attempt, as far as its passes need it (``context.py``)."""

    async def ledger_of(self, name: str) -> Ledger | None: ...

    async def recorded(self, name: str, ok: frozenset[bool | None], after: int) -> list[Item]: ...

    async def record(self, ledger: Ledger, items: Sequence[Item]) -> None:
        """Store and tell progress; ends the attempt if the lease is gone."""
        ...

    def is_asked_to_stop(self) -> bool:
        """Whether somebody waits for the attempt to end."""
        ...

    async def hand_back(self) -> None:
        """End the attempt here."""
        ...


class Pass:
    """One pass over the items of a job, from where the last attempt left off."""

    def __init__(self, host: Host, name: str, *, size: int, at_once: int, total: int | None, key: Callable[[Any], str] | None) -> None:
        for what, number in (("size", size), ("at_once", at_once)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise SchedulerError(f"chunks: {what} must be a whole number of at least 1, not {number!r}")
        self._host = host
        self._size = size
        self._at_once = at_once
        self._key = key
        self._stand = Ledger(name, total, 0, 0, 0)
        self._counters: Counter[str] = Counter()
        #: Positions before ``next`` that are to be tried again, and those after it that have an outcome already.
        self._again: set[int] = set()
        self._ahead: set[int] = set()
        self._unrecorded: list[tuple[list[Item], Counter[str]]] = []
        self._writing = anyio.Lock()
        self._drawing = anyio.Lock()
        self._errors: list[Exception] = []
        self._hopeless = 0
        self._is_over_early = False

    async def run(self, items: Items, work: Work, on_failed: Literal["fail", "tolerate"] = "fail") -> Report:
        """Process what has no outcome yet. Raises ``ItemsFailedError``, or what ended the attempt."""
        await self._look_up()
        source = self._left(items)
        try:
            async with anyio.create_task_group() as places:
                for _ in range(self._at_once):
                    places.start_soon(self._place, source, work)
        finally:
            with anyio.CancelScope(shield=True):
                await source.aclose()  # type: ignore[attr-defined]  # it is a generator
        if self._errors:
            raise _loudest(self._errors)
        if self._is_over_early:
            await self._host.hand_back()
        await self._finish()
        report = Report(self._stand.name, self._stand.next, self._stand.done, self._stand.failed, dict(self._counters))
        if report.failed and on_failed == "fail":
            first = await self._host.recorded(report.name, frozenset({False}), -1)
            raise ItemsFailedError(report.to_dict(), printable(f"{first[0].key}: {first[0].error}") if first else "")
        return report

    # -- where it stands

    async def _look_up(self) -> None:
        stand = await self._host.ledger_of(self._stand.name)
        if stand is None:
            return
        self._stand = stand._replace(total=stand.total if self._stand.total is None else self._stand.total)
        self._counters.update(stand.counters)
        self._again = {item.position async for item in self._all(frozenset({None}), -1) if item.position < stand.next}
        self._ahead = {item.position async for item in self._all(frozenset({True, False}), stand.next - 1)}

    async def _all(self, ok: frozenset[bool | None], after: int) -> AsyncIterator[Item]:
        while page := await self._host.recorded(self._stand.name, ok, after):
            for item in page:
                yield item
            after = page[-1].position

    async def _left(self, items: Items) -> AsyncIterator[tuple[int, Any]]:
        """The items without an outcome, with their positions."""
        start = min(self._again, default=self._stand.next)
        if callable(items):
            items, begin = items(start), start
        else:
            begin = 0
            if isinstance(items, Sequence):
                if self._stand.total is None:
                    self._stand = self._stand._replace(total=len(items))
                items, begin = items[start:], start
        again, ahead, edge = frozenset(self._again), frozenset(self._ahead), self._stand.next
        position = begin
        async for item in _each(items):
            if position >= start and (position in again if position < edge else position not in ahead):
                yield position, item
            position += 1

    # -- work

    async def _place(self, source: AsyncIterator[tuple[int, Any]], work: Work) -> None:
        """One of those that work at once. A failure ends all of them, when each has finished what it has begun."""
        try:
            while not self._errors and (chunk := await self._next_chunk(source)) is not None:
                await self._do(chunk, work)
                if self._host.is_asked_to_stop():
                    self._is_over_early = True
                    return
        except Exception as error:
            self._errors.append(error)

    async def _next_chunk(self, source: AsyncIterator[tuple[int, Any]]) -> Chunk | None:
        async with self._drawing:
            chunk = Chunk([], [])
            while len(chunk) < self._size and not self._errors:
                drawn = await anext(source, None)
                if drawn is None:
                    break
                chunk.positions.append(drawn[0])
                chunk.items.append(drawn[1])
        return chunk if chunk.items else None

    async def _do(self, chunk: Chunk, work: Work) -> None:
        try:
            results = await work(chunk)
        except Exception as error:
            if _ends_the_attempt(error):
                raise
            if self._errors:
                return  # the attempt ends: the next one finds out which item it was
            if len(chunk) > 1:
                for half in chunk.halves():
                    await self._do(half, work)
                return
            outcomes = [self._outcome(chunk, 0, ItemFailed(describe(loudest(error, 0.0))))]
            self._hopeless = self._hopeless + 1 if isinstance(loudest(error, 0.0), InvalidRequestError) else 0
            await self._record(outcomes, Counter())
            if self._hopeless >= HOPELESS:
                raise
            return
        self._hopeless = 0
        await self._record([self._outcome(chunk, place, result) for place, result in enumerate(_checked(results, chunk))], chunk.counted)

    def _outcome(self, chunk: Chunk, place: int, result: Any) -> Item:
        position = chunk.positions[place]
        key = printable(str(position if self._key is None else self._key(chunk.items[place])), _KEY_LIMIT)
        if isinstance(result, ItemFailed):
            return Item(position, key, False, printable(result.error))
        try:
            return Item(position, key, True, None, None if result is None else encode_json(result, "an item's result"))
        except InvalidJobError as error:
            return Item(position, key, False, printable(str(error)))

    # -- records

    async def _record(self, outcomes: list[Item], counted: Counter[str]) -> None:
        """On disk when this returns; what others hand over meanwhile goes in one write."""
        self._unrecorded.append((outcomes, counted))
        async with self._writing:
            if not self._unrecorded:
                return  # went with somebody else's
            waiting, self._unrecorded = self._unrecorded, []
            items = [item for outcomes, _ in waiting for item in outcomes]
            for _, counted in waiting:
                self._counters.update(counted)
            await self._host.record(self._moved(items), items)

    def _moved(self, items: Sequence[Item]) -> Ledger:
        stand = self._stand
        edge = stand.next
        for item in items:
            if item.position < edge:
                self._again.discard(item.position)
            else:
                self._ahead.add(item.position)
        while edge in self._ahead:
            self._ahead.remove(edge)
            edge += 1
        done = stand.done + sum(item.ok is True for item in items)
        failed = stand.failed + sum(item.ok is False for item in items)
        self._stand = stand._replace(next=edge, done=done, failed=failed, counters_json=encode_json(dict(self._counters), "counters"))
        return self._stand

    async def _finish(self) -> None:
        """Now it is known how many there were."""
        if self._stand.total != self._stand.next:
            self._stand = self._stand._replace(total=self._stand.next)
            await self._host.record(self._stand, [])


def _ends_the_attempt(error: Exception) -> bool:
    """Whether ``error`` is about the provider or the run, not about the items."""
    loud = loudest(error, 0.0)
    if isinstance(loud, AuthError):
        return True
    if isinstance(loud, ProviderRefusedError | InvalidOutputError):
        return False
    return isinstance(loud, SchedulerError)


def _loudest(errors: Sequence[Exception]) -> Exception:
    """The one to end the attempt with: of rate limits, the longest."""
    limits = [error for error in errors if isinstance(error, RateLimitError)]
    return max(limits, key=lambda error: error.retry_after_s or 0.0) if limits else errors[0]


def _checked(results: Any, chunk: Chunk) -> Sequence[Any]:
    if results is None:
        return [None] * len(chunk)
    if not isinstance(results, list | tuple) or len(results) != len(chunk):
        what = f"{len(results)}" if isinstance(results, list | tuple) else f"a {type(results).__name__}"
        raise SchedulerError(f"chunks: the work returned {what} for {len(chunk)} items: return a list with one result an item, or None")
    return results


async def _each(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
