"""Contract, requests that are sent again: the same key and body, the same job."""

from __future__ import annotations

import asyncio

import pytest

from scheduler.errors import IdempotencyConflictError, InvalidJobError
from scheduler.job import Receipt
from scheduler.stores.base import Store
from tests.stores.acts import everything, finished, ids, only, put
from tests.support.jobs import T0, a_draft


class Requesting:
    async def test_the_same_request_gets_the_same_job(self, store: Store) -> None:
        first = a_draft(request=("key", "body"))
        assert await put(store, first) == [Receipt(first.job_id)]
        assert await put(store, a_draft("other", request=("key", "body"))) == [Receipt(first.job_id, created=False)]
        assert ids(await everything(store)) == [first.job_id]

    async def test_also_when_the_job_has_ended_or_is_gone(self, store: Store) -> None:
        done = await finished(store, a_draft(request=("key", "body")))
        assert await put(store, a_draft(request=("key", "body"))) == [Receipt(done.job_id, created=False)]
        await store.discard(only(done.job_id), T0)
        assert await put(store, a_draft(request=("key", "body"))) == [Receipt(done.job_id, created=False)]
        assert await everything(store) == []

    async def test_another_body_is_a_conflict_and_nothing_changes(self, store: Store) -> None:
        await put(store, first := a_draft(request=("key", "body")))
        with pytest.raises(IdempotencyConflictError, match="request_key 'key' was used for another job"):
            await put(store, a_draft(), a_draft(request=("new", "body")), a_draft(request=("key", "another")))
        assert ids(await everything(store)) == [first.job_id]
        assert (await put(store, a_draft(request=("new", "changed"))))[0].created

    async def test_owners_do_not_meet_in_a_request(self, store: Store) -> None:
        drafts = [a_draft(owner=owner, request=("key", f"body of {owner}")) for owner in ("ada", "grace", None)]
        assert await put(store, *drafts) == [Receipt(draft.job_id) for draft in drafts]
        again = [a_draft(owner=draft.owner, request=draft.request) for draft in drafts]
        assert await put(store, *again) == [Receipt(draft.job_id, created=False) for draft in drafts]

    async def test_a_request_holds_within_one_call(self, store: Store) -> None:
        first, second, third = a_draft(request=("key", "body")), a_draft(), a_draft(request=("key", "body"))
        receipts = await put(store, first, second, third)
        assert receipts == [Receipt(first.job_id), Receipt(second.job_id), Receipt(first.job_id, created=False)]

    async def test_a_request_remembers_the_job_that_stood_for_it(self, store: Store) -> None:
        await put(store, held := a_draft(unique_key="key"))
        asked = a_draft(unique_key="key", request=("mine", "body"))
        again = a_draft(unique_key="key", request=("mine", "body"))
        assert await put(store, asked, again) == [Receipt(held.job_id, created=False)] * 2
        await store.cancel(only(held.job_id), T0)
        assert await put(store, again) == [Receipt(held.job_id, created=False)]
        assert (await put(store, a_draft(unique_key="key")))[0].created

    async def test_an_unchanged_target_is_remembered_too(self, store: Store) -> None:
        made = await finished(store, a_draft(fingerprint="v1"))
        (receipt,) = await put(store, a_draft(fingerprint="v1", request=("key", "body")))
        assert receipt == Receipt(made.job_id, created=False, unchanged=True)
        assert await put(store, a_draft(fingerprint="v1", request=("key", "body"))) == [Receipt(made.job_id, created=False)]

    async def test_a_request_that_was_refused_was_never_made(self, store: Store) -> None:
        with pytest.raises(InvalidJobError, match="there is no such job"):
            await put(store, a_draft(request=("key", "body"), after=("nobody",)))
        assert (await put(store, a_draft(request=("key", "another body"))))[0].created

    async def test_of_many_who_make_it_at_once_one_makes_the_job(self, store: Store) -> None:
        receipts = await asyncio.gather(*(store.enqueue([a_draft(request=("key", "body"))], T0) for _ in range(20)))
        assert sum(receipt.created for (receipt,) in receipts) == 1
        assert len({receipt.job_id for (receipt,) in receipts}) == 1

    async def test_a_conflict_costs_nobody_else_who_comes_at_the_same_time(self, store: Store) -> None:
        await put(store, a_draft(request=("key", "body")))
        bodies = ["other" if number % 3 == 0 else "body" for number in range(12)]
        answers = await asyncio.gather(*(store.enqueue([a_draft(request=("key", body))], T0) for body in bodies), return_exceptions=True)
        assert [isinstance(answer, IdempotencyConflictError) for answer in answers] == [body == "other" for body in bodies]

    async def test_old_requests_are_forgotten_the_oldest_first_and_only_so_many(self, store: Store) -> None:
        for number in range(4):
            await put(store, a_draft(request=(f"key-{number}", "body")), now=T0 + number)
        assert await store.forget(T0 + 3, 2) == 2
        assert await store.forget(T0 + 3, 2) == 1
        assert await store.forget(T0 + 3, 2) == 0
        created = [(await put(store, a_draft(request=(f"key-{number}", "body")), now=T0 + 9))[0].created for number in range(4)]
        assert created == [True, True, True, False]

    async def test_a_key_may_be_as_long_as_any(self, store: Store) -> None:
        key, owner = "🦉" * 512, "ß" * 512
        assert (await put(store, a_draft(owner=owner, request=(key, "body"))))[0].created
        assert not (await put(store, a_draft(owner=owner, request=(key, "body"))))[0].created
