"""The mover: from the journal to deliveries. One worker at a time reads what happened and makes a job for each receiver to be told.

How far it came is a document in the store, a cursor for each webhook. A delivery is stored before the cursor moves, and has a unique key
made of the webhook and the entry: a crash between the two repeats nothing that is not done yet, and loses nothing.

Does not belong here: making the delivery (``deliveries.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import pydantic_core

from scheduler.clock import Clock
from scheduler.errors import StoreError
from scheduler.job import Draft, Receipt
from scheduler.journal import Entry
from scheduler.stores.base import JobQuery, Store
from scheduler.webhooks.deliveries import TARGET, told_draft
from scheduler.webhooks.filters import DELIVER, Filter

DUTY = "webhooks"
#: No pool's: its name begins with what no pool's name should.
DOCUMENT = "~webhooks"
#: Whoever moves does so for so many seconds, and renews that three times in between.
TURN_S = 15.0
#: Entries of the journal that are looked at in one go.
PAGE = 500

Cursors = dict[str, int]


class Mover:
    """Moves, for the webhooks of ``filters``; owns where it stands while it has the turn."""

    def __init__(
        self,
        store: Store,
        filters: Mapping[str, Filter],
        enqueue: Callable[[list[Draft], float], Awaitable[list[Receipt]]],
        clock: Clock,
        every_s: float,
    ) -> None:
        self._store = store
        self._filters = filters
        self._enqueue = enqueue
        self._clock = clock
        self._every_s = every_s
        self._worker = ""
        self._lock = anyio.Lock()
        self._ask_at = self._ends_at = float("-inf")
        #: Where each webhook stands; None until it was read in this turn.
        self._cursors: Cursors | None = None

    async def begin(self, worker: str) -> None:
        """Before anything runs: a webhook that is new hears of what happens from now on."""
        self._worker = worker
        _, end = await self._store.journal_span()

        def change(document: str | None) -> tuple[str | None, None]:
            stands = _read(document)
            new = {name: end for name in self._filters if name not in stands}
            return (_written(stands | new) if new else None), None

        await self._store.share(DOCUMENT, change, self._clock.now())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(self._every_s)
            try:
                while await self.move():
                    pass
            except StoreError:  # the dispatcher reports a store that fails; the next round tries again
                self._cursors = None

    async def move(self) -> bool:
        """Look at the next entries and enqueue what they ask for. Whether there is, or may be, more to do."""
        async with self._lock:
            if not await self._has_turn():
                return False
            is_first = self._cursors is None
            stands = self._cursors = await self._stands() if self._cursors is None else self._cursors
            if not stands:
                return False
            entries = await self._store.journal(min(stands.values()), limit=PAGE)
            if not entries:
                return False
            drafts = self._drafts(entries, stands)
            if is_first and drafts:
                drafts = await self._not_stored(drafts)
            if drafts:
                await self._enqueue(drafts, self._clock.now())
            self._cursors = await self._store.share(DOCUMENT, self._moved(entries[-1].id), self._clock.now())
            return bool(drafts) or len(entries) == PAGE

    async def is_behind(self) -> bool:
        """Whether there is, or may be, something to tell that is no delivery yet: for a run that ends when nothing is left."""
        if await self.move():
            return True
        if self._cursors is not None:
            return False
        stands = await self._stands()  # another has the turn, or died while it had
        return bool(stands and await self._store.journal(min(stands.values()), limit=1))

    async def end(self) -> None:
        """Let others have the turn."""
        if self._clock.monotonic() < self._ends_at:
            await self._store.take_turn(DUTY, self._worker, self._clock.now(), 0.0)

    async def _has_turn(self) -> bool:
        now = self._clock.monotonic()
        if now < self._ask_at:
            return now < self._ends_at
        self._ask_at = now + TURN_S / 3
        if now >= self._ends_at:
            self._cursors = None  # another may have moved on meanwhile
        is_mine = await self._store.take_turn(DUTY, self._worker, self._clock.now(), TURN_S)
        self._ends_at = now + TURN_S if is_mine else float("-inf")
        if not is_mine:
            self._cursors = None
        return is_mine

    async def _stands(self) -> Cursors:
        return await self._store.share(DOCUMENT, lambda document: (None, self._own(_read(document))), self._clock.now())

    def _moved(self, to: int) -> Callable[[str | None], tuple[str, Cursors]]:
        def change(document: str | None) -> tuple[str, Cursors]:
            stands = _read(document)
            stands |= {name: max(cursor, to) for name, cursor in self._own(stands).items()}
            return _written(stands), self._own(stands)

        return change

    def _own(self, stands: Cursors) -> Cursors:
        """Those of the webhooks that are configured here; another worker may know others."""
        return {name: cursor for name, cursor in stands.items() if name in self._filters}

    def _drafts(self, entries: list[Entry], stands: Cursors) -> list[Draft]:
        now = self._clock.now()
        return [
            told_draft(name, entry, now)
            for entry in entries
            for name, cursor in stands.items()
            if entry.id > cursor and self._filters[name].matches(entry)
        ]

    async def _not_stored(self, drafts: list[Draft]) -> list[Draft]:
        """Without those that whoever had the turn before had stored, but had not moved past: a crash leaves a page of them at most."""
        stored: set[str | None] = set()
        for name in {draft.target_id for draft in drafts}:
            query = JobQuery(task_types=frozenset({DELIVER}), target_type=TARGET, target_id=name, limit=PAGE)
            stored |= {job.unique_key for job in await self._store.find(query)}
        return [draft for draft in drafts if draft.unique_key not in stored]


def _read(document: str | None) -> Cursors:
    stands: Cursors = {} if document is None else pydantic_core.from_json(document)
    return stands


def _written(stands: Cursors) -> str:
    return pydantic_core.to_json(stands).decode()
