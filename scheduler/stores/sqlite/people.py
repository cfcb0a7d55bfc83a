"""What people and the janitor ask for, by query: cancel, retry, give up, discard, prune; inside a write transaction.

Each narrows to the statuses it may touch before it changes anything (``store.py`` sees to it), and each is bounded
by a limit, so that no wish over a large store holds up the running jobs' outcomes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from scheduler.job import UNFINISHED, Job, Status, Transition
from scheduler.stores.base import JobQuery
from scheduler.stores.sqlite import recording, waits
from scheduler.stores.sqlite.gates import forget_probes
from scheduler.stores.sqlite.query import JOBS_SQL, UNFINISHED_SQL, where
from scheduler.stores.sqlite.rows import job_from, us


def matching(connection: sqlite3.Connection, query: JobQuery, also: str = "1") -> list[Job]:
    sql, values = where(query)
    sql = f"{sql} AND {also}"
    return [job_from(row) for row in connection.execute(JOBS_SQL.format(where=sql, order="seq"), (*values, query.limit))]


def _change(connection: sqlite3.Connection, jobs: Iterable[Job], assignments: str, values: tuple[Any, ...]) -> None:
    ids = str([job.seq for job in jobs])
    connection.execute(f"UPDATE jobs SET {assignments} WHERE seq IN (SELECT value FROM json_each(?))", (*values, ids))


def cancel(connection: sqlite3.Connection, query: JobQuery, now: float) -> list[Job]:
    jobs = [job for job in matching(connection, query) if job.status in UNFINISHED]
    _change(connection, jobs, "status = 'cancelled', reason = 'cancelled', finished_us = ?, ready = NULL, worker = NULL", (us(now),))
    forget_probes(connection, [job.job_id for job in jobs])
    waits.ended(connection, [job.seq for job in jobs], us(now))
    return jobs


_KEY_IS_FREE = (
    "(unique_key IS NULL OR NOT EXISTS (SELECT 1 FROM jobs AS held WHERE held.unique_key = jobs.unique_key AND held.owner IS jobs.owner "
    f"AND held.{UNFINISHED_SQL}))"
)


def retry(connection: sqlite3.Connection, query: JobQuery, now: float, *, restart: bool = False) -> list[Job]:
    sent: list[Job] = []
    keys: set[tuple[str | None, str]] = set()
    for job in matching(connection, query, _KEY_IS_FREE):
        if job.unique_key is not None:  # two failed jobs may have had the same key
            if (job.owner, job.unique_key) in keys:
                continue
            keys.add((job.owner, job.unique_key))
        sent.append(job)
    _change(
        connection,
        sent,
        "status = 'pending', reason = NULL, error = NULL, attempts = 0, crashes = 0, result_json = NULL, progress_json = NULL, "
        "waiting_us = NULL, started_us = NULL, finished_us = NULL, run_after_us = ?, ready = 1, blockers = 0, doomed = NULL, "
        "held_us = NULL, due_us = NULL" + (", state_json = NULL" if restart else ""),
        (us(now),),
    )
    recording.again(connection, sent, restart=restart)
    return sent


def give_up(
    connection: sqlite3.Connection, query: JobQuery, transition_of: Callable[[Job], Transition], now: float
) -> list[tuple[Job, Transition]]:
    ended = [(job, transition_of(job)) for job in matching(connection, query)]
    for job, end in ended:
        _change(
            connection,
            [job],
            "status = ?, reason = ?, error = ?, token = token + 1, waiting_us = NULL, finished_us = ?, ready = NULL",
            (end.status.value, end.reason, end.error, us(now)),
        )
    waits.ended(connection, [job.seq for job, _ in ended], us(now))
    return ended


def hold(connection: sqlite3.Connection, query: JobQuery, until: float, now: float) -> list[Job]:
    """Waiting jobs fall due no sooner than ``until``; running ones are marked, for their workers to see."""
    jobs = matching(connection, query, f"(held_us IS NULL OR held_us < {us(until)})")
    _change(
        connection,
        jobs,
        "held_us = ?, due_us = coalesce(due_us, run_after_us), "
        "run_after_us = CASE status WHEN 'processing' THEN run_after_us ELSE max(run_after_us, ?) END, "
        "ready = CASE WHEN status = 'processing' OR blockers > 0 THEN NULL ELSE max(run_after_us, ?) <= ? END",
        (us(until), us(until), us(until), us(now)),
    )
    return jobs


def unhold(connection: sqlite3.Connection, query: JobQuery, now: float) -> list[Job]:
    jobs = matching(connection, query, "held_us IS NOT NULL")
    _change(
        connection,
        jobs,
        "held_us = NULL, due_us = NULL, run_after_us = coalesce(due_us, run_after_us), "
        "ready = CASE WHEN status = 'processing' OR blockers > 0 THEN NULL ELSE coalesce(due_us, run_after_us) <= ? END",
        (us(now),),
    )
    return jobs


def discard(connection: sqlite3.Connection, query: JobQuery) -> list[Job]:
    jobs = matching(connection, query)
    connection.execute("DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(?))", (str([job.seq for job in jobs]),))
    return jobs


def prune(connection: sqlite3.Connection, statuses: frozenset[Status], before: float, limit: int) -> int:
    if not statuses:
        return 0
    marks = ", ".join("?" * len(statuses))
    return connection.execute(
        "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_finished "
        f"WHERE finished_us IS NOT NULL AND finished_us < ? AND status IN ({marks}) ORDER BY finished_us LIMIT ?)",
        (us(before), *map(str, statuses), limit),
    ).rowcount
