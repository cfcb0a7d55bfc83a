"""The jobs of the memory store, with the indexes that keep each question cheap.

Claims look only at due jobs of the lanes they ask for, and counts are kept rather than counted,
however much else is stored. Does not belong here: what a verb changes (``store.py``).
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from scheduler.job import LEGAL, TERMINAL, UNFINISHED, Draft, Job, Status
from scheduler.stores.base import JobQuery, Lanes, Want
from scheduler.stores.memory.journal import Journal
from scheduler.stores.memory.lane import Lane
from scheduler.stores.query import TEXT_COLUMNS, small
from scheduler.stores.turns import in_turn

#: An owner's target, and with the fingerprint of what its result depends on: nobody is told of a foreign job.
Target = tuple[str | None, str, str, str]
Print = tuple[str | None, str, str, str, str]
_Kind = tuple[str, Status, str | None]
#: Target type and owner: jobs of a task type that stand in one line.
_Line = tuple[str, str]


def target_of(job: Job | Draft) -> Target:
    return (job.owner, job.task_type, job.target_type, job.target_id)


class Records:
    """The jobs, and the indexes that make each question cheap; ``put`` alone changes them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.by_seq: dict[int, Job] = {}
        self.seq_of: dict[str, int] = {}
        self.last_seq = 0
        self._lanes: dict[str, dict[_Line, Lane]] = {}
        self._by_status: dict[Status, set[int]] = {status: set() for status in Status}
        self._by_key: dict[tuple[str | None, str], int] = {}
        self._making: dict[Print, set[int]] = {}
        self._tallies: Counter[_Kind] = Counter()
        self._unfinished: Counter[str | None] = Counter()
        self._batches: dict[tuple[str | None, str], set[int]] = {}

    def next_seq(self) -> int:
        self.last_seq += 1
        return self.last_seq

    def put(self, job: Job, now: float) -> None:
        """Add or replace a record, and tell the journal. Moves that ``LEGAL`` does not have are a fault of this store."""
        before = self.by_seq.get(job.seq)
        if before is not None:
            claimed = LEGAL[Status.PROCESSING] if job.token > before.token else frozenset()  # claimed and ended in one write
            assert job.status is before.status or job.status in LEGAL[before.status] | claimed, f"{before.status} -> {job.status}"
            self._unlink(before)
        self.by_seq[job.seq] = job
        self._journal.note(before, job, now)
        self.seq_of[job.job_id] = job.seq
        if job.batch is not None:
            self._batches.setdefault((job.owner, job.batch), set()).add(job.seq)
        self._link(job)

    def remove(self, job: Job) -> None:
        self._unlink(job)
        if job.batch is not None:
            self._batches[job.owner, job.batch].discard(job.seq)
        del self.by_seq[job.seq], self.seq_of[job.job_id]
        self._journal.forget(job.seq)

    def _link(self, job: Job) -> None:
        self._by_status[job.status].add(job.seq)
        self._tallies[job.task_type, job.status, job.reason] += 1
        if job.status.is_waiting and not job.blockers:
            self._lanes.setdefault(job.task_type, {}).setdefault(_line(job), Lane()).add(job)
        if job.status in UNFINISHED:
            self._unfinished[job.owner] += 1
            if job.unique_key is not None:
                self._by_key[job.owner, job.unique_key] = job.seq
            if job.fingerprint is not None:
                self._making.setdefault((*target_of(job), job.fingerprint), set()).add(job.seq)

    def _unlink(self, job: Job) -> None:
        self._by_status[job.status].remove(job.seq)
        self._tallies[job.task_type, job.status, job.reason] -= 1
        if job.status.is_waiting and not job.blockers:
            self._leave_lane(job)
        if job.status in UNFINISHED:
            self._unfinished[job.owner] -= 1
            if job.unique_key is not None:
                del self._by_key[job.owner, job.unique_key]
            if job.fingerprint is not None:
                _drop(self._making, (*target_of(job), job.fingerprint), job.seq)

    def _leave_lane(self, job: Job) -> None:
        lines = self._lanes[job.task_type]
        line = _line(job)
        lines[line].discard(job)
        if not lines[line].waiting:
            del lines[line]
        if not lines:
            del self._lanes[job.task_type]

    def holder(self, owner: str | None, unique_key: str | None) -> Job | None:
        """The owner's unfinished job that has the key."""
        seq = None if unique_key is None else self._by_key.get((owner, unique_key))
        return None if seq is None else self.by_seq[seq]

    def making(self, result: Print) -> Job | None:
        """The first unfinished job that will make this very result."""
        seqs = self._making.get(result)
        return None if seqs is None else self.by_seq[min(seqs)]

    def unfinished_of(self, owner: str | None) -> int:
        return self._unfinished[owner]

    def in_batch(self, owner: str | None, batch: str) -> frozenset[int]:
        """The seqs of a batch's jobs."""
        return frozenset(self._batches.get((owner, batch), ()))

    def due(self, now: float) -> Lanes:
        ready, later = set(), []
        for task_type, targets in self._lanes.items():
            for lane in targets.values():
                if lane.first(now) is not None:
                    ready.add(task_type)
                later.append(lane.next_due())
        return Lanes(frozenset(ready), min((due for due in later if due is not None), default=None))

    def first_due(self, want: Want, now: float, paused: frozenset[str], last: str | None) -> Job | None:
        """The due job that goes first among those wanted: of the highest priority, of the owner whose turn it is after ``last``."""
        ranks = [(rank, owner) for lane, owner in self._wanted(want, paused) if (rank := lane.first(now)) is not None]
        if not ranks:
            return None
        highest = min(rank[0] for rank, _ in ranks)
        level = [(rank, owner) for rank, owner in ranks if rank[0] == highest]
        turn = in_turn({owner for _, owner in level}, last)[0]
        return self.by_seq[min(rank for rank, owner in level if owner == turn)[1]]

    def probe(self, want: Want, now: float, paused: frozenset[str]) -> Job | None:
        """The due job that goes last, one to avoid only if there is no other. Walks the lane: outages are rare."""
        due = (job for lane, _ in self._wanted(want, paused) for job in lane.waiting.values() if job.run_after <= now)
        avoid = set(want.avoid)
        return max(due, key=lambda job: (job.job_id not in avoid, -job.priority, job.owner or "", job.seq), default=None)

    def _wanted(self, want: Want, paused: frozenset[str]) -> Iterator[tuple[Lane, str]]:
        for (target_type, owner), lane in self._lanes.get(want.task_type, {}).items():
            if owner not in paused and (want.target_types is None or target_type in want.target_types):
                yield lane, owner

    def running(self, task_type: str) -> int:
        """How many jobs of the type are ``processing``."""
        return sum(self.by_seq[seq].task_type == task_type for seq in self._by_status[Status.PROCESSING])

    def throughput(self, owner: str | None, since: float, bucket_s: float) -> list[tuple[float, Status, int]]:
        """Reads what ended, and no more."""
        counts: Counter[tuple[float, Status]] = Counter()
        for status in TERMINAL:
            for job in map(self.by_seq.__getitem__, self._by_status[status]):
                if job.finished_at is not None and job.finished_at >= since and (owner is None or job.owner == owner):
                    counts[job.finished_at // bucket_s * bucket_s, status] += 1
        return [(at, status, count) for (at, status), count in counts.items()]

    def ahead(self, job: Job, now: float, limit: int) -> int:
        """Walks the lanes of the task type."""
        waiting = (one for lane in self._lanes.get(job.task_type, {}).values() for one in lane.waiting.values())
        first = (one for one in waiting if one.run_after <= now and (-one.priority, one.seq) < (-job.priority, job.seq))
        return sum(1 for _ in islice(first, limit))

    def matching(self, query: JobQuery) -> Iterator[Job]:
        """Lazily, in the query's order, paging included; ``limit`` is the caller's."""
        text = None if query.text is None else small(query.text)
        given = [(getattr(query, name), field, holds) for name, field, holds in _CONDITIONS if getattr(query, name) is not None]
        for seq in self._candidates(query):
            job = self.by_seq.get(seq)
            if job is None or (query.can_run and not _can_run(job)):
                continue
            if text is not None and not any(text in small(getattr(job, name) or "") for name in TEXT_COLUMNS):
                continue
            if all(holds(getattr(job, field), wanted) for wanted, field, holds in given):
                yield job

    def _candidates(self, query: JobQuery) -> Iterable[int]:
        """Few rows are looked up and sorted; many are walked in order, so that a page ends early."""
        first = 1 if query.after_seq is None else query.after_seq + 1
        last = self.last_seq if query.before_seq is None else min(self.last_seq, query.before_seq - 1)
        seqs: Sequence[int] = range(max(1, first), last + 1)
        if query.job_ids is not None:
            named = {self.seq_of[job_id] for job_id in query.job_ids if job_id in self.seq_of}
            seqs = sorted(seq for seq in named if seq in seqs)
        elif query.statuses is not None and 4 * sum(len(self._by_status[status]) for status in query.statuses) < len(seqs):
            seqs = sorted(seq for status in query.statuses for seq in self._by_status[status] if seq in seqs)
        return reversed(seqs) if query.newest_first else seqs

    def tally(self, query: JobQuery) -> Mapping[_Kind, int]:
        """Counts by task type, status and reason; read from those kept where the query asks for nothing else."""
        query = replace(query, before_seq=None, after_seq=None)
        by_kind = JobQuery(statuses=query.statuses, reasons=query.reasons, task_types=query.task_types)
        if query != replace(by_kind, limit=query.limit, newest_first=query.newest_first):
            return Counter((job.task_type, job.status, job.reason) for job in self.matching(query))
        asked = (query.task_types, query.statuses, query.reasons)
        return {kind: count for kind, count in self._tallies.items() if count and all(map(_is_among, kind, asked))}


def _line(job: Job) -> _Line:
    return (job.target_type, job.owner or "")


def _can_run(job: Job) -> bool:
    """Whether it may run without another job or a person moving it."""
    return job.blockers == 0 and (not job.held or job.status is Status.PROCESSING or math.isfinite(job.run_after))


def _is_among(value: object, wanted: Collection[object] | None) -> bool:
    return wanted is None or value in wanted


def _at_most(value: float | None, wanted: float) -> bool:
    return value is not None and value <= wanted


def _at_least(value: float | None, wanted: float) -> bool:
    return value is not None and value >= wanted


#: Field of the query, field of the job, and what must hold between the job's and the query's value.
_CONDITIONS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("statuses", "status", lambda value, wanted: value in wanted),
    ("reasons", "reason", lambda value, wanted: value in wanted),
    ("task_types", "task_type", lambda value, wanted: value in wanted),
    ("target_type", "target_type", operator.eq),
    ("target_id", "target_id", operator.eq),
    ("owner", "owner", operator.eq),
    ("worker", "worker", operator.eq),
    ("batch", "batch", operator.eq),
    ("created_after", "created_at", operator.ge),
    ("created_before", "created_at", operator.lt),
    ("finished_after", "finished_at", _at_least),
    ("waiting_before", "waiting_since", _at_most),
)


def _drop(index: dict[Print, set[int]], key: Print, seq: int) -> None:
    index[key].remove(seq)
    if not index[key]:
        del index[key]
