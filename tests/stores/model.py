"""What a store does, said as plainly as possible: a list of records, read from end to end for every question.

The contract's random walk compares stores with it. No index, no file, no task: only the rules of the port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from scheduler.job import FAILED, TERMINAL, UNFINISHED, WAITING, Draft, Job, Lease, Receipt, Status, Transition
from scheduler.pauses import MANUAL, OUTAGE, Gate, PauseWindow, extended, paused_by_hand
from scheduler.stores.base import Claim, Lanes, Settled, Want
from tests.support.jobs import a_job

T = TypeVar("T")

#: Fields of a draft that its job does not keep.
NOT_KEPT = frozenset({"force", "after", "if_failed", "owner_limit", "strict", "request"})


class Model:
    """Jobs in the order they came, windows by scope, documents by pool, and what each target's last result depended on."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.windows: dict[str, PauseWindow] = {}
        self.fresh: dict[tuple[str | None, str, str, str], tuple[str, str]] = {}
        self.pools: dict[str, str] = {}
        self.turns: dict[str, str] = {}
        self.seq = 0

    def job(self, job_id: str) -> Job | None:
        return next((job for job in self.jobs if job.job_id == job_id), None)

    def put(self, job: Job) -> None:
        self.jobs = [job if one.job_id == job.job_id else one for one in self.jobs]

    # -- the verbs

    def enqueue(self, drafts: list[Draft], now: float) -> list[Receipt]:
        return [self.standing(draft) or self.create(draft, now) for draft in drafts]

    def standing(self, draft: Draft) -> Receipt | None:
        target = (draft.owner, draft.task_type, draft.target_type, draft.target_id)
        unfinished = [job for job in self.jobs if job.status in UNFINISHED]
        for job in unfinished:
            if draft.unique_key is not None and (job.owner, job.unique_key) == (draft.owner, draft.unique_key):
                return Receipt(job.job_id, created=False)
        for job in unfinished:
            same_target = (job.owner, job.task_type, job.target_type, job.target_id) == target
            if draft.fingerprint is not None and same_target and job.fingerprint == draft.fingerprint:
                return Receipt(job.job_id, created=False)
        made = self.fresh.get(target)
        if draft.fingerprint is not None and not draft.force and made is not None and made[0] == draft.fingerprint:
            return Receipt(made[1], created=False, unchanged=True)
        return None

    def create(self, draft: Draft, now: float) -> Receipt:
        self.seq += 1
        asked = {name: getattr(draft, name) for name in Draft._fields if name not in NOT_KEPT}
        plain = {"status": Status.PENDING, "attempts": 0, "token": 0, "worker": None, "started_at": None, "created_at": now}
        self.jobs.append(a_job(**asked, **plain, seq=self.seq))
        return Receipt(draft.job_id)

    def lanes(self, now: float) -> Lanes:
        waiting = [job for job in self.jobs if job.status in WAITING]
        later = [job.run_after for job in waiting if job.run_after > now]
        return Lanes(frozenset(job.task_type for job in waiting if job.run_after <= now), min(later, default=None))

    def claim(self, wants: list[Want], worker: str, now: float) -> tuple[list[Claim], frozenset[str]]:
        claims: list[Claim] = []
        short: set[str] = set()
        for want in wants:
            got = self.claim_lane(want, worker, now)
            claims += got
            short |= {want.task_type} if len(got) < want.limit else set()
        return claims, frozenset(short)

    def claim_lane(self, want: Want, worker: str, now: float) -> list[Claim]:
        gates = {scope: self.windows[scope].gate(now) for scope in want.scopes if scope in self.windows}
        if {Gate.CLOSED, Gate.PROBING} & set(gates.values()):
            return []
        probing = tuple(scope for scope in want.scopes if gates.get(scope) is Gate.PROBE)
        due = [job for job in self.jobs if job.status in WAITING and job.task_type == want.task_type and job.run_after <= now]
        due = [job for job in due if want.target_types is None or job.target_type in want.target_types]
        if any(self.windows[scope].reason == OUTAGE for scope in probing):
            due.sort(key=lambda job: (job.job_id not in want.avoid, -job.priority, job.owner or "", job.seq))
            due = due[-1:]
        limit = min(want.limit, 1) if probing else want.limit
        if want.cap is not None:
            running = sum(job.status is Status.PROCESSING and job.task_type == want.task_type for job in self.jobs)
            limit = min(limit, max(want.cap - running, 0))
        claims = []
        for job in self.in_turn(want.task_type, due, limit):
            started = job._replace(status=Status.PROCESSING, attempts=job.attempts + 1, token=job.token + 1, worker=worker, started_at=now)
            self.put(started)
            claims.append(Claim(started, Lease(job.seq, job.job_id, started.token, probing)))
            for scope in probing:
                self.windows[scope] = replace(self.windows[scope], probe=job.job_id)
        return claims

    def in_turn(self, lane: str, due: list[Job], limit: int) -> list[Job]:
        """The highest priority first, owners in turn, each owner's jobs first come, first served; told by priority, then by age."""
        chosen: list[Job] = []
        while due and len(chosen) < limit:
            level = [job for job in due if job.priority == max(job.priority for job in due)]
            names = sorted({job.owner or "" for job in level})
            turn = next((name for name in names if self.turns.get(lane) is not None and name > self.turns[lane]), names[0])
            first = min((job for job in level if (job.owner or "") == turn), key=lambda job: job.seq)
            self.turns[lane] = turn
            chosen.append(first)
            due = [job for job in due if job is not first]
        return sorted(chosen, key=lambda job: (-job.priority, job.seq))

    def settle(self, lease: Lease, end: Transition, now: float) -> Settled:
        job = self.job(lease.job_id)
        if job is None or job.status is not Status.PROCESSING or job.token != lease.token:
            return Settled(False)
        self.end(job, end, now, attempts=max(0, job.attempts - end.refund))
        completed = end.status is Status.COMPLETED
        if completed and job.fingerprint is not None:
            self.fresh[job.owner, job.task_type, job.target_type, job.target_id] = (job.fingerprint, job.job_id)
        resumed = self.end_probe(job.job_id, completed, now)
        window = None
        if end.pause is not None:
            window = self.windows[end.pause.scope] = extended(self.windows.get(end.pause.scope), end.pause, now)
        return Settled(True, window, resumed)

    def end(self, job: Job, end: Transition, now: float, *, attempts: int) -> None:
        completed = end.status is Status.COMPLETED
        self.put(
            job._replace(
                status=end.status,
                reason=end.reason,
                error=None if completed else end.error,
                result_json=end.result_json,
                run_after=job.run_after if end.run_after is None else end.run_after,
                attempts=attempts,
                crashes=job.crashes + end.crashed,
                waiting_since=end.waiting_since,
                worker=None,
                finished_at=now if end.status in TERMINAL else None,
                state_json=None if completed else job.state_json,
            )
        )

    def end_probe(self, job_id: str, succeeded: bool, now: float) -> tuple[str, ...]:
        resumed = [scope for scope, window in self.windows.items() if window.probe == job_id and window.gate(now) is Gate.PROBING]
        resumed = resumed if succeeded else []
        kept = {scope: window for scope, window in self.windows.items() if scope not in resumed}
        self.windows = {scope: replace(window, probe=None) if window.probe == job_id else window for scope, window in kept.items()}
        return tuple(resumed)

    def note(self, lease: Lease, state_json: str) -> bool:
        job = self.job(lease.job_id)
        holds = job is not None and job.status is Status.PROCESSING and job.token == lease.token
        if holds and job is not None:
            crashes = job.crashes if state_json == job.state_json else 0  # a job that gets on is none that only crashes
            self.put(job._replace(state_json=state_json, crashes=crashes))
        return holds

    def cancel(self, job_ids: set[str], now: float) -> list[Job]:
        found = [job for job in self.jobs if job.job_id in job_ids and job.status in UNFINISHED]
        for job in found:
            self.put(job._replace(status=Status.CANCELLED, reason="cancelled", worker=None, finished_at=now))
            self.end_probe(job.job_id, False, now)
        return found

    def retry(self, job_ids: set[str], now: float) -> list[Job]:
        sent = []
        for job in [job for job in self.jobs if job.job_id in job_ids and job.status in FAILED | {Status.CANCELLED}]:
            held = {(one.owner, one.unique_key) for one in self.jobs if one.status in UNFINISHED}
            if job.unique_key is not None and (job.owner, job.unique_key) in held:
                continue
            anew = job._replace(status=Status.PENDING, attempts=0, crashes=0, reason=None, error=None, run_after=now)
            self.put(anew._replace(result_json=None, progress_json=None, waiting_since=None, started_at=None, finished_at=None))
            sent.append(job)
        return sent

    def give_up(self, waiting_before: float, end: Transition, now: float) -> list[Job]:
        put_off = [job for job in self.jobs if job.status is Status.RATE_LIMITED]
        found = [job for job in put_off if job.waiting_since is not None and job.waiting_since <= waiting_before]
        for job in found:
            self.end(job._replace(token=job.token + 1), end, now, attempts=job.attempts)
        return found

    def prune(self, before: float) -> int:
        kept = [job for job in self.jobs if job.status not in TERMINAL or job.finished_at is None or job.finished_at >= before]
        deleted = len(self.jobs) - len(kept)
        self.jobs = kept
        return deleted

    def pause(self, scope: str, until: float, now: float) -> PauseWindow:
        window = self.windows[scope] = paused_by_hand(self.windows.get(scope), scope, until, now)
        return window

    def resume(self, scope: str) -> PauseWindow | None:
        return self.windows.pop(scope, None)

    def reopen(self, scope: str, now: float) -> bool:
        window = self.windows.get(scope)
        over = window is not None and window.reason != MANUAL and window.until <= now
        if over:
            del self.windows[scope]
        return over

    def share(self, pool: str, change: Callable[[str | None], tuple[str | None, T]]) -> T:
        document, answer = change(self.pools.get(pool))
        self.pools |= {} if document is None else {pool: document}
        return answer

    def refund(self, leases: list[Lease]) -> int:
        refunds = 0
        for job_id, token in {(lease.job_id, lease.token) for lease in leases}:
            job = self.job(job_id)
            if job is not None and job.status in UNFINISHED and token <= job.token and job.attempts > 0:
                self.put(job._replace(attempts=job.attempts - 1))
                refunds += 1
        return refunds
