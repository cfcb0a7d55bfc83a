"""Contract, the random walk: any sequence of verbs leaves a store exactly as the model says, by legal moves only.

Beside the comparison each step is checked against rules that the model could break as well: moves, tokens,
attempts, gates. Hypothesis shrinks a failing walk to the few steps that matter and remembers it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.job import LEGAL, TERMINAL, Job, Status, Transition
from scheduler.pauses import OUTAGE, Gate
from scheduler.stores.base import Claim, JobQuery, Settlement, Store, Want
from tests.stores.acts import EVERYTHING
from tests.stores.model import Model
from tests.support.jobs import T0, a_draft, a_request

LANES = ("one", "two")
SCOPES = (*LANES, "pool:main")
GIVEN_UP = Transition(Status.FAILED_AI, "gave_up_waiting", "too long", refund=True)

Step = tuple[Any, ...]

_drafts = st.fixed_dictionaries(
    {
        "task_type": st.sampled_from(LANES),
        "target_type": st.sampled_from(("file", "chat")),
        "priority": st.integers(-1, 1),
        "delay_s": st.sampled_from((0, 0, 0, 30)),
        "unique_key": st.sampled_from((None, None, None, "key")),
        "owner": st.sampled_from((None, None, "ada")),
        "fingerprint": st.sampled_from((None, None, "v1", "v2")),
        "force": st.booleans(),
    }
)
_wants = st.tuples(
    st.sampled_from(LANES),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from((None, None, None, ("file",), ("file", "chat"))),
    st.sampled_from((None, None, None, 0, 2, 3)),
    st.sets(st.integers(0, 8), max_size=3),
)
_ends = st.sampled_from(("done", "done", "refused", "later", "later in", "pool later", "outage", "outage", "again", "handed back", "lost"))
_numbers = st.integers(0, 30)
_enqueue = st.tuples(st.just("enqueue"), st.lists(_drafts, min_size=1, max_size=4))
_claim = st.tuples(
    st.just("claim"), st.lists(_wants, min_size=1, max_size=3, unique_by=lambda want: want[0]), st.sampled_from(("ada", "grace"))
)
_settle = st.tuples(st.just("settle"), st.lists(st.tuples(_numbers, _ends), min_size=1, max_size=4))
_wait = st.tuples(st.just("wait"), st.sampled_from((1, 30, 60, 600)))
_other = st.one_of(
    st.tuples(st.just("note"), _numbers),
    st.tuples(st.just("cancel"), st.sets(_numbers, max_size=3)),
    st.tuples(st.just("retry"), st.sets(_numbers, max_size=3)),
    st.tuples(st.just("give_up"), st.sampled_from((0, 60))),
    st.tuples(st.just("prune"), st.sampled_from((0, 60))),
    st.tuples(st.just("pause"), st.sampled_from(SCOPES), st.sampled_from((30, math.inf))),
    st.tuples(st.just("resume"), st.sampled_from(SCOPES)),
    st.tuples(st.just("reopen"), st.sampled_from(SCOPES)),
    st.tuples(st.just("refund"), st.lists(_numbers, max_size=4)),
    st.tuples(st.just("share"), st.sampled_from(("main", "side")), st.sampled_from(("more", "more", "nothing", "error"))),
)
#: Lists of lists, because Hypothesis makes flat lists short: thirty steps or so, most of them the daily work.
_walks = st.lists(st.lists(st.one_of(_enqueue, _claim, _claim, _settle, _settle, _wait, _other), min_size=1, max_size=12), max_size=12)


class Wandering:
    #: How many walks; a store that writes files may take fewer.
    walks: ClassVar[int] = 60

    def store_at(self, folder: Path) -> Store:
        raise NotImplementedError("a store's test class supplies store_at")

    def test_any_walk_leaves_the_store_as_the_model_says(self) -> None:
        @settings(max_examples=self.walks, deadline=None, print_blob=True)
        @given(_walks)
        def walk(legs: list[list[Step]]) -> None:
            with TemporaryDirectory() as folder:
                asyncio.run(_walk(self.store_at(Path(folder)), chain.from_iterable(legs)))

        walk()


async def _walk(store: Store, steps: Iterable[Step]) -> None:
    await store.open()
    try:
        walker = _Walker(store)
        for name, *arguments in steps:
            await getattr(walker, name)(*arguments)
            await walker.look(name)
    finally:
        await store.close()


class _Walker:
    """Takes each step in the store and in the model, and compares."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.model = Model()
        self.now = T0
        self.names: list[str] = []
        self.claims: list[tuple[Claim, Claim]] = []
        self.claimed: Counter[str] = Counter()
        self.seen: dict[str, Job] = {}

    # -- steps

    async def enqueue(self, wishes: list[dict[str, Any]]) -> None:
        drafts = []
        for wish in wishes:
            asked = {name: value for name, value in wish.items() if name != "delay_s"}
            self.names.append(f"job-{len(self.names)}")
            drafts.append(a_draft(job_id=self.names[-1], run_after=self.now + wish["delay_s"], **asked))
        assert await self.store.enqueue(drafts, self.now) == self.model.enqueue(drafts, self.now)

    async def claim(self, wishes: list[tuple[str, int, bool, tuple[str, ...] | None, int | None, set[int]]], worker: str) -> None:
        wants = [
            Want(lane, limit, (lane, "pool:main") if pooled else (lane,), targets, cap, tuple(f"job-{number}" for number in avoid))
            for lane, limit, pooled, targets, cap, avoid in wishes
        ]
        gates = {window.scope: window.gate(self.now) for window in await self.store.pauses()}
        answer = await self.store.claim(wants, worker, self.now)
        claims, short = self.model.claim(wants, worker, self.now)
        assert _alike([one.job for one in answer.claims]) == _alike([one.job for one in claims])
        assert [set(one.lease.probing) for one in answer.claims] == [set(one.lease.probing) for one in claims]
        assert answer.short == short
        self._check_gates(answer.claims, gates)
        for ours, theirs in zip(answer.claims, claims, strict=True):
            self.claimed[ours.job.job_id] += 1
            self.claims.append((ours, theirs))

    def _check_gates(self, claims: list[Claim], gates: dict[str, Gate]) -> None:
        """At most one probe a scope, and nothing out of a closed lane (a pool's jobs may also be asked for without it)."""
        for one in claims:
            lane = gates.get(one.job.task_type, Gate.OPEN)
            assert lane in (Gate.OPEN, Gate.PROBE)
            assert lane is Gate.OPEN or one.job.task_type in one.lease.probing
        probed = Counter(scope for one in claims for scope in one.lease.probing)
        assert all(count == 1 and gates[scope] is Gate.PROBE for scope, count in probed.items())

    async def settle(self, wishes: list[tuple[int, str]]) -> None:
        if not self.claims:
            return
        ours, theirs = [], []
        for number, kind in wishes:
            claim, twin = self.claims[-1 - number % len(self.claims)]
            end = self._end(claim, kind)
            ours.append(Settlement(claim.lease, end))
            theirs.append(self.model.settle(twin.lease, end, self.now))
        for settled, expected in zip(await self.store.settle(ours, self.now), theirs, strict=True):
            assert (settled.applied, settled.window) == (expected.applied, expected.window)
            assert sorted(settled.resumed) == sorted(expected.resumed)

    def _end(self, claim: Claim, kind: str) -> Transition:
        job, now = claim.job, self.now
        if kind.endswith(("later", "later in", "outage")):
            request = a_request(
                job.job_id,
                "pool:main" if kind in ("pool later", "outage") else job.task_type,
                reason=OUTAGE if kind == "outage" else "rate_limited",
                retry_after_s=45 if kind == "later in" else None,
                claimed_at=job.started_at,
            )
            return Transition(Status.RATE_LIMITED, "rate_limited", "later", refund=True, waiting_since=now, pause=request)
        return {
            "done": Transition(Status.COMPLETED, result_json="{}"),
            "refused": Transition(Status.FAILED_AI, "auth", "no"),
            "again": Transition(Status.RETRY_AI, "timeout", "slow", run_after=now + 20),
            "handed back": Transition(Status.PENDING, "interrupted", refund=True, waiting_since=job.waiting_since),
            "lost": Transition(Status.PENDING, "worker_lost", "gone", refund=True, crashed=True, waiting_since=job.waiting_since),
        }[kind]

    async def note(self, number: int) -> None:
        if self.claims:
            claim, twin = self.claims[-1 - number % len(self.claims)]
            text = f'{{"page": {number}}}'
            assert await self.store.note(claim.lease, self.now, state_json=text) == self.model.note(twin.lease, text)

    async def cancel(self, numbers: set[int]) -> None:
        chosen = self._chosen(numbers)
        found = await self.store.cancel(JobQuery(job_ids=tuple(chosen)), self.now)
        assert _alike(_sorted(found)) == _alike(_sorted(self.model.cancel(chosen, self.now)))

    async def retry(self, numbers: set[int]) -> None:
        chosen = self._chosen(numbers)
        found = await self.store.retry(JobQuery(job_ids=tuple(chosen)), self.now)
        assert _alike(_sorted(found)) == _alike(_sorted(self.model.retry(chosen, self.now)))

    def _chosen(self, numbers: set[int]) -> set[str]:
        return {self.names[-1 - number % len(self.names)] for number in numbers} if self.names else set()

    async def give_up(self, after_s: float) -> None:
        found = await self.store.give_up(JobQuery(waiting_before=self.now - after_s), lambda job: GIVEN_UP, self.now)
        expected = self.model.give_up(self.now - after_s, GIVEN_UP, self.now)
        assert _alike(_sorted([job for job, _ in found])) == _alike(_sorted(expected))

    async def prune(self, after_s: float) -> None:
        assert await self.store.prune(TERMINAL, self.now - after_s, 1_000) == self.model.prune(self.now - after_s)

    async def pause(self, scope: str, for_s: float) -> None:
        assert await self.store.pause(scope, self.now + for_s, self.now) == self.model.pause(scope, self.now + for_s, self.now)

    async def resume(self, scope: str) -> None:
        assert await self.store.resume(scope, self.now) == self.model.resume(scope)

    async def reopen(self, scope: str) -> None:
        assert await self.store.reopen(scope, self.now) == self.model.reopen(scope, self.now)

    async def refund(self, numbers: list[int]) -> None:
        chosen = [self.claims[-1 - number % len(self.claims)] for number in numbers if self.claims]
        refunds = await self.store.refund([claim.lease for claim, _ in chosen], self.now)
        assert refunds == self.model.refund([twin.lease for _, twin in chosen])

    async def share(self, pool: str, what: str) -> None:
        def change(document: str | None) -> tuple[str | None, str | None]:
            if what == "error":
                raise LookupError(document)
            return (None if what == "nothing" else f"{document or ''}+", document)

        if what == "error":
            with pytest.raises(LookupError):
                await self.store.share(pool, change, self.now)
        else:
            assert await self.store.share(pool, change, self.now) == self.model.share(pool, change)

    async def wait(self, seconds: float) -> None:
        self.now += seconds

    # -- after each step

    async def look(self, step: str) -> None:
        jobs = await self.store.find(EVERYTHING)
        assert _alike(jobs) == _alike(self.model.jobs)
        assert {window.scope: window for window in await self.store.pauses()} == self.model.windows
        assert await self.store.shared() == self.model.pools
        assert await self.store.lanes(self.now) == self.model.lanes(self.now)
        tallies = {(tally.task_type, tally.status, tally.reason): tally.count for tally in await self.store.count(JobQuery())}
        assert tallies == Counter((job.task_type, job.status, job.reason) for job in jobs)
        leases = [claim.lease for claim, _ in self.claims]
        holding = {(job.job_id, job.token) for job in jobs if job.status is Status.PROCESSING}
        assert await self.store.lapsed(leases) == [lease for lease in leases if (lease.job_id, lease.token) not in holding]
        for job in jobs:
            self._check_move(self.seen.get(job.job_id), job, step)
        self.seen = {job.job_id: job for job in jobs}

    def _check_move(self, before: Job | None, job: Job, step: str) -> None:
        assert 0 <= job.attempts <= self.claimed[job.job_id]
        assert (job.finished_at is not None) == (job.status in TERMINAL)
        assert (job.worker is not None) == (job.status is Status.PROCESSING)
        if before is None:
            assert job.status is Status.PENDING
        elif job.status is not before.status:
            assert job.status in LEGAL[Status.PROCESSING if step == "give_up" else before.status]
        if before is not None:
            assert job.status is not before.status or job.attempts == before.attempts or step == "refund"
            assert job.token - before.token == (step in ("claim", "give_up") and job.status is not before.status)


def _alike(jobs: list[Job]) -> list[Job]:
    """``jobs`` without what stores may number as they like."""
    return [job._replace(seq=0) for job in jobs]


def _sorted(jobs: list[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: job.job_id)
