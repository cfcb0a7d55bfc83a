"""The processes that the kill tests start, stop and kill: a service, and clients that enqueue meanwhile.

    python -m tests.support.service_process serve FOLDER [SETTINGS as JSON]
    python -m tests.support.service_process enqueue FOLDER SEED

Both work on ``FOLDER/jobs.db``, or the store whose URL is in ``FOLDER/store-url``, and write what they did to JSON
lines of their own, one write a line, so that a kill -9 loses no line that was written: the service ``runs-*.jsonl``
and ``events-*.jsonl``, a client ``client-*.jsonl``. ``checker.py`` reads them. A service waits for a line on its
standard input before it opens the store, so that tests can have it ready beforehand.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from scheduler import AIProviderError, InvalidJobError, JobContext, NewJob, NotFoundError, RateLimitError, Registry, Scheduler, StoreError
from scheduler.cli.signals import StopOnSignals, run_and_exit
from scheduler.events import Event, JobEnded, LoopBlocked, ServiceStarted, StoreFailing, StoreRecovered

T = TypeVar("T")

SETTINGS: dict[str, dict[str, Any]] = {
    "scheduler": {
        "concurrency": 16,
        "poll_interval_s": 0.25,
        "backoff_base_s": 0.02,
        "backoff_max_s": 0.2,
        "rate_limit_pause_s": 0.05,
        "drain_grace_s": 0.5,
        "lease_s": 5.0,
    },
    "task_types": {"slow": {"concurrency": 6}},
    "retention": {"sweep_interval_s": 1.0},
}


class Lines:
    """A file of JSON lines; each is one ``write`` of the system, whole or not there."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, **fields: Any) -> None:
        os.write(self._file, json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **fields}).encode() + b"\n")


def handlers(lines: Lines) -> Registry:
    """A handler for every way a job can go; each notes its start and its end with the lease's token."""
    routes = Registry()
    rng = random.Random()

    def noted(work: Callable[[JobContext], Any]) -> Callable[[JobContext], Any]:
        async def handler(job: JobContext) -> Any:
            about = {"job": job.job_id, "token": job.job.token, "attempt": job.attempt, "task_type": job.task_type}
            lines.write("start", **about)
            how = "returned"
            try:
                await work(job)
            except BaseException as error:
                how = type(error).__name__
                raise
            finally:
                lines.write("end", how=how, **about)
            return {"token": job.job.token}

        return handler

    def route(task_type: str) -> Callable[[Callable[[JobContext], Any]], None]:
        return lambda work: routes.handler(task_type)(noted(work)) and None

    @route("quick")
    async def quick(job: JobContext) -> None:
        return None

    @route("slow")
    async def slow(job: JobContext) -> None:
        for step in range(4):
            job.progress(step, 4)
            await anyio.sleep(rng.uniform(0.0, 0.05))
        await job.checkpoint({"done": job.attempt})

    @route("threaded")
    async def threaded(job: JobContext) -> None:
        await to_thread.run_sync(time.sleep, 0.01)

    @route("flaky")
    async def flaky(job: JobContext) -> None:
        await anyio.sleep(0.01)
        if rng.random() < 0.4:
            raise AIProviderError("flaky")

    @route("limited")
    async def limited(job: JobContext) -> None:
        await anyio.sleep(0.01)
        if rng.random() < 0.1:
            raise RateLimitError("later", retry_after_s=rng.uniform(0.02, 0.1))

    @route("hopeless")
    async def hopeless(job: JobContext) -> None:
        raise AIProviderError("always")

    @route("endless")
    async def endless(job: JobContext) -> None:
        await job.checkpoint({"attempt": job.attempt})
        await anyio.sleep(600.0)

    @route("zombie")
    async def zombie(job: JobContext) -> None:
        """Runs until it is cancelled, and then tries to write as if it still had the right to."""
        try:
            await anyio.sleep(600.0)
        finally:
            with anyio.CancelScope(shield=True):
                await job.checkpoint({"late": job.job.token})

    @route("blocking")
    async def blocking(job: JobContext) -> None:
        time.sleep(float(job.target_id))  # noqa: ASYNC251 - the fault that is to be shown

    return routes


TASK_TYPES = ("quick", "slow", "threaded", "flaky", "limited", "hopeless")


def settings_in(folder: Path, **over: Any) -> dict[str, Any]:
    """``SETTINGS`` on the store in ``folder``, or whose URL is there; ``over`` goes over ``[scheduler]``."""
    elsewhere = folder / "store-url"
    store = elsewhere.read_text("utf-8") if elsewhere.exists() else f"sqlite:///{folder}/jobs.db"
    return {**SETTINGS, "scheduler": {**SETTINGS["scheduler"], "store": store, **over}}


