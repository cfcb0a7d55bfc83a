"""One run of the engine: wires the moving parts together, starts them, drains in order.

    dispatcher ──claims──▶ slots ──▶ attempt ──Ended──▶ settler ──▶ store, events
        ▲                                                 │
        └───────────── hints, slots given back ───────────┘
    heartbeat (thread): renews the lease, reports who blocks     janitor: takes back, gives up, prunes
    scribe: progress and checkpoints                         mover: from the journal to webhooks

The order of an end: the dispatcher stops claiming and drains, the settler records what is left, then the
heartbeat stops and the worker's row goes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import anyio

from scheduler.attempt import Runner
from scheduler.bounds import Limits
from scheduler.clock import Clock
from scheduler.dispatcher import Dispatcher
from scheduler.errors import StoreError
from scheduler.events import Events, ServiceDraining, ServiceStarted, ServiceStopped
from scheduler.health import Health
from scheduler.heartbeat import Heartbeat
from scheduler.identity import this_worker
from scheduler.janitor import Janitor
from scheduler.job import Draft, NewJob
from scheduler.keeper import Keeper
from scheduler.named import TaskTypeSettings
from scheduler.offers import Offer, Offers
from scheduler.registry import Resources, Routes
from scheduler.scribe import Scribe
from scheduler.settings import Settings
from scheduler.settler import Settler
from scheduler.slots import Slots
from scheduler.stores.base import Store
from scheduler.webhooks.mover import Mover


class Service:
    """A worker from start to stop. ``run`` once."""

    def __init__(
        self,
        store: Store,
        routes: Routes,
        settings: Settings,
        resources: Resources,
        events: Events,
        clock: Clock,
        rng: Random,
        logger: Callable[..., Any],
        draft: Callable[[NewJob], Draft],
        mover: Mover | None = None,
    ) -> None:
        self._store = store
        self._routes = routes
        self._settings = settings
        self._events = events
        self._clock = clock
        self.worker = this_worker(clock.now(), settings.scheduler.lease_s)
        self._gone = anyio.Event()
        self._settler = Settler(
            store, events, clock, lambda batch: self.dispatcher.settled(batch), lambda lanes: self.dispatcher.wake(lanes)
        )
        self._scribe = Scribe(store, events, clock)
        self._keeper = Keeper(
            store,
            settings.limits,
            events,
            clock,
            rng,
            self.worker.worker_id,
            lambda: self.dispatcher.news(),
            lambda: self.dispatcher.look(),
        )
        health = Health(store, events)
        self._runner = Runner(
            routes, settings, resources, self._settler, self._scribe, self._keeper, health, events, clock, logger, draft, rng
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            store, self._runner, self._settler, self._keeper, health, routes, settings, events, clock, self.worker.worker_id
        )  # fmt: skip
        self._mover = mover
        if mover is not None:
            self.dispatcher.ask_for_more = mover.is_behind
        self._janitor = Janitor(store, self._settler, settings, events, clock, rng, self.worker.worker_id)

    def stop(self, grace_s: float) -> None:
        """Begin to end; a second call can only shorten the grace."""
        if not self.dispatcher.stopping:
            self._events.emit(ServiceDraining(self._clock.now(), self.worker.worker_id, f"grace {grace_s:g} s"))
        self.dispatcher.stop(grace_s)

    async def run(self, limits: Limits) -> None:
        """Run until stopped or until the limits are reached. Cancelled from outside, it hands everything back first."""
        finished = anyio.Event()
        failures: list[StoreError] = []
        async with anyio.create_task_group() as outer:
            outer.start_soon(self._run_shielded, limits, finished, failures)
            try:
                await finished.wait()
            except anyio.get_cancelled_exc_class():
                self.stop(0.0)
                raise
        for failure in failures:  # out here it is no group of one
            raise failure

    async def _run_shielded(self, limits: Limits, finished: anyio.Event, failures: list[StoreError]) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self._run(limits)
        except StoreError as error:
            failures.append(error)
        finally:
            self._settler.close()
            finished.set()

    async def _run(self, limits: Limits) -> None:
        await self._store.check(briefly=True)
        address = await self._store.listen(self.dispatcher.look)
        heartbeat = await self._register(address)
        try:
            await self._janitor.take_back()
            if self._mover is not None:
                await self._mover.begin(self.worker.worker_id)
            self._events.emit(ServiceStarted(self._clock.now(), self.worker.worker_id))
            async with anyio.create_task_group() as recording:
                recording.start_soon(self._settler.run, name="settler")
                async with anyio.create_task_group() as moving:
                    moving.start_soon(self._scribe.run, name="scribe")
                    moving.start_soon(self._keeper.run, name="keeper")
                    moving.start_soon(self._janitor.run, name="janitor")
                    moving.start_soon(self._join_anew, name="join anew")
                    if self._mover is not None:
                        moving.start_soon(self._mover.run, name="webhooks")
                    slots = Slots(self.dispatcher.work)
                    moving.start_soon(slots.run, name="slots")
                    await self.dispatcher.run(slots, limits)
                    moving.cancel_scope.cancel()
                await self._scribe.run_once()
                self._settler.finish()
        finally:
            heartbeat.stop()
            with suppress(StoreError):  # then whoever starts next finds the row of a dead worker
                if self._mover is not None:
                    await self._mover.end()
                await self._store.dismiss(self.worker.worker_id)
        self._events.emit(ServiceStopped(self._clock.now(), self.worker.worker_id))

    def _was_taken_for_dead(self) -> None:
        """The worker's row is gone: look what was taken over, and have a row again."""
        self.dispatcher.look()
        self._gone.set()

    async def _join_anew(self) -> None:
        """Without a row, whatever this worker claims would be taken back as a dead worker's by any janitor that passes."""
        while True:
            await self._gone.wait()
            self._gone = anyio.Event()
            with suppress(StoreError):  # the next beat asks again
                (await self._store.register(self.worker)).close()

    async def _register(self, address: str | None) -> Heartbeat:
        offers = offered(self._routes, self._settings)
        worker = this_worker(self._clock.now(), self._settings.scheduler.lease_s, address, offers.to_json())
        self.worker = worker
        self.dispatcher.worker = self._janitor.worker = self._keeper.worker = worker.worker_id
        heartbeat = Heartbeat(
            await self._store.register(worker),
            self._runner,
            self._events,
            lease_s=worker.lease_s,
            blocked_s=self._settings.scheduler.blocked_loop_s,
            on_lost=self._was_taken_for_dead,
        )
        heartbeat.start()
        return heartbeat


def offered(routes: Routes, settings: Settings) -> Offers:
    """What a worker with these routes and settings runs."""
    task_types = {}
    for name in sorted(routes.task_types()):
        own = settings.task_types.get(name, TaskTypeSettings())
        pool = settings.policy(name, pool=routes.pool(name)).pool
        task_types[name] = Offer(routes.target_types(name), pool, own.concurrency, own.max_running)
    pools = {name: pool.concurrency for name, pool in settings.pools.items() if pool.concurrency is not None}
    return Offers(settings.scheduler.concurrency, settings.scheduler.unknown_routes == "fail", task_types, pools)
