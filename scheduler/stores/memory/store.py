"""The verbs of the memory store. Each yields once, then changes everything without a pause.

So a cancelled caller changed nothing. Does not belong here: how jobs are found (``records.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import islice
from typing import TypeVar

from anyio.lowlevel import checkpoint

from scheduler.errors import InvalidJobError, StoreError
from scheduler.job import LEGAL, RETRYABLE, TERMINAL, UNFINISHED, Draft, Item, Job, Lease, Ledger, Oks, Receipt, Status, Transition
from scheduler.journal import Entry
from scheduler.pauses import OUTAGE, Gate, PauseWindow, extended, paused_by_hand, paused_owners
from scheduler.stores.base import Claim, Claims, JobQuery, Lanes, Pulse, Settled, Settlement, Tally, Want, Worker
from scheduler.stores.memory.changes import as_new, ended_as, new_job
from scheduler.stores.memory.holds import Holds
from scheduler.stores.memory.journal import Journal
from scheduler.stores.memory.ledgers import Ledgers
from scheduler.stores.memory.records import Records
from scheduler.stores.memory.standing import Standing
from scheduler.stores.memory.waits import Waits
from scheduler.stores.memory.windows import Windows
from scheduler.stores.memory.workers import MemoryPulse, WorkerRows
from scheduler.stores.turns import Turns

T = TypeVar("T")


class MemoryStore:
    """``memory:``; implements the ``Store`` port. Not shared between processes."""

    url = "memory:"

    def __init__(self) -> None:
        self._journal = Journal()
        self._jobs = Records(self._journal)
        self._ledgers = Ledgers()
        self._waits = Waits(self._jobs)
        self._holds = Holds()
        self._windows = Windows(self._journal)
        self._standing = Standing(self._jobs)
        self._pools: dict[str, str] = {}
        self._workers = WorkerRows()
        self._turns_of_owners = Turns()
        self._turns: dict[str, tuple[str, float]] = {}

    async def open(self) -> None:
        await checkpoint()

    async def close(self) -> None:
        await checkpoint()

    async def check(self, *, briefly: bool = False) -> None:
        await checkpoint()

    # -- jobs in

    async def enqueue(self, drafts: Sequence[Draft], now: float, on_stored: Callable[[list[Receipt]], None] | None = None) -> list[Receipt]:
        await checkpoint()
        new_ids = {draft.job_id for draft in drafts}
        if len(new_ids) < len(drafts) or any(job_id in self._jobs.seq_of for job_id in new_ids):
            raise StoreError("a job id was used before: give every draft a fresh one; nothing was stored")
        receipts = self._enter(drafts, now)
        if on_stored is not None:
            on_stored(receipts)
        return receipts

    def _enter(self, drafts: Sequence[Draft], now: float) -> list[Receipt]:
        """All of ``drafts``, or none."""
        before, requests = self._jobs.last_seq, self._standing.requests
        try:
            return [self._standing.answered(draft) or self._enter_one(draft, now) for draft in drafts]
        except InvalidJobError:
            self._standing.cut_back(requests)
            for seq in range(before + 1, self._jobs.last_seq + 1):
                if seq in self._jobs.by_seq:
                    self._jobs.remove(self._jobs.by_seq[seq])
            raise

    def _enter_one(self, draft: Draft, now: float) -> Receipt:
        return self._standing.remember(draft, self._standing.receipt(draft) or self._create(draft, now), now)

    def _create(self, draft: Draft, now: float) -> Receipt:
        self._waits.check(draft)
        self._jobs.put(self._waits.enter(draft, new_job(self._jobs.next_seq(), draft, now)), now)
        return Receipt(draft.job_id)

    # -- attempts

    async def lanes(self, now: float) -> Lanes:
        await checkpoint()
        return self._jobs.due(now)

    async def claim(self, wants: Sequence[Want], worker: str, now: float) -> Claims:
        await checkpoint()
        claims: list[Claim] = []
        short: set[str] = set()
        for want in wants:
            got = self._claim_lane(want, worker, now)
            claims += got
            if len(got) < want.limit:
                short.add(want.task_type)
        return Claims(claims, frozenset(short))

    def _claim_lane(self, want: Want, worker: str, now: float) -> list[Claim]:
        gates = {scope: self._windows[scope].gate(now) for scope in want.scopes if scope in self._windows}
        if Gate.CLOSED in gates.values() or Gate.PROBING in gates.values():
            return []
        probing = tuple(scope for scope, gate in gates.items() if gate is Gate.PROBE)
        limit = min(want.limit, 1) if probing else want.limit
        if want.cap is not None:
            limit = min(limit, want.cap - self._jobs.running(want.task_type))
        is_outage = any(self._windows[scope].reason == OUTAGE for scope in probing)
        paused = frozenset(paused_owners(self._windows.values(), now))
        claims: list[Claim] = []
        while len(claims) < limit:
            last = self._turns_of_owners.last(want.task_type)
            job = self._jobs.probe(want, now, paused) if is_outage else self._jobs.first_due(want, now, paused, last)
            if job is None:
                break
            claims.append(self._start(job, probing, worker, now))
            self._turns_of_owners.served(want.task_type, [job.owner or ""])
        return sorted(claims, key=lambda claim: (-claim.job.priority, claim.job.seq))

    def _start(self, waiting: Job, probing: tuple[str, ...], worker: str, now: float) -> Claim:
        job = waiting._replace(
            status=Status.PROCESSING,
            attempts=waiting.attempts + 1,
            token=waiting.token + 1,
            worker=worker,
            started_at=now,
            held=False,
        )
        self._jobs.put(job, now)
        self._holds.forget(job)
        for scope in probing:
            self._windows.put(replace(self._windows[scope], probe=job.job_id), now)
        return Claim(job, Lease(job.seq, job.job_id, job.token, probing))

    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled]:
        await checkpoint()
        for one in settlements:
            if one.transition.status not in LEGAL[Status.PROCESSING]:
                raise StoreError(f"an attempt cannot end as {one.transition.status}; nothing was changed")
        return [self._settle(one.lease, one.transition, now) for one in settlements]

    def _settle(self, lease: Lease, end: Transition, now: float) -> Settled:
        job = self._held(lease)
        if job is None:
            return Settled(applied=False)
        ended = ended_as(job, end, now)._replace(attempts=max(0, job.attempts - end.refund), crashes=job.crashes + end.crashed)
        ended = self._holds.put_off(ended)
        self._jobs.put(ended, now)
        if ended.status is Status.COMPLETED:
            self._standing.completed(ended)
        resumed = self._windows.end_probe(job.job_id, end.status is Status.COMPLETED, now)
        window = None
        if end.pause is not None:
            window = extended(self._windows.get(end.pause.scope), end.pause, now)
            self._windows.put(window, now)
        freed = self._waits.ended(ended, now) if end.status.is_terminal else ()
        receipts = tuple(self._enter(end.follow_ups, now)) if end.status is Status.COMPLETED else ()
        return Settled(True, window, resumed, receipts, freed)

    def _held(self, lease: Lease) -> Job | None:
        """The job, while the lease holds: the guard of every write that ends or notes an attempt."""
        job = self._jobs.by_seq.get(lease.seq)
        return job if job is not None and job.status is Status.PROCESSING and job.token == lease.token else None

    async def refund(self, leases: Sequence[Lease], now: float) -> int:
        await checkpoint()
        return sum(self._give_back(seq, token, now) for seq, token in {(lease.seq, lease.token) for lease in leases})

    def _give_back(self, seq: int, token: int, now: float) -> bool:
        job = self._jobs.by_seq.get(seq)
        if job is None or job.status not in UNFINISHED or job.token < token or job.attempts < 1:
            return False
        self._jobs.put(job._replace(attempts=job.attempts - 1), now)
        return True

    async def note(self, lease: Lease, now: float, *, state_json: str) -> bool:
        await checkpoint()
        job = self._held(lease)
        if job is None:
            return False
        self._jobs.put(job._replace(state_json=state_json, crashes=job.crashes if state_json == job.state_json else 0), now)
        return True

    async def report(self, progress: Sequence[tuple[Lease, str]], now: float) -> None:
        await checkpoint()
        for lease, progress_json in progress:
            job = self._held(lease)
            if job is not None:
                self._jobs.put(job._replace(progress_json=progress_json), now)

    async def record(self, lease: Lease, ledger: Ledger, items: Sequence[Item], now: float, *, progress_json: str | None = None) -> bool:
        await checkpoint()
        job = self._held(lease)
        if job is None:
            return False
        crashes = 0 if items else job.crashes
        self._jobs.put(job._replace(progress_json=progress_json or job.progress_json, crashes=crashes), now)
        self._ledgers.record(lease.seq, ledger, items)
        return True

    async def ledgers(self, job_id: str) -> list[Ledger]:
        await checkpoint()
        return self._ledgers.of(self._jobs.seq_of.get(job_id, 0))

    async def items(self, job_id: str, name: str, *, ok: Oks | None = None, after: int = -1, limit: int = 1_000) -> list[Item]:
        await checkpoint()
        return self._ledgers.items(self._jobs.seq_of.get(job_id, 0), name, ok, after, limit)

    async def lapsed(self, leases: Sequence[Lease]) -> list[Lease]:
        await checkpoint()
        return [lease for lease in leases if self._held(lease) is None]

    async def held(self, leases: Sequence[Lease]) -> list[Lease]:
        await checkpoint()
        jobs = [self._held(lease) for lease in leases]
        return [lease for lease, job in zip(leases, jobs, strict=True) if job is not None and job.held]

    # -- people

    async def find(self, query: JobQuery) -> list[Job]:
        await checkpoint()
        return list(islice(self._jobs.matching(query), max(0, query.limit)))

    async def count(self, query: JobQuery) -> list[Tally]:
        await checkpoint()
        return [Tally(*key, count) for key, count in self._jobs.tally(query).items()]

    async def cancel(self, query: JobQuery, now: float) -> list[Job]:
        await checkpoint()
        unfinished = (job for job in self._jobs.matching(query) if job.status in UNFINISHED)
        found = list(islice(unfinished, max(0, query.limit)))
        for job in found:
            self._jobs.put(job._replace(status=Status.CANCELLED, reason="cancelled", worker=None, finished_at=now), now)
            self._windows.end_probe(job.job_id, False, now)
            self._waits.ended(self._jobs.by_seq[job.seq], now)
        return found

    async def retry(self, query: JobQuery, now: float, *, restart: bool = False) -> list[Job]:
        await checkpoint()
        candidates = [job for job in self._jobs.matching(replace(query, newest_first=False)) if job.status in RETRYABLE]
        return list(islice((job for job in candidates if self._requeue(job, now, restart)), max(0, query.limit)))

    def _requeue(self, job: Job, now: float, restart: bool) -> bool:
        if self._jobs.holder(job.owner, job.unique_key) is not None:
            return False
        self._jobs.put(as_new(job, now, restart=restart), now)
        if restart:
            self._ledgers.forget(job.seq)
        else:
            self._ledgers.try_again(job.seq)
        return True

    async def hold(self, query: JobQuery, until: float, now: float) -> list[Job]:
        await checkpoint()
        free = (job for job in self._jobs.matching(query) if job.status in UNFINISHED and self._holds.until(job) < until)
        found = list(islice(free, max(0, query.limit)))
        for job in found:
            self._jobs.put(self._holds.hold(job, until), now)
        return found

    async def unhold(self, query: JobQuery, now: float) -> list[Job]:
        await checkpoint()
        found = list(islice((job for job in self._jobs.matching(query) if job.held and job.status in UNFINISHED), max(0, query.limit)))
        for job in found:
            self._jobs.put(self._holds.let_go(job), now)
        return found

    async def give_up(self, query: JobQuery, transition_of: Callable[[Job], Transition], now: float) -> list[tuple[Job, Transition]]:
        await checkpoint()
        put_off = (job for job in self._jobs.matching(query) if job.status is Status.RATE_LIMITED)
        found = [(job, transition_of(job)) for job in islice(put_off, max(0, query.limit))]
        for job, end in found:
            self._jobs.put(ended_as(job, end, now)._replace(token=job.token + 1), now)
            self._waits.ended(self._jobs.by_seq[job.seq], now)
        return found

    async def discard(self, query: JobQuery, now: float) -> list[Job]:
        await checkpoint()
        ended = (job for job in self._jobs.matching(query) if job.status in TERMINAL)
        return self._remove(list(islice(ended, max(0, query.limit))))

    async def prune(self, statuses: frozenset[Status], before: float, limit: int) -> int:
        await checkpoint()
        ended = self._jobs.matching(JobQuery(statuses=statuses & TERMINAL))
        old = [(job.finished_at, job.seq) for job in ended if job.finished_at is not None and job.finished_at < before]
        return len(self._remove([self._jobs.by_seq[seq] for _, seq in nsmallest(limit, old)]))

    def _remove(self, jobs: list[Job]) -> list[Job]:
        for job in jobs:
            self._jobs.remove(job)
            self._ledgers.forget(job.seq)
            self._holds.forget(job)
        return jobs

    async def forget(self, before: float, limit: int) -> int:
        await checkpoint()
        return self._standing.forget(before, limit)

    async def throughput(self, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
        await checkpoint()
        return self._jobs.throughput(owner, since, bucket_s)

    async def ahead(self, job: Job, now: float, limit: int) -> int:
        await checkpoint()
        return self._jobs.ahead(job, now, limit)

    # -- pauses

    async def pauses(self) -> list[PauseWindow]:
        await checkpoint()
        return sorted(self._windows.values(), key=lambda window: window.scope)

    async def pause(self, scope: str, until: float, now: float) -> PauseWindow:
        await checkpoint()
        window = paused_by_hand(self._windows.get(scope), scope, until, now)
        self._windows.put(window, now)
        return window

    async def resume(self, scope: str, now: float) -> PauseWindow | None:
        await checkpoint()
        return self._windows.drop(scope, now)

    async def reopen(self, scope: str, now: float) -> bool:
        await checkpoint()
        window = self._windows.get(scope)
        if window is None or not window.ran_out(now):
            return False
        self._windows.drop(scope, now)
        return True

    # -- the journal

    async def journal(
        self, after: int, *, owners: frozenset[str] | None = None, seq: int | None = None, upto: int | None = None, limit: int = 1_000
    ) -> list[Entry]:
        await checkpoint()
        return self._journal.read(after, owners, seq, upto, limit)

    async def journal_span(self) -> tuple[int, int]:
        await checkpoint()
        return self._journal.span()

    async def prune_journal(self, before: float, superseded_before: float, limit: int) -> int:
        await checkpoint()
        return self._journal.prune(before, superseded_before, limit)

    # -- pools

    async def share(self, pool: str, change: Callable[[str | None], tuple[str | None, T]], now: float) -> T:
        await checkpoint()
        document, answer = change(self._pools.get(pool))
        if document is not None:
            self._pools[pool] = document
        return answer

    async def shared(self) -> dict[str, str]:
        await checkpoint()
        return dict(self._pools)

    # -- workers

    async def workers(self) -> list[Worker]:
        await checkpoint()
        return self._workers.all()

    async def register(self, worker: Worker) -> Pulse:
        await checkpoint()
        self._workers.add(worker)
        return MemoryPulse(self._workers, worker.worker_id)

    async def dismiss(self, worker_id: str) -> None:
        await checkpoint()
        self._workers.remove(worker_id)

    async def take_turn(self, duty: str, worker_id: str, now: float, for_s: float) -> bool:
        await checkpoint()
        holder, until = self._turns.get(duty, (worker_id, now))
        if holder != worker_id and now < until <= now + for_s:
            return False
        self._turns[duty] = (worker_id, now + for_s)
        return True

    async def listen(self, on_hint: Callable[[], None]) -> str | None:
        await checkpoint()
        return None  # no other process can change this store