async def serve(folder: Path, over: dict[str, Any]) -> None:
    """A service until a signal, or with ``until_empty`` until nothing is left."""
    over = dict(over)
    until_empty = over.pop("until_empty", False)
    runs = Lines(folder / f"runs-{os.getpid()}.jsonl")
    events = Lines(folder / f"events-{os.getpid()}.jsonl")

    def told(event: Event) -> None:
        events.write(event.name, **event.fields())

    # Its log says only what is wrong with the store: no line of a job's own end.
    settings = {**settings_in(folder, **over), "log": {"level": "error", "path": f"{folder}/log-{os.getpid()}.txt", "format": "json"}}
    scheduler = Scheduler.open(settings, handlers(runs))
    scheduler.events.subscribe(told, JobEnded, ServiceStarted, LoopBlocked, StoreFailing, StoreRecovered)
    await to_thread.run_sync(sys.stdin.readline)
    events.write("go")
    async with scheduler:
        with StopOnSignals(scheduler):
            await scheduler.run(until_empty=until_empty)


class Client:
    """Enqueues, one and many, with and without keys, cancels some of its own; notes what was acknowledged."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._rng = random.Random(seed)
        self._lines = Lines(folder / f"client-{seed}.jsonl")
        self._folder = folder
        self._mine: list[str] = []

    async def run(self) -> None:
        """Until a line comes on standard input."""
        async with Scheduler.open(settings_in(self._folder), Registry(), logs=False) as scheduler:
            waiting = asyncio.create_task(to_thread.run_sync(sys.stdin.readline))
            while not waiting.done():
                await self._act(scheduler)
                await anyio.sleep(self._rng.uniform(0.005, 0.03))

    async def _act(self, scheduler: Scheduler) -> None:
        dice = self._rng.random()
        try:
            if dice < 0.6:
                await self._enqueue(scheduler)
            elif dice < 0.8:
                await self._enqueue_many(scheduler)
            elif dice < 0.9:
                await self._cancel(scheduler)
            else:
                await self._enqueue_badly(scheduler)
        except StoreError as error:
            self._lines.write("store_error", error=str(error))
        except NotFoundError as error:  # a job of ours is gone: the checker says so, this process goes on
            self._lines.write("missing", error=str(error))

    def _new(self) -> NewJob:
        later = self._rng.random() < 0.1
        return NewJob(
            self._rng.choice(TASK_TYPES),
            payload={"n": self._rng.randrange(1_000)},
            priority=self._rng.choice([0, 0, 0, 5]),
            run_after=time.time() + self._rng.uniform(0.0, 0.5) if later else None,
            unique_key=f"key-{self._rng.randrange(20)}" if self._rng.random() < 0.2 else None,
        )

    async def _enqueue(self, scheduler: Scheduler) -> None:
        new = self._new()
        receipt = await scheduler.enqueue(
            new.task_type, payload=new.payload, priority=new.priority, run_after=new.run_after, unique_key=new.unique_key
        )
        self._note(receipt.job_id, receipt.created, new)

    async def _enqueue_many(self, scheduler: Scheduler) -> None:
        news = [self._new() for _ in range(self._rng.randrange(1, 20))]
        for new, receipt in zip(news, await scheduler.enqueue_many(news), strict=True):
            self._note(receipt.job_id, receipt.created, new)

    def _note(self, job_id: str, created: bool, new: NewJob) -> None:
        self._lines.write("ack", job=job_id, created=created, key=new.unique_key, task_type=new.task_type)
        self._mine.append(job_id)

    async def _cancel(self, scheduler: Scheduler) -> None:
        if not self._mine:
            return
        job_id = self._rng.choice(self._mine[-30:])
        try:
            cancelled = await scheduler.cancel(job_id)
        except StoreError:
            self._lines.write("cancelled_perhaps", job=job_id)  # it may have been done, and the answer lost
            raise
        for before in cancelled:
            self._lines.write("cancelled", job=job_id, was=before.status)

    async def _enqueue_badly(self, scheduler: Scheduler) -> None:
        try:
            await scheduler.enqueue("quick", target_id="refused", payload={"n": float("nan")})
        except InvalidJobError:
            self._lines.write("refused", target="refused")


def main(verb: str, folder: str, argument: str = "{}") -> None:
    if verb == "serve":
        run_and_exit(partial(serve, Path(folder), json.loads(argument)), lambda: 0)
    else:
        asyncio.run(Client(Path(folder), int(argument)).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
