"""The feed: one reader of the store's journal, many followers, each with a bounded buffer.

A follower that falls behind does not make anybody wait and loses nothing: it forgets its buffer and reads what it missed from the
store, at its own pace. So a stream can begin anywhere in the past, and goes on without a gap or a duplicate.

Does not belong here: how an entry is sent (``api/streams.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import Self

import anyio
from anyio.lowlevel import checkpoint

from scheduler.clock import Clock
from scheduler.errors import StoreError
from scheduler.events import Events, JobEvent, LanePaused, LaneProbing, LaneResumed
from scheduler.journal import Entry
from scheduler.stores.base import Store

#: Other processes' changes are looked for so often, in seconds, while anybody follows.
POLL_S = 0.25
#: Least seconds between two looks; more where many follow, so that telling them leaves the event loop to the jobs.
PACE_S, PACE_FOR_EACH_S = 0.02, 0.0003
#: A store that does not answer is asked again after so many seconds.
AGAIN_S = 1.0
#: Entries read at once, and the most that wait for one follower.
PAGE = 500
BUFFER = 1_000


class Feed:
    """Reads while it is run and somebody follows."""

    def __init__(self, store: Store, events: Events, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._followers: dict[Follower, None] = {}
        self._news = anyio.Event()
        self._position: int | None = None

    @property
    def followers(self) -> int:
        return len(self._followers)

    def follow(
        self, *, owner: str | None = None, seq: int | None = None, task_types: Iterable[str] | None = None, after: int | None = None
    ) -> Follower:
        """Entries of ``owner``'s jobs, of the job ``seq``, of ``task_types``, behind entry ``after``.

        Without ``after``: of a job from its first one on, else from now on. Use it as ``async with``.
        """
        begin = 0 if after is None and seq is not None else after
        return Follower(self, owner, seq, None if task_types is None else frozenset(task_types), begin)

    def look(self) -> None:
        """Something may have happened."""
        self._news.set()

    async def run(self) -> None:
        """Read and tell, until cancelled."""
        leave = self._events.subscribe(lambda event: self.look(), JobEvent, LanePaused, LaneResumed, LaneProbing)
        try:
            while True:
                with anyio.move_on_after(POLL_S if self._followers else None):
                    await self._news.wait()
                self._news = anyio.Event()
                try:
                    await self._advance()
                except StoreError:  # whoever follows keeps waiting; the service tells of a store that fails
                    await self._clock.sleep(AGAIN_S)
                await self._clock.sleep(PACE_S + PACE_FOR_EACH_S * len(self._followers))
        finally:
            leave()

    async def _advance(self) -> None:
        """Tell the followers what is new."""
        if not self._followers:
            return
        _, last = await self._store.journal_span()
        if self._position is None:
            self._position = last
        while self._position < last:
            owners = self._owners()
            page = await self._store.journal(self._position, owners=owners, upto=last, limit=PAGE)
            if owners is not None and not owners.issuperset(self._owners() or {None}):
                continue  # somebody joined meanwhile for whom this does not hold everything
            self._position = page[-1].id if len(page) == PAGE else last
            await self._tell(page, self._position)

    def _owners(self) -> frozenset[str] | None:
        """Whose entries are wanted; None for everybody's."""
        owners = {follower.owner for follower in self._followers}
        return None if None in owners else frozenset(owner for owner in owners if owner is not None)

    async def _tell(self, page: list[Entry], position: int) -> None:
        # Everybody gets the entries in one go, for nobody may join in between. They are woken one by one, in turns with the rest of the
        # event loop: a thousand at once would hold up a job that is due for as long as it takes to write to all of them.
        for follower in [follower for follower in self._followers if follower.take(page, position)]:
            follower.wake()
            await checkpoint()

    # -- for followers

    async def now(self) -> int:
        """Where the feed stands; asks the store where it has not read yet."""
        if self._position is None:
            self._position = (await self._store.journal_span())[1]
        return self._position

    def stands_at(self) -> int | None:
        return self._position

    async def span(self) -> tuple[int, int]:
        """The first entry that is kept, and the last."""
        return await self._store.journal_span()

    async def read(self, follower: Follower, upto: int) -> list[Entry]:
        owners = None if follower.owner is None else frozenset({follower.owner})
        return await self._store.journal(follower.position or 0, owners=owners, seq=follower.seq, upto=upto, limit=PAGE)

    def join(self, follower: Follower) -> None:
        self._followers[follower] = None
        self._news.set()

    def leave(self, follower: Follower) -> None:
        self._followers.pop(follower, None)


class Follower:
    """One reader's place in the feed. ``position``: everything up to this entry was given out. ``missed``: older ones are kept no more."""

    def __init__(self, feed: Feed, owner: str | None, seq: int | None, task_types: frozenset[str] | None, after: int | None) -> None:
        self.owner = owner
        self.seq = seq
        self.position = after
        self.missed = False
        self._task_types = task_types
        self._feed = feed
        self._buffer: list[Entry] = []
        self._behind = True
        self._news = anyio.Event()

    async def __aenter__(self) -> Self:
        self._feed.join(self)
        try:
            if self.position is None:
                self.position = await self._feed.now()
            elif self.position > 0:
                first, last = await self._feed.span()
                self.missed = not first - 1 <= self.position <= last  # beyond the last: it is another store's
                self.position = min(self.position, last)
        except BaseException:
            self._feed.leave(self)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._feed.leave(self)

    async def next(self) -> list[Entry]:
        """The next entries, as soon as there are any. Raises ``StoreError`` if what was missed cannot be read."""
        while True:
            found = await self._catch_up() if self._behind else self._take_buffer()
            if found:
                return found
            if not self._behind:
                await self._news.wait()

    async def _catch_up(self) -> list[Entry]:
        upto = await self._feed.now()
        page = await self._feed.read(self, upto) if upto > (self.position or 0) else []
        found = list(filter(self._wants, page))
        if len(page) == PAGE:
            self.position = page[-1].id
        else:
            self.position = max(upto, self.position or 0)
            self._behind = self._feed.stands_at() != upto  # if it moved on meanwhile, what it told was not for us yet
        return found

    def _take_buffer(self) -> list[Entry]:
        self._news = anyio.Event()
        found, self._buffer = self._buffer, []
        if found:
            self.position = found[-1].id
        return found

    def take(self, page: list[Entry], position: int) -> bool:
        """Entries that the feed has just read; whether any of them is for this follower."""
        if self._behind:
            return False
        found = list(islice(filter(self._wants, page), BUFFER + 1))
        if len(self._buffer) + len(found) > BUFFER:
            self._buffer, self._behind = [], True
        else:
            self._buffer += found
        return bool(found)

    def _wants(self, entry: Entry) -> bool:
        if entry.id <= (self.position or 0) or (self.seq is not None and entry.seq != self.seq):
            return False
        if self.owner is not None and entry.owner != self.owner:
            return False
        return self._task_types is None or entry.task_type in self._task_types

    def wake(self) -> None:
        self._news.set()
