"""Random days in the life of a scheduler, in virtual time, replayed through the checker.

    python -m tests.simulation.simulate --seeds 2000 [--first 0]

A seed decides everything: settings, what handlers do, what operators do meanwhile, when the service stops and
starts, which worker dies with a job in its hands. After the trouble everything must end, and every rule must
have held at every step. A seed that fails, fails again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio

from scheduler import (
    AIProviderError,
    InvalidJobError,
    JobContext,
    NewJob,
    OverloadedError,
    ProviderRefusedError,
    RateLimitError,
    Registry,
    Scheduler,
)
from scheduler.clock import LoopClock
from scheduler.events import Event, Events, JobEnded, ServiceStarted
from scheduler.settings import load
from scheduler.stores.base import Want
from tests.simulation.audited_memory import AuditedMemoryStore
from tests.support.checker import Evidence, Row, check
from tests.support.virtual_time import run

#: ``a`` and ``b`` draw on one pool; ``d`` fits its own time limit only sometimes.
TASK_TYPES = {"a": "pool:p", "b": "pool:p", "c": "", "d": ""}
TROUBLE_S = 240.0


@dataclass
class Witness:
    """What is written down besides the store's own trail."""

    clients: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)

    def told(self, event: Event) -> None:
        self.events.append({"what": event.name, **event.fields()})

    def acknowledged(self, job_id: str) -> None:
        self.clients.append({"what": "ack", "job": job_id})


