"""What stores with transactions of the user's own have in common: the job exists exactly when the user's row does.

A store's test module subclasses ``Joining`` and supplies ``own``, a connection with a table ``orders`` beside the jobs.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from scheduler.errors import IdempotencyConflictError, InvalidJobError, StoreError
from scheduler.job import Receipt
from scheduler.stores.base import Store
from scheduler.stores.extras import Joins
from tests.stores.acts import claim, everything, finished, ids, put
from tests.support.jobs import T0, a_draft


class Own(Protocol):
    """The user's side: a connection, its transaction, and a row of the user's."""

    connection: Any

    def transaction(self, *, commit: bool) -> AbstractAsyncContextManager[None]: ...

    async def add_order(self) -> None: ...

    async def orders(self) -> int: ...


async def within(store: Store, own: Own, *drafts: Any) -> list[Receipt]:
    assert isinstance(store, Joins)
    return await store.enqueue_within(own.connection, drafts, T0)


class Joining:
    async def test_a_commit_makes_row_and_job_exist(self, store: Store, own: Own) -> None:
        async with own.transaction(commit=True):
            await own.add_order()
            receipts = await within(store, own, draft := a_draft(payload_json='{"größe": "🦉"}'), other := a_draft())
            assert receipts == [Receipt(draft.job_id), Receipt(other.job_id)]
        assert (await own.orders(), ids(await everything(store))) == (1, [draft.job_id, other.job_id])
        assert len(await claim(store)) == 2

    async def test_a_rollback_leaves_neither(self, store: Store, own: Own) -> None:
        async with own.transaction(commit=False):
            await own.add_order()
            await within(store, own, a_draft(), a_draft(unique_key="key"))
        assert (await own.orders(), await everything(store)) == (0, [])
        assert (await put(store, a_draft(unique_key="key")))[0].created

    async def test_nobody_claims_it_before_the_commit(self, store: Store, own: Own) -> None:
        await put(store, seen := a_draft())
        async with own.transaction(commit=True):
            await within(store, own, a_draft())
            assert ids(await everything(store)) == [seen.job_id]

    async def test_keys_and_freshness_hold_there_too(self, store: Store, own: Own) -> None:
        await put(store, held := a_draft("other", unique_key="key"))
        done = await finished(store, a_draft(fingerprint="v1"))
        async with own.transaction(commit=True):
            answers = await within(store, own, a_draft(unique_key="key"), a_draft(fingerprint="v1"), new := a_draft(unique_key="new"))
        assert answers == [
            Receipt(held.job_id, created=False),
            Receipt(done.job_id, created=False, unchanged=True),
            Receipt(new.job_id),
        ]

    async def test_a_job_that_is_refused_leaves_the_transaction_alive(self, store: Store, own: Own) -> None:
        await put(store, taken := a_draft())
        async with own.transaction(commit=True):
            await own.add_order()
            with pytest.raises(StoreError):
                await within(store, own, a_draft(), a_draft(job_id=taken.job_id))
            await own.add_order()
        assert (await own.orders(), ids(await everything(store))) == (2, [taken.job_id])

    async def test_a_request_holds_there_too(self, store: Store, own: Own) -> None:
        async with own.transaction(commit=True):
            first = await within(store, own, a_draft(request=("key", "body")))
            assert await within(store, own, a_draft(request=("key", "body"))) == [first[0]._replace(created=False)]
            with pytest.raises(IdempotencyConflictError):
                await within(store, own, a_draft(), a_draft(request=("key", "another")))
            await own.add_order()
        assert (await own.orders(), ids(await everything(store))) == (1, [first[0].job_id])

    async def test_a_job_that_waits_for_nobody_leaves_nothing(self, store: Store, own: Own) -> None:
        async with own.transaction(commit=True):
            with pytest.raises(InvalidJobError, match="there is no such job"):
                await within(store, own, a_draft(after=("nobody",)))
            await own.add_order()
        assert (await own.orders(), await everything(store)) == (1, [])

    async def test_without_a_transaction_it_is_refused(self, store: Store, own: Own) -> None:
        with pytest.raises(StoreError, match="transaction"):
            await within(store, own, a_draft())
        assert await everything(store) == []

    async def test_a_connection_of_another_kind_is_refused(self, store: Store, own: Own) -> None:
        assert isinstance(store, Joins)
        with pytest.raises(StoreError, match="connection is a str"):
            await store.enqueue_within("postgresql://", [a_draft()], T0)
