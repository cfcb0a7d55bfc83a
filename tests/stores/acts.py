"""The few things that the contract's tests do over and over, each one verb of the port."""

from __future__ import annotations

from typing import Any

from scheduler.job import Draft, Job, Lease, Receipt, Status, Transition
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Claim, JobQuery, Settled, Settlement, Store, Want
from tests.support.jobs import T0

EVERYTHING = JobQuery(newest_first=False, limit=10_000)
DONE = Transition(Status.COMPLETED, result_json='"done"')
REFUSED = Transition(Status.FAILED_AI, "auth", "AuthError: no")


async def put(store: Store, *drafts: Draft, now: float = T0) -> list[Receipt]:
    return await store.enqueue(drafts, now)


def want(
    task_type: str = "lane",
    limit: int = 100,
    *,
    pool: str | None = None,
    target_types: tuple[str, ...] | None = None,
    cap: int | None = None,
    avoid: tuple[str, ...] = (),
) -> Want:
    scopes = (task_type,) if pool is None else (task_type, f"pool:{pool}")
    return Want(task_type, limit, scopes, target_types, cap, avoid)


async def claim(store: Store, *wants: Want, now: float = T0, worker: str = "worker") -> list[Claim]:
    """Claims for ``wants``, by default for all that the lane named ``lane`` has."""
    return (await store.claim(wants or (want(),), worker, now)).claims


async def claim_one(store: Store, *wants: Want, now: float = T0, worker: str = "worker") -> Claim:
    (only,) = await claim(store, *wants, now=now, worker=worker)
    return only


async def started(store: Store, draft: Draft, now: float = T0) -> Claim:
    """``draft``, enqueued and claimed."""
    await put(store, draft, now=now)
    return await claim_one(store, want(draft.task_type, 1), now=now)


async def settle(store: Store, lease: Lease, end: Transition, now: float = T0) -> Settled:
    (settled,) = await store.settle([Settlement(lease, end)], now)
    return settled


async def finished(store: Store, draft: Draft, end: Transition = DONE, now: float = T0) -> Job:
    """``draft`` after one attempt that ended as ``end``."""
    claimed = await started(store, draft, now)
    assert (await settle(store, claimed.lease, end, now)).applied
    return await get(store, draft.job_id)


async def find(store: Store, **fields: Any) -> list[Job]:
    return await store.find(JobQuery(**fields))


async def get(store: Store, job_id: str) -> Job:
    (job,) = await find(store, job_ids=(job_id,))
    return job


async def everything(store: Store) -> list[Job]:
    """Every job, first come first."""
    return await store.find(EVERYTHING)


async def window_of(store: Store, scope: str = "lane") -> PauseWindow | None:
    return next((window for window in await store.pauses() if window.scope == scope), None)


def ids(jobs: list[Job] | list[Claim]) -> list[str]:
    return [one.job.job_id if isinstance(one, Claim) else one.job_id for one in jobs]


def only(*job_ids: str) -> JobQuery:
    return JobQuery(job_ids=job_ids)
