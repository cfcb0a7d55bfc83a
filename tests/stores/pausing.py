"""Contract, pauses: closed scopes, probes, pools, and an operator's hand."""

from __future__ import annotations

import math

from scheduler.job import Draft, Lease, Status, Transition
from scheduler.pauses import MANUAL, OUTAGE
from scheduler.stores.base import Claim, Settled, Store
from tests.stores.acts import DONE, REFUSED, claim, claim_one, finished, get, ids, only, put, settle, started, want, window_of
from tests.support.jobs import T0, a_draft, a_request, put_off


async def paused_by_provider(store: Store, scope: str = "lane", *, jobs: int = 3, now: float = T0) -> str:
    """A lane of ``jobs`` waiting jobs whose ``scope`` a rate limit closed for a minute; the id of the first."""
    drafts = [a_draft() for _ in range(jobs)]
    await put(store, *drafts, now=now)
    claimed = await claim_one(store, want(limit=1), now=now)
    await settle(store, claimed.lease, put_off(claimed.job.job_id, now, scope), now)
    return claimed.job.job_id


async def probing(store: Store, *, jobs: int = 3) -> Claim:
    """The probe of a lane whose pause ended at ``T0 + 60``, claimed then."""
    await paused_by_provider(store, jobs=jobs)
    return await claim_one(store, now=T0 + 60)


