"""Jobs in a transaction that is the user's own, on the user's connection to the store's database.

The user's commit makes the jobs exist, and wakes the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from scheduler.errors import StoreError
from scheduler.job import Draft, Receipt
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.enqueueing import store_all
from scheduler.stores.postgres.session import Database


class _Filling:
    """The user's connection, with our names filled in."""

    def __init__(self, connection: Any, database: Database) -> None:
        self._connection = connection
        self._database = database

    async def fetch(self, sql: str, *values: object) -> Any:
        return await self._connection.fetch(self._database.filled(sql), *values)


async def enqueue(connection: Any, database: Database, drafts: Sequence[Draft], now: float) -> list[Receipt]:
    """See ``Joins.enqueue_within``. An error leaves the user's transaction as it was."""
    shown = database.address.shown
    # what a pool hands out is a proxy of a connection
    if not isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy):
        raise StoreError(f"connection is a {type(connection).__name__}: this store takes one of asyncpg to {shown}")
    if not connection.is_in_transaction():
        raise StoreError("connection has no open transaction, so the job would be stored by itself: async with connection.transaction()")
    if not drafts:
        return []
    try:
        async with connection.transaction():  # a savepoint
            asks = _Filling(connection, database)
            receipts = await store_all(asks, database.times, drafts, now)
            await connection.fetch(database.filled("SELECT pg_notify(@channel@, '')"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise faults.translated(error, shown) from error
    return receipts
