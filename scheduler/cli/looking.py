"""Looks for ``watch``: taken at a store, or at a service by its URL. Both give the same ``Look``.

A look is a handful of questions that cost little; the newest failures are asked for again only when their number has changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import anyio

from scheduler.cli.picture import Look
from scheduler.clock import SystemClock
from scheduler.errors import SchedulerError
from scheduler.job import FAILED, Status
from scheduler.runtime import Scheduler
from scheduler.views.jobs import JobSummary, summary
from scheduler.views.operating import BucketView, PoolView, StatsView, WorkerView, task_types_of

if TYPE_CHECKING:
    from scheduler.client import JobClient  # its library is an extra

#: The throughput that is shown: so many seconds, in stretches of so many.
SHOWN_S, BUCKET_S = 600.0, 15.0
#: Jobs that are asked for by name.
_NAMED = 40


class Looks(Protocol):
    """Where looks are taken; entered before, left afterwards."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    async def look(self) -> Look:
        """How things stand. Raises ``SchedulerError``s."""
        ...


class StoreLooks:
    """Looks at the store of ``scheduler``, which runs no jobs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._failed = _Failed()

    async def __aenter__(self) -> Self:
        await self._scheduler.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._scheduler.__aexit__(kind, error, trace)

    async def look(self) -> Look:
        scheduler = self._scheduler
        users = task_types_of(scheduler.settings, scheduler.routes)
        now = SystemClock.now()
        stats = StatsView.of(await scheduler.stats(), now, users)
        ended = await scheduler.throughput(hours=SHOWN_S / 3_600, bucket_s=BUCKET_S)
        return Look(
            at=now,
            source=scheduler.store.url,
            stats=stats,
            running=[summary(job) for job in await scheduler.jobs(status=Status.PROCESSING, limit=_NAMED)],
            failed=await self._failed.of(stats, self._newest_failed),
            bucket_s=BUCKET_S,
            buckets=[BucketView.of(one) for one in ended],
            pools=[PoolView.of(one, now, users.get(f"pool:{one.name}", [])) for one in await scheduler.pools()],
            workers=[WorkerView.of(one) for one in await scheduler.workers()],
        )

    async def _newest_failed(self) -> list[JobSummary]:
        return [summary(job) for job in await self._scheduler.jobs(status=FAILED, limit=_NAMED)]


class UrlLooks:
    """Looks at a service by asking its API."""

    def __init__(self, url: str, client: JobClient) -> None:
        self._url = url
        self._client = client
        self._failed = _Failed()
        self._sees_all: bool | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def look(self) -> Look:
        client = self._client
        if self._sees_all is None:
            self._sees_all = (await client.me()).owner is None
        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "stats": client.stats,
            "running": lambda: self._newest([Status.PROCESSING]),
            "ended": lambda: client.throughput(hours=SHOWN_S / 3_600, bucket_s=BUCKET_S),
        }
        if self._sees_all:
            asked |= {"pools": client.pools, "workers": client.workers}
        told = await _at_once(asked)
        stats: StatsView = told["stats"]
        return Look(
            at=SystemClock.now(),
            source=self._url,
            stats=stats,
            running=told["running"],
            failed=await self._failed.of(stats, lambda: self._newest(sorted(FAILED))),
            bucket_s=BUCKET_S,
            buckets=told["ended"].buckets,
            pools=told.get("pools"),
            workers=told.get("workers"),
        )

    async def _newest(self, statuses: list[Status]) -> list[JobSummary]:
        return [job async for job in self._client.jobs(status=[str(status) for status in statuses], limit=_NAMED)]


class _Failed:
    """The newest failures, as long as no more have failed."""

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None
        self._jobs: list[JobSummary] = []

    async def of(self, stats: StatsView, newest: Callable[[], Awaitable[list[JobSummary]]]) -> list[JobSummary]:
        counts = {name: count for name, count in stats.by_status.items() if name in FAILED}
        if counts != self._counts:
            self._jobs = await newest() if counts else []
            self._counts = counts
        return self._jobs


async def _at_once(asked: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, Any]:
    """All answers, by name. Raises the first error."""
    told: dict[str, Any] = {}
    failed: list[SchedulerError] = []

    async with anyio.create_task_group() as group:

        async def ask(name: str, question: Callable[[], Awaitable[Any]]) -> None:
            try:
                told[name] = await question()
            except SchedulerError as error:
                failed.append(error)
                group.cancel_scope.cancel()

        for name, question in asked.items():
            group.start_soon(ask, name, question)
    if failed:
        raise failed[0]
    return told
