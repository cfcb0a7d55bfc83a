"""One attempt, as a pipe: started → called → decided → handed to the settler.

Whatever a handler does (returns, raises anything at all, hangs, swallows its cancellation, returns what JSON
cannot hold) becomes an ``Outcome``; nothing of it reaches the slot that runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Literal

import anyio
import pydantic
from anyio import lowlevel

from scheduler.calls import THREAD_UNPACED, UNPACED, JobPool, ThreadJobPool
from scheduler.clock import Clock
from scheduler.context import JobContext, ThreadJobContext, Tools
from scheduler.decide import decide, describe, health_of
from scheduler.errors import InvalidJobError
from scheduler.events import Events, HandlerUnresponsive, JobStarted
from scheduler.health import Health
from scheduler.invoke import HandlerThread, absorb_cancellation, in_own_context
from scheduler.job import Draft, Job, NewJob, Status, Transition
from scheduler.keeper import Keeper
from scheduler.outcome import BadPayload, BadResult, Cancelled, Doomed, Interrupted, Outcome, Raised, Returned, TimedOut, Unroutable
from scheduler.policy import Policy
from scheduler.registry import Resources, Route, Routes
from scheduler.scribe import Scribe
from scheduler.settings import Settings
from scheduler.settler import Ended, Settler
from scheduler.stores.base import Claim
from scheduler.values import decode_json, encode_json

#: Threads of sync handlers, running or abandoned: far above any sensible concurrency.
MAX_THREADS = 4_096


class Attempt:
    """A claimed job on its way through the pipe. ``verdict`` is set by whoever stops it from outside.

    ``in_call``: it was stopped in the middle of a call to its provider.
    ``disowned``: its end is being decided, nobody else may; ``handed_over``: the settler has it.
    """

    __slots__ = (
        "_holds",
        "_left_s",
        "claim",
        "deadline",
        "disowned",
        "follow_ups",
        "handed_over",
        "held_since",
        "in_call",
        "limit_s",
        "policy",
        "route",
        "scope",
        "started",
        "stop_at",
        "stopped_at",
        "verdict",
        "waited_s",
    )

    def __init__(self, claim: Claim, route: Route | None, policy: Policy) -> None:
        self.claim = claim
        self.route = route
        self.policy = policy
        self.scope: anyio.CancelScope | None = None
        self.started = 0.0
        self.waited_s = 0.0
        self.deadline = float("inf")
        self.limit_s = claim.job.timeout_s if claim.job.timeout_s is not None else policy.timeout_s
        self.stopped_at: float | None = None
        self.verdict: Outcome | None = None
        self.disowned = False
        self.handed_over = False
        self.in_call = False
        self._holds = 0
        self._left_s = 0.0
        self.follow_ups: Sequence[Draft] = ()
        #: Where it is to end of its own accord: nowhere, at the next chunk, or at the next chunk or checkpoint.
        self.held_since: float | None = None
        self.stop_at: Literal["", "chunk", "checkpoint"] = ""

    @property
    def job(self) -> Job:
        return self.claim.job

    @property
    def name(self) -> str:
        """The handler, for people."""
        return self.route.name if self.route else "no handler"

    def stop(self, verdict: Cancelled | Interrupted, at: float) -> None:
        """Cancel the handler; ``verdict`` says why. The first reason stands."""
        if self.verdict is None:
            self.verdict = verdict
            self.stopped_at = at
        if self.scope is not None:
            self.scope.cancel()

    def is_asked_to_stop(self, *, at_chunk: bool) -> bool:
        return self.stop_at == "checkpoint" or (at_chunk and self.stop_at == "chunk")

    async def hand_back(self) -> None:
        self.stop(Interrupted(), asyncio.get_running_loop().time())
        await lowlevel.checkpoint()

    async def lose(self) -> None:
        self.stop(Cancelled(), asyncio.get_running_loop().time())
        await lowlevel.checkpoint()

    def left_s(self) -> float:
        """Seconds until the time limit."""
        if self._holds:
            return self._left_s
        return self.deadline - asyncio.get_running_loop().time()  # what anyio.current_time is here, at a tenth of its cost

    def extend(self, by_s: float) -> None:
        """Move the time limit: the handler waited for its provider's quota, which is not its fault."""
        if self._holds:
            self._left_s += by_s
        else:
            self._limit_to(self.deadline + by_s)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The time limit stands still meanwhile: the handler waits for the store. May be entered several times at once."""
        if not self._holds:
            self._left_s = self.left_s()
            self._limit_to(float("inf"))
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                self._limit_to(asyncio.get_running_loop().time() + self._left_s)

    def _limit_to(self, deadline: float) -> None:
        self.deadline = deadline
        if self.scope is not None:
            self.scope.deadline = deadline


class Runner:
    """Runs attempts: everything they share."""

    def __init__(
        self,
        routes: Routes,
        settings: Settings,
        resources: Resources,
        settler: Settler,
        scribe: Scribe,
        keeper: Keeper,
        health: Health,
        events: Events,
        clock: Clock,
        logger: Callable[..., Any],
        draft: Callable[[NewJob], Draft],
        rng: Random,
    ) -> None:
        self._routes = routes
        self._settings = settings
        self._tools = Tools(resources, scribe, logger, draft)
        self._settler = settler
        self._scribe = scribe
        self._keeper = keeper
        self._health = health
        self._events = events
        self._clock = clock
        self._rng = rng
        self._threads = anyio.CapacityLimiter(MAX_THREADS)
        self._policies: dict[tuple[str, str], tuple[Route | None, Policy]] = {}
        #: What runs in which task, for whoever asks who blocks the loop.
        self.current: dict[asyncio.Task[Any] | None, Attempt] = {}

    def attempt(self, claim: Claim) -> Attempt:
        """A claim with its route and limits looked up."""
        job = claim.job
        key = (job.task_type, job.target_type)
        known = self._policies.get(key)
        if known is None:
            known = self._policies[key] = self._look_up(*key)
        return Attempt(claim, *known)

    def _look_up(self, task_type: str, target_type: str) -> tuple[Route | None, Policy]:
        route = self._routes.find(task_type, target_type)
        if route is None:
            return None, self._settings.policy(task_type)
        return route, self._settings.policy(task_type, timeout_s=route.timeout_s, max_attempts=route.max_attempts, pool=route.pool)

    async def run(self, attempt: Attempt) -> None:
        """The pipe. Returns when the outcome is in the settler's hands and the handler no longer runs."""
        attempt.started = self._clock.monotonic()
        outcome, thread_ended = await self._call(attempt)
        await self.end(attempt, outcome)
        if thread_ended is not None:
            await thread_ended.wait()  # an abandoned thread keeps its slot until it really ends

    async def end(self, attempt: Attempt, outcome: Outcome) -> None:
        """Decide and hand over, once: a disowned attempt's own end comes too late."""
        if attempt.disowned:
            return
        attempt.disowned = True
        if self._scribe.holds(attempt.claim.lease):
            await self._scribe.finish(attempt.claim.lease)
        now = self._clock.now()
        try:
            if attempt.policy.pool:
                transition = await self._decided(attempt, attempt.policy.pool, outcome, now)
            else:
                transition = decide(attempt.job, outcome, attempt.policy, now, self._rng)
        except Exception as error:  # the handler's error has attributes that raise: say so, in its place
            transition = decide(attempt.job, Raised(error), attempt.policy, now, self._rng)
        if attempt.follow_ups and transition.status is Status.COMPLETED:
            transition = transition._replace(follow_ups=tuple(attempt.follow_ups))
        duration_s = self._clock.monotonic() - attempt.started
        await self._settler.put(Ended(attempt.job, attempt.claim.lease, transition, duration_s, attempt.waited_s))
        attempt.handed_over = True

    async def _decided(self, attempt: Attempt, pool: str, outcome: Outcome, now: float) -> Transition:
        """What the end of an attempt that draws on ``pool`` means, seeing how others on it fare."""
        job = attempt.job
        is_last = job.attempts >= (job.max_attempts or attempt.policy.max_attempts)
        is_outage = await self._health.is_outage(
            pool,
            attempt.claim.lease,
            outcome,
            now,
            began_at=attempt.started,
            ended_at=self._clock.monotonic(),
            is_last=is_last,
            in_call=attempt.in_call,
        )
        if is_outage or health_of(outcome, now, in_call=attempt.in_call) is not False:
            return decide(job, outcome, attempt.policy, now, self._rng, is_outage=is_outage)
        job = job._replace(attempts=await self._health.attempts(job))
        is_doubtful = self._health.is_doubtful(pool, job, began_at=attempt.started)
        return decide(job, outcome, attempt.policy, now, self._rng, is_doubtful=is_doubtful)

    async def disown(self, attempt: Attempt, outcome: Outcome) -> None:
        """End an attempt whose handler ignores its cancellation; the handler keeps its slot."""
        if self._events.wants(HandlerUnresponsive):
            self._events.emit(HandlerUnresponsive(self._clock.now(), attempt.job, attempt.name))
        await self.end(attempt, outcome)

    def announce(self, attempt: Attempt) -> None:
        """Tell that the attempt was claimed: before anything else can be told of it."""
        job = attempt.job
        if attempt.policy.pool:
            self._health.began(attempt.policy.pool)
        attempt.started = self._clock.monotonic()
        due = job.run_after if job.run_after > job.created_at else job.created_at
        attempt.waited_s = max(0.0, (job.started_at or due) - due)
        if self._events.wants(JobStarted):
            self._events.emit(JobStarted(self._clock.now(), job, attempt.waited_s))

    async def _call(self, attempt: Attempt) -> tuple[Outcome, anyio.Event | None]:
        """Run the handler; whatever happens is an outcome. The event, if any, tells when its thread ends."""
        route, job = attempt.route, attempt.job
        if attempt.verdict is not None:
            return attempt.verdict, None
        if job.doomed is not None:
            return Doomed(*job.doomed.split(" ", 1)), None
        if route is None:
            return Unroutable(), None
        payload = _payload(job, route)
        if isinstance(payload, BadPayload):
            return payload, None
        pool = self._pool(attempt, route)
        context_type = JobContext if route.is_async else ThreadJobContext
        context = context_type(job, attempt.claim.lease, pool, attempt, self._tools)
        arguments = (context, payload) if route.takes_payload else (context,)
        loop = asyncio.get_running_loop()  # asked once: each time it is asked costs a call to the system, up to Python 3.11
        if attempt.limit_s is not None:
            attempt.deadline = loop.time() + attempt.limit_s
        thread = None if route.is_async else HandlerThread(route.function, arguments)
        task = asyncio.current_task(loop)
        self.current[task] = attempt
        outcome: Outcome
        try:
            with anyio.CancelScope(deadline=attempt.deadline) as attempt.scope:
                work = route.function(*arguments) if thread is None else thread.run(self._threads)
                outcome = _outcome_of(await in_own_context(work))
            # A handler that swallowed its cancellation and returned late is caught here too; an interrupted one
            # that still finished its work has finished it.
            if attempt.scope.cancelled_caught or (attempt.scope.cancel_called and not isinstance(attempt.verdict, Interrupted)):
                outcome = _why(attempt)
        except BaseException as error:
            stopped = attempt.scope is not None and attempt.scope.cancel_called
            outcome = _why(attempt) if stopped else Raised(error)
        finally:
            pool.over()
            attempt.follow_ups = context.follow_ups
            attempt.in_call = pool.was_cut
            self.current.pop(task, None)
            if task is not None and task.cancelling():
                await absorb_cancellation(task)
        return outcome, None if thread is None else thread.let_go()

    def _pool(self, attempt: Attempt, route: Route) -> JobPool:
        name = attempt.policy.pool
        if not name:
            return UNPACED if route.is_async else THREAD_UNPACED
        kind = JobPool if route.is_async else ThreadJobPool
        return kind(name, self._keeper.booth(name), attempt.job.task_type, self._clock, attempt)


