"""The journal that the triggers of ``0008_journal.sql`` write: reading it in the order of commits, and forgetting what is old.

A sequence hands out numbers before their transactions commit, so that a later number may be seen first. Nobody is shown what lies
behind a hole until it is known that nothing will ever fill it: all transactions have ended that were open when it was first seen.
Somebody's own transaction that stays open for longer than ``PATIENCE_S`` is not waited for; what it enqueued then shows in the jobs, and in
the journal to whoever reads from further back, but not in streams that have passed it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from scheduler.journal import Entry, entry_from
from scheduler.stores.postgres.session import Session

#: A hole is waited for so many seconds at most.
PATIENCE_S = 3.0
#: So many numbers are looked at in one question.
_LOOK = 20_000
_AGAIN_S = 0.02

_XMIN = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_NUMBERS = f"SELECT ARRAY(SELECT id FROM @schema@.journal WHERE id > $1 ORDER BY id LIMIT $2), {_XMIN}"
_LAST = "SELECT coalesce(max(id), 0) FROM @schema@.journal"
_OPEN_SINCE = f"SELECT {_XMIN}"
#: Takes a transaction number of its own: all that were given out before are smaller. (A snapshot's ``xmax`` would not do: it is one more
#: than the last that has *ended*, and whoever began later and is still at work is beyond it.)
_BARRIER = "SELECT pg_current_xact_id()::text::bigint"


class Boundary:
    """``settled``: every entry up to this number that will ever exist can be seen. Pure but for the monotonic clock it is given.

    ``xmin`` is the oldest transaction that is open, a *barrier* a number that all have passed who were open when it was taken.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.settled: int | None = None
        self._first: tuple[int, int, float] | None = None
        self._monotonic = monotonic
        self._holes: dict[int, tuple[int | None, float]] = {}

    def begin(self, last: int, barrier: int) -> None:
        """The first look: whoever is open may still fill a hole before ``last``, the last number that can be seen."""
        self._first = (last, barrier, self._monotonic())

    def begun(self, xmin: int) -> bool:
        """Whether nobody is open any more who was at the first look, or he took too long."""
        assert self._first is not None
        last, barrier, since = self._first
        if xmin >= barrier or self._monotonic() - since >= PATIENCE_S:
            self.settled = last
        return self.settled is not None

    def advance(self, numbers: Sequence[int], xmin: int) -> bool:
        """Move on over ``numbers``, all that can be seen behind ``settled``; holes are remembered by the number behind them.

        Whether there are new holes, which want a barrier: ``mark`` them.
        """
        settled = self.settled or 0
        before, stuck, behind = settled, False, set()
        for number in numbers:
            if number != before + 1 and not self._is_over(number, xmin):
                behind.add(number)
                stuck = True
            if not stuck:
                settled = number
            before = number
        self._holes = {number: seen for number, seen in self._holes.items() if number in behind}
        self.settled = settled
        return any(barrier is None for barrier, _ in self._holes.values())

    def mark(self, barrier: int) -> None:
        """A barrier that was taken after the new holes were seen."""
        self._holes = {number: (known or barrier, since) for number, (known, since) in self._holes.items()}

    def _is_over(self, number: int, xmin: int) -> bool:
        """Whether nothing will fill the hole before ``number`` any more."""
        barrier, since = self._holes.setdefault(number, (None, self._monotonic()))
        return (barrier is not None and xmin >= barrier) or self._monotonic() - since >= PATIENCE_S


class Reading:
    """Reads behind the boundary; one for each store."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._boundary = Boundary(monotonic)

    async def read(self, session: Session, wishes: Sequence[tuple[int, frozenset[str] | None, int | None, int | None, int]]) -> list[Any]:
        """See ``Store.journal``."""
        settled = await self._look(session)
        return [await _entries(session, settled, *wish) for wish in wishes]

    async def span(self, session: Session, askers: Sequence[None]) -> list[tuple[int, int]]:
        """See ``Store.journal_span``."""
        settled = await self._look(session)
        first = await session.value("SELECT min(id) FROM @schema@.journal WHERE id <= $1", settled)
        return [(settled + 1 if first is None else first, settled)] * len(askers)

    async def _look(self, session: Session) -> int:
        boundary = self._boundary
        if boundary.settled is None:  # once for each process: nobody can be told where the journal ends before that is known
            last = await session.value(_LAST)
            boundary.begin(last, await session.value(_BARRIER))
            while not boundary.begun(await session.value(_OPEN_SINCE)):  # noqa: ASYNC110 - the server rings no bell
                await anyio.sleep(_AGAIN_S)
        if boundary.advance(*(await session.fetch(_NUMBERS, boundary.settled, _LOOK))[0]):
            boundary.mark(await session.value(_BARRIER))
        return boundary.settled or 0


_READ = (
    "SELECT e.id, e.at_us, e.name, e.seq, j.job_id, j.task_type, j.target_type, j.target_id, e.owner, j.batch, e.status, e.reason, "
    "e.error, e.attempt, e.worker, e.detail FROM @schema@.journal AS e LEFT JOIN @schema@.jobs AS j ON j.seq = e.seq "
    "WHERE e.id > $1 AND e.id <= $2{only} ORDER BY e.id LIMIT $3"
)


async def _entries(
    session: Session, settled: int, after: int, owners: frozenset[str] | None, seq: int | None, upto: int | None, limit: int
) -> list[Entry]:
    only = ""
    values: list[Any] = [after, settled if upto is None else min(upto, settled), limit]
    if seq is not None:
        values.append(seq)
        only += f" AND e.seq = ${len(values)}"
    if owners is not None:
        values.append(sorted(owners))
        only += f" AND e.owner = ANY (${len(values)}::text[])"
    rows = await session.fetch(_READ.format(only=only), *values)
    return [entry_from(number, session.times.s(at_us), told) for number, at_us, *told in rows]


_OLD = (
    "DELETE FROM @schema@.journal WHERE id = ANY (ARRAY(SELECT id FROM @schema@.journal ORDER BY id LIMIT $2)) AND at_us < $1 RETURNING id"
)
_SUPERSEDED = (
    "DELETE FROM @schema@.journal WHERE id = ANY (ARRAY(SELECT e.id FROM @schema@.journal AS e WHERE e.name = 'job.progress' "
    "AND e.at_us < $1 AND EXISTS (SELECT 1 FROM @schema@.journal AS n WHERE n.seq = e.seq AND n.seq IS NOT NULL AND n.id > e.id "
    "AND n.name = 'job.progress') LIMIT $2)) RETURNING id"
)


async def prune(session: Session, wishes: Sequence[tuple[float, float, int]]) -> list[int]:
    """See ``Store.prune_journal``."""
    gone: list[int] = []
    for before, superseded_before, limit in wishes:
        old = await session.fetch(_OLD, session.times.us(before), limit)
        stale = await session.fetch(_SUPERSEDED, session.times.us(superseded_before), limit)
        gone.append(len(old) + len(stale))
    return gone
