"""Why a job does not run: the facts behind the sentence (``why.py``), from the store."""

from __future__ import annotations

from scheduler.job import Job, Status
from scheduler.pools.portrait import portraits
from scheduler.registry import Routes
from scheduler.roster import roster
from scheduler.settings import Settings
from scheduler.stores.base import JobQuery, Store
from scheduler.why import Facts, Hand, Why, why

#: Nobody counts further who goes before a job.
MOST_AHEAD = 10_000


async def explain(job: Job, store: Store, settings: Settings, routes: Routes, now: float) -> Why:
    """Why ``job`` stands where it does."""
    route = routes.find(job.task_type, job.target_type)
    timeout_s, max_attempts = (None, None) if route is None else (route.timeout_s, route.max_attempts)
    policy = settings.policy(job.task_type, timeout_s=timeout_s, max_attempts=max_attempts, pool=routes.pool(job.task_type))
    if job.status.is_terminal:
        return why(job, Facts(now, policy))
    workers, windows = await roster(store, now), await store.pauses()
    running = await store.count(JobQuery(statuses=frozenset({Status.PROCESSING}), task_types=frozenset({job.task_type})))
    facts = Facts(
        now,
        policy,
        windows,
        portraits(await store.shared(), windows, (), settings.limits, now),
        [Hand(one.worker.worker_id, one.lives, one.by_task_type, one.offers) for one in workers],
        sum(tally.count for tally in running),
        await store.ahead(job, now, MOST_AHEAD) if job.status.is_waiting else 0,
        MOST_AHEAD,
    )
    return why(job, facts)