def _why(attempt: Attempt) -> Outcome:
    """Why a cancelled handler was cancelled: by somebody, or by its time limit."""
    return attempt.verdict or TimedOut(attempt.limit_s or 0.0)


def _outcome_of(result: Any) -> Outcome:
    try:
        return Returned(None if result is None else encode_json(result, "result"))
    except InvalidJobError as error:
        return BadResult(str(error))
    except Exception as error:  # the result's own way to show itself failed
        return BadResult(f"the result cannot be stored: {describe(error)}")


def _payload(job: Job, route: Route) -> Any:
    """The decoded payload, validated if the route has a model; or why not."""
    try:
        value = {} if job.payload_json is None else decode_json(job.payload_json)
    except ValueError as error:
        return BadPayload("payload_not_json", f"the payload is not JSON: {error}")
    if not isinstance(value, dict):
        return BadPayload("payload_not_json", f"the payload is a JSON {type(value).__name__}, not an object")
    if route.payload is None:
        return value
    try:
        return route.payload.validate_python(value)
    except pydantic.ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'payload'}: {one['msg']}" for one in error.errors(include_url=False)[:10])
        return BadPayload("payload_invalid", f"the payload does not fit {route.name}: {wrong}")
    except BaseException as error:  # a validator of the module's own: it may do what a handler may
        return BadPayload("payload_invalid", f"the payload does not fit {route.name}: {describe(error)}")
