"""A few long jobs, and what they leave for later, from beginning to end with a display of how far they are.

What ``match``, ``discover``, ``sync`` and ``ingest`` have in common. Interrupted, the jobs stay in the store with what they have
done; the same command finds them again by their unique keys and goes on. Does not belong here: what the jobs are.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scheduler.cli import options, render
from scheduler.cli.progress import Ticker
from scheduler.cli.signals import StopOnSignals, run_and_exit
from scheduler.cli.tally import Tally, counts_of
from scheduler.cli.waiting import Waiting
from scheduler.cli.work import SOME_FAILED, with_quiet_log
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError
from scheduler.job import Job, NewJob, Status
from scheduler.runtime import Scheduler
from scheduler.settings import Settings
from scheduler.stores.base import JobQuery

_LOOK_EVERY_S = 0.25
_FOUND_AT_ONCE = 200


class LongRun:
    """``jobs`` and their follow-ups, run to their ends; ``ended`` are the jobs themselves as they stand then."""

    def __init__(self, scheduler: Scheduler, title: str, jobs: Sequence[NewJob], module: str) -> None:
        for job in jobs:
            if scheduler.routes.find(job.task_type, job.target_type) is None:
                raise ConfigError(f"no handler takes ({job.task_type!r}, {job.target_type!r}): add {module!r} to [handlers] modules")
        self.scheduler = scheduler
        self.tally = Tally(expecting=True)
        self.waiting = Waiting(scheduler, self.tally)
        self.ended: list[Job] = []
        self._title = title
        self._jobs = jobs
        self._known: dict[str, Job | None] = {}

    async def run(self) -> None:
        """Enqueue, run, wait; or until a signal ends it early."""
        self.tally.follow(self.scheduler.events)
        async with self.scheduler:
            with StopOnSignals(self.scheduler, self.exit_code, on_stop=self.waiting.stop), Ticker(self.plain, self.drawn) as ticker:
                async with anyio.create_task_group() as beside:
                    beside.start_soon(ticker.run)
                    beside.start_soon(self._watch)
                    beside.start_soon(self._feed_and_finish)
                    await self.scheduler.run()
                    beside.cancel_scope.cancel()
            await self._look()
            self.ended = [job for job in self._known.values() if job is not None]

    def exit_code(self) -> int:
        """0 when every job completed, 1 when one failed or waits, else what a shell says of a signal."""
        if self.waiting.stopped_by is not None and self.tally.open:
            return 128 + self.waiting.stopped_by
        return SOME_FAILED if self.tally.done > self.tally.ends[Status.COMPLETED, None] or self.tally.open else 0

    # -- running

    async def _feed_and_finish(self) -> None:
        receipts = await self.scheduler.enqueue_many(iter(self._jobs))
        for job, receipt in zip(self._jobs, receipts, strict=True):
            self._known[receipt.job_id] = None
            if not receipt.created and not receipt.unchanged:  # left from an earlier run
                self.tally.expect(receipt.job_id, job.task_type)
        await self.waiting.wait_while(lambda: bool(self.tally.open))
        self.scheduler.stop()

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(_LOOK_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        """How far each job is. Follow-ups are jobs like any other once they exist."""
        for job_id in self.tally.open:
            self._known.setdefault(job_id, None)
        asked = [job_id for job_id, job in self._known.items() if job is None or not job.status.is_terminal]
        for start in range(0, len(asked), _FOUND_AT_ONCE):
            ids = tuple(asked[start : start + _FOUND_AT_ONCE])
            for job in await self.scheduler.store.find(JobQuery(job_ids=ids, limit=len(ids))):
                self._known[job.job_id] = job

    # -- looking

    def plain(self) -> str:
        """One line."""
        return f"{self._title}: {self._percent():.0f} %" + "".join(f"; {line}" for line in self._lines())

    def drawn(self) -> RenderableType:
        """A bar, and what the running jobs say."""
        grid = Table.grid(padding=(0, 1))
        percent = self._percent()
        grid.add_row(Text(self._title, style="bold"), ProgressBar(total=100, completed=percent, width=40), Text(f"{percent:4.0f} %"))
        return Group(grid, *(Text(render.clean(line), no_wrap=True, overflow="ellipsis") for line in self._lines()))

    def _percent(self) -> float:
        jobs = list(self._known.values())
        return sum(_percent(job) for job in jobs) / len(jobs) if jobs else 0.0

    def _lines(self) -> list[str]:
        running = [job for job in self._known.values() if job is not None and job.status is Status.PROCESSING]
        lines = [line for job in running[:3] if (line := _line(job))]
        return [*lines, self.waiting.paused] if self.waiting.paused else lines


def _percent(job: Job | None) -> float:
    if job is None:
        return 0.0
    return 100.0 if job.status.is_terminal else job.progress.percent if job.progress is not None else 0.0


def _line(job: Job) -> str:
    """``matching items 1: 450 of 1,000, 89 matches, 3m 20s left``"""
    progress = job.progress
    if progress is None:
        return ""
    counted = f"{progress.current:,g} of {progress.total:,g}" if progress.current is not None and progress.total else ""
    left = f"{render.span(progress.left_s)} left" if progress.left_s is not None and math.isfinite(progress.left_s) else ""
    told = ", ".join(part for part in (counted, progress.message, left) if part)
    return f"{job.task_type} {job.target_id}: {told}" if told else ""


def run_long(
    settings: Settings,
    title: str,
    jobs: Sequence[NewJob],
    module: str,
    show: Callable[[list[Job]], None],
    *,
    as_json: bool,
    quiet: bool = True,
) -> None:
    """Run ``jobs`` and exit. With ``as_json`` standard output gets one object: ``jobs``, ``reasons``, ``results``, ``seconds``."""
    scheduler = Scheduler.open(with_quiet_log(settings) if quiet else settings)
    run = LongRun(scheduler, title, jobs, module)
    began = SystemClock.monotonic()

    def told() -> int:
        seconds = SystemClock.monotonic() - began
        if as_json:
            render.emit_json(counts_of(run.tally) | {"results": results(run.ended), "seconds": round(seconds, 3)}, indent=None)
        else:
            show(run.ended)
            for job in run.ended:
                if job.status is not Status.COMPLETED and job.error:
                    render.note(f"{job.task_type} {job.target_id}: {job.status} ({job.reason}): {job.error}; `scheduler show {job.job_id}`")
        if run.waiting.stopped_by is not None:
            render.note(f"stopped by {signal.Signals(run.waiting.stopped_by).name}: run the same command again to go on")
        elif run.waiting.held:
            render.note(f"{render.plural(len(run.tally.open), 'job')} left waiting: {run.waiting.held}")
        return run.exit_code()

    run_and_exit(run.run, told)


def results(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """What each job came to, for machines."""
    return [
        {"job_id": job.job_id, "task_type": job.task_type, "status": str(job.status), "error": job.error, "result": job.result}
        for job in jobs
    ]


def settings_of(config: Any, store: str | None, assign: list[str] | None, concurrency: int | None, log_level: str | None) -> Settings:
    """The settings of a command that runs jobs of its own: those of other services in the same store are left to them."""
    more: options.More = {"scheduler": {"concurrency": concurrency, "unknown_routes": "leave"}, "log": {"level": log_level}}
    return options.settings_for(config, store, assign, more)


def existing(path: Path) -> Path:
    """``path`` as any process finds it. Raises ``ConfigError`` if there is nothing."""
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder")
    return path.resolve()


def content_of(*paths: Path) -> str:
    """A digest of what stands in files, as handlers check it. Raises ``ConfigError``."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def key_of(task_type: str, payload: dict[str, Any]) -> str:
    """The unique key of a command's job: the same command on the same files is the same job."""
    return f"{task_type}:{hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:32]}"
