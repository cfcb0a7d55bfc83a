"""Other rows: the drain rate of a store that holds a million of them, against one that holds none."""

from __future__ import annotations

import time

import asyncpg

from benchmarks.postgres import ours
from benchmarks.postgres.server import Server

KINDS = ("pending", "finished", "tomorrow", "paused", "all")
#: Straight into the table, as the store would have left them: a million enqueues of each kind would take most of the run.
_FILL = """
INSERT INTO {jobs} (job_id, task_type, target_type, target_id, payload_json, status, run_after_us, created_us, started_us, finished_us,
    attempts, token, result_json, ready)
SELECT '{kind}-' || n, 'other.{kind}', 'item', n::text, '{{"i": 1}}', CASE WHEN {finished} THEN 'completed' ELSE 'pending' END,
    {due}, {now}, CASE WHEN {finished} THEN {now} END, CASE WHEN {finished} THEN {now} + n END, {finished}::int, {finished}::int,
    CASE WHEN {finished} THEN '1' END, {ready}
FROM generate_series(1, {rows}) AS n
"""


async def filled(server: Server, kind: str, rows: int) -> str:
    """The URL of a new store with ``rows`` other rows of a kind; analyzed, as autovacuum would after a while."""
    url = server.store()
    async with ours.scheduler(url) as scheduler:
        if kind in ("paused", "all"):
            await scheduler.pause("other.paused")
    connection = await asyncpg.connect(server.url)
    try:
        kinds = [one for one in KINDS[:-1] if kind in (one, "all")]
        for one in kinds:
            now = round(time.time() * 1_000_000)
            finished, tomorrow = one == "finished", one == "tomorrow"
            await connection.execute(
                _FILL.format(
                    jobs=server.table(url),
                    kind=one,
                    rows=rows // len(kinds),
                    now=now,
                    due=now + 86_400_000_000 if tomorrow else now,
                    finished=str(finished).lower(),
                    ready="NULL::smallint" if finished else "0" if tomorrow else "1",
                )
            )
        await connection.execute(f"VACUUM ANALYZE {server.table(url)}")
    finally:
        await connection.close()
    return url
