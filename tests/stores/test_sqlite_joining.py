"""Jobs in the user's own transaction on the store's file, by sqlite3 and by aiosqlite."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from scheduler import NewJob, Registry, Scheduler
from scheduler.errors import ConfigError, StoreBusyError, StoreError
from scheduler.stores.base import Store
from scheduler.stores.sqlite import SqliteStore
from tests.stores.acts import everything, put
from tests.stores.joining import Joining
from tests.support.jobs import T0, a_draft


class Own:
    """A connection of the user's in autocommit mode, who begins and ends transactions himself."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def _do(self, sql: str) -> list[Any]:
        if isinstance(self.connection, aiosqlite.Connection):
            return list(await self.connection.execute_fetchall(sql))
        return self.connection.execute(sql).fetchall()

    @asynccontextmanager
    async def transaction(self, *, commit: bool) -> AsyncIterator[None]:
        await self._do("BEGIN IMMEDIATE")
        yield
        await self._do("COMMIT" if commit else "ROLLBACK")

    async def add_order(self) -> None:
        await self._do("INSERT INTO orders DEFAULT VALUES")

    async def orders(self) -> int:
        return int((await self._do("SELECT count(*) FROM orders"))[0][0])


class TestSqliteJoining(Joining):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "jobs.db")

    @pytest.fixture(params=["sqlite3", "aiosqlite"])
    async def own(self, request: pytest.FixtureRequest, store: SqliteStore) -> AsyncIterator[Own]:
        connection: Any
        if request.param == "sqlite3":
            connection = sqlite3.connect(store.path, isolation_level=None, timeout=0.1)
            connection.row_factory = lambda cursor, row: tuple(row)
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
            yield Own(connection)
            connection.close()
        else:
            async with aiosqlite.connect(store.path, isolation_level=None, timeout=0.1) as connection:
                await connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
                yield Own(connection)

    async def test_a_connection_to_another_file_is_refused(self, store: SqliteStore, tmp_path: Path) -> None:
        for name in (":memory:", str(tmp_path / "other.db")):
            other = sqlite3.connect(name)
            with pytest.raises(StoreError, match="but the store is"):
                await store.enqueue_within(other, [a_draft()], T0)
            other.close()

    async def test_a_connection_that_begins_by_itself_begins_here(self, store: SqliteStore) -> None:
        own = sqlite3.connect(store.path)
        own.row_factory = lambda cursor, row: dict(zip("abcdefg", row, strict=False))
        await store.enqueue_within(own, [a_draft()], T0)
        assert own.in_transaction
        assert await everything(store) == []
        own.commit()
        assert len(await everything(store)) == 1
        own.close()

    async def test_a_file_that_somebody_else_writes_is_busy(self, store: SqliteStore) -> None:
        own, other = sqlite3.connect(store.path, timeout=0.01), sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            await store.enqueue_within(own, [a_draft()], T0)
        other.execute("ROLLBACK")
        own.close()
        other.close()
        assert (await put(store, a_draft()))[0].created


async def test_the_scheduler_passes_a_connection_on(tmp_path: Path) -> None:
    async with Scheduler.open({"scheduler": {"store": f"sqlite:///{tmp_path}/jobs.db"}}, Registry(), logs=False) as scheduler:
        await scheduler.enqueue_many([NewJob("other")])
        own = sqlite3.connect(tmp_path / "jobs.db")
        receipt = await scheduler.enqueue("work", connection=own)
        assert await scheduler.get(receipt.job_id) is None
        own.rollback()
        assert await scheduler.get(receipt.job_id) is None
        receipt = await scheduler.enqueue("work", connection=own)
        own.commit()
        own.close()
        assert await scheduler.get(receipt.job_id) is not None


async def test_a_store_without_transactions_says_so() -> None:
    async with Scheduler.open({"scheduler": {"store": "memory:"}}, Registry(), logs=False) as scheduler:
        with pytest.raises(ConfigError, match="memory:"):
            await scheduler.enqueue("work", connection=object())
