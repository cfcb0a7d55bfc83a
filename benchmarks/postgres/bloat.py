"""What jobs leave behind: rows, dead rows, and the space of table, indexes and journal, wave by wave, with the server's own autovacuum."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import asyncpg

from benchmarks.postgres import drain, ours
from benchmarks.postgres.server import Server
from scheduler.job import TERMINAL

_LOOK = """
SELECT s.n_live_tup, s.n_dead_tup, pg_table_size(s.relid), pg_indexes_size(s.relid), s.autovacuum_count,
       j.n_dead_tup, pg_total_relation_size(j.relid)
FROM pg_stat_user_tables AS s JOIN pg_stat_user_tables AS j ON j.schemaname = s.schemaname AND j.relname = 'journal'
WHERE s.relid = $1::regclass
"""
#: Dead rows that a wave left are looked at once more after so long: autovacuum comes round once a minute.
PATIENCE_S = 130.0


@dataclass(frozen=True)
class Left:
    """``rows`` and ``dead`` are the server's estimates; sizes in MB (10^6 bytes), the journal's with its indexes."""

    when: str
    rows: int
    dead: int
    table_mb: float
    indexes_mb: float
    vacuums: int
    journal_dead: int
    journal_mb: float


async def _left(connection: asyncpg.Connection, table: str, when: str) -> Left:
    await asyncio.sleep(1.5)  # the counters come late
    rows, dead, size, indexes, vacuums, entries, journal = await connection.fetchrow(_LOOK, table)
    return Left(when, rows, dead, size / 1e6, indexes / 1e6, vacuums, entries, journal / 1e6)


async def waves(server: Server, jobs: int, number: int, concurrency: int) -> list[Left]:
    """``jobs`` in ``number`` waves; what ended before a wave is deleted after it, as retention would."""
    url = server.store()
    table = server.table(url)
    async with ours.scheduler(url) as scheduler:
        connection = await asyncpg.connect(server.url)
        try:
            seen: list[Left] = []
            for wave in range(1, number + 1):
                began = time.time()
                await drain.drain_ours(server, jobs // number, concurrency, url=url)
                seen.append(await _left(connection, table, f"wave {wave} done"))
                while await scheduler.store.prune(TERMINAL, began, 5_000):
                    pass
            ends = time.monotonic() + PATIENCE_S
            while (last := await _left(connection, table, "later")).dead > jobs // number // 10 and time.monotonic() < ends:
                await asyncio.sleep(1.0)
            return [*seen, last]
        finally:
            await connection.close()
