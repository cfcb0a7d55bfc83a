"""What operators are shown: pauses, pools, workers, handlers, and what is left."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel, ConfigDict, Field

from scheduler.named import TaskTypeSettings
from scheduler.pauses import POOL_PREFIX, PauseWindow, pool_scope
from scheduler.pools.records import Portrait
from scheduler.registry import Route, Routes
from scheduler.roster import Listed
from scheduler.settings import Settings
from scheduler.stats import Bucket, Stats, pause_dict
from scheduler.times import utc_time


class PauseView(BaseModel):
    """A pause. ``until`` is null for one without end; ``remaining_s`` is 0 for one whose time is up and whose probe has not succeeded."""

    scope: str = Field(description="A task type, pool:NAME or owner:NAME", examples=["pool:main"])
    gate: str = Field(description="open, closed, probe (one job may start) or probing (that one runs)")
    reason: str = Field(examples=["rate_limited"])
    until: str | None
    remaining_s: float | None
    set_at: str | None
    set_by: str | None = Field(description="The job whose provider asked for it; null by hand")
    strikes: int = Field(description="How often it repeated")
    probe: str | None
    task_types: list[str] = Field(description="The task types that it holds")

    @classmethod
    def of(cls, window: PauseWindow, now: float, task_types: list[str]) -> PauseView:
        held = task_types if window.scope.startswith(POOL_PREFIX) else [window.scope]
        times = {"until": utc_time(window.until), "set_at": utc_time(window.set_at)}
        return cls(**(pause_dict(window, now) | times | {"task_types": held}))


class OfferView(BaseModel):
    """A task type that a worker runs, with its limits; null: none of its own."""

    target_types: list[str] | None = Field(description="Null for any")
    pool: str | None
    concurrency: int | None = Field(description="At once in this worker")
    max_running: int | None = Field(description="At once in all workers together")


class OffersView(BaseModel):
    """What a worker runs."""

    concurrency: int = Field(description="Jobs at once")
    fails_unknown: bool = Field(description="Whether it takes jobs that it has no handler for, and fails them")
    task_types: dict[str, OfferView]
    pools: dict[str, int] = Field(description="Jobs at once that draw on a pool")


class WorkerView(BaseModel):
    """A process that runs jobs."""

    worker: str
    state: str = Field(description="living or lost")
    host: str
    pid: int
    started_at: str | None
    silent_s: float = Field(description="Seconds since its last beat")
    lease_s: float
    running: int = Field(description="Jobs that it holds")
    by_task_type: dict[str, int] = Field(description="The same by task type")
    offers: OffersView | None = Field(description="What it runs; null for a worker that does not say")

    @classmethod
    def of(cls, listed: Listed) -> WorkerView:
        return cls(**(listed.to_dict() | {"started_at": utc_time(listed.worker.started_at)}))


class HandlerView(BaseModel):
    """A route with the limits in force: those of the handler, its task type and the configuration, merged."""

    task_type: str
    target_type: str | None = Field(description="Null for any")
    handler: str
    pool: str | None
    concurrency: int = Field(description="How many run at once in one process")
    max_attempts: int
    timeout_s: float | None
    freshness: bool = Field(description="Whether targets that have not changed are skipped")

    @classmethod
    def of(cls, route: Route, settings: Settings) -> HandlerView:
        policy = settings.policy(route.task_type, timeout_s=route.timeout_s, max_attempts=route.max_attempts, pool=route.pool)
        own = settings.task_types.get(route.task_type, TaskTypeSettings())
        pool = settings.pools[policy.pool].concurrency if policy.pool in settings.pools else None
        limits = [limit for limit in (own.concurrency, own.max_running, pool, settings.scheduler.concurrency) if limit is not None]
        return cls(
            task_type=route.task_type,
            target_type=route.target_type,
            handler=route.name,
            pool=policy.pool,
            concurrency=min(limits),
            max_attempts=policy.max_attempts,
            timeout_s=policy.timeout_s,
            freshness=route.freshness is not None,
        )


class PoolView(BaseModel):
    """A provider quota: its limits and who told them, the pace that follows, what is in flight or held (docs/pools.md)."""

    model_config = ConfigDict(extra="allow")

    name: str
    scope: str
    task_types: list[str] = Field(description="The task types that draw on it")
    limited_by: str | None = Field(description="What told the limit that binds")

    @classmethod
    def of(cls, one: Portrait, now: float, task_types: list[str]) -> PoolView:
        told = asdict(one)
        for record, key in ((told, "began_at"), (told["held"], "until"), (told["held"], "since"), (told["last_rejection"], "at")):
            if record is not None:
                record[key] = utc_time(record[key])
        for worker in told["workers"]:
            worker["seen_at"] = utc_time(worker["seen_at"])
        told["pause"] = None if one.pause is None else PauseView.of(one.pause, now, task_types).model_dump()
        binding = one.binding
        return cls(**(told | {"scope": pool_scope(one.name), "task_types": task_types, "limited_by": binding and binding.signal}))


class BucketView(BaseModel):
    """How many jobs ended in a stretch of time."""

    at: str = Field(description="Its beginning")
    completed: int
    failed: int
    cancelled: int

    @classmethod
    def of(cls, bucket: Bucket) -> BucketView:
        return cls(**(bucket.to_dict() | {"at": utc_time(bucket.at)}))


class WorkerName(BaseModel):
    worker: str
    host: str
    pid: int


class StatsView(BaseModel):
    """How many jobs stand where."""

    total: int
    unfinished: int
    by_status: dict[str, int]
    by_task_type: dict[str, dict[str, int]] = Field(description="Counts by status for each task type")
    reasons: dict[str, int] = Field(description="Failures, waiting or terminal, by reason")
    pauses: list[PauseView]
    workers: list[WorkerName]

    @classmethod
    def of(cls, counted: Stats, now: float, users: dict[str, list[str]]) -> StatsView:
        standing = [PauseView.of(window, now, users.get(window.scope, [])) for window in counted.pauses if not window.is_open(now)]
        return cls(**(counted.to_dict(now) | {"pauses": standing}))


def task_types_of(settings: Settings, routes: Routes | None) -> dict[str, list[str]]:
    """The task types that draw on each pool, by the pool's scope."""
    names = set(settings.task_types) | (set(routes.task_types()) if routes else set())
    users: dict[str, list[str]] = {}
    for name in sorted(names):
        own = settings.task_types.get(name, TaskTypeSettings()).pool
        pool = own if own is not None else routes.pool(name) if routes else None
        if pool:
            users.setdefault(pool_scope(pool), []).append(name)
    return users
