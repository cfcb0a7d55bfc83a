"""Contract, what workers share of a provider's quota: the pools' documents, reopened windows, attempts given back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from anyio.lowlevel import checkpoint

from scheduler.errors import StoreError
from scheduler.job import Lease, Status, Transition
from scheduler.stores.base import Claim, Settled, Settlement, Store
from tests.stores.acts import DONE, REFUSED, claim, claim_one, everything, get, only, put, settle, started, want, window_of
from tests.stores.pausing import paused_by_provider, probing
from tests.support.jobs import T0, a_draft, put_off

AGAIN = Transition(Status.RETRY_AI, "provider_error", "500", run_after=T0)


def counted(document: str | None) -> tuple[str, int]:
    """One more than the document says; answers the number it was."""
    number = int(document or "0")
    return str(number + 1), number


def looked_at(document: str | None) -> tuple[None, str | None]:
    """Leaves the document alone and answers it."""
    return None, document


async def failed(store: Store, task_type: str = "lane", **fields: Any) -> Claim:
    """A job whose first attempt failed and was counted; it is due again."""
    claimed = await started(store, a_draft(task_type, **fields))
    assert (await settle(store, claimed.lease, AGAIN)).applied
    return claimed


async def attempts_of(store: Store, claimed: Claim) -> int:
    return (await get(store, claimed.job.job_id)).attempts


class Documents:
    #: Whether a store that was closed and opened again still has everything.
    durable: ClassVar[bool] = False

    async def test_a_pool_has_no_document_until_somebody_stores_one(self, store: Store) -> None:
        assert await store.shared() == {}
        assert await store.share("main", looked_at, T0) is None

    async def test_the_answer_is_what_the_change_answers_and_the_next_one_reads_what_it_stored(self, store: Store) -> None:
        assert [await store.share("main", counted, T0 + second) for second in range(3)] == [0, 1, 2]
        assert await store.share("main", looked_at, T0 + 3) == "3"

    async def test_a_document_comes_back_as_it_was_stored(self, store: Store) -> None:
        text = '{"größe": "🦉", "a": [1.5, null], "long": "' + "x" * 100_000 + '"}\n'
        await store.share("main", lambda document: (text, None), T0)
        assert await store.shared() == {"main": text}

    async def test_every_pool_has_its_own(self, store: Store) -> None:
        for pool in ("main", "side", "main", "größe 🦉", "Main"):
            await store.share(pool, counted, T0)
        assert await store.shared() == {"main": "2", "side": "1", "größe 🦉": "1", "Main": "1"}

    async def test_no_new_document_leaves_the_stored_one(self, store: Store) -> None:
        await store.share("main", counted, T0)
        assert await store.share("main", lambda document: (None, "kept"), T0 + 1) == "kept"
        assert await store.share("side", lambda document: (None, "none"), T0 + 1) == "none"
        assert await store.shared() == {"main": "1"}

    async def test_an_empty_document_is_a_document(self, store: Store) -> None:
        await store.share("main", counted, T0)
        await store.share("main", lambda document: ("", None), T0)
        assert await store.share("main", looked_at, T0) == ""

    @pytest.mark.parametrize("error", [KeyError("limit"), StoreError("mine"), SystemExit(3)], ids=lambda error: type(error).__name__)
    async def test_what_a_change_raises_reaches_the_caller_as_it_is_and_nothing_is_changed(
        self, store: Store, error: BaseException
    ) -> None:
        def broken(document: str | None) -> tuple[str, None]:
            raise error

        await store.share("main", counted, T0)
        with pytest.raises(type(error)) as raised:
            await store.share("main", broken, T0)
        assert raised.value is error
        assert await store.share("main", counted, T0) == 1

    async def test_many_at_once_each_change_what_the_one_before_left(self, store: Store) -> None:
        numbers = await asyncio.gather(*(store.share("main", counted, T0) for _ in range(300)))
        assert sorted(numbers) == list(range(300))
        assert await store.shared() == {"main": "300"}

    async def test_a_change_that_fails_fails_alone(self, store: Store) -> None:
        def broken(document: str | None) -> tuple[str, None]:
            raise ValueError("no limit")

        calls = [store.share("main", broken if number % 3 else counted, T0) for number in range(30)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [answer for answer in answers if isinstance(answer, int)] == list(range(10))
        assert [str(answer) for answer in answers if not isinstance(answer, int)] == ["no limit"] * 20

    async def test_what_fails_beside_it_does_not_count_a_change_twice(self, store: Store) -> None:
        """A group whose other work fails may be repeated, and the change called again: what it did the first time is gone."""
        await put(store, taken := a_draft())
        calls = [store.share("main", counted, T0), store.enqueue([taken], T0), store.share("main", counted, T0)]
        first, refused, second = await asyncio.gather(*calls, return_exceptions=True)
        assert (first, second) == (0, 1)
        assert isinstance(refused, StoreError)
        assert await store.shared() == {"main": "2"}

    @pytest.mark.parametrize("turns", [0, 1, 2, 3])
    async def test_a_cancelled_callers_change_is_stored_whole_or_not_at_all(self, store: Store, turns: int) -> None:
        await store.share("main", counted, T0)
        caller = asyncio.ensure_future(store.share("main", counted, T0))
        for _ in range(turns):
            await checkpoint()
        caller.cancel()
        await asyncio.wait([caller])
        after = await store.share("main", counted, T0)
        assert after in (1, 2)
        assert await store.shared() == {"main": str(after + 1)}

    async def test_documents_touch_no_job_and_no_pause(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        before = await everything(store), await store.pauses(), await store.lanes(T0)
        await store.share("main", counted, T0)
        assert (await everything(store), await store.pauses(), await store.lanes(T0)) == before

    async def test_a_store_closed_and_opened_again_has_its_documents(self, make_store: Callable[[], Store]) -> None:
        if not self.durable:
            pytest.skip("this store ends with its process")
        first = make_store()
        await first.open()
        await first.share("main", counted, T0)
        await first.close()
        second = make_store()
        await second.open()
        assert await second.share("main", counted, T0 + 1) == 1
        await second.close()


class Reopening:
    async def test_a_providers_window_whose_time_is_up_goes_and_claims_flow(self, store: Store) -> None:
        await paused_by_provider(store)
        assert await store.reopen("lane", T0 + 60) is True
        assert await store.pauses() == []
        claims = await claim(store, now=T0 + 60)
        assert [one.lease.probing for one in claims] == [(), (), ()]

    async def test_a_window_that_is_still_closed_stays(self, store: Store) -> None:
        await paused_by_provider(store)
        window = await window_of(store)
        assert await store.reopen("lane", T0 + 59.999) is False
        assert await window_of(store) == window
        assert await claim(store, now=T0 + 59.999) == []

    async def test_a_probe_under_way_is_one_no_more(self, store: Store) -> None:
        probe = await probing(store)
        assert await store.reopen("lane", T0 + 61) is True
        assert [one.lease.probing for one in await claim(store, now=T0 + 61)] == [(), ()]
        assert await settle(store, probe.lease, DONE, T0 + 62) == Settled(True)

    async def test_who_was_the_probe_does_not_end_a_pause_that_comes_later(self, store: Store) -> None:
        probe = await probing(store)
        await store.reopen("lane", T0 + 61)
        limited = await claim_one(store, want(limit=1), now=T0 + 61)
        await settle(store, limited.lease, put_off(limited.job.job_id, T0 + 61), T0 + 61)
        assert (await settle(store, probe.lease, DONE, T0 + 62)).resumed == ()
        assert await claim(store, now=T0 + 63) == []
        assert (await claim_one(store, now=T0 + 121)).lease.probing == ("lane",)

    async def test_a_limit_after_it_is_a_first_strike_again(self, store: Store) -> None:
        probe = await probing(store)
        await store.reopen("lane", T0 + 61)
        settled = await settle(store, probe.lease, put_off(probe.job.job_id, T0 + 60), T0 + 62)
        assert settled.window is not None
        assert (settled.window.until, settled.window.strikes, settled.window.probe) == (T0 + 62 + 60, 1, None)

    async def test_one_scope_is_opened_and_no_other(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        limited = await claim_one(store, want(limit=1))
        await settle(store, limited.lease, put_off(limited.job.job_id, T0))
        probe = await claim_one(store, want(pool="main"), now=T0 + 60)
        assert await store.reopen("pool:main", T0 + 61) is True
        assert [(window.scope, window.probe) for window in await store.pauses()] == [("lane", probe.job.job_id)]
        assert await claim(store, want(pool="main"), now=T0 + 61) == []

    @pytest.mark.parametrize("until", [T0 + 30, math.inf])
    @pytest.mark.parametrize("when", [T0, T0 + 30, T0 + 1_000_000])
    async def test_a_window_set_by_hand_stays_open_or_not(self, store: Store, until: float, when: float) -> None:
        window = await store.pause("lane", until, T0)
        assert await store.reopen("lane", when) is False
        assert await store.pauses() == [window]

    async def test_a_hand_that_closed_over_a_providers_pause_holds(self, store: Store) -> None:
        probe = await probing(store)
        await store.pause("lane", math.inf, T0 + 61)
        assert await store.reopen("lane", T0 + 62) is False
        assert await settle(store, probe.lease, DONE, T0 + 62) == Settled(True)
        assert await claim(store, now=T0 + 1_000) == []

    async def test_a_pause_that_was_extended_meanwhile_stays(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(3)])
        early, limited = await claim(store, want(limit=2))
        await settle(store, limited.lease, put_off(limited.job.job_id, T0))
        await settle(store, early.lease, put_off(early.job.job_id, T0, retry_after_s=100), T0 + 50)
        assert await store.reopen("lane", T0 + 60) is False
        assert await store.reopen("lane", T0 + 150) is True

    async def test_reopening_what_is_not_paused_is_nothing(self, store: Store) -> None:
        await paused_by_provider(store, "other")
        assert await store.reopen("lane", T0 + 1_000) is False
        assert [window.scope for window in await store.pauses()] == ["other"]


class Refunding:
    async def test_a_failed_attempt_is_given_back_and_nothing_else_changes(self, store: Store) -> None:
        claimed = await failed(store)
        before, due = await get(store, claimed.job.job_id), await store.lanes(T0)
        assert await store.refund([claimed.lease], T0 + 5) == 1
        assert await get(store, claimed.job.job_id) == before._replace(attempts=0)
        assert await store.lanes(T0) == due
        assert (await claim_one(store)).job.attempts == 1

    @pytest.mark.parametrize(
        "end",
        [
            AGAIN,
            AGAIN._replace(run_after=T0 + 100),
            Transition(Status.PENDING, "interrupted"),
            Transition(Status.RATE_LIMITED, "overloaded", waiting_since=T0),
        ],
        ids=["due again", "to be retried later", "pending", "rate limited"],
    )
    async def test_whatever_it_waits_for(self, store: Store, end: Transition) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, end)
        assert await store.refund([claimed.lease], T0) == 1
        assert await attempts_of(store, claimed) == 0

    async def test_a_job_that_runs_again_gets_the_earlier_attempt_back(self, store: Store) -> None:
        first = await failed(store)
        second = await claim_one(store)
        assert await store.refund([first.lease], T0) == 1
        assert await get(store, first.job.job_id) == second.job._replace(attempts=1)
        assert await store.lapsed([second.lease]) == []
        assert (await settle(store, second.lease, AGAIN)).applied
        assert await attempts_of(store, first) == 1

    @pytest.mark.parametrize("end", [DONE, REFUSED, Transition(Status.CANCELLED, "cancelled")], ids=lambda end: end.status)
    async def test_what_has_ended_stays_as_it_is(self, store: Store, end: Transition) -> None:
        first = await failed(store)
        await settle(store, (await claim_one(store)).lease, end)
        before = await get(store, first.job.job_id)
        assert await store.refund([first.lease], T0) == 0
        assert await get(store, first.job.job_id) == before

    async def test_attempts_never_go_below_none(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, put_off(claimed.job.job_id, T0))
        assert await store.refund([claimed.lease], T0) == 0
        assert await attempts_of(store, claimed) == 0

    async def test_a_lease_named_twice_counts_once_whatever_it_probed(self, store: Store) -> None:
        first = await failed(store)
        second = await claim_one(store)
        await settle(store, second.lease, AGAIN)
        twin = Lease(first.lease.seq, first.lease.job_id, first.lease.token, ("lane",))
        assert await store.refund([first.lease, twin, first.lease], T0) == 1
        assert await attempts_of(store, first) == 1

    async def test_two_failures_of_one_job_are_two_attempts(self, store: Store) -> None:
        first = await failed(store)
        second = await claim_one(store)
        await settle(store, second.lease, AGAIN)
        third = await claim_one(store)
        await settle(store, third.lease, AGAIN)
        assert await store.refund([third.lease, first.lease], T0) == 2
        assert await attempts_of(store, first) == 1

    async def test_a_token_that_the_job_never_had_gives_nothing_back(self, store: Store) -> None:
        claimed = await failed(store)
        later = Lease(claimed.lease.seq, claimed.lease.job_id, claimed.lease.token + 1)
        assert await store.refund([later, Lease(10_000, "nobody", 1)], T0) == 0
        assert await attempts_of(store, claimed) == 1

    async def test_many_at_once_each_on_its_own(self, store: Store) -> None:
        claims = [await failed(store, f"lane {number}") for number in range(40)]
        bystander = await failed(store)
        gone = claims[::7]
        await store.cancel(only(*(one.job.job_id for one in gone)), T0)
        assert await store.refund([one.lease for one in claims], T0) == 40 - len(gone)
        assert [await attempts_of(store, one) for one in claims] == [int(one in gone) for one in claims]
        assert await attempts_of(store, bystander) == 1

    async def test_of_nothing_nothing_is_given_back(self, store: Store) -> None:
        await failed(store)
        assert await store.refund([], T0) == 0

    async def test_a_waiting_job_keeps_its_place_in_its_lane(self, store: Store) -> None:
        await put(store, *[a_draft(priority=priority) for priority in (1, 3, 2)])
        claims = await claim(store)
        await store.settle([Settlement(one.lease, AGAIN) for one in claims], T0)
        await store.refund([one.lease for one in claims], T0)
        assert [(one.job.priority, one.job.attempts) for one in await claim(store)] == [(3, 1), (2, 1), (1, 1)]
        assert await claim(store) == []


class Sharing(Documents, Reopening, Refunding):
    """What the workers of a pool know together."""
