"""Questions about many jobs that are answered from an index: how many ended when, how many stand before one."""

from __future__ import annotations

import sqlite3

from scheduler.job import Job, Status
from scheduler.stores.sqlite.rows import STATUS, us

#: In the words of the index ``jobs_finished``, which has all that it asks for.
THROUGHPUT = (
    "SELECT finished_us / ?1, status, count(*) FROM jobs INDEXED BY jobs_finished "
    "WHERE finished_us IS NOT NULL AND finished_us >= ?2{only} GROUP BY 1, 2"
)
#: Those of a higher priority, those before it of its own, and those that fell due and are not made claimable yet.
_AHEAD = (
    "SELECT count(*) FROM ("
    "SELECT 1 FROM jobs WHERE ready = 1 AND task_type = ?1 AND priority > ?2 "
    "UNION ALL SELECT 1 FROM jobs WHERE ready = 1 AND task_type = ?1 AND priority = ?2 AND seq < ?3 "
    "UNION ALL SELECT 1 FROM jobs WHERE ready = 0 AND task_type = ?1 AND run_after_us <= ?4 "
    "AND (priority > ?2 OR (priority = ?2 AND seq < ?3)) "
    "LIMIT ?5)"
)


def throughput(connection: sqlite3.Connection, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
    """See ``Store.throughput``."""
    bucket_us = us(bucket_s)
    only, values = ("", ()) if owner is None else (" AND owner = ?3", (owner,))
    rows = connection.execute(THROUGHPUT.format(only=only), (bucket_us, us(since), *values))
    return [(number * bucket_us / 1_000_000, STATUS[status], count) for number, status, count in rows]


def ahead(connection: sqlite3.Connection, job: Job, now: float, limit: int) -> int:
    """See ``Store.ahead``."""
    return int(connection.execute(_AHEAD, (job.task_type, job.priority, job.seq, us(now), limit)).fetchone()[0])
