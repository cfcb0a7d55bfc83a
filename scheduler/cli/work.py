"""``run`` and ``serve``: this process as a worker, from start to a clean stop.

Does not belong here: what a signal does (``signals.py``), or the main job (``enrich.py``).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import anyio
import typer

from scheduler.api import server
from scheduler.api.app import open_app
from scheduler.catalog.catalog import Catalog
from scheduler.catalog.status import CatalogFollower
from scheduler.cli import options, render, report
from scheduler.cli.progress import RunView, Ticker
from scheduler.cli.signals import StopOnSignals, run_and_exit
from scheduler.cli.tally import Tally, counts_of
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError
from scheduler.job import UNFINISHED
from scheduler.remaining import Left
from scheduler.runtime import Scheduler
from scheduler.settings import Settings
from scheduler.stores.base import JobQuery

SOME_FAILED = 1
_LOOK_EVERY_S = 2.0


def run(
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when nothing is left; pauses and retries are waited out")] = False,
    for_s: Annotated[
        float | None,
        typer.Option("--for", help="A slice of work: end within so long, as 20s", metavar="DURATION", parser=options.parse_duration),
    ] = None,
    max_jobs: Annotated[int | None, typer.Option("--max-jobs", min=1, help="End after so many jobs were started", metavar="N")] = None,
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Run jobs until stopped (Ctrl-C, SIGTERM), until none are left, or for a slice of work. Exits with 1 if one failed."""
    more: options.More = {"scheduler": {"concurrency": concurrency}, "log": {"level": log_level}}
    settings = options.settings_for(config, store, assign, more)
    quiet = until_empty and log_level is None
    scheduler = Scheduler.open(with_quiet_log(settings) if quiet else settings)
    tally = Tally(expecting=False)
    bounds = _Bounds(until_empty, for_s, max_jobs)
    began = SystemClock.monotonic()

    def told() -> int:
        seconds = SystemClock.monotonic() - began
        if as_json:
            left = {} if bounds.left is None else {"left": bounds.left.to_dict()}
            render.emit_json(counts_of(tally) | {"seconds": round(seconds, 3)} | left, indent=None)
        else:
            report.show_run(tally, seconds)
            if bounds.left is not None:
                render.say(f"left: {render.plural(bounds.left.jobs, 'unfinished job')}")
        return SOME_FAILED if tally.failed else 0

    run_and_exit(partial(_run, scheduler, tally, bounds), told)


@dataclass
class _Bounds:
    """When the run ends by itself. ``left``: what a slice of work left."""

    until_empty: bool
    for_s: float | None
    max_jobs: int | None
    left: Left | None = None

    async def run(self, scheduler: Scheduler) -> None:
        left = await scheduler.run(until_empty=self.until_empty, max_seconds=self.for_s, max_jobs=self.max_jobs)
        if self.for_s is not None or self.max_jobs is not None:
            self.left = left


async def _run(scheduler: Scheduler, tally: Tally, bounds: _Bounds) -> None:
    """Run and count; with a display when there is an end to come nearer to."""
    tally.follow(scheduler.events)
    left = _Left(scheduler)
    view = RunView("Running", tally, lambda: max(0, left.unfinished - tally.running), lambda: left.pauses, total_known=lambda: True)
    async with scheduler, following_catalog(scheduler):
        with StopOnSignals(scheduler, lambda: SOME_FAILED if tally.failed else 0):
            async with anyio.create_task_group() as beside:
                if bounds.until_empty:
                    beside.start_soon(left.run)
                    with Ticker(view.plain, view.drawn) as ticker:
                        beside.start_soon(ticker.run)
                        await bounds.run(scheduler)
                else:
                    await bounds.run(scheduler)
                beside.cancel_scope.cancel()


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Listen on this address; any but loopback needs a token")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="Listen on this port; 0 for any that is free")] = None,
    no_api: Annotated[bool, typer.Option("--no-api", help="Run jobs only: no HTTP, no dashboard")] = False,
    no_jobs: Annotated[bool, typer.Option("--no-jobs", help="Answer HTTP only: other services run the jobs")] = False,
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Run jobs as a long-running service, with an API, a dashboard and JSON logs, until SIGTERM or SIGINT."""
    if no_api and no_jobs:
        raise ConfigError("--no-api and --no-jobs together leave nothing to do: give one of them")
    more: options.More = {"scheduler": {"concurrency": concurrency}, "log": {"level": log_level}, "api": {"host": host, "port": port}}
    settings = options.settings_for(config, store, assign, more)
    if settings.log.format == "auto":
        settings = settings.model_copy(update={"log": settings.log.model_copy(update={"format": "json"})})
    listening = None if no_api else server.bind(settings, search=port is None and server.is_default_port(settings.api))
    run_and_exit(partial(_serve, Scheduler.open(settings), listening, runs_jobs=not no_jobs), lambda: 0)


async def _serve(scheduler: Scheduler, listening: socket.socket | None, *, runs_jobs: bool) -> None:
    async with scheduler, following_catalog(scheduler):
        with StopOnSignals(scheduler) as signals:
            if listening is None:
                await scheduler.run()
                return
            async with open_app(scheduler) as app, server.serving(app, listening, scheduler.logger()):
                url = server.url_of(listening)
                scheduler.logger().info(server.LISTENING, url=url)
                if scheduler.settings.log.path:  # else the log line is where people look
                    render.note(f"dashboard and API: {url}")
                await (scheduler.run() if runs_jobs else signals.wait())


@asynccontextmanager
async def following_catalog(scheduler: Scheduler) -> AsyncIterator[None]:
    """Keep the catalog, if there is one, in step with the jobs that this process moves."""
    path = anyio.Path(scheduler.settings.catalog.path)
    if not await path.exists():
        yield
        return
    async with Catalog(scheduler.settings.catalog.path) as catalog, following(catalog, scheduler):
        yield


@asynccontextmanager
async def following(catalog: Catalog, scheduler: Scheduler) -> AsyncIterator[CatalogFollower]:
    """Each target's ``ai_status`` follows its job; what was noted is written before this ends."""
    follower = CatalogFollower(catalog, on_error=lambda error: render.note(f"scheduler: {error}"))
    await follower.reconcile(scheduler.store.find, scheduler.clock.now())
    leave = follower.follow(scheduler.events)
    async with anyio.create_task_group() as beside:
        beside.start_soon(follower.run)
        try:
            yield follower
        finally:
            leave()
            beside.cancel_scope.cancel()


def with_quiet_log(settings: Settings) -> Settings:
    """Warnings only, where log lines would otherwise bury the display; a log file gets what it was configured for."""
    if settings.log.path or settings.log.level == "error":
        return settings
    return settings.model_copy(update={"log": settings.log.model_copy(update={"level": "warning"})})


class _Left:
    """What the store still holds, looked at now and then."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.unfinished = 0
        self.pauses = ""
        self._scheduler = scheduler

    async def run(self) -> None:
        while True:
            counted = await self._scheduler.store.count(JobQuery(statuses=UNFINISHED))
            self.unfinished = sum(tally.count for tally in counted)
            self.pauses = report.pauses_line(await self._scheduler.pauses(), self._scheduler.clock.now())
            await anyio.sleep(_LOOK_EVERY_S)
