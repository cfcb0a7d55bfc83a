"""Contract, jobs that belong together: follow-ups, jobs that wait for others, batches, owners' limits, jobs that somebody paused."""

from __future__ import annotations

import pytest

from scheduler.errors import InvalidJobError, OwnerLimitError
from scheduler.job import TERMINAL, Job, Status, Transition
from scheduler.stores.base import JobQuery, Store
from tests.stores.acts import DONE, REFUSED, claim, claim_one, everything, find, finished, get, ids, only, put, settle, started, want
from tests.support.jobs import T0, a_draft, put_off

BACK = Transition(Status.PENDING, "interrupted", refund=True)
FOREVER = float("inf")


class FollowingUp:
    async def test_follow_ups_exist_when_the_job_completes_and_not_before(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        follow_ups = (a_draft("next", unique_key="k"), a_draft("next", unique_key="k"), a_draft("later", run_after=T0 + 60))
        assert [job.task_type for job in await everything(store)] == ["lane"]
        settled = await settle(store, claimed.lease, _with(DONE, *follow_ups))
        assert [(receipt.job_id, receipt.created) for receipt in settled.receipts] == [
            (follow_ups[0].job_id, True),
            (follow_ups[0].job_id, False),
            (follow_ups[2].job_id, True),
        ]
        assert [job.task_type for job in await everything(store)] == ["lane", "next", "later"]
        assert ids(await claim(store, want("next"), want("later"))) == [follow_ups[0].job_id]

    @pytest.mark.parametrize(("if_failed", "doomed"), [("fail", "fail nobody"), ("cancel", "cancel nobody"), ("run", None)])
    async def test_one_that_waits_for_nobody_is_stored_all_the_same(self, store: Store, if_failed: str, doomed: str | None) -> None:
        claimed = await started(store, a_draft())
        follow_up = a_draft("next", after=("nobody",), if_failed=if_failed, strict=False)
        assert (await settle(store, claimed.lease, _with(DONE, follow_up))).applied
        assert (await get(store, claimed.job.job_id)).status is Status.COMPLETED
        assert (await claim_one(store, want("next"))).job.doomed == doomed

    async def test_one_that_waits_for_another_of_them_does(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        first = a_draft("next", strict=False)
        await settle(store, claimed.lease, _with(DONE, first, a_draft("last", after=(first.job_id,), strict=False)))
        assert await claim(store, want("last")) == []
        await settle(store, (await claim_one(store, want("next"))).lease, DONE)
        assert len(await claim(store, want("last"))) == 1

    @pytest.mark.parametrize("end", [REFUSED, BACK, Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0 + 9)])
    async def test_a_job_that_does_not_complete_has_none(self, store: Store, end: Transition) -> None:
        claimed = await started(store, a_draft())
        assert (await settle(store, claimed.lease, _with(end, a_draft("next")))).receipts == ()
        assert len(await everything(store)) == 1

    async def test_whoever_lost_the_lease_has_none(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await settle(store, claimed.lease, BACK)
        assert not (await settle(store, claimed.lease, _with(DONE, a_draft("next")))).applied
        assert len(await everything(store)) == 1


def _with(end: Transition, *follow_ups: object) -> Transition:
    return Transition(end.status, end.reason, end.error, end.result_json, end.run_after, end.refund, follow_ups=tuple(follow_ups))  # type: ignore[arg-type]


class WaitingForOthers:
    async def test_a_job_runs_when_the_last_of_those_it_waits_for_has_completed(self, store: Store) -> None:
        first, second = a_draft("one"), a_draft("one")
        await put(store, first, second, last := a_draft("two", after=(first.job_id, second.job_id)))
        assert (await get(store, last.job_id)).blockers == 2
        assert await claim(store, want("two")) == []
        assert (await store.lanes(T0)).ready == {"one"}
        leases = [claimed.lease for claimed in await claim(store, want("one"))]
        assert (await settle(store, leases[0], DONE)).freed == ()
        assert await claim(store, want("two")) == []
        assert (await settle(store, leases[1], DONE)).freed == ("two",)
        assert (await store.lanes(T0)).ready == {"two"}
        assert ids(await claim(store, want("two"))) == [last.job_id]

    async def test_it_still_waits_until_it_is_due(self, store: Store) -> None:
        claimed = await started(store, a_draft("one"))
        await put(store, last := a_draft("two", after=(claimed.job.job_id,), run_after=T0 + 60))
        await settle(store, claimed.lease, DONE)
        assert await claim(store, want("two")) == []
        assert (await store.lanes(T0)).next_due == T0 + 60
        assert ids(await claim(store, want("two"), now=T0 + 60)) == [last.job_id]

    async def test_an_attempt_that_does_not_end_its_job_frees_nobody(self, store: Store) -> None:
        claimed = await started(store, a_draft("one"))
        await put(store, a_draft("two", after=(claimed.job.job_id,)))
        for end in (BACK, put_off(claimed.job.job_id, T0, "elsewhere")):
            await settle(store, claimed.lease, end)
            assert await claim(store, want("two")) == []
            claimed = await claim_one(store, want("one"))
        await settle(store, claimed.lease, DONE)
        assert len(await claim(store, want("two"))) == 1

    @pytest.mark.parametrize(("if_failed", "doomed"), [("fail", "fail {}"), ("cancel", "cancel {}"), ("run", None)])
    @pytest.mark.parametrize("end", [REFUSED, Transition(Status.CANCELLED, "cancelled")])
    async def test_a_failure_dooms_those_that_wait_unless_they_are_to_run_anyway(
        self, store: Store, end: Transition, if_failed: str, doomed: str | None
    ) -> None:
        first, second = a_draft("one"), a_draft("other")
        await put(store, first, second, last := a_draft("two", after=(first.job_id, second.job_id), if_failed=if_failed))
        await settle(store, (await claim_one(store, want("one"))).lease, end)
        if if_failed == "run":
            assert await claim(store, want("two")) == []
            await settle(store, (await claim_one(store, want("other"))).lease, DONE)
        claimed = await claim_one(store, want("two"))
        assert claimed.job.job_id == last.job_id
        assert claimed.job.doomed == (None if doomed is None else doomed.format(first.job_id))

    async def test_a_cancellation_frees_too(self, store: Store) -> None:
        await put(store, first := a_draft("one"), last := a_draft("two", after=(first.job_id,)))
        await store.cancel(only(first.job_id), T0)
        assert (await claim_one(store, want("two"))).job.doomed == f"fail {first.job_id}"
        assert (await get(store, last.job_id)).blockers == 0

    async def test_giving_up_frees_too(self, store: Store) -> None:
        job = await finished(store, a_draft("one"), put_off("x", T0, "elsewhere"))
        await put(store, a_draft("two", after=(job.job_id,), if_failed="run"))
        await store.give_up(JobQuery(), lambda job: Transition(Status.FAILED_AI, "gave_up_waiting", "long"), T0)
        assert len(await claim(store, want("two"))) == 1

    @pytest.mark.parametrize(("end", "doomed"), [(DONE, False), (REFUSED, True)])
    async def test_what_has_ended_already_is_not_waited_for(self, store: Store, end: Transition, doomed: bool) -> None:
        job = await finished(store, a_draft("one"), end)
        await put(store, a_draft("two", after=(job.job_id,)))
        assert ((await claim_one(store, want("two"))).job.doomed is not None) is doomed

    async def test_what_is_not_there_cannot_be_waited_for_and_nothing_is_stored(self, store: Store) -> None:
        with pytest.raises(InvalidJobError, match="no such job"):
            await put(store, a_draft(), a_draft(after=("nobody",)))
        assert await everything(store) == []

    async def test_an_owners_job_waits_for_that_owners_alone(self, store: Store) -> None:
        await put(store, mine := a_draft(owner="ada"), theirs := a_draft(owner="grace"), nobodys := a_draft())
        await put(store, a_draft("two", owner="ada", after=(mine.job_id,)), a_draft("two", after=(mine.job_id, theirs.job_id)))
        for foreign in (theirs, nobodys):
            with pytest.raises(InvalidJobError, match="no such job"):
                await put(store, a_draft(owner="ada", after=(foreign.job_id,)))

    async def test_a_waiting_job_can_be_cancelled_and_a_retry_of_it_waits_no_more(self, store: Store) -> None:
        await put(store, first := a_draft("one"), last := a_draft("two", after=(first.job_id,)))
        await store.cancel(only(last.job_id), T0)
        assert await claim(store, want("two")) == []
        await store.retry(only(last.job_id), T0)
        assert len(await claim(store, want("two"))) == 1
        await settle(store, (await claim_one(store, want("one"))).lease, REFUSED)
        assert (await get(store, last.job_id)).doomed is None

    async def test_a_retry_of_a_doomed_job_runs_it(self, store: Store) -> None:
        job = await finished(store, a_draft("one"), REFUSED)
        doomed = await finished(store, a_draft("two", after=(job.job_id,)), REFUSED)
        await store.retry(only(doomed.job_id), T0)
        assert (await claim_one(store, want("two"))).job.doomed is None

    async def test_a_chain_goes_on_link_by_link(self, store: Store) -> None:
        chain = [a_draft("link")]
        for _ in range(4):
            chain.append(a_draft("link", after=(chain[-1].job_id,)))
        await put(store, *chain)
        for draft in chain:
            claimed = await claim_one(store, want("link"))
            assert claimed.job.job_id == draft.job_id
            await settle(store, claimed.lease, DONE)


class Batching:
    async def test_what_waits_for_a_batch_runs_when_all_of_it_has_ended(self, store: Store) -> None:
        batch = [a_draft("one", batch="b") for _ in range(3)]
        await put(store, *batch, last := a_draft("two", after=("batch:b",), if_failed="run"))
        leases = [claimed.lease for claimed in await claim(store, want("one"))]
        await settle(store, leases[0], DONE)
        await settle(store, leases[1], REFUSED)
        assert await claim(store, want("two")) == []
        await store.cancel(only(batch[2].job_id), T0)
        assert ids(await claim(store, want("two"))) == [last.job_id]

    @pytest.mark.parametrize(("end", "doomed"), [(DONE, None), (REFUSED, "fail batch:b")])
    async def test_a_failure_in_it_dooms_who_waits_for_its_success(self, store: Store, end: Transition, doomed: str | None) -> None:
        await put(store, a_draft("one", batch="b"), a_draft("one", batch="b"), a_draft("two", after=("batch:b",)))
        leases = [claimed.lease for claimed in await claim(store, want("one"))]
        await settle(store, leases[0], end)
        await settle(store, leases[1], DONE)
        assert (await claim_one(store, want("two"))).job.doomed == doomed

    async def test_an_empty_or_ended_batch_is_not_waited_for(self, store: Store) -> None:
        await put(store, a_draft("two", after=("batch:none",)))
        await finished(store, a_draft("one", batch="b"))
        await put(store, a_draft("two", after=("batch:b",)))
        assert len(await claim(store, want("two"))) == 2

    async def test_a_batch_is_its_owners(self, store: Store) -> None:
        await put(store, a_draft("one", batch="b", owner="ada"), a_draft("three", batch="b"))
        await put(
            store, mine := a_draft("two", owner="ada", after=("batch:b",)), theirs := a_draft("two", owner="grace", after=("batch:b",))
        )
        assert ids(await claim(store, want("two"))) == [theirs.job_id]
        await settle(store, (await claim_one(store, want("one"))).lease, DONE)
        assert ids(await claim(store, want("two"))) == [mine.job_id]

    async def test_jobs_are_found_and_counted_by_batch(self, store: Store) -> None:
        await put(store, first := a_draft(batch="b"), a_draft(batch="c"), a_draft())
        assert ids(await find(store, batch="b")) == [first.job_id]
        assert (await get(store, first.job_id)).batch == "b"
        assert [tally.count for tally in await store.count(JobQuery(batch="b"))] == [1]


class LimitingOwners:
    async def test_a_job_too_many_is_refused_with_all_that_came_with_it(self, store: Store) -> None:
        await put(store, *[a_draft(owner="ada", owner_limit=3) for _ in range(2)], a_draft(owner="grace", owner_limit=3))
        with pytest.raises(OwnerLimitError, match="owner ada has 3 unfinished jobs"):
            await put(store, a_draft("other", owner="ada", owner_limit=3), a_draft("other", owner="ada", owner_limit=3))
        assert {job.task_type for job in await everything(store)} == {"lane"}
        await put(store, a_draft(owner="ada", owner_limit=3))

    async def test_what_has_ended_does_not_count(self, store: Store) -> None:
        await finished(store, a_draft(owner="ada", owner_limit=1))
        await put(store, a_draft(owner="ada", owner_limit=1))
        with pytest.raises(OwnerLimitError):
            await put(store, a_draft(owner="ada", owner_limit=1))
        await put(store, a_draft(owner="ada"))  # no limit is known here

    async def test_a_job_that_stands_already_is_no_new_one(self, store: Store) -> None:
        await put(store, first := a_draft(owner="ada", owner_limit=1, unique_key="k"))
        (receipt,) = await put(store, a_draft(owner="ada", owner_limit=1, unique_key="k"))
        assert (receipt.job_id, receipt.created) == (first.job_id, False)


class Holding:
    async def test_a_waiting_job_that_is_held_is_not_claimed_until_it_is_let_go(self, store: Store) -> None:
        await put(store, draft := a_draft())
        (before,) = await store.hold(only(draft.job_id), FOREVER, T0)
        assert (before.job_id, before.held) == (draft.job_id, False)
        assert (await get(store, draft.job_id)).held
        assert await claim(store) == []
        assert await store.hold(only(draft.job_id), FOREVER, T0) == []
        assert ids(await store.unhold(only(draft.job_id), T0)) == [draft.job_id]
        job = (await claim_one(store)).job
        assert (job.held, job.run_after) == (False, T0)
        assert await store.unhold(only(draft.job_id), T0) == []

    async def test_it_is_due_when_it_was_before(self, store: Store) -> None:
        await put(store, draft := a_draft(run_after=T0 + 60))
        await store.hold(only(draft.job_id), FOREVER, T0)
        await store.unhold(only(draft.job_id), T0)
        assert await claim(store) == []
        assert (await claim_one(store, now=T0 + 60)).job.run_after == T0 + 60

    async def test_a_later_hold_extends_and_never_shortens(self, store: Store) -> None:
        await put(store, draft := a_draft(run_after=T0 + 5))
        assert len(await store.hold(only(draft.job_id), T0 + 60, T0)) == 1
        assert await store.hold(only(draft.job_id), T0 + 30, T0) == []
        assert len(await store.hold(only(draft.job_id), T0 + 90, T0)) == 1
        assert await claim(store, now=T0 + 89) == []
        await store.unhold(only(draft.job_id), T0 + 10)
        assert (await claim_one(store, now=T0 + 10)).job.run_after == T0 + 5

    async def test_a_hold_for_some_time_ends_by_itself(self, store: Store) -> None:
        await put(store, draft := a_draft())
        await store.hold(only(draft.job_id), T0 + 60, T0)
        assert await claim(store, now=T0 + 59) == []
        assert (await store.lanes(T0 + 59)).next_due == T0 + 60
        claimed = await claim_one(store, now=T0 + 60)
        assert not claimed.job.held
        assert await store.held([claimed.lease]) == []

    async def test_a_running_job_is_marked_and_waits_after_its_attempt(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.hold(only(claimed.job.job_id), FOREVER, T0)
        assert await store.held([claimed.lease]) == [claimed.lease]
        assert await store.lapsed([claimed.lease]) == []
        await settle(store, claimed.lease, BACK)
        assert await claim(store) == []
        assert await store.held([claimed.lease]) == []
        await store.unhold(only(claimed.job.job_id), T0 + 5)
        assert (await claim_one(store, now=T0 + 5)).job.run_after == T0

    async def test_so_does_one_that_is_to_be_tried_again(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.hold(only(claimed.job.job_id), FOREVER, T0)
        await settle(store, claimed.lease, Transition(Status.RETRY_AI, "timeout", "slow", run_after=T0 + 60))
        assert await claim(store, now=T0 + 60) == []
        await store.unhold(only(claimed.job.job_id), T0 + 5)
        assert await claim(store, now=T0 + 59) == []
        assert len(await claim(store, now=T0 + 60)) == 1

    async def test_one_that_is_let_go_while_it_runs_runs_on(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.hold(only(claimed.job.job_id), FOREVER, T0)
        await store.unhold(only(claimed.job.job_id), T0)
        assert await store.held([claimed.lease]) == []
        await settle(store, claimed.lease, BACK)
        assert len(await claim(store)) == 1

    async def test_a_held_job_may_end_and_be_sent_back_free(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.hold(only(claimed.job.job_id), FOREVER, T0)
        await settle(store, claimed.lease, REFUSED)
        job = await get(store, claimed.job.job_id)
        assert (job.status, job.run_after) == (Status.FAILED_AI, T0)
        assert await store.unhold(JobQuery(), T0) == []
        await store.retry(only(job.job_id), T0)
        assert not (await claim_one(store)).job.held

    async def test_a_held_job_that_waits_for_others_waits_for_both(self, store: Store) -> None:
        await put(store, first := a_draft("one"), last := a_draft("two", after=(first.job_id,)))
        await store.hold(only(last.job_id), FOREVER, T0)
        await settle(store, (await claim_one(store, want("one"))).lease, DONE)
        assert await claim(store, want("two")) == []
        await store.unhold(only(last.job_id), T0)
        assert len(await claim(store, want("two"))) == 1

    async def test_letting_go_does_not_free_what_waits_for_others(self, store: Store) -> None:
        await put(store, first := a_draft("one"), last := a_draft("two", after=(first.job_id,)))
        await store.hold(only(last.job_id), FOREVER, T0)
        await store.unhold(only(last.job_id), T0)
        assert await claim(store, want("two")) == []

    async def test_what_cannot_run_by_itself_can_be_left_out(self, store: Store) -> None:
        free, first, held, later = (a_draft() for _ in range(4))
        await put(store, free, first, held, later, a_draft(after=(first.job_id,)))
        await store.hold(only(held.job_id), FOREVER, T0)
        await store.hold(only(later.job_id), T0 + 60, T0)
        assert set(ids(await find(store, can_run=True))) == {free.job_id, first.job_id, later.job_id}
        assert [tally.count for tally in await store.count(JobQuery(can_run=True))] == [3]
        running = await claim_one(store, want(limit=1))
        await store.hold(only(running.job.job_id), FOREVER, T0)
        assert running.job.job_id in ids(await find(store, can_run=True)), "it runs"

    async def test_what_has_ended_is_not_held(self, store: Store) -> None:
        job: Job = await finished(store, a_draft())
        assert await store.hold(JobQuery(statuses=TERMINAL), FOREVER, T0) == []
        assert await get(store, job.job_id) == job

    async def test_a_hold_is_its_owners(self, store: Store) -> None:
        await put(store, mine := a_draft(owner="ada"), theirs := a_draft(owner="grace"))
        assert ids(await store.hold(JobQuery(job_ids=(mine.job_id, theirs.job_id), owner="ada"), FOREVER, T0)) == [mine.job_id]


class TakingTurns:
    async def test_owners_start_in_turns_however_many_jobs_each_has(self, store: Store) -> None:
        many = [a_draft(owner="big") for _ in range(50)]
        few = [a_draft(owner="small") for _ in range(3)]
        await put(store, *many, *few)
        order = [(await claim_one(store, want(limit=1))).job for _ in range(8)]
        assert [job.owner for job in order] == ["big", "small"] * 3 + ["big", "big"]
        assert [job.job_id for job in order if job.owner == "small"] == [draft.job_id for draft in few], "first come, first served"

    #: Jobs of a large owner, in thousands. The claim's cost must not depend on it: the plans' tests see to that as well.
    thousands = 5

    async def test_three_jobs_behind_very_many_start_within_one_turn(self, store: Store) -> None:
        for _ in range(self.thousands):
            await put(store, *[a_draft(owner="big") for _ in range(1_000)])
        await put(store, *[a_draft(owner="small") for _ in range(3)])
        owners = [(await claim_one(store, want(limit=1))).job.owner for _ in range(6)]
        assert owners.count("small") == 3

    async def test_a_portion_is_shared_out(self, store: Store) -> None:
        await put(store, *[a_draft(owner="big") for _ in range(50)], *[a_draft(owner="mid") for _ in range(5)], a_draft(owner="small"))
        owners = [claimed.job.owner for claimed in await claim(store, want(limit=9))]
        assert [owners.count(name) for name in ("big", "mid", "small")] == [4, 4, 1]
        owners = [claimed.job.owner for claimed in await claim(store, want(limit=40))]
        assert [owners.count(name) for name in ("big", "mid", "small")] == [39, 1, 0]

    async def test_jobs_without_an_owner_are_one_owners(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(20)], *[a_draft(owner="ada") for _ in range(2)])
        owners = [claimed.job.owner for claimed in await claim(store, want(limit=6))]
        assert (owners.count(None), owners.count("ada")) == (4, 2)

    async def test_more_owners_than_room_get_their_turn_one_claim_later(self, store: Store) -> None:
        names = [f"owner {number}" for number in range(7)]
        await put(store, *[a_draft(owner=name) for name in names for _ in range(2)])
        seen = [[claimed.job.owner for claimed in await claim(store, want(limit=3))] for _ in range(4)]
        flat = [owner for portion in seen for owner in portion]
        assert (len(set(flat[:6])), set(flat[:9])) == (6, set(names)), "everybody once before anybody twice"

    async def test_a_higher_priority_goes_before_any_turn(self, store: Store) -> None:
        await put(store, *[a_draft(owner="ada") for _ in range(3)], *[a_draft(owner="grace", priority=5) for _ in range(3)])
        assert [claimed.job.owner for claimed in await claim(store, want(limit=4))] == ["grace"] * 3 + ["ada"]

    async def test_turns_are_taken_among_the_wanted_alone(self, store: Store) -> None:
        await put(store, a_draft(owner="ada", target_type="other"), a_draft(owner="grace"), a_draft(owner="mary"))
        got = await claim(store, want(limit=2, target_types=("code_entity",)))
        assert [claimed.job.owner for claimed in got] == ["grace", "mary"]

    async def test_a_paused_owners_jobs_do_not_start_and_hold_up_nobody(self, store: Store) -> None:
        await put(store, *[a_draft(owner="ada", priority=9) for _ in range(300)], a_draft(owner="grace"), a_draft())
        await store.pause("owner:ada", T0 + 60, T0)
        assert {claimed.job.owner for claimed in await claim(store, want(limit=100))} == {"grace", None}
        assert await claim(store, now=T0 + 59) == []
        assert len(await claim(store, now=T0 + 60)) == 100
        await store.resume("owner:ada", T0 + 60)

    async def test_an_owner_is_resumed_by_hand(self, store: Store) -> None:
        await put(store, a_draft(owner="ada"))
        await store.pause("owner:ada", FOREVER, T0)
        assert await claim(store) == []
        await store.resume("owner:ada", T0)
        assert len(await claim(store)) == 1


class Belonging(FollowingUp, WaitingForOthers, Batching, LimitingOwners, Holding, TakingTurns):
    """All of them."""
