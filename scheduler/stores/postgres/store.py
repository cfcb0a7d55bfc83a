"""``PostgresStore``: the verbs of the ``Store`` port on one schema of a PostgreSQL database."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import anyio

from scheduler.clock import SystemClock
from scheduler.errors import StoreError
from scheduler.job import RETRYABLE, TERMINAL, UNFINISHED, Draft, Item, Job, Lease, Ledger, Oks, Receipt, Status, Transition
from scheduler.journal import Entry
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Claims, JobQuery, Lanes, Pulse, Settled, Settlement, Tally, Want, Worker
from scheduler.stores.postgres import (
    enqueueing,
    faults,
    gates,
    hints,
    joining,
    journal,
    overview,
    people,
    recording,
    requests,
    schema,
    settling,
    sharing,
    waits,
    workers,
)
from scheduler.stores.postgres.address import parse
from scheduler.stores.postgres.claiming import Claiming
from scheduler.stores.postgres.line import Line
from scheduler.stores.postgres.session import QUESTION_LIMIT_S, Database, Session

T = TypeVar("T")


class PostgresStore:
    """Jobs in the schema that ``url`` names; any number of processes on any number of machines may use it at once.

    Four lines, each opened when first used: ``synced`` for what must be on disk when it returns, ``claims``, ``ends`` for
    outcomes and the rest that may ride on a later commit, ``questions``. A service also has a listener and a pulse.
    """

    def __init__(self, url: str) -> None:
        self._address = parse(url)
        self._database = Database(self._address)
        self._lines: dict[str, Line] = {}
        self._claiming = Claiming()
        self._claim = self._claiming.claim
        self._settle = settling.Settling().settle
        reading = journal.Reading(SystemClock.monotonic)
        self._read, self._span = reading.read, reading.span
        self._listener: hints.Listener | None = None
        self._sender = ""
        self._bell: asyncio.Task[None] | None = None
        self._rung = False
        self._rang_at = -math.inf
        self._being_stored: dict[str, asyncio.Future[Any]] = {}
        self._capped: set[int] = set()

    @property
    def url(self) -> str:
        """For people: without the password."""
        return self._address.shown

    async def open(self) -> None:
        session = await self._database.connect("synced")
        try:
            await schema.prepare(session)
            await self._database.measure(session)
        except BaseException as error:
            await session.close()
            if isinstance(error, Exception):
                raise faults.translated(error, self.url) from error
            raise
        self._lines = {name: Line(self._database, name) for name in ("claims", "ends")}
        self._lines["synced"] = Line(self._database, "synced", session=session)
        self._lines["questions"] = Line(self._database, "questions", QUESTION_LIMIT_S)

    async def foreseen(self) -> str | None:
        """See ``Foresees``."""
        session = await self._database.connect("look")
        try:
            return await schema.foreseen(session)
        except Exception as error:
            raise faults.translated(error, self.url) from error
        finally:
            await session.close()

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        while self._bell is not None:
            await asyncio.wait([self._bell])
        for line in self._lines.values():
            await line.close()
        self._lines, self._listener = {}, None

    async def check(self, *, briefly: bool = False) -> None:
        await self._line("questions").do(schema.check, None)

    # -- jobs in

    async def enqueue(self, drafts: Sequence[Draft], now: float, on_stored: Callable[[list[Receipt]], None] | None = None) -> list[Receipt]:
        is_simple = not waits.may_be_refused(drafts)
        hint = self._hint() if is_simple else None
        action = enqueueing.enqueue if is_simple else enqueueing.Alone()
        stored = self._line("synced").put(action, enqueueing.Batch(drafts, now, hint))
        if on_stored is not None:
            self._tell(drafts, stored, on_stored)
        receipts = await asyncio.shield(stored)
        if isinstance(receipts, sharing.Raised):
            raise receipts.error
        if hint is None:
            self._ring()
        return receipts

    async def enqueue_within(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Receipt]:
        """See ``Joins``; for an ``asyncpg`` connection to this database."""
        return await joining.enqueue(connection, self._database, drafts, now)

    def _tell(self, drafts: Sequence[Draft], stored: asyncio.Future[Any], on_stored: Callable[[list[Receipt]], None]) -> None:
        """Another line may claim the jobs before this one hears that they are stored: ``claim`` waits for those."""

        def told(future: asyncio.Future[Any]) -> None:
            for draft in drafts:
                self._being_stored.pop(draft.job_id, None)
            if future.exception() is None and not isinstance(future.result(), sharing.Raised):
                on_stored(future.result())

        self._being_stored.update(dict.fromkeys((draft.job_id for draft in drafts), stored))
        stored.add_done_callback(told)

    # -- attempts

    async def lanes(self, now: float) -> Lanes:
        return await self._line("questions").do(_lanes, now)

    async def claim(self, wants: Sequence[Want], worker: str, now: float) -> Claims:
        answer = await self._line("claims").do(self._claim, (wants, worker, now))
        capped = {want.task_type for want in wants if want.cap is not None}
        if capped:
            self._capped.update(claim.lease.seq for claim in answer.claims if claim.job.task_type in capped)
        if self._being_stored:
            for claim in answer.claims:
                stored = self._being_stored.get(claim.job.job_id)
                if stored is not None:
                    await asyncio.wait([stored])
        return answer

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled]:
        settled = await self._line("ends").do(self._settle, (settlements, now))
        handed_back = any(one.transition.status is Status.PENDING for one in settlements)
        ended = {one.lease.seq for one in settlements}
        made_room = not self._capped.isdisjoint(ended)
        self._capped -= ended
        if handed_back or made_room or any(one.window is not None or one.resumed or one.freed or one.receipts for one in settled):
            self._ring()
        return settled

    async def refund(self, leases: Sequence[Lease], now: float) -> int:
        return await self._line("ends").do(settling.refund, leases) if leases else 0

    async def note(self, lease: Lease, now: float, *, state_json: str) -> bool:
        return await self._line("synced").do(settling.note, (lease, state_json))

    async def report(self, progress: Sequence[tuple[Lease, str]], now: float) -> None:
        if progress:
            await self._line("ends").do(settling.report, progress)

    async def record(self, lease: Lease, ledger: Ledger, items: Sequence[Item], now: float, *, progress_json: str | None = None) -> bool:
        return await self._line("synced").do(recording.record, (lease, ledger, items, now, progress_json))

    async def ledgers(self, job_id: str) -> list[Ledger]:
        return await self._line("questions").do(recording.ledgers, job_id)

    async def items(self, job_id: str, name: str, *, ok: Oks | None = None, after: int = -1, limit: int = 1_000) -> list[Item]:
        return await self._line("questions").do(recording.items, (job_id, name, ok, after, limit))

    async def lapsed(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._line("questions").do(settling.lapsed, leases) if leases else []

    async def held(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._line("questions").do(settling.held, leases) if leases else []

    # -- people

    async def find(self, query: JobQuery) -> list[Job]:
        return await self._line("questions").do(people.find, query)

    async def count(self, query: JobQuery) -> list[Tally]:
        return await self._line("questions").do(people.count, query)

    async def cancel(self, query: JobQuery, now: float) -> list[Job]:
        cancelled = await self._line("synced").do(people.cancel, (_only(query, UNFINISHED), now))
        self._ring()
        return cancelled

    async def retry(self, query: JobQuery, now: float, *, restart: bool = False) -> list[Job]:
        sent = await self._line("synced").do(people.retry, (replace(_only(query, RETRYABLE), newest_first=False), now, restart))
        self._ring()
        return sent

    async def hold(self, query: JobQuery, until: float, now: float) -> list[Job]:
        held = await self._line("synced").do(people.hold, (_only(query, UNFINISHED), until, now))
        self._ring()
        return held

    async def unhold(self, query: JobQuery, now: float) -> list[Job]:
        freed = await self._line("synced").do(people.unhold, (_only(query, UNFINISHED), now))
        self._ring()
        return freed

    async def give_up(self, query: JobQuery, transition_of: Callable[[Job], Transition], now: float) -> list[tuple[Job, Transition]]:
        narrowed = _only(query, frozenset({Status.RATE_LIMITED}))
        ended: list[tuple[Job, Transition]] = await self._line("ends").do(people.give_up, (narrowed, transition_of, now))
        return ended

    async def discard(self, query: JobQuery, now: float) -> list[Job]:
        return await self._line("synced").do(people.discard, _only(query, TERMINAL))

    async def prune(self, statuses: frozenset[Status], before: float, limit: int) -> int:
        return await self._line("ends").do(people.prune, (statuses & TERMINAL, before, limit))

    async def forget(self, before: float, limit: int) -> int:
        return await self._line("ends").do(requests.forget, (before, limit))

    async def throughput(self, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
        return await self._line("questions").do(overview.throughput, (owner, since, bucket_s))

    async def ahead(self, job: Job, now: float, limit: int) -> int:
        return await self._line("questions").do(overview.ahead, (job, now, limit))

    # -- pauses

    async def pauses(self) -> list[PauseWindow]:
        return await self._line("questions").do(gates.stored, None)

    async def pause(self, scope: str, until: float, now: float) -> PauseWindow:
        window = await self._line("synced").do(gates.pause, (scope, until, now))
        self._ring()
        return window

    async def resume(self, scope: str, now: float) -> PauseWindow | None:
        window = await self._line("synced").do(gates.resume, scope)
        self._ring()
        return window

    async def reopen(self, scope: str, now: float) -> bool:
        removed = await self._line("ends").do(gates.reopen, (scope, now))
        if removed:
            self._ring()
        return removed

    # -- the journal

    async def journal(
        self, after: int, *, owners: frozenset[str] | None = None, seq: int | None = None, upto: int | None = None, limit: int = 1_000
    ) -> list[Entry]:
        found: list[Entry] = await self._line("questions").do(self._read, (after, owners, seq, upto, limit))
        return found

    async def journal_span(self) -> tuple[int, int]:
        span: tuple[int, int] = await self._line("questions").do(self._span, None)
        return span

    async def prune_journal(self, before: float, superseded_before: float, limit: int) -> int:
        return await self._line("ends").do(journal.prune, (before, superseded_before, limit))

    # -- pools

    async def share(self, pool: str, change: Callable[[str | None], tuple[str | None, T]], now: float) -> T:
        answer = await self._line("ends").do(sharing.share, (pool, change, now))
        if isinstance(answer, sharing.Raised):
            raise answer.error
        shared: T = answer
        return shared

    async def shared(self) -> dict[str, str]:
        return await self._line("questions").do(sharing.shared, None)

    # -- workers

    async def workers(self) -> list[Worker]:
        return await self._line("questions").do(workers.registered, None)

    async def register(self, worker: Worker) -> Pulse:
        await self._line("synced").do(workers.register, worker)
        return workers.PostgresPulse(self._database, worker.worker_id)

    async def dismiss(self, worker_id: str) -> None:
        await self._line("ends").do(workers.dismiss, worker_id)

    async def take_turn(self, duty: str, worker_id: str, now: float, for_s: float) -> bool:
        return await self._line("ends").do(workers.take_turn, (duty, worker_id, now, for_s))

    async def listen(self, on_hint: Callable[[], None]) -> str | None:
        """None behind a transaction-pooling proxy: notifications do not get through it, and polling has to do."""
        self._line("ends")
        if self._address.pooled:
            return None
        if self._listener is not None:
            await self._listener.close()
        self._listener = hints.Listener(self._database, on_hint)
        self._sender = self._listener.address
        return self._sender

    # -- plumbing

    def _line(self, name: str) -> Line:
        if not self._lines:
            raise StoreError("the store is closed")
        return self._lines[name]

    def _hint(self) -> str | None:
        """What a statement takes along to tell the other processes; None if they were told just now, or it has to be told apart."""
        now = asyncio.get_running_loop().time()
        if self._address.pooled or self._bell is not None or now < self._rang_at + hints.RING_EVERY_S:
            return None
        self._rang_at = now
        return self._sender

    def _ring(self) -> None:
        """Tell the other processes, at most so often."""
        self._rung = True
        if self._bell is None and self._lines:
            self._bell = asyncio.create_task(self._ring_out(), name="postgres bell")
            self._bell.add_done_callback(self._silent)

    async def _ring_out(self) -> None:
        while self._rung:
            self._rung = False
            self._rang_at = asyncio.get_running_loop().time()
            try:
                await self._line("ends").do(hints.ring, self._sender)
            except StoreError:
                return  # what was committed is committed; the others poll
            if self._listener is not None:  # else nothing is gained by waiting: a command is about to end
                await anyio.sleep(hints.RING_EVERY_S)

    def _silent(self, bell: asyncio.Task[None]) -> None:
        self._bell = None


async def _lanes(session: Session, times: Sequence[float]) -> list[Lanes]:
    return [await _lanes_at(session, now) for now in times]


async def _lanes_at(session: Session, now: float) -> Lanes:
    rows = await session.fetch("SELECT name, is_ready, next_us FROM @schema@.lanes($1)", session.times.us(now))
    later_us = [next_us for _, _, next_us in rows if next_us is not None]
    return Lanes(frozenset(name for name, is_ready, _ in rows if is_ready), session.times.s(min(later_us)) if later_us else None)


def _only(query: JobQuery, statuses: frozenset[Status]) -> JobQuery:
    """``query`` narrowed to what the verb may touch."""
    return replace(query, statuses=statuses if query.statuses is None else query.statuses & statuses)
