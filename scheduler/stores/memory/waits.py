"""Who waits for whom, in the memory store."""

from __future__ import annotations

from scheduler.errors import OwnerLimitError, UnknownJobError
from scheduler.job import BATCH_PREFIX, UNFINISHED, Draft, Job, Status, batch_key
from scheduler.stores.memory.records import Records


class Waits:
    """Waiting jobs by what they wait for; rings when that has ended."""

    def __init__(self, jobs: Records) -> None:
        self._jobs = jobs
        self._waiting: dict[str, dict[int, str]] = {}

    def check(self, draft: Draft) -> None:
        """Refuse what waits for nothing that exists, and one job too many."""
        for name in draft.after:
            self._stand(draft, name)
        if draft.owner_limit is not None and self._jobs.unfinished_of(draft.owner) >= draft.owner_limit:
            raise OwnerLimitError(
                f"owner {draft.owner} has {draft.owner_limit} unfinished jobs, as many as it may: let some end, or cancel some"
            )

    def enter(self, draft: Draft, job: Job) -> Job:
        """``job`` with what it waits for."""
        for name in draft.after:
            open_, failed = self._stand(draft, name)
            if open_:
                self._waiting.setdefault(_key(draft, name), {})[job.seq] = draft.if_failed
                job = job._replace(blockers=job.blockers + 1)
            elif failed and draft.if_failed != "run":
                job = job._replace(doomed=f"{draft.if_failed} {name}")
        return job

    def _stand(self, draft: Draft, name: str) -> tuple[bool, bool]:
        """Whether what is named is still open, and whether it failed."""
        if name.startswith(BATCH_PREFIX):
            return self._batch(draft.owner, name.removeprefix(BATCH_PREFIX))
        job = self._jobs.by_seq.get(self._jobs.seq_of.get(name, 0))
        if job is None or (draft.owner is not None and job.owner != draft.owner):
            if not draft.strict:
                return False, True
            raise UnknownJobError(f"after names {name}, but there is no such job: enqueue it first")
        return job.status in UNFINISHED, job.status is not Status.COMPLETED

    def _batch(self, owner: str | None, batch: str) -> tuple[bool, bool]:
        statuses = {self._jobs.by_seq[seq].status for seq in self._jobs.in_batch(owner, batch)}
        return bool(statuses & UNFINISHED), bool(statuses - UNFINISHED - {Status.COMPLETED})

    def ended(self, job: Job, now: float) -> tuple[str, ...]:
        """``job`` has ended: let go who waited for it; the task types of those that may run now."""
        freed = self._let_go(job.job_id, job.job_id, job.status is not Status.COMPLETED, now)
        if job.batch is not None:
            is_open, failed = self._batch(job.owner, job.batch)
            if not is_open:
                freed += self._let_go(batch_key(job.owner, job.batch), BATCH_PREFIX + job.batch, failed, now)
        return tuple(freed)

    def _let_go(self, key: str, name: str, failed: bool, now: float) -> list[str]:
        freed: list[str] = []
        for seq, if_failed in self._waiting.pop(key, {}).items():
            job = self._jobs.by_seq.get(seq)
            if job is None or not job.status.is_waiting or job.blockers < 1:
                continue
            doomed = f"{if_failed} {name}" if failed and if_failed != "run" else job.doomed
            blockers = 0 if doomed is not None else job.blockers - 1
            self._jobs.put(job._replace(blockers=blockers, doomed=doomed), now)
            if blockers == 0:
                freed.append(job.task_type)
        return freed


def _key(draft: Draft, name: str) -> str:
    return batch_key(draft.owner, name.removeprefix(BATCH_PREFIX)) if name.startswith(BATCH_PREFIX) else name
