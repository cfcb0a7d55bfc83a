"""The dispatcher: the actor that alone owns slots, lanes and what is running.

Its inbox brings hints (a lane may have work), ends of attempts and controls; a poll makes up for lost hints.
Each turn it claims for exactly the lanes that are ready and have slots, in one transaction, and gives the
claims to the slots. It never waits for a handler.

Does not belong here: what an attempt does (``attempt.py``), what its end means (``decide.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import anyio
from anyio import lowlevel

from scheduler.attempt import Attempt, Runner
from scheduler.bounds import Bounds, Limits
from scheduler.clock import Clock
from scheduler.errors import StoreError
from scheduler.events import Events, LaneProbing, StoreFailing
from scheduler.health import Health
from scheduler.job import UNFINISHED
from scheduler.keeper import Keeper
from scheduler.lanes import Lane, calls_of, lane_of, share_out
from scheduler.named import TaskTypeSettings
from scheduler.outcome import Cancelled, Interrupted, TimedOut
from scheduler.registry import Routes
from scheduler.remaining import has_of, movable
from scheduler.settings import Settings
from scheduler.settler import Ended, Settler
from scheduler.slots import Slots
from scheduler.stores.base import Claim, Store, Want

#: A handler that goes on so many seconds after its cancellation ignores it.
UNRESPONSIVE_S = 5.0
#: At shutdown it gets only so many seconds after the grace period: whoever stops a service waits for it.
ABANDON_S = 1.0
#: Hints of other processes are looked at no more often than this, in seconds.
_LOOK_EVERY_S = 0.002
#: A rest is no shorter, in seconds: what falls due in less than a clock can tell would be looked for without end.
_LEAST_REST_S = 0.0005
#: A look that is so many seconds late goes before further claims: a busy service must see cancellations too.
_LOOK_LATE_S = 0.05


class Dispatcher:
    """See the module. ``wake``, ``due``, ``look``, ``cancel`` and ``stop`` are its inbox; ``run`` is its task."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        settler: Settler,
        keeper: Keeper,
        health: Health,
        routes: Routes,
        settings: Settings,
        events: Events,
        clock: Clock,
        worker: str,
    ) -> None:
        self._store = store
        self._runner = runner
        self._keeper = keeper
        self._health = health
        self._settler = settler
        self._routes = routes
        self._settings = settings
        self._events = events
        self._clock = clock
        self.worker = worker
        self._engine = settings.scheduler
        self._lanes: dict[str, Lane] = {name: self._new_lane(name) for name in sorted(routes.task_types())}
        #: By identity, in order: a job may run again while an attempt that ignores its cancellation still holds its slot.
        self.running: dict[Attempt, None] = {}
        self._news = asyncio.Event()  # used again: a new one at each turn costs an idle service's next job 30 µs
        self._next_look = 0.0
        self._looked = 0.0
        self._next_start = 0.0
        self._due: float | None = None
        self._stopping: Literal["no", "draining", "now"] = "no"
        self._grace_ends = float("inf")
        self._failing = False
        self._bounds = Bounds(Limits(), 0.0, 0.0)
        #: Asked when nothing is left to do: whether what was done makes more.
        self.ask_for_more: Callable[[], Awaitable[bool]] | None = None

    # -- the inbox: plain calls in the same loop, each a note and a ring

    def wake(self, task_types: Iterable[str]) -> None:
        """These lanes may have due jobs."""
        for task_type in task_types:
            lane = self._lanes.get(task_type)
            if lane is not None:
                lane.ready = True
        self._news.set()

    def due(self, at: float) -> None:
        """Some job falls due at ``at`` (wall time)."""
        if self._due is None or at < self._due:
            self._due = at
            self._news.set()

    def news(self) -> None:
        """There may be room for more."""
        self._news.set()

    def look(self) -> None:
        """Something changed in the store: claim first, it is most often a new job; then see what else."""
        now = self._clock.monotonic()
        self._next_look = min(self._next_look, max(now, self._looked + _LOOK_EVERY_S))
        if now >= self._looked + _LOOK_EVERY_S:
            self._looked = now
            self.wake(self._lanes)
        else:
            self._news.set()

    def cancel(self, job_ids: Iterable[str]) -> None:
        """These jobs were cancelled in the store: stop their handlers."""
        wanted = set(job_ids)
        for attempt in list(self.running):
            if attempt.job.job_id in wanted:
                attempt.stop(Cancelled(), self._clock.monotonic())

    def stop(self, grace_s: float, *, at_chunks: bool = True) -> None:
        """Claim no more; after ``grace_s`` seconds hand back what still runs. Jobs ``at_chunks`` need not be finished."""
        self._stopping = "draining" if self._stopping == "no" else self._stopping
        self._grace_ends = min(self._grace_ends, self._clock.monotonic() + grace_s)
        for attempt in self.running if at_chunks else ():
            attempt.stop_at = attempt.stop_at or "chunk"
        self._news.set()

    @property
    def stopping(self) -> bool:
        return self._stopping != "no"

    def settled(self, batch: list[Ended]) -> None:
        """From the settler: outcomes are recorded; some jobs run again."""
        for ended in batch:
            if ended.transition.status in UNFINISHED:
                if ended.transition.run_after is not None:
                    self.due(ended.transition.run_after)
                self.wake((ended.job.task_type,))
            elif ended.lease.probing:
                self.wake(self._lanes)
            else:
                self._wake_if_capped(ended.job.task_type)
        self._news.set()

    def _wake_if_capped(self, task_type: str) -> None:
        """A job of a capped type ended: the next one may start."""
        lane = self._lanes.get(task_type)
        if lane is not None and lane.cap is not None:
            lane.ready = True

    # -- the task

    async def run(self, slots: Slots[Attempt], limits: Limits) -> None:
        """Dispatch until stopped, or until the limits are reached."""
        self._bounds = Bounds(limits, self._clock.monotonic(), self._engine.drain_grace_s)
        while not self.stopping:
            self._news.clear()
            if self._is_slice_over():
                break
            try:
                if await self.run_once(slots):
                    continue
                if limits.until_empty and await self._is_drained():
                    self.stop(float("inf"))
                    break
                self._failing = False
            except StoreError as error:
                await self._refused(error)
            await self._rest()
        await self._drain()

    def _is_slice_over(self) -> bool:
        """A slice's time or jobs are used up: from now on it only drains."""
        now = self._clock.monotonic()
        if now >= self._bounds.drains_at:
            self.stop(max(0.0, self._bounds.ends_at - now))
        elif self._bounds.may_start < 1:
            self.stop(max(0.0, self._bounds.ends_at - now), at_chunks=False)
        return self.stopping

    async def run_once(self, slots: Slots[Attempt]) -> bool:
        """One turn: claim and start, else look at the store if that is due. True if there may be more to do at once."""
        now = self._clock.monotonic()
        wants = self._wants(now) if now >= self._next_start else []
        if self._is_look_due(now) and (not wants or now >= self._next_look + _LOOK_LATE_S):
            await self._look()
            return True
        if not wants:
            return False
        claims = await self._store.claim(wants, self.worker, self._clock.now())
        for task_type in claims.short:
            self._lanes[task_type].ready = False
        if claims.claims:
            self._start(claims.claims, slots)
        return self._has_more_to_do()

    def _has_more_to_do(self) -> bool:
        """Whether another turn at once could find anything; else the handlers that were started need not wait for it."""
        return self._bounds.may_start < 1 or self._is_look_due(self._clock.monotonic()) or any(lane.ready for lane in self._lanes.values())

    def _is_look_due(self, now: float) -> bool:
        return now >= self._next_look or (self._due is not None and self._clock.now() >= self._due)

    def _start(self, claims: list[Claim], slots: Slots[Attempt]) -> None:
        attempts = [self._runner.attempt(claim) for claim in claims]
        self._bounds.may_start -= len(attempts)
        now = self._clock.monotonic()
        for attempt in attempts:
            self.running[attempt] = None
            lane = self._lanes[attempt.job.task_type]
            lane.running += 1
            lane.next_start = now + lane.delay_s
            self._runner.announce(attempt)
            for scope in attempt.claim.lease.probing:
                self._events.emit(LaneProbing(self._clock.now(), scope, attempt.job.job_id))
        self._next_start = now + self._engine.dispatch_delay_s
        slots.give(attempts)

    async def work(self, attempt: Attempt) -> None:
        """What a slot does with an attempt: run it, then give the slot back."""
        try:
            await self._runner.run(attempt)
        finally:
            del self.running[attempt]
            self._lanes[attempt.job.task_type].running -= 1
            self._news.set()

    async def _look(self) -> None:
        """Ask the store what is due, and whether what runs here is still ours."""
        now = self._clock.now()
        self._next_look = self._clock.monotonic() + self._engine.poll_interval_s
        self._due = None  # before the question: what is said to fall due meanwhile must not be lost
        seen = await self._store.lanes(now)
        if seen.next_due is not None:
            self.due(seen.next_due)
        for task_type in seen.ready:
            if task_type in self._lanes:
                self._lanes[task_type].ready = True
            elif self._engine.unknown_routes == "fail":
                self._lanes[task_type] = self._new_lane(task_type, ready=True)
        if seen.ready:
            await self._expect_reopening(now)
        if self.running:
            await self._check_running()

    async def _expect_reopening(self, now: float) -> None:
        for window in await self._store.pauses():
            opens = window.next_open(now)
            if opens is not None and opens > now:
                self.due(opens)

    async def _check_running(self) -> None:
        """Stop what was cancelled or taken over; give up on handlers that ignore it."""
        now = self._clock.monotonic()
        leases = [attempt.claim.lease for attempt in self.running if not attempt.disowned]
        lapsed, held = set(await self._store.lapsed(leases)), set(await self._store.held(leases))
        for attempt in list(self.running):
            if attempt.claim.lease in lapsed:
                attempt.stop(Cancelled(), now)
            self._see_hold(attempt, attempt.claim.lease in held, now)
            if attempt.disowned:
                continue
            if attempt.stopped_at is not None and now - attempt.stopped_at > UNRESPONSIVE_S:
                await self._runner.disown(attempt, attempt.verdict or Interrupted())
            elif anyio.current_time() - attempt.deadline > UNRESPONSIVE_S:
                await self._runner.disown(attempt, TimedOut(attempt.limit_s or 0.0, ignored_cancellation=True))

    def _see_hold(self, attempt: Attempt, is_held: bool, now: float) -> None:
        """A job that somebody paused stops where it can; after the grace period it is cancelled where it stands."""
        if not is_held:
            if attempt.held_since is not None:  # and let go again
                attempt.held_since, attempt.stop_at = None, "chunk" if self.stopping else ""
            return
        if attempt.held_since is None:
            attempt.held_since, attempt.stop_at = now, "checkpoint"
        if now - attempt.held_since >= self._engine.drain_grace_s:
            attempt.stop(Interrupted(), now)

    async def _rest(self) -> None:
        """Wait for news, or for the next thing that falls due by itself."""
        now = self._clock.monotonic()
        until = self._next_look
        if self._due is not None:
            until = min(until, now + max(0.0, self._due - self._clock.now()))
        until = min(until, self._bounds.drains_at)
        starts = [lane.next_start for lane in self._lanes.values() if lane.ready and lane.next_start > now]
        if self._next_start > now and any(lane.ready for lane in self._lanes.values()):
            starts.append(self._next_start)
        until = min([until, *starts])
        # A timer that rings, because a cancel scope costs an idle service's next job a good part of its way.
        timer = asyncio.get_running_loop().call_later(max(until - now, _LEAST_REST_S), self._news.set)
        try:
            if self._news.is_set():
                await lowlevel.checkpoint()  # others have their turn in any case
            await self._news.wait()
        finally:
            timer.cancel()

    async def _drain(self) -> None:
        """Let what runs finish; after the grace period hand it back."""
        handed_back = False
        while self._has_unrecorded():
            self._news.clear()
            now = self._clock.monotonic()
            if now >= self._grace_ends and not handed_back:
                handed_back = True
                for attempt in list(self.running):
                    attempt.stop(Interrupted(), now)
            if handed_back and now >= self._grace_ends + ABANDON_S:
                await self._abandon()
                return
            until = self._grace_ends + (ABANDON_S if handed_back else 0.0)
            with anyio.move_on_after(min(max(until - now, 0.0), self._engine.poll_interval_s)):
                await self._news.wait()
            if self.running and not handed_back:
                await self._check_running_quietly()

    async def _check_running_quietly(self) -> None:
        try:
            await self._check_running()
        except StoreError as error:
            await self._refused(error)

    async def _abandon(self) -> None:
        """Hand back what ignores its cancellation; its slot dies with the service."""
        for attempt in list(self.running):
            if not attempt.disowned:
                await self._runner.disown(attempt, Interrupted())

    async def _is_drained(self) -> bool:
        """Whether nothing is left that this service could ever run."""
        if self._is_busy():
            return False
        closed = {window.scope for window in await self._store.pauses() if window.until == float("inf")}
        for task_type in await movable(self._store, closed):
            lane = self._lanes.get(task_type)
            if (lane is None and self._engine.unknown_routes == "leave") or (lane is not None and lane.aside):
                continue
            if lane is None or (
                self._can_run(lane) and not closed.intersection(lane.scopes) and await has_of(self._store, task_type, lane.target_types)
            ):
                return False
        # Busy again, perhaps: what there was more of may have been enqueued while this was asked.
        return self.ask_for_more is None or not (await self.ask_for_more() or self._is_busy())

    def _is_busy(self) -> bool:
        return self._has_unrecorded() or any(self._can_run(lane) and lane.ready for lane in self._lanes.values())

    def _has_unrecorded(self) -> bool:
        """Whether some attempt's outcome is still to come. One that ignores its cancellation has had its outcome."""
        return bool(self._settler.unsettled) or any(not attempt.handed_over for attempt in self.running)

    def _can_run(self, lane: Lane) -> bool:
        pool = self._settings.pools.get(lane.pool or "")
        return self._engine.concurrency > 0 and lane.limit != 0 and lane.cap != 0 and (pool is None or pool.concurrency != 0)

    async def _refused(self, error: StoreError) -> None:
        if not self._failing:
            self._failing = True
            self._events.emit(StoreFailing(self._clock.now(), str(error)))
        self._next_look = self._clock.monotonic() + self._engine.poll_interval_s
        await self._clock.sleep(min(self._engine.poll_interval_s, 1.0))

    def _free(self) -> int:
        at_a_time = 1 if self._engine.dispatch_delay_s else self._engine.batch_size
        aside = sum(lane.running for lane in self._lanes.values() if lane.aside)
        return min(self._engine.concurrency - len(self.running) + aside, at_a_time)

    def _wants(self, now: float) -> list[Want]:
        most = int(min(self._engine.batch_size, self._bounds.may_start)) if self._engine.concurrency else 0
        return share_out(self._lanes.values(), min(self._free(), most), self._pool_room(), now, most)

    def _pool_room(self) -> dict[str, int]:
        room = {name: pool.concurrency for name, pool in self._settings.pools.items() if pool.concurrency is not None}
        for lane in self._lanes.values():
            if lane.pool in room:
                room[lane.pool] -= lane.running
        for lane in self._lanes.values():
            if lane.pool:
                lane.calls = self._keeper.may_call(lane.pool, lane.task_type)
                lane.avoid = self._health.suspects(lane.pool)
        for name, calls in self._keeper.rooms().items():
            room[calls_of(name)] = calls
        return room

    def _new_lane(self, task_type: str, *, ready: bool = False) -> Lane:
        own = self._settings.task_types.get(task_type, TaskTypeSettings())
        return lane_of(task_type, own, self._routes, leave=self._engine.unknown_routes == "leave", ready=ready)
