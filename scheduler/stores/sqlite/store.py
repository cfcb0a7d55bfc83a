"""``SqliteStore``: the verbs of the ``Store`` port on one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from anyio import to_thread

from scheduler.errors import StoreError
from scheduler.job import RETRYABLE, TERMINAL, UNFINISHED, Draft, Item, Job, Lease, Ledger, Oks, Receipt, Status, Transition
from scheduler.journal import Entry
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Claims, JobQuery, Lanes, Pulse, Settled, Settlement, Tally, Want, Worker
from scheduler.stores.sqlite import (
    claiming,
    enqueueing,
    gates,
    joining,
    journal,
    overview,
    people,
    recording,
    requests,
    schema,
    settling,
    sharing,
    workers,
)
from scheduler.stores.sqlite.hints import Hints
from scheduler.stores.sqlite.query import COUNT_SQL, JOBS_SQL, where
from scheduler.stores.sqlite.rows import (
    PAUSE_COLUMNS,
    STATUS,
    WORKER_COLUMNS,
    chunks,
    job_from,
    us,
    values_text,
    window_from,
    worker_from,
)
from scheduler.stores.sqlite.thread import ConnectionThread
from scheduler.stores.sqlite.writer import Writer
from scheduler.stores.turns import Turns

T = TypeVar("T")

#: A file up to this size is read through in about a second.
BRIEF_BYTES = 256_000_000

#: Walks the distinct task types of the ready rows by seeks: its cost is the number of lanes, not of jobs.
_READY_LANES = """
WITH RECURSIVE lane(name) AS (
    SELECT min(task_type) FROM jobs WHERE ready = 1
    UNION ALL
    SELECT (SELECT min(task_type) FROM jobs WHERE ready = 1 AND task_type > lane.name) FROM lane WHERE lane.name IS NOT NULL
)
SELECT name FROM lane WHERE name IS NOT NULL
"""

#: The same walk over scheduled rows, with the first time that was due by now and the first that is not.
_SCHEDULED_LANES = """
WITH RECURSIVE lane(name) AS (
    SELECT min(task_type) FROM jobs WHERE ready = 0
    UNION ALL
    SELECT (SELECT min(task_type) FROM jobs WHERE ready = 0 AND task_type > lane.name) FROM lane WHERE lane.name IS NOT NULL
)
SELECT name,
    EXISTS (SELECT 1 FROM jobs WHERE ready = 0 AND task_type = name AND run_after_us <= :now),
    (SELECT min(run_after_us) FROM jobs WHERE ready = 0 AND task_type = name AND run_after_us > :now)
