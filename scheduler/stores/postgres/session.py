"""A connection with a time limit on everything, that says what went wrong in the project's own words.

Statements name the schema as ``@schema@``. Plain ``fetch`` is a transaction of its own; behind a transaction-pooling proxy it
is made an explicit one, because there only a transaction keeps its connection, and settings are made inside it, because there
the session belongs to everybody.

Does not belong here: when to open a connection again (``line.py``).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from scheduler.clock import SystemClock
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.address import Address
from scheduler.stores.postgres.rows import Times

CONNECT_LIMIT_S = 5.0
#: Time limit of a statement; the driver gives up a little after the server would.
STATEMENT_LIMIT_S = 10.0
#: The same for questions, which may have to read a large table.
QUESTION_LIMIT_S = 60.0
LOCK_LIMIT_S = 5.0
#: A worker that falls silent in the midst of a transaction (its network is cut, a handler blocks its loop) may hold a lock that all
#: claims need: the server ends it well before those give up waiting.
IDLE_LIMIT_S = 2.0
_SLACK_S = 2.0
#: Clocks that differ by less count as one: it is within what a busy machine takes for a round trip.
SAME_CLOCK_S = 0.05

_PLACEHOLDER = re.compile("@(schema|gates|caps|channel)@")


class Database:
    """What all sessions of a store share: the address, the clock's offset, the statements with their schema filled in."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.times = Times()
        self._clock = SystemClock()
        self._filled: dict[str, str] = {}
        self._names = {
            "schema": address.quoted,
            "gates": f"({address.gates})",
            "caps": str(address.caps),
            "channel": "'" + address.channel + "'",
        }

    def filled(self, sql: str) -> str:
        """``sql`` with the schema's name in place."""
        found = self._filled.get(sql)
        if found is None:
            found = _PLACEHOLDER.sub(lambda match: self._names[match[1]], sql)
            if len(self._filled) < 1_000:  # queries of people come in many shapes
                self._filled[sql] = found
        return found

    async def connect(self, purpose: str, limit_s: float = STATEMENT_LIMIT_S) -> Session:
        """Raises ``StoreBusyError`` if the server cannot be reached, ``StoreError`` if it refuses."""
        address = self.address
        name = f"scheduler {purpose} {secrets.token_hex(4)}"
        settings = {} if address.pooled else {**_limits(limit_s), "application_name": name, "synchronous_commit": "on"}
        try:
            connection = await asyncpg.connect(
                address.dsn,
                timeout=CONNECT_LIMIT_S,
                command_timeout=limit_s + _SLACK_S,
                statement_cache_size=0 if address.pooled else 200,
                max_cached_statement_lifetime=0,
                server_settings=settings,
            )
        except (ValueError, asyncpg.InterfaceError) as error:
            raise faults.unusable(error, address.shown) from error
        except (OSError, TimeoutError, asyncpg.PostgresError, EOFError) as error:
            raise faults.translated(error, address.shown) from error
        return Session(self, connection, name, limit_s)

    async def measure(self, session: Session) -> None:
        """Find out by how much the database's clock is ahead of this process's."""
        best: tuple[float, float] | None = None
        for _ in range(3):
            before = self._clock.now()
            theirs = float(await session.value("SELECT extract(epoch FROM clock_timestamp())::double precision"))
            after = self._clock.now()
            if best is None or after - before < best[0]:
                best = (after - before, theirs - (before + after) / 2)
        took_s, offset_s = best or (0.0, 0.0)
        same = abs(offset_s) <= max(SAME_CLOCK_S, took_s)
        self.times.offset_us = 0 if same else round(offset_s * 1_000_000)


def _limits(limit_s: float) -> dict[str, str]:
    return {
        "statement_timeout": f"{limit_s * 1000:.0f}",
        "lock_timeout": f"{LOCK_LIMIT_S * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{IDLE_LIMIT_S * 1000:.0f}",
    }


class Session:
    """Used by one task at a time: whoever opened it, or the line that owns it."""

    def __init__(self, database: Database, connection: Any, name: str, limit_s: float) -> None:
        self.database = database
        self.times = database.times
        self.connection = connection
        self.name = name
        self._limit_s = limit_s
        self._inside = False

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        if self.database.address.pooled and not self._inside:
            async with self.transaction(synced=True):
                return await self.fetch(sql, *values)
        rows: list[Any] = await self.connection.fetch(self.database.filled(sql), *values)
        return rows

    async def value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row; None without rows."""
        rows = await self.fetch(sql, *values)
        return rows[0][0] if rows else None

    async def script(self, sql: str, limit_s: float | None = None) -> None:
        """Several statements without values, in one round trip; ``limit_s`` in place of the session's."""
        await self.connection.execute(self.database.filled(sql), timeout=limit_s)

    @asynccontextmanager
    async def transaction(self, *, synced: bool, also: str = "", limit_s: float | None = None) -> AsyncIterator[None]:
        """``synced``: on disk when this ends. ``also``: statements to begin with, in the same round trip, within ``limit_s``."""
        settings = {"synchronous_commit": "on" if synced else "off"}
        if self.database.address.pooled:
            settings |= _limits(self._limit_s)
        said = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())
        await self.script(f"BEGIN; {said}; {also}", limit_s)
        self._inside = True
        try:
            yield
            await self.script("COMMIT")
        except BaseException:
            if not self.connection.is_closed():
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                    await self.script("ROLLBACK")
            raise
        finally:
            self._inside = False

    @property
    def is_open(self) -> bool:
        return not self.connection.is_closed()

    async def close(self) -> None:
        """Say goodbye if the server listens; let go in any case."""
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            await self.connection.close(timeout=2.0)
        self.drop()

    def drop(self) -> None:
        """Let go at once, whatever the server does."""
        if not self.connection.is_closed():
            self.connection.terminate()
