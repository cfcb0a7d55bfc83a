"""Questions about many jobs that are answered from an index: how many ended when, how many stand before one."""

from __future__ import annotations

import sqlite3

from scheduler.job import Job, Status
from scheduler.stores.sqlite.rows import STATUS, us

#: In the words of the index ``jobs_finished``, which has all that it asks for.
THROUGHPUT = (
    "SELECT finished_us / :bucket, status, count(*) FROM jobs INDEXED BY jobs_finished "
    "WHERE finished_us IS NOT NULL AND finished_us >= :since{only} GROUP BY 1, 2"
)
#: Those of a higher priority, those before it of its own, and those that fell due and are not made claimable yet.
_AHEAD = (
    "SELECT count(*) FROM ("
    "SELECT 1 FROM jobs WHERE ready = 1 AND task_type = :lane AND priority > :priority "
    "UNION ALL SELECT 1 FROM jobs WHERE ready = 1 AND task_type = :lane AND priority = :priority AND seq < :seq "
    "UNION ALL SELECT 1 FROM jobs WHERE ready = 0 AND task_type = :lane AND run_after_us <= :now "
    "AND (priority > :priority OR (priority = :priority AND seq < :seq)) "
    "LIMIT :limit)"
)


def throughput(connection: sqlite3.Connection, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
    """See ``Store.throughput``."""
    bucket_us = us(bucket_s)
    only = "" if owner is None else " AND owner = :owner"
    rows = connection.execute(THROUGHPUT.format(only=only), {"bucket": bucket_us, "since": us(since), "owner": owner})
    return [(number * bucket_us / 1_000_000, STATUS[status], count) for number, status, count in rows]


def ahead(connection: sqlite3.Connection, job: Job, now: float, limit: int) -> int:
    """See ``Store.ahead``."""
    values = {"lane": job.task_type, "priority": job.priority, "seq": job.seq, "now": us(now), "limit": limit}
    return int(connection.execute(_AHEAD, values).fetchone()[0])
