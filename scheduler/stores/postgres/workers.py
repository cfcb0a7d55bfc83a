"""Workers' rows, and the pulse that renews one of them.

A pulse beats from a thread of its own, so that neither a blocked event loop nor what queues on the lines makes a living
worker look dead. The driver needs an event loop: the thread gets a small private one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from scheduler.stores.base import Worker
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.rows import WORKER_COLUMNS
from scheduler.stores.postgres.session import Database, Session

#: A beat that takes longer has failed: the next one is due.
BEAT_LIMIT_S = 4.0


async def register(session: Session, workers: Sequence[Worker]) -> list[None]:
    for worker in workers:
        await session.fetch(
            f"INSERT INTO @schema@.workers ({WORKER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
            "ON CONFLICT (worker_id) DO NOTHING",  # its own row, when the answer of an earlier try was lost
            *session.times.worker_values(worker),
        )
    return [None] * len(workers)


async def dismiss(session: Session, worker_ids: Sequence[str]) -> list[None]:
    await session.fetch("DELETE FROM @schema@.workers WHERE worker_id = ANY ($1::text[])", list(worker_ids))
    return [None] * len(worker_ids)


async def registered(session: Session, askers: Sequence[None]) -> list[list[Worker]]:
    rows = await session.fetch(f"SELECT {WORKER_COLUMNS} FROM @schema@.workers ORDER BY started_us, worker_id")
    return [[session.times.worker(row) for row in rows] for _ in askers]


async def take_turn(session: Session, wishes: Sequence[tuple[str, str, float, float]]) -> list[bool]:
    """See ``Store.take_turn``."""
    us = session.times.us
    return [
        bool(
            await session.fetch(
                "INSERT INTO @schema@.turns AS t (duty, worker, until_us) VALUES ($1, $2, $3) ON CONFLICT (duty) DO UPDATE "
                "SET worker = excluded.worker, until_us = excluded.until_us "
                "WHERE t.worker = excluded.worker OR t.until_us <= $4 OR t.until_us > excluded.until_us RETURNING 1",
                duty,
                worker_id,
                us(now + for_s),
                us(now),
            )
        )
        for duty, worker_id, now, for_s in wishes
    ]


class PostgresPulse:
    """Renews one worker's row; made and used in the heartbeat's thread."""

    def __init__(self, database: Database, worker_id: str) -> None:
        self._database = database
        self._worker_id = worker_id
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None

    def beat(self, now: float) -> bool:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(self._beat(now))

    async def _beat(self, now: float) -> bool:
        try:
            async with asyncio.timeout(BEAT_LIMIT_S):
                if self._session is None or not self._session.is_open:
                    self._session = await self._database.connect("pulse", BEAT_LIMIT_S)
                renewed = await self._session.fetch(
                    "UPDATE @schema@.workers SET beats = beats + 1, beat_us = $2 WHERE worker_id = $1 RETURNING 1",
                    self._worker_id,
                    self._database.times.us(now),
                )
            return bool(renewed)
        except Exception as error:
            if self._session is not None and faults.is_lost(error):
                self._session.drop()
                self._session = None
            raise faults.translated(error, self._database.address.shown) from error

    def close(self) -> None:
        if self._loop is None:
            return
        if self._session is not None:
            self._loop.run_until_complete(self._session.close())
            self._session = None
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._loop = None