FROM lane WHERE name IS NOT NULL
"""


class SqliteStore:
    """Jobs in the SQLite file at ``path``; several processes may use it at once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._hints: Hints | None = None
        self._writer: Writer | None = None
        self._reader: ConnectionThread | None = None
        self._turns = Turns()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    async def open(self) -> None:
        await to_thread.run_sync(schema.prepare, self.path)
        self._hints = Hints()
        writing, self._reader = ConnectionThread(self.path), ConnectionThread(self.path, read_only=True)
        await writing.open()
        self._writer = Writer(writing, self.path, self._hints.send)
        await self._reader.open()

    async def close(self) -> None:
        if self._hints is not None:
            self._hints.deafen()
        if self._writer is not None:
            await self._writer.close()
        if self._reader is not None:
            await self._reader.close()
        if self._hints is not None:
            self._hints.close()
        self._hints = self._writer = self._reader = None

    async def check(self, *, briefly: bool = False) -> None:
        if not (briefly and self.path.stat().st_size > BRIEF_BYTES):
            await to_thread.run_sync(schema.check, self.path)

    # -- jobs in

    async def enqueue(self, drafts: Sequence[Draft], now: float, on_stored: Callable[[list[Receipt]], None] | None = None) -> list[Receipt]:
        return await self._write(
            lambda connection: enqueueing.enqueue(connection, drafts, now),
            durable=True,
            one_statement=enqueueing.is_one_statement(drafts),
            on_commit=on_stored,
        )

    async def enqueue_within(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Receipt]:
        """See ``Joins``; for a ``sqlite3`` or ``aiosqlite`` connection to this file. Other processes see the jobs with their next poll."""
        return await joining.enqueue(connection, self.path, drafts, now)

    # -- attempts

    async def lanes(self, now: float) -> Lanes:
        return await self._read(_lanes, us(now))

    async def claim(self, wants: Sequence[Want], worker: str, now: float) -> Claims:
        return await self._write(lambda connection: claiming.claim(connection, wants, worker, now, self._turns))

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled]:
        # A pause must bind every process from the moment it is reported, power loss included.
        durable = any(one.transition.pause is not None for one in settlements)
        return await self._write(lambda connection: settling.settle(connection, settlements, now), durable=durable)

    async def refund(self, leases: Sequence[Lease], now: float) -> int:
        return await self._write(lambda connection: settling.refund(connection, leases)) if leases else 0

    async def note(self, lease: Lease, now: float, *, state_json: str) -> bool:
        return await self._write(lambda connection: settling.note(connection, lease, state_json), durable=True)

    async def report(self, progress: Sequence[tuple[Lease, str]], now: float) -> None:
        await self._write(lambda connection: settling.report(connection, progress))

    async def record(self, lease: Lease, ledger: Ledger, items: Sequence[Item], now: float, *, progress_json: str | None = None) -> bool:
        return await self._write(lambda connection: recording.record(connection, lease, ledger, items, now, progress_json), durable=True)

    async def ledgers(self, job_id: str) -> list[Ledger]:
        return await self._read(recording.ledgers, job_id)

    async def items(self, job_id: str, name: str, *, ok: Oks | None = None, after: int = -1, limit: int = 1_000) -> list[Item]:
        return await self._read(recording.items, job_id, name, ok, after, limit)

    async def lapsed(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._read(_lapsed, leases) if leases else []

    async def held(self, leases: Sequence[Lease]) -> list[Lease]:
        return await self._read(_held, leases) if leases else []

    # -- people

    async def find(self, query: JobQuery) -> list[Job]:
        return await self._read(_find, query)

    async def count(self, query: JobQuery) -> list[Tally]:
        return await self._read(_count, query)

    async def cancel(self, query: JobQuery, now: float) -> list[Job]:
        narrowed = _only(query, UNFINISHED)
        return await self._write(lambda connection: people.cancel(connection, narrowed, now), durable=True)

    async def retry(self, query: JobQuery, now: float, *, restart: bool = False) -> list[Job]:
        narrowed = _only(query, RETRYABLE)
        return await self._write(lambda connection: people.retry(connection, narrowed, now, restart=restart), durable=True)

    async def hold(self, query: JobQuery, until: float, now: float) -> list[Job]:
        narrowed = _only(query, UNFINISHED)
        return await self._write(lambda connection: people.hold(connection, narrowed, until, now), durable=True)

    async def unhold(self, query: JobQuery, now: float) -> list[Job]:
        narrowed = _only(query, UNFINISHED)
        return await self._write(lambda connection: people.unhold(connection, narrowed, now), durable=True)

    async def give_up(self, query: JobQuery, transition_of: Callable[[Job], Transition], now: float) -> list[tuple[Job, Transition]]:
        narrowed = _only(query, frozenset({Status.RATE_LIMITED}))
        return await self._write(lambda connection: people.give_up(connection, narrowed, transition_of, now))

    async def discard(self, query: JobQuery, now: float) -> list[Job]:
        narrowed = _only(query, TERMINAL)
        return await self._write(lambda connection: people.discard(connection, narrowed), durable=True)

    async def prune(self, statuses: frozenset[Status], before: float, limit: int) -> int:
        return await self._write(lambda connection: people.prune(connection, statuses, before, limit))

    async def forget(self, before: float, limit: int) -> int:
        return await self._write(lambda connection: requests.forget(connection, before, limit))

    async def throughput(self, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
        return await self._read(overview.throughput, owner, since, bucket_s)

    async def ahead(self, job: Job, now: float, limit: int) -> int:
        return await self._read(overview.ahead, job, now, limit)

    # -- pauses

    async def pauses(self) -> list[PauseWindow]:
        rows = await self._read(_rows, f"SELECT {PAUSE_COLUMNS} FROM pauses ORDER BY scope")
        return [window_from(row) for row in rows]

    async def pause(self, scope: str, until: float, now: float) -> PauseWindow:
        return await self._write(lambda connection: gates.pause(connection, scope, until, now), durable=True)

    async def resume(self, scope: str, now: float) -> PauseWindow | None:
        return await self._write(lambda connection: gates.resume(connection, scope), durable=True)

    async def reopen(self, scope: str, now: float) -> bool:
        return await self._write(lambda connection: gates.reopen(connection, scope, now))

    # -- the journal

    async def journal(
        self, after: int, *, owners: frozenset[str] | None = None, seq: int | None = None, upto: int | None = None, limit: int = 1_000
    ) -> list[Entry]:
        return await self._read(journal.read, after, owners, seq, upto, limit)

    async def journal_span(self) -> tuple[int, int]:
        return await self._read(journal.span)

    async def prune_journal(self, before: float, superseded_before: float, limit: int) -> int:
        return await self._write(lambda connection: journal.prune(connection, before, superseded_before, limit))

    # -- pools

    async def share(self, pool: str, change: Callable[[str | None], tuple[str | None, T]], now: float) -> T:
        answer = await self._write(lambda connection: sharing.share(connection, pool, change, now))
        if isinstance(answer, sharing.Raised):
            raise answer.error
        return answer

    async def shared(self) -> dict[str, str]:
        return await self._read(sharing.shared)

    # -- workers

    async def workers(self) -> list[Worker]:
        rows = await self._read(_rows, f"SELECT {WORKER_COLUMNS} FROM workers ORDER BY started_us, worker_id")
        return [worker_from(row) for row in rows]

    async def register(self, worker: Worker) -> Pulse:
        await self._write(lambda connection: workers.register(connection, worker), durable=True)
        return workers.SqlitePulse(self.path, worker.worker_id)

    async def dismiss(self, worker_id: str) -> None:
        await self._write(lambda connection: workers.dismiss(connection, worker_id))

    async def take_turn(self, duty: str, worker_id: str, now: float, for_s: float) -> bool:
        return await self._write(lambda connection: workers.take_turn(connection, duty, worker_id, now, for_s))

    async def listen(self, on_hint: Callable[[], None]) -> str | None:
        if self._hints is None:
            raise StoreError("the store is closed")
        return await self._hints.listen(on_hint)

    # -- plumbing

    async def _write(
        self,
        change: Callable[[sqlite3.Connection], T],
        *,
        durable: bool = False,
        one_statement: bool = False,
        on_commit: Callable[[T], None] | None = None,
    ) -> T:
        if self._writer is None:
            raise StoreError("the store is closed")
        return await self._writer.do(change, durable=durable, one_statement=one_statement, on_commit=on_commit)

    async def _read(self, question: Callable[..., T], *args: Any) -> T:
        if self._reader is None:
            raise StoreError("the store is closed")
        try:
            return await self._reader.run(question, *args)
        except sqlite3.Error as error:
            raise schema.translated(error, self.path) from error


# -- questions, run in the reader's thread


def _rows(connection: sqlite3.Connection, sql: str) -> list[Any]:
    return connection.execute(sql).fetchall()


def _lanes(connection: sqlite3.Connection, now_us: int) -> Lanes:
    ready = {row[0] for row in connection.execute(_READY_LANES)}
    later_us: list[int] = []
    for name, is_due, next_us in connection.execute(_SCHEDULED_LANES, {"now": now_us}):
        if is_due:
            ready.add(name)
        if next_us is not None:
            later_us.append(next_us)
    return Lanes(frozenset(ready), min(later_us) / 1_000_000 if later_us else None)


def _lapsed(connection: sqlite3.Connection, leases: Sequence[Lease]) -> list[Lease]:
    held: set[tuple[int, int]] = set()
    for chunk in chunks(leases):
        pairs = [value for lease in chunk for value in (lease.seq, lease.token)]
        rows = connection.execute(
            f"WITH lease(seq, token) AS ({values_text(len(chunk), 2)}) SELECT jobs.seq, jobs.token FROM lease CROSS JOIN jobs "
            "ON jobs.seq = lease.seq AND jobs.token = lease.token WHERE jobs.status = 'processing'",
            pairs,
        )
        held.update((row[0], row[1]) for row in rows)
    return [lease for lease in leases if (lease.seq, lease.token) not in held]


def _held(connection: sqlite3.Connection, leases: Sequence[Lease]) -> list[Lease]:
    rows = connection.execute(
        "SELECT seq, token FROM jobs WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'processing' AND held_us IS NOT NULL",
        (str([lease.seq for lease in leases]),),
    )
    held = {(row[0], row[1]) for row in rows}
    return [lease for lease in leases if (lease.seq, lease.token) in held]


def _find(connection: sqlite3.Connection, query: JobQuery) -> list[Job]:
    condition, values = where(query)
    order = "seq DESC" if query.newest_first else "seq"
    return [job_from(row) for row in connection.execute(JOBS_SQL.format(where=condition, order=order), (*values, query.limit))]


def _count(connection: sqlite3.Connection, query: JobQuery) -> list[Tally]:
    condition, values = where(query, paged=False)
    rows = connection.execute(COUNT_SQL.format(where=condition), values)
    return [Tally(task_type, STATUS[status], reason, count) for task_type, status, reason, count in rows]


def _only(query: JobQuery, statuses: frozenset[Status]) -> JobQuery:
    """``query`` narrowed to what the verb may touch."""
    return replace(query, statuses=statuses if query.statuses is None else query.statuses & statuses)
