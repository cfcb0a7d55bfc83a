"""Wake-up hints: who changed something says so with NOTIFY, who runs jobs LISTENs.

A hint is never needed for correctness: a lost one costs a poll interval. A NOTIFY makes all commits that carry one wait for one another,
so none rides in a transaction that waits for the disk. The first hint after a rest goes out with the jobs it tells of (``enqueue_and_tell``
in ``migrations/0010_told_at_once.sql``), the others after the commit, by a transaction of their own: those of the same moment are one.

A connection can go deaf without a sign (a proxy that swallows notifications, a peer that vanished): so the listener calls
itself now and then, and connects anew when it does not hear that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio

from scheduler.errors import StoreError
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.session import Database, Session

#: At most one hint in so many seconds leaves this process.
RING_EVERY_S = 0.005
#: Seconds between round-trip checks, and how long one may take.
CHECK_EVERY_S = 10.0
HEAR_WITHIN_S = 3.0
#: Seconds until a lost or deaf connection is replaced, doubling between these.
_AGAIN_FROM_S, _AGAIN_TO_S = 0.2, 5.0
#: Where nothing was ever heard (a transaction-pooling proxy that nobody told us of), it is tried again so rarely.
_HOPELESS_S = 60.0

#: Nobody needs a hint on disk, and even one that writes nothing else would wait for the sync of its commit.
_RING = "SELECT pg_notify(@channel@, $1) FROM set_config('synchronous_commit', 'off', true)"


async def ring(session: Session, senders: Sequence[str]) -> list[None]:
    """One hint for all who ask for one, signed by the first: nobody is woken by himself."""
    await session.fetch(_RING, senders[0])
    return [None] * len(senders)


class Listener:
    """One process's ear. Its task is nobody's child; ``close`` ends it."""

    def __init__(self, database: Database, on_hint: Callable[[], None], address: str | None = None) -> None:
        self._database = database
        self._on_hint = on_hint
        self.address = address or secrets.token_hex(8)
        self._echo = asyncio.Event()
        self._heard_ever = False
        self._task = asyncio.create_task(self._run(), name="postgres listener")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        again_s = _AGAIN_FROM_S
        while True:
            with suppress(StoreError):
                session = await self._database.connect("listener")
                try:
                    if await self._listen(session):
                        again_s = _AGAIN_FROM_S
                except Exception as error:
                    if not faults.is_lost(error) and not faults.code_of(error):
                        raise
                finally:
                    session.drop()
            await anyio.sleep(again_s if self._heard_ever else max(again_s, 1.0))
            again_s = min(again_s * 2, _AGAIN_TO_S if self._heard_ever else _HOPELESS_S)

    async def _listen(self, session: Session) -> bool:
        """Until the connection is lost or deaf; whether it ever could hear."""
        ours = f"{self._database.address.channel}_{self.address}"
        await session.connection.add_listener(self._database.address.channel, self._hear)
        await session.connection.add_listener(ours, self._hear_echo)
        gone = asyncio.Event()  # a cut is heard of at once, not at the next check
        session.connection.add_termination_listener(lambda connection: gone.set())
        self._on_hint()  # something may have happened while nobody listened
        heard = False
        while session.is_open:
            self._echo.clear()
            await session.fetch("SELECT pg_notify($1, '')", ours)
            with anyio.move_on_after(HEAR_WITHIN_S):
                await self._echo.wait()
            if not self._echo.is_set():
                return heard
            heard = self._heard_ever = True
            await self._database.measure(session)
            with anyio.move_on_after(CHECK_EVERY_S):
                await gone.wait()
        return heard

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if payload != self.address:
            self._on_hint()

    def _hear_echo(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._echo.set()