class Simulation:
    """One day. ``troubled`` ends when the trouble does."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.store = AuditedMemoryStore()
        self.witness = Witness()
        self.troubled = True
        self.limits = {"": self.rng.randrange(1, 9), "c": self.rng.randrange(1, 4)}
        self.scheduler = self._scheduler()

    def _scheduler(self) -> Scheduler:
        rng = self.rng
        engine = {
            "store": "memory:",
            "concurrency": self.limits[""],
            "batch_size": rng.choice([1, 3, 500]),
            "dispatch_delay_s": rng.choice([0.0, 0.0, 0.05]),
            "drain_grace_s": rng.choice([0.0, 1.0, 20.0]),
            "backoff_max_s": rng.choice([0.0, 5.0]),
            "rate_limit_pause_s": rng.choice([0.5, 10.0]),
            "give_up_after_s": rng.choice([30.0, 86_400.0]),
            "poll_interval_s": rng.choice([0.5, 2.0]),
        }
        tables = {"scheduler": engine, "task_types": {"c": {"concurrency": self.limits["c"]}}, "retention": {"sweep_interval_s": 7.0}}
        events = Events()
        events.subscribe(self.witness.told, JobEnded, ServiceStarted)
        return Scheduler(load(tables), self._routes(), self.store, clock=LoopClock(), rng=rng, logs=None, events=events)

    # -- handlers

    def _routes(self) -> Registry:
        routes = Registry()
        for task_type, scope in TASK_TYPES.items():
            routes.handler(task_type, pool=scope.removeprefix("pool:") or None, timeout_s=2.0 if task_type == "d" else None)(self._handle)
        return routes

    async def _handle(self, job: JobContext) -> Any:
        about = {"job": job.job_id, "token": job.job.token, "task_type": job.task_type, "pid": 1}
        self.witness.runs.append({"what": "start", **about})
        how = "returned"
        try:
            return await self._work(job)
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            self.witness.runs.append({"what": "end", "how": how, **about})

    async def _work(self, job: JobContext) -> Any:
        result = {"token": job.job.token}
        act: Callable[[JobContext], Any] = self.rng.choice(_ACTS) if self.troubled else _nothing
        try:
            for step in range(self.rng.randrange(3)):
                job.progress(step, 3)
                await anyio.sleep(self.rng.uniform(0.0, 1.5))
            await job.checkpoint(result)
            await act(job)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.rng.choice([0.0, 0.0, 2.0]))  # cleaning up
            if self.rng.random() < 0.2:
                return result  # swallowed
            raise
        if self.troubled and self.rng.random() < 0.1:
            await self.enqueue(1)
        if self.troubled and self.rng.random() < 0.01:
            self.scheduler.stop()
        return result

    # -- people

    async def enqueue(self, count: int) -> None:
        rng = self.rng
        news = [
            NewJob(
                rng.choice(list(TASK_TYPES)),
                priority=rng.choice([0, 0, 3]),
                run_after=self.scheduler.clock.now() + rng.uniform(-5.0, 40.0) if rng.random() < 0.3 else None,
                unique_key=f"key-{rng.randrange(6)}" if rng.random() < 0.2 else None,
                max_attempts=rng.choice([None, None, 1, 5]),
            )
            for _ in range(count)
        ]
        for receipt in await self.scheduler.enqueue_many(news):
            self.witness.acknowledged(receipt.job_id)

    async def _meddle(self) -> None:
        """One thing that somebody does."""
        rng, scheduler = self.rng, self.scheduler
        scope = rng.choice(["a", "b", "c", "d", "pool:p"])
        match rng.randrange(10):
            case 0 | 1 | 2:
                await self.enqueue(rng.choice([1, 1, 5, 40]))
            case 3:
                await scheduler.pause(scope, for_s=rng.choice([None, 0.0, 3.0, 30.0]))
            case 4:
                if await scheduler.resume(scope):
                    self.witness.clients.append({"what": "resumed", "scope": scope})
            case 5 | 8 if jobs := await scheduler.jobs(status=rng.choice([None, "processing"]), limit=30):
                job_id = rng.choice(jobs).job_id
                self.witness.clients += [{"what": "cancelled", "job": job.job_id} for job in await scheduler.cancel(job_id)]
                if rng.random() < 0.5:  # while its handler may still clean up
                    await scheduler.retry(job_id)
            case 6:
                await scheduler.retry(
                    status=rng.choice(["failed_ai", "failed_timeout", "failed_job_logic", "cancelled"]), task_type=rng.choice("abcd")
                )
            case 7:
                await self._somebody_dies()
            case _:
                await self._ask_for_nonsense()

    async def _somebody_dies(self) -> None:
        """A worker claims a job or two and is never heard of again."""
        task_type = self.rng.choice(list(TASK_TYPES))
        scopes = tuple(scope for scope in (task_type, TASK_TYPES[task_type]) if scope)
        wanted = Want(task_type, self.rng.randrange(1, 3), scopes)
        await self.store.claim([wanted], f"dead-{self.rng.randrange(10**9)}", self.scheduler.clock.now())

    async def _ask_for_nonsense(self) -> None:
        try:
            await self.scheduler.enqueue("a", target_id="refused", payload={"n": float("inf")})
        except InvalidJobError:
            self.witness.clients.append({"what": "refused", "target": "refused"})

    # -- the day

    async def day(self) -> Evidence:
        async with self.scheduler, anyio.create_task_group() as people:
            people.start_soon(self._people)
            while self.troubled:
                with anyio.move_on_after(self.rng.uniform(1.0, 80.0)) as shift:
                    await self.scheduler.run()
                if not shift.cancel_called:
                    await anyio.sleep(self.rng.uniform(0.0, 5.0))
            for window in await self.scheduler.pauses():
                if window.until == float("inf"):  # the others must open by themselves
                    await self.scheduler.resume(window.scope)
                    self.witness.clients.append({"what": "resumed", "scope": window.scope})
            with anyio.fail_after(100_000.0):
                await self.scheduler.run(until_empty=True)
        return Evidence(
            self.witness.clients, self.witness.runs, self.witness.events, self.store.audit, self.store.final_rows(),
            limits=self.limits, pools={name: scope for name, scope in TASK_TYPES.items() if scope},
        )  # fmt: skip

    async def _people(self) -> None:
        await self.enqueue(60)
        while anyio.current_time() < TROUBLE_S:
            await anyio.sleep(self.rng.expovariate(0.5))
            await self._meddle()
            if self.rng.random() < 0.05:
                self.scheduler.stop(grace_s=self.rng.choice([0.0, 2.0]))
        self.troubled = False
        self.scheduler.stop()


async def _nothing(job: JobContext) -> None:
    return None


def _raising(make: Callable[[], BaseException]) -> Callable[[JobContext], Any]:
    async def act(job: JobContext) -> None:
        raise make()

    return act


async def _dawdle(job: JobContext) -> None:
    await anyio.sleep(5.0)


_ACTS = [
    *[_nothing] * 8,
    _dawdle,
    _raising(AIProviderError),
    _raising(lambda: AIProviderError(retry_after_s=3.0)),
    _raising(RateLimitError),
    _raising(lambda: RateLimitError(retry_after_s=4.0)),
    _raising(OverloadedError),
    _raising(ProviderRefusedError),
    _raising(lambda: ValueError("bug")),
    _raising(lambda: SystemExit(1)),
    _raising(lambda: ExceptionGroup("both", [ValueError(), RateLimitError()])),
]


def simulate(seed: int) -> tuple[list[str], Evidence]:
    """Live through the day that ``seed`` makes; the violations and what they were judged by."""
    evidence = run(Simulation(seed).day())
    return check(evidence), evidence


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    broken = 0
    for seed in range(asked.first, asked.first + asked.seeds):
        try:
            violations, _ = simulate(seed)
        except Exception as error:  # the seed is what the reader needs
            violations = [f"{type(error).__name__}: {error}"]
        if violations:
            broken += 1
            print(f"seed {seed}:", *violations[:10], sep="\n  ")
    print(f"{asked.seeds} days, {broken} with violations")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
