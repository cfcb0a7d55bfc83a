"""Jobs in the user's own transaction on the store's database, by asyncpg and by plain SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from scheduler.job import Status
from scheduler.stores.base import Store
from scheduler.stores.postgres import PostgresStore
from tests.stores.acts import claim, everything, get
from tests.stores.joining import Joining
from tests.support.jobs import a_draft
from tests.support.postgres_server import a_schema, with_schema


class Own:
    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @asynccontextmanager
    async def transaction(self, *, commit: bool) -> AsyncIterator[None]:
        transaction = self.connection.transaction()
        await transaction.start()
        yield
        await (transaction.commit() if commit else transaction.rollback())

    async def add_order(self) -> None:
        await self.connection.execute("INSERT INTO orders DEFAULT VALUES")

    async def orders(self) -> int:
        return int(await self.connection.fetchval("SELECT count(*) FROM orders"))


@pytest.fixture
def schema() -> str:
    return a_schema('own "')


@pytest.fixture
async def own(postgres: str) -> AsyncIterator[Own]:
    connection = await asyncpg.connect(postgres)
    await connection.execute("CREATE TEMPORARY TABLE orders (id serial)")
    yield Own(connection)
    await connection.close()


@pytest.fixture
def make_store(postgres: str, schema: str) -> Callable[[], Store]:
    return lambda: PostgresStore(with_schema(postgres, schema))


class TestPostgresJoining(Joining):
    async def test_a_connection_of_a_pool_will_do(self, store: PostgresStore, postgres: str) -> None:
        async with asyncpg.create_pool(postgres, min_size=1, max_size=1) as pool, pool.acquire() as connection, connection.transaction():
            assert (await store.enqueue_within(connection, [a_draft()], 0.0))[0].created
        assert len(await everything(store)) == 1


class TestPlainSql:
    async def call(self, own: Own, schema: str, arguments: str) -> Any:
        quoted = schema.replace('"', '""')
        return await own.connection.fetchrow(f'SELECT * FROM "{quoted}".scheduler_enqueue({arguments})')

    async def test_a_job_has_what_was_said(self, store: Store, own: Own, schema: str) -> None:
        said = "'lane', target_type => 'file', target_id => 'a.py', payload => '{\"a\": [1, \"é\"]}', priority => 3, owner => 'ada'"
        job_id, created = await self.call(own, schema, said)
        job = await get(store, job_id)
        assert created
        assert (job.task_type, job.target_type, job.target_id, job.payload, job.priority, job.owner, job.status) == (
            ("lane", "file", "a.py", {"a": [1, "é"]}, 3, "ada", Status.PENDING)
        )
        assert len(await claim(store, now=job.created_at)) == 1

    async def test_it_goes_with_the_transaction(self, store: Store, own: Own, schema: str) -> None:
        async with own.transaction(commit=False):
            await self.call(own, schema, "'lane'")
        assert await everything(store) == []

    async def test_a_job_for_later_waits(self, store: Store, own: Own, schema: str) -> None:
        job_id, _ = await self.call(own, schema, "'lane', run_after => now() + interval '1 hour'")
        job = await get(store, job_id)
        assert 3_500 < job.run_after - job.created_at <= 3_600
        assert await claim(store, now=job.created_at) == []

    async def test_a_key_holds(self, store: Store, own: Own, schema: str) -> None:
        first, created = await self.call(own, schema, "'lane', unique_key => 'key'")
        assert created
        assert tuple(await self.call(own, schema, "'lane', unique_key => 'key'")) == (first, False)

    @pytest.mark.parametrize(
        "wrong",
        ["''", "NULL", "'pool:main'", "repeat('x', 513)", "'lane', owner => ''", "'lane', unique_key => ''", "'lane', max_attempts => 0",
         "'lane', timeout_s => 'NaN'", "'lane', timeout_s => 0", "'lane', target_id => repeat('x', 2049)",
         "'lane', payload => to_jsonb(repeat('x', 1000001))"],
    )  # fmt: skip
    async def test_what_the_door_refuses_is_refused_here(self, store: Store, own: Own, schema: str, wrong: str) -> None:
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await self.call(own, schema, wrong)
        assert await everything(store) == []