class ClosedScopes:
    async def test_no_claim_commits_for_a_closed_lane(self, store: Store) -> None:
        await paused_by_provider(store)
        assert await claim(store, now=T0 + 59.999) == []

    async def test_a_paused_lane_does_not_hold_up_the_others_whatever_its_length(self, store: Store) -> None:
        await put(store, *[a_draft(priority=9) for _ in range(200)], a_draft("other"))
        await store.pause("lane", T0 + 60, T0)
        assert [one.job.task_type for one in await claim(store, want(), want("other"))] == ["other"]

    async def test_a_closed_pool_holds_every_lane_that_draws_on_it(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        await put(store, a_draft("other"), a_draft("free"))
        claims = await claim(store, want(pool="main"), want("other", pool="main"), want("free", pool="side"))
        assert [one.job.task_type for one in claims] == ["free"]

    async def test_a_jobs_own_lane_is_open_when_only_its_pool_is_closed(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        assert len(await claim(store, want())) == 3

    async def test_a_later_shorter_rate_limit_does_not_shorten_a_pause(self, store: Store) -> None:
        await put(store, a_draft(), a_draft())
        first, second = await claim(store)
        await settle(store, first.lease, put_off(first.job.job_id, T0, retry_after_s=100))
        settled = await settle(store, second.lease, put_off(second.job.job_id, T0, retry_after_s=10))
        assert settled.window is not None
        assert settled.window.until == T0 + 100


class Probes:
    async def test_when_a_pause_ends_one_probe_goes_first(self, store: Store) -> None:
        first = await paused_by_provider(store)
        answer = await store.claim([want(limit=3)], "worker", T0 + 60)
        (probe,) = answer.claims
        assert probe.job.job_id == first
        assert probe.lease.probing == ("lane",)
        assert answer.short == {"lane"}
        window = await window_of(store)
        assert window is not None
        assert window.probe == first

    async def test_while_the_probe_runs_nothing_else_starts(self, store: Store) -> None:
        await probing(store)
        assert await claim(store, now=T0 + 1_000) == []

    async def test_a_lane_without_due_jobs_gets_no_probe_mark(self, store: Store) -> None:
        await paused_by_provider(store, jobs=1)
        assert await claim(store, want(target_types=("other",)), now=T0 + 60) == []
        assert len(await claim(store, now=T0 + 60)) == 1

    async def test_a_probe_that_succeeds_reopens_the_lane(self, store: Store) -> None:
        probe = await probing(store)
        assert await settle(store, probe.lease, DONE, T0 + 61) == Settled(True, None, ("lane",))
        assert await store.pauses() == []
        assert len(await claim(store, now=T0 + 61)) == 2

    async def test_a_probe_that_is_put_off_again_doubles_the_pause(self, store: Store) -> None:
        probe = await probing(store)
        settled = await settle(store, probe.lease, put_off(probe.job.job_id, T0 + 60), T0 + 61)
        assert settled.resumed == ()
        assert settled.window is not None
        assert (settled.window.until, settled.window.strikes, settled.window.probe) == (T0 + 61 + 120, 2, None)
        assert await window_of(store) == settled.window
        assert await claim(store, now=T0 + 180) == []
        assert len(await claim(store, now=T0 + 181)) == 1

    async def test_a_probe_that_ends_otherwise_lets_the_next_one_probe(self, store: Store) -> None:
        probe = await probing(store)
        assert (await settle(store, probe.lease, REFUSED, T0 + 61)).resumed == ()
        following = await claim_one(store, now=T0 + 61)
        assert following.job.job_id != probe.job.job_id
        assert following.lease.probing == ("lane",)

    async def test_a_cancelled_probe_lets_the_next_one_probe(self, store: Store) -> None:
        probe = await probing(store)
        await store.cancel(only(probe.job.job_id), T0 + 61)
        following = await claim_one(store, now=T0 + 61)
        assert following.lease.probing == ("lane",)
        assert await settle(store, probe.lease, DONE, T0 + 62) == Settled(False)
        assert await claim(store, now=T0 + 62) == []

    async def test_a_probe_lost_with_its_worker_lets_the_next_one_probe(self, store: Store) -> None:
        probe = await probing(store)
        job = await get(store, probe.job.job_id)
        taken_back = Lease(job.seq, job.job_id, job.token)  # what whoever finds the dead worker's job can know
        lost = Transition(Status.PENDING, "worker_lost", "gone", refund=True, crashed=True)
        assert (await settle(store, taken_back, lost, T0 + 70)).applied
        assert (await claim_one(store, now=T0 + 70)).lease.probing == ("lane",)

    async def test_another_jobs_end_is_not_the_probes(self, store: Store) -> None:
        await put(store, a_draft(), a_draft(), a_draft())
        before, limited = await claim(store, want(limit=2))
        await settle(store, limited.lease, put_off(limited.job.job_id, T0))
        await claim_one(store, now=T0 + 60)
        assert (await settle(store, before.lease, DONE, T0 + 61)).resumed == ()
        assert await claim(store, now=T0 + 61) == []

    async def test_one_probe_serves_lane_and_pool_alike(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        limited = await claim_one(store, want(limit=1))
        await settle(store, limited.lease, put_off(limited.job.job_id, T0))
        probe = await claim_one(store, want(pool="main"), now=T0 + 60)
        assert set(probe.lease.probing) == {"lane", "pool:main"}
        settled = await settle(store, probe.lease, DONE, T0 + 61)
        assert set(settled.resumed) == {"lane", "pool:main"}
        assert await store.pauses() == []

    async def test_two_lanes_of_one_pool_share_its_probe(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        await put(store, a_draft("other"))
        claims = await claim(store, want(pool="main"), want("other", pool="main"), now=T0 + 60)
        assert [one.lease.probing for one in claims] == [("pool:main",)]

    async def test_a_closed_scope_holds_the_probe_of_another(self, store: Store) -> None:
        await paused_by_provider(store, "pool:main")
        await store.pause("lane", T0 + 100, T0)
        assert await claim(store, want(pool="main"), now=T0 + 60) == []
        assert len(await claim(store, want(pool="main"), now=T0 + 100)) == 1

    async def test_a_pause_extended_while_its_probe_runs_is_not_ended_by_it(self, store: Store) -> None:
        await put(store, *[a_draft() for _ in range(4)])
        early, limited = await claim(store, want(limit=2))
        await settle(store, limited.lease, put_off(limited.job.job_id, T0))
        probe = await claim_one(store, now=T0 + 60)
        await settle(store, early.lease, put_off(early.job.job_id, T0, retry_after_s=40), T0 + 61)
        assert (await settle(store, probe.lease, DONE, T0 + 62)).resumed == ()
        assert await claim(store, now=T0 + 100) == []
        assert (await claim_one(store, now=T0 + 101)).lease.probing == ("lane",)

    async def test_a_pause_set_by_hand_while_a_probe_runs_is_not_ended_by_it(self, store: Store) -> None:
        probe = await probing(store)
        await store.pause("lane", math.inf, T0 + 61)
        assert (await settle(store, probe.lease, DONE, T0 + 62)).resumed == ()
        assert await claim(store, now=T0 + 1_000_000) == []

    async def test_a_probe_does_not_end_a_pause_that_came_after_a_resume(self, store: Store) -> None:
        probe = await probing(store)
        await store.resume("lane", T0 + 61)
        limited = await claim_one(store, want(limit=1), now=T0 + 61)
        await settle(store, limited.lease, put_off(limited.job.job_id, T0 + 61), T0 + 61)
        assert (await settle(store, probe.lease, DONE, T0 + 62)).resumed == ()
        assert await claim(store, now=T0 + 63) == []


async def in_an_outage(store: Store, *drafts: Draft) -> None:
    """``drafts`` wait on a pool that an outage closed until ``T0 + 60``."""
    last = await started(store, a_draft("last"))
    request = a_request(last.job.job_id, "pool:main", reason=OUTAGE)
    await settle(store, last.lease, Transition(Status.RATE_LIMITED, OUTAGE, "down", refund=True, waiting_since=T0, pause=request))
    await put(store, *drafts)


PROBE_AT = T0 + 60


class ProbesOfAnOutage:
    async def test_it_is_the_last_in_line(self, store: Store) -> None:
        await in_an_outage(store, *[a_draft(job_id=name, priority=priority) for name, priority in (("a", 9), ("b", 1), ("c", 1), ("d", 9))])
        probe = await claim_one(store, want(pool="main"), now=PROBE_AT)
        assert (probe.job.job_id, probe.lease.probing) == ("c", ("pool:main",))
        assert await claim(store, want(pool="main"), now=PROBE_AT) == []

    async def test_it_is_none_of_those_to_avoid(self, store: Store) -> None:
        await in_an_outage(store, *[a_draft(job_id=name) for name in "abcd"])
        avoided = want(pool="main", avoid=("d", "c", "nobody"))
        assert ids([await claim_one(store, avoided, now=PROBE_AT)]) == ["b"]

    async def test_it_is_one_to_avoid_when_nobody_else_is_due(self, store: Store) -> None:
        await in_an_outage(store, a_draft(job_id="a"), a_draft(job_id="b"), a_draft(job_id="later", run_after=PROBE_AT + 1))
        probe = await claim_one(store, want(pool="main", avoid=("a", "b")), now=PROBE_AT)
        assert (probe.job.job_id, probe.lease.probing) == ("b", ("pool:main",))

    async def test_it_may_be_one_that_only_just_fell_due(self, store: Store) -> None:
        await in_an_outage(store, a_draft(job_id="a"), a_draft(job_id="fell-due", run_after=PROBE_AT))
        assert ids([await claim_one(store, want(pool="main", avoid=("a",)), now=PROBE_AT)]) == ["fell-due"]

    async def test_it_is_of_the_wanted_target_types(self, store: Store) -> None:
        await in_an_outage(store, *[a_draft(job_id=name, target_type=kind) for name, kind in (("a", "x"), ("b", "y"), ("c", "z"))])
        some = want(pool="main", target_types=("x", "y"), avoid=("b",))
        assert ids([await claim_one(store, some, now=PROBE_AT)]) == ["a"]

    async def test_it_keeps_to_the_cap(self, store: Store) -> None:
        await started(store, a_draft())
        await in_an_outage(store, a_draft(), a_draft())
        assert await claim(store, want(pool="main", cap=1), now=PROBE_AT) == []
        assert len(await claim(store, want(pool="main", cap=2), now=PROBE_AT)) == 1

    async def test_once_the_pool_is_open_nobody_is_avoided_and_the_first_go_first(self, store: Store) -> None:
        await in_an_outage(store, *[a_draft(job_id=name) for name in "abc"])
        probe = await claim_one(store, want(pool="main", avoid=("a",)), now=PROBE_AT)
        await settle(store, probe.lease, DONE, PROBE_AT + 1)
        assert ids(await claim(store, want(pool="main", avoid=("a",)), now=PROBE_AT + 1)) == ["a", "b"]

    async def test_a_rate_limits_probe_is_the_first_in_line(self, store: Store) -> None:
        first = await paused_by_provider(store, "pool:main")
        assert ids([await claim_one(store, want(pool="main", avoid=(first,)), now=T0 + 60)]) == [first]


class ByHand:
    async def test_a_pause_set_by_hand_ends_with_its_time_and_without_a_probe(self, store: Store) -> None:
        await put(store, a_draft(), a_draft())
        window = await store.pause("lane", T0 + 30, T0)
        assert (window.scope, window.until, window.reason, window.set_at, window.set_by) == ("lane", T0 + 30, MANUAL, T0, None)
        assert await store.pauses() == [window]
        assert await claim(store, now=T0 + 29) == []
        claims = await claim(store, now=T0 + 30)
        assert [one.lease.probing for one in claims] == [(), ()]

    async def test_a_pause_without_an_end_lasts_until_resumed(self, store: Store) -> None:
        await put(store, a_draft())
        window = await store.pause("lane", math.inf, T0)
        assert window.until == math.inf
        assert await store.pauses() == [window]
        assert await claim(store, now=T0 + 10_000_000) == []
        assert await store.resume("lane", T0) == window
        assert len(await claim(store)) == 1

    async def test_a_pause_by_hand_extends_and_never_shortens(self, store: Store) -> None:
        longer = await store.pause("lane", T0 + 60, T0)
        assert await store.pause("lane", T0 + 30, T0) == longer
        assert (await store.pause("lane", T0 + 90, T0)).until == T0 + 90

    async def test_resuming_opens_a_providers_pause_at_once_and_fully(self, store: Store) -> None:
        await paused_by_provider(store)
        window = await store.resume("lane", T0 + 1)
        assert window is not None
        assert window.reason == "rate_limited"
        assert len(await claim(store, now=T0 + 1)) == 3

    async def test_resuming_what_is_not_paused_is_nothing(self, store: Store) -> None:
        await store.pause("other", T0 + 60, T0)
        assert await store.resume("lane", T0) is None
        assert [window.scope for window in await store.pauses()] == ["other"]

    async def test_a_pause_leaves_running_jobs_alone(self, store: Store) -> None:
        claimed = await started(store, a_draft())
        await store.pause("lane", math.inf, T0)
        assert (await settle(store, claimed.lease, DONE)).applied

    async def test_a_paused_lane_still_takes_jobs(self, store: Store) -> None:
        await store.pause("lane", math.inf, T0)
        assert (await put(store, a_draft()))[0].created

    async def test_finished_work_does_not_pause_anything(self, store: Store) -> None:
        await finished(store, a_draft())
        await finished(store, a_draft(), REFUSED)
        assert await store.pauses() == []


class Pausing(ClosedScopes, Probes, ProbesOfAnOutage, ByHand):
    """Pause windows."""
