"""What people and the janitor ask for, by query: cancel, retry, give up, discard, prune.

Each locks the jobs it is about, looks, and changes them in the same transaction; each is bounded by a limit, so that no
wish over a large table holds up the running jobs' outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from scheduler.errors import StoreBusyError
from scheduler.job import Job, Status, Transition
from scheduler.stores.base import JobQuery, Tally
from scheduler.stores.postgres import gates, recording, waits
from scheduler.stores.postgres.query import COUNT_SQL, jobs_sql, where
from scheduler.stores.postgres.rows import STATUS
from scheduler.stores.postgres.session import Session

#: Partial indexes in their own order: a fresh table without statistics must not be sorted.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"


async def find(session: Session, queries: Sequence[JobQuery]) -> list[list[Job]]:
    found: list[list[Job]] = []
    for query in queries:
        sql, values = jobs_sql(query, session.times)
        found.append([session.times.job(row) for row in await session.fetch(sql, *values)])
    return found


async def count(session: Session, queries: Sequence[JobQuery]) -> list[list[Tally]]:
    counts: list[list[Tally]] = []
    for query in queries:
        condition, values = where(query, session.times, paged=False)
        rows = await session.fetch(COUNT_SQL.format(where=condition), *values)
        counts.append([Tally(task_type, STATUS[status], reason, number) for task_type, status, reason, number in rows])
    return counts


async def _locked(session: Session, query: JobQuery, also: str = "true") -> list[Job]:
    """The jobs, held until the transaction ends."""
    sql, values = jobs_sql(query, session.times, also)
    return [session.times.job(row) for row in await session.fetch(sql + " FOR NO KEY UPDATE", *values)]


async def _change(session: Session, jobs: Sequence[Job], assignments: str, *values: Any) -> None:
    await session.fetch(f"UPDATE @schema@.jobs SET {assignments} WHERE seq = ANY ($1::bigint[])", [job.seq for job in jobs], *values)


async def cancel(session: Session, wishes: Sequence[tuple[JobQuery, float]]) -> list[list[Job]]:
    cancelled: list[list[Job]] = []
    async with session.transaction(synced=True):
        for query, now in wishes:
            jobs = await _locked(session, query)
            ended = "status = 'cancelled', reason = 'cancelled', finished_us = $2, ready = NULL, worker = NULL"
            await _change(session, jobs, ended, session.times.us(now))
            await gates.forget_probes(session, [job.job_id for job in jobs])
            await waits.ended(session, [job.seq for job in jobs], session.times.us(now))
            cancelled.append(jobs)
    return cancelled


_KEY_IS_FREE = (
    "(key_hash IS NULL OR NOT EXISTS (SELECT 1 FROM @schema@.jobs AS held "
    "WHERE held.key_hash = jobs.key_hash AND held.key_hash IS NOT NULL AND held.finished_us IS NULL))"
)
_TRIES = 5
_AS_NEW = (
    "status = 'pending', reason = NULL, error = NULL, attempts = 0, crashes = 0, result_json = NULL, progress_json = NULL, "
    "waiting_us = NULL, started_us = NULL, finished_us = NULL, run_after_us = $2, ready = 1, blockers = 0, "
    "doomed = NULL, held_us = NULL, due_us = NULL"
)


async def retry(session: Session, wishes: Sequence[tuple[JobQuery, float, bool]]) -> list[list[Job]]:
    for _ in range(_TRIES):
        try:
            return await _retry(session, wishes)
        except asyncpg.UniqueViolationError:
            continue  # somebody enqueued a job with such a key meanwhile: now it is seen
    raise StoreBusyError("others store jobs with the same keys all the time: try again")


async def _retry(session: Session, wishes: Sequence[tuple[JobQuery, float, bool]]) -> list[list[Job]]:
    sent: list[list[Job]] = []
    async with session.transaction(synced=True):
        for query, now, restart in wishes:
            found = await _locked(session, query, _KEY_IS_FREE)
            jobs = _first_of_each_key(found)
            await _change(session, jobs, _AS_NEW + (", state_json = NULL" if restart else ""), session.times.us(now))
            await recording.again(session, jobs, restart=restart)
            sent.append(jobs)
    return sent


def _first_of_each_key(found: Sequence[Job]) -> list[Job]:
    """Two failed jobs may have had the same key."""
    first: dict[tuple[str | None, str | int], Job] = {}
    for job in found:
        first.setdefault((job.owner, job.seq if job.unique_key is None else job.unique_key), job)
    return list(first.values())


async def give_up(session: Session, wishes: Sequence[tuple[JobQuery, Callable[[Job], Transition], float]]) -> list[Any]:
    ended: list[list[tuple[Job, Transition]]] = []
    async with session.transaction(synced=True):
        for query, transition_of, now in wishes:
            ends = [(job, transition_of(job)) for job in await _locked(session, query)]
            for job, end in ends:
                await _change(
                    session,
                    [job],
                    "status = $2, reason = $3, error = $4, token = token + 1, waiting_us = NULL, finished_us = $5, ready = NULL",
                    end.status.value,
                    end.reason,
                    end.error,
                    session.times.us(now),
                )
            await waits.ended(session, [job.seq for job, _ in ends], session.times.us(now))
            ended.append(ends)
    return ended


async def hold(session: Session, wishes: Sequence[tuple[JobQuery, float, float]]) -> list[list[Job]]:
    """Waiting jobs fall due no sooner than that; running ones are marked, for their workers to see."""
    held: list[list[Job]] = []
    async with session.transaction(synced=True):
        for query, until, now in wishes:
            jobs = await _locked(session, query, f"(held_us IS NULL OR held_us < {session.times.us(until)})")
            await _change(
                session,
                jobs,
                "held_us = $2, due_us = coalesce(due_us, run_after_us), "
                "run_after_us = CASE status WHEN 'processing' THEN run_after_us ELSE greatest(run_after_us, $2) END, "
                "ready = CASE WHEN status = 'processing' OR blockers > 0 THEN NULL WHEN greatest(run_after_us, $2) <= $3 THEN 1 ELSE 0 END",
                session.times.us(until),
                session.times.us(now),
            )
            held.append(jobs)
    return held


async def unhold(session: Session, wishes: Sequence[tuple[JobQuery, float]]) -> list[list[Job]]:
    freed: list[list[Job]] = []
    async with session.transaction(synced=True):
        for query, now in wishes:
            jobs = await _locked(session, query, "held_us IS NOT NULL")
            await _change(
                session,
                jobs,
                "held_us = NULL, due_us = NULL, run_after_us = coalesce(due_us, run_after_us), "
                "ready = CASE WHEN status = 'processing' OR blockers > 0 THEN NULL "
                "WHEN coalesce(due_us, run_after_us) <= $2 THEN 1 ELSE 0 END",
                session.times.us(now),
            )
            freed.append(jobs)
    return freed


async def discard(session: Session, queries: Sequence[JobQuery]) -> list[list[Job]]:
    gone: list[list[Job]] = []
    async with session.transaction(synced=True):
        for query in queries:
            jobs = await _locked(session, query)
            await session.fetch("DELETE FROM @schema@.jobs WHERE seq = ANY ($1::bigint[])", [job.seq for job in jobs])
            gone.append(jobs)
    return gone


#: In the words of the two indexes.
PRUNE = (
    "DELETE FROM @schema@.jobs WHERE seq = ANY (ARRAY(SELECT seq FROM @schema@.jobs WHERE finished_us IS NOT NULL "
    "AND status {kind} ('completed', 'cancelled') AND finished_us < $1 AND status = ANY ($2::text[]) "
    "ORDER BY finished_us LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING seq"
)
_DONE = frozenset({Status.COMPLETED, Status.CANCELLED})


async def prune(session: Session, wishes: Sequence[tuple[frozenset[Status], float, int]]) -> list[int]:
    deleted: list[int] = []
    async with session.transaction(synced=False, also=BY_INDEX):
        for statuses, before, limit in wishes:
            gone = 0
            for kind, some in (("IN", statuses & _DONE), ("NOT IN", statuses - _DONE)):
                if some and gone < limit:
                    sql = PRUNE.format(kind=kind)
                    gone += len(await session.fetch(sql, session.times.us(before), sorted(map(str, some)), limit - gone))
            deleted.append(gone)
    return deleted
