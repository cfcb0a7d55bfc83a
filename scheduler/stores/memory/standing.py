"""What makes a draft superfluous, in the memory store: a request that was made before, a unique key, a result that is there or coming."""

from __future__ import annotations

from itertools import islice

from scheduler.errors import IdempotencyConflictError
from scheduler.job import Draft, Job, Receipt
from scheduler.stores.memory.records import Records, Target, target_of


class Standing:
    """Requests by owner and key, the oldest first: a hash of what was sent, the job that it got, and when. Results by target."""

    def __init__(self, jobs: Records) -> None:
        self._jobs = jobs
        self._requests: dict[tuple[str | None, str], tuple[str, str, float]] = {}
        self._fresh: dict[Target, tuple[str, str]] = {}

    def answered(self, draft: Draft) -> Receipt | None:
        """The receipt for a request that was made before. Raises ``IdempotencyConflictError`` if its body was another."""
        if draft.request is None:
            return None
        key, body_hash = draft.request
        known = self._requests.get((draft.owner, key))
        if known is None:
            return None
        if known[0] != body_hash:
            raise IdempotencyConflictError.of(key)
        return Receipt(known[1], created=False)

    def receipt(self, draft: Draft) -> Receipt | None:
        """The receipt of the job that stands for ``draft``, if there is one."""
        same_key = self._jobs.holder(draft.owner, draft.unique_key)
        if same_key is not None:
            return Receipt(same_key.job_id, created=False)
        if draft.fingerprint is None:
            return None
        target = target_of(draft)
        under_way = self._jobs.making((*target, draft.fingerprint))
        if under_way is not None:
            return Receipt(under_way.job_id, created=False)
        made, job_id = self._fresh.get(target, ("", ""))
        return Receipt(job_id, created=False, unchanged=True) if made == draft.fingerprint and not draft.force else None

    def remember(self, draft: Draft, receipt: Receipt, now: float) -> Receipt:
        """``receipt``, for whoever sends the request again."""
        if draft.request is not None:
            key, body_hash = draft.request
            self._requests[draft.owner, key] = (body_hash, receipt.job_id, now)
        return receipt

    def completed(self, job: Job) -> None:
        if job.fingerprint is not None:
            self._fresh[target_of(job)] = (job.fingerprint, job.job_id)

    @property
    def requests(self) -> int:
        return len(self._requests)

    def cut_back(self, requests: int) -> None:
        """Forget all but the first ``requests``: what came after them was refused."""
        while len(self._requests) > requests:
            self._requests.popitem()

    def forget(self, before: float, limit: int) -> int:
        """See ``Store.forget``."""
        old = list(islice((key for key, (_, _, at) in self._requests.items() if at < before), max(0, limit)))
        for key in old:
            del self._requests[key]
        return len(old)
