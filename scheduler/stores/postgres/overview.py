"""Questions about many jobs that are answered from indexes: how many ended when, how many stand before one."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.job import Job, Status
from scheduler.stores.postgres.people import BY_INDEX
from scheduler.stores.postgres.rows import STATUS
from scheduler.stores.postgres.session import Session

#: In the words of the two indexes, which have all that it asks for.
_ENDED = (
    "SELECT finished_us, status FROM @schema@.jobs WHERE finished_us IS NOT NULL AND status {kind} ('completed', 'cancelled') "
    "AND finished_us >= $1"
)
THROUGHPUT = (
    "SELECT (finished_us - $2) / $3, status, count(*) FROM ("
    + " UNION ALL ".join(_ENDED.format(kind=kind) + "{only}" for kind in ("IN", "NOT IN"))
    + ") AS ended GROUP BY 1, 2"
)
#: Those of a higher priority, those before it of its own, and those that fell due and are not made claimable yet. In the order of the
#: line, lest they be looked for among all that ended before.
AHEAD = (
    "SELECT count(*) FROM (("
    "SELECT 1 FROM @schema@.jobs WHERE ready = 1 AND task_type = $1 AND priority > $2 LIMIT $5) "
    "UNION ALL (SELECT 1 FROM @schema@.jobs WHERE ready = 1 AND task_type = $1 AND priority = $2 AND seq < $3 "
    "ORDER BY priority DESC, coalesce(owner, ''), seq LIMIT $5) "
    "UNION ALL (SELECT 1 FROM @schema@.jobs WHERE ready = 0 AND task_type = $1 AND run_after_us <= $4 "
    "AND (priority > $2 OR (priority = $2 AND seq < $3)) LIMIT $5) LIMIT $5) AS first"
)


async def throughput(session: Session, wishes: Sequence[tuple[str | None, float, float]]) -> list[list[tuple[float, Status, int]]]:
    """See ``Store.throughput``."""
    found: list[list[tuple[float, Status, int]]] = []
    async with session.transaction(synced=False, also=BY_INDEX):
        for owner, since, bucket_s in wishes:
            bucket_us = round(bucket_s * 1_000_000)
            only, values = ("", ()) if owner is None else (" AND owner = $4", (owner,))
            rows = await session.fetch(
                THROUGHPUT.replace("{only}", only), session.times.us(since), session.times.offset_us, bucket_us, *values
            )
            found.append([(number * bucket_us / 1_000_000, STATUS[status], count) for number, status, count in rows])
    return found


async def ahead(session: Session, wishes: Sequence[tuple[Job, float, int]]) -> list[int]:
    """See ``Store.ahead``."""
    counts: list[int] = []
    async with session.transaction(synced=False, also=BY_INDEX):
        for job, now, limit in wishes:
            rows = await session.fetch(AHEAD, job.task_type, job.priority, job.seq, session.times.us(now), limit)
            counts.append(int(rows[0][0]))
    return counts
