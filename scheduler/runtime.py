"""``Scheduler``: the whole, put together. Opens, checks at the door, runs, closes.

Every verb is parse, one store verb, tell: anything longer belongs in another room.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from random import Random
from types import TracebackType
from typing import Any

import anyio
import structlog

from scheduler.batches import Batch, BatchReceipt, batch_of, members
from scheduler.bounds import Limits
from scheduler.bulk import Bulk
from scheduler.clock import Clock, SystemClock
from scheduler.controls import Controls, Verb, job_of, known
from scheduler.door import Door
from scheduler.errors import ConfigError, InvalidJobError, SchedulerError
from scheduler.eta import ends_at
from scheduler.events import Events, JobEnqueued
from scheduler.explain import explain
from scheduler.ids import job_id as new_id
from scheduler.job import Draft, Item, Job, Ledger, NewJob, Receipt
from scheduler.logs import LogWriter
from scheduler.modules import load_routes
from scheduler.pauses import OWNER_PREFIX, PauseWindow, pool_scope
from scheduler.pausing import Pausing
from scheduler.pools.portrait import portraits
from scheduler.pools.records import Portrait
from scheduler.registry import Registry, Resources
from scheduler.remaining import Left, left
from scheduler.retention import prune
from scheduler.roster import Listed, roster
from scheduler.selection import limited, query_for
from scheduler.service import Service
from scheduler.settings import Settings, load
from scheduler.stats import Bucket, Stats, buckets, first_bucket, stats_of
from scheduler.stores import open_store
from scheduler.stores.base import JobQuery, Store
from scheduler.stores.extras import Joins
from scheduler.values import check_text
from scheduler.webhooks.desk import ALONE, WebhookDesk
from scheduler.why import Why


class Scheduler:
    """Use it as ``async with Scheduler.open(...) as scheduler``."""

    def __init__(
        self, settings: Settings, routes: Registry, store: Store, *, clock: Clock, rng: Random, logs: LogWriter | None, events: Events
    ) -> None:
        self.settings = settings
        self._webhooks = WebhookDesk(settings, store, clock)
        self.routes = self._webhooks.routes(routes)
        self.events = events
        self.store = store
        self.clock = clock
        self.resources = Resources(routes.factories, settings)
        self._logs = logs
        self._rng = rng
        self._door = Door(self.routes, self.resources, settings.owners)
        self._pausing = Pausing(store, events, clock)
        self._controls = Controls(store, events, clock, lambda: self._service.dispatcher if self._service is not None else None)
        self._service: Service | None = None

    @classmethod
    def open(
        cls,
        config: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None,
        routes: Registry | None = None,
        *,
        clock: Clock | None = None,
        rng: Random | None = None,
        logs: bool = True,
    ) -> Scheduler:
        """A scheduler on ``config``: a path, a dict of the same shape, ``Settings``, or None for defaults.

        ``routes`` are the handlers; without them the modules that ``[handlers]`` names are loaded. Entering it opens
        the store and starts nothing. ``clock``, ``rng`` and ``logs`` are for tests and for hosts with their own logs.
        Raises ``ConfigError``.
        """
        settings = load(config)
        clock = clock or SystemClock()
        registry = load_routes(settings.handlers, routes)
        writer = LogWriter(settings.log, clock=clock) if logs else None
        store = open_store(settings.scheduler.store)
        scheduler = cls(settings, registry, store, clock=clock, rng=rng or Random(), logs=writer, events=Events())
        if writer is not None:
            writer.subscribe(scheduler.events)
        return scheduler

    async def __aenter__(self) -> Scheduler:
        try:
            await self.store.open()
        except BaseException:
            if self._logs is not None:
                self._logs.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with anyio.CancelScope(shield=True):
            await self.store.close()
            await self.resources.aclose()
        if self._logs is not None:
            self._logs.close()

    # -- jobs in

    async def enqueue(
        self,
        task_type: str,
        target_type: str = "",
        target_id: str = "",
        payload: Any = None,
        *,
        priority: int = 0,
        run_after: datetime | timedelta | float | None = None,
        unique_key: str | None = None,
        owner: str | None = None,
        max_attempts: int | None = None,
        timeout_s: float | None = None,
        force: bool = False,
        batch: str | None = None,
        after: Sequence[str] = (),
        if_failed: str = "fail",
        request_key: str | None = None,
        webhook: str | None = None,
        connection: Any = None,
    ) -> Receipt:
        """Store one job; durable when this returns. See ``NewJob`` for the arguments; ``webhook`` needs ``[webhook] secret_env``.

        With ``connection``, a connection to the store's own database with a transaction open (asyncpg; sqlite3 or
        aiosqlite), the job is part of that transaction: it exists when and if that commits. As only its owner knows
        whether it does, no ``job.enqueued`` is emitted.

        Raises ``InvalidJobError`` (nothing stored; ``IdempotencyConflictError`` is one), or a ``StoreError`` such as ``StoreBusyError``.
        """
        new = NewJob(
            task_type, target_type, target_id, payload, priority, run_after, unique_key, owner, max_attempts, timeout_s, force,
            batch, after, if_failed, request_key, webhook,
        )  # fmt: skip
        now = self.clock.now()
        draft = self._door.draft(new, now)
        store = self._store_drafts
        if connection is not None:
            if not isinstance(self.store, Joins):
                raise ConfigError(f"{self.store.url} has no transactions to take part in: use sqlite:///FILE or postgresql://…")
            store = partial(self.store.enqueue_within, connection)
        return (await store([draft], now))[0] if webhook is None else await self._webhooks.enqueue(draft, webhook, store, now)

    def enqueue_many(self, jobs: Iterable[NewJob] | AsyncIterable[NewJob]) -> Bulk:
        """Store many jobs, a thousand a transaction, as they stream in.

        Await the answer for the list of receipts, or iterate over it (``async for``) to let those stream too.
        A job that is refused raises ``InvalidJobError``; those already acknowledged stay.
        """
        return Bulk(jobs, self._draft_now, self._store_drafts, self.clock.now)

    async def enqueue_batch(
        self,
        jobs: Iterable[NewJob] | AsyncIterable[NewJob],
        *,
        name: str | None = None,
        owner: str | None = None,
        callback: NewJob | None = None,
    ) -> BatchReceipt:
        """Store many jobs as one batch, and ``callback``, a job that runs once when all of them have ended, whatever their end.

        All belong to ``owner``. Without a ``name`` the batch gets a fresh one. Raises ``InvalidJobError``; what was stored before stays.
        """
        name = name or new_id(self.clock.now())
        receipts = await self.enqueue_many(members(jobs, name, owner, callback))
        return BatchReceipt(name, receipts[:-1], receipts[-1]) if callback is not None else BatchReceipt(name, receipts, None)

    def _draft_now(self, new: NewJob) -> Draft:
        if not isinstance(new, NewJob):
            raise InvalidJobError(f"enqueue_many takes NewJob records, not {type(new).__name__}")
        if new.webhook is not None:
            raise InvalidJobError(ALONE)
        return self._door.draft(new, self.clock.now())

    async def _store_drafts(self, drafts: list[Draft], now: float) -> list[Receipt]:
        if self._service is None and not self.events.wants(JobEnqueued):
            return await self.store.enqueue(drafts, now)
        due = {draft.task_type for draft in drafts if draft.run_after <= now}
        if self._service is not None:
            # Before it is stored: the claim then rides in the same transaction, and starts what this stores.
            self._service.dispatcher.wake(due)
        receipts = await self.store.enqueue(drafts, now, lambda receipts: self._tell_enqueued(drafts, receipts, now))
        if self._service is not None:
            self._service.dispatcher.wake(due)
            for at in {draft.run_after for draft in drafts if draft.run_after > now}:
                self._service.dispatcher.due(at)
        return receipts

    def _tell_enqueued(self, drafts: list[Draft], receipts: list[Receipt], now: float) -> None:
        """Called when the jobs are stored, before any of them can start."""
        if self.events.wants(JobEnqueued):
            for draft, receipt in zip(drafts, receipts, strict=True):
                if receipt.created:
                    self.events.emit(JobEnqueued(now, draft))

    # -- questions

    async def get(self, job_id: str, *, owner: str | None = None) -> Job | None:
        """The job, or None if there is none (for ``owner``)."""
        return await job_of(self.store, job_id, owner)

    async def jobs(
        self,
        *,
        status: str | Iterable[str] | None = None,
        reason: str | Iterable[str] | None = None,
        task_type: str | Iterable[str] | None = None,
        target_type: str | None = None,
        target_id: str | None = None,
        owner: str | None = None,
        batch: str | None = None,
        text: str | None = None,
        created_after: float | None = None,
        created_before: float | None = None,
        limit: int = 100,
        before_seq: int | None = None,
    ) -> list[Job]:
        """Matching jobs, newest first; ``before_seq`` (the last one's ``seq``) gives the next page.

        ``text`` is looked for in id, target id, task type, unique key and error; ``created_after`` and ``created_before`` are
        seconds since the epoch.
        """
        query = query_for(
            status=status, reason=reason, task_type=task_type, target_type=target_type, target_id=target_id, owner=owner, batch=batch,
            text=text, created_after=created_after, created_before=created_before,
        )  # fmt: skip
        return await self.store.find(limited(query, limit, before_seq=before_seq))

    async def batch(self, name: str, *, owner: str | None = None) -> Batch | None:
        """How a batch stands: counts by status, and how much of it has ended. None if there is none (for ``owner``)."""
        return await batch_of(self.store, check_text(name, "batch"), owner)

    async def ledgers(self, job_id: str, *, owner: str | None = None) -> list[Ledger]:
        """The passes of a long job over its items. Raises ``NotFoundError``."""
        return await self.store.ledgers((await known(self.store, job_id, owner)).job_id)

    async def items(
        self, job_id: str, name: str = "items", *, failed: bool | None = None, owner: str | None = None, after: int = -1, limit: int = 1_000
    ) -> list[Item]:
        """What is recorded of the items of one pass, by position from ``after`` on. Raises ``NotFoundError``."""
        job = await known(self.store, job_id, owner)
        return await self.store.items(job.job_id, name, ok=None if failed is None else frozenset({not failed}), after=after, limit=limit)

    async def ends_at(self, job: Job) -> float | None:
        """When ``job`` will be done (seconds since the epoch), as far as its progress and the pauses tell."""
        pool = self.settings.policy(job.task_type, pool=self.routes.pool(job.task_type)).pool
        scopes = [job.task_type, *([pool_scope(pool)] if pool else []), *([OWNER_PREFIX + job.owner] if job.owner else [])]
        return ends_at(job, await self.store.pauses(), scopes, self.clock.now())

    async def stats(self, *, owner: str | None = None) -> Stats:
        """Counts by status, task type and reason; pauses; workers."""
        tallies = await self.store.count(JobQuery(owner=owner))
        return stats_of(tallies, await self.store.pauses(), await self.store.workers())

    async def throughput(self, *, hours: float = 6.0, bucket_s: float = 300.0, owner: str | None = None) -> list[Bucket]:
        """How many jobs ended in each ``bucket_s`` seconds of the last ``hours``, the oldest first, none left out.

        Raises ``SchedulerError`` for more buckets than anybody can look at.
        """
        now = self.clock.now()
        since = first_bucket(now, hours, bucket_s)
        return buckets(await self.store.throughput(owner, since, bucket_s), since, now, bucket_s)

    async def why(self, job_id: str, *, owner: str | None = None) -> Why:
        """Why a job does not run, in a sentence; of one that runs or has ended, that. Raises ``NotFoundError``."""
        job = await known(self.store, job_id, owner)
        return await explain(job, self.store, self.settings, self.routes, self.clock.now())

    async def pools(self) -> list[Portrait]:
        """Every pool that handlers or settings name, that has a pause, or that the store knows: its limits, pace and pauses."""
        task_types = {*self.settings.task_types, *self.routes.task_types()}
        policies = [self.settings.policy(name, pool=self.routes.pool(name)) for name in task_types]
        named = {*self.settings.pools, *(policy.pool for policy in policies if policy.pool)}
        documents, windows = await self.store.shared(), await self.store.pauses()
        return portraits(documents, windows, named, self.settings.limits, self.clock.now())

    async def workers(self) -> list[Listed]:
        """Who runs jobs on this store, living and lost, and how many each holds."""
        return await roster(self.store, self.clock.now())

    # -- controls

    async def matching(self, verb: Verb, *, owner: str | None = None, **which: Any) -> int:
        """How many jobs ``cancel`` or ``retry`` would touch that got the same words."""
        return await self._controls.matching(verb, owner, which)

    async def cancel(self, job_id: str | None = None, *, owner: str | None = None, **which: Any) -> list[Job]:
        """Cancel a job by id, or all that match ``status``, ``reason``, ``task_type``, ``text`` …; returns them as they were.

        A running handler is cancelled; its result, should one come, changes nothing. A job that has ended is left
        alone. Raises ``NotFoundError`` for an unknown id.
        """
        return await self._controls.cancel(job_id, owner, which)

    async def retry(
        self, job_id: str | None = None, *, owner: str | None = None, failed_items: bool = False, restart: bool = False, **which: Any
    ) -> list[Job]:
        """Send a failed or cancelled job back to ``pending`` with fresh attempts, or all that match; returns them as they were.

        It goes on from its checkpoint and its ledgers, and tries failed items again; ``restart`` forgets all that.
        With ``failed_items`` a job without such is refused. Raises ``NotFoundError`` for an unknown id.
        """
        return await self._controls.retry(job_id, owner, which, failed_items=failed_items, restart=restart)

    async def delete(self, job_id: str, *, owner: str | None = None) -> Job:
        """Delete a job with all that is recorded of it, cancelled before if it has not ended; returns it as it was last.

        Raises ``NotFoundError`` if there is none (for ``owner``).
        """
        return await self._controls.delete(job_id, owner)

    # -- pauses

    async def pause(self, scope: str, for_s: float | None = None) -> PauseWindow:
        """Close a task type, ``pool:NAME`` or ``owner:NAME``, for ``for_s`` seconds (None: until resumed). Extends, never shortens.

        ``job:ID`` pauses one job: a waiting one waits, a running one stops at its next checkpoint or chunk, or is cancelled after
        the grace period, its attempt given back. Raises ``NotFoundError`` for a job that is not there or has ended.
        """
        window = await self._pausing.pause(scope, for_s)
        self._look()
        return window

    async def resume(self, scope: str) -> PauseWindow | None:
        """Open a scope by hand; returns the pause that was lifted, None if there was none."""
        window = await self._pausing.resume(scope)
        self._look()
        return window

    def _look(self) -> None:
        if self._service is not None:
            self._service.dispatcher.look()

    async def pauses(self) -> list[PauseWindow]:
        """The stored pauses. A task type is also held by its pool's pause, ``pool:NAME``."""
        return await self.store.pauses()

    # -- running

    async def run(self, *, until_empty: bool = False, max_seconds: float | None = None, max_jobs: int | None = None) -> Left:
        """Run jobs until ``stop`` is called; ``until_empty``: until nothing is left, pauses and retries waited out.

        ``max_seconds`` and ``max_jobs`` bound a slice of work: it takes no longer, and starts no more, than that. In its last
        quarter, at most ``drain_grace_s``, nothing starts and jobs in chunks stop at the next one; what still runs at its end is
        handed back, attempt given back. It ends sooner when nothing is left. Returns what is left.

        Cancelling this call hands running jobs back at once. Raises ``ConfigError`` if it runs already.
        """
        if self._service is not None:
            raise ConfigError("this scheduler is running already: one run() at a time")
        for what, bound in (("max_seconds", max_seconds), ("max_jobs", max_jobs)):
            if bound is not None and not bound > 0:
                raise SchedulerError(f"{what} must be above 0, not {bound!r}")
        self._service = Service(
            self.store, self.routes, self.settings, self.resources, self.events, self.clock, self._rng, self.logger, self._draft_now,
            self._webhooks.mover(self._store_drafts, self.resources),
        )  # fmt: skip
        try:
            await self._service.run(Limits(until_empty or max_seconds is not None or max_jobs is not None, max_seconds, max_jobs))
        finally:
            self._service = None
        return await left(self.store, self.clock.now())

    def logger(self, **bound: Any) -> Any:
        """A structlog logger that writes where this scheduler's log lines go, with ``bound`` in every line."""
        return self._logs.logger(**bound) if self._logs is not None else structlog.get_logger(**bound)

    @property
    def is_running(self) -> bool:
        """Whether ``run`` is under way."""
        return self._service is not None

    async def left(self) -> Left:
        """What there is still to do."""
        return await left(self.store, self.clock.now())

    def stop(self, *, grace_s: float | None = None) -> None:
        """End ``run``: claim no more, give running jobs ``grace_s`` seconds (``drain_grace_s``), hand back the rest."""
        if self._service is not None:
            self._service.stop(self.settings.scheduler.drain_grace_s if grace_s is None else grace_s)

    async def prune(self) -> int:
        """Delete ended jobs as ``[retention]`` says; returns how many."""
        return await prune(self.store, self.settings.retention, self.clock.now())
