"""``enrich``: the main job. Folders and files in; summaries, keywords and topics in the catalog out.

Scanning, storing and running go on at the same time; the scan is held back when too many jobs wait, so
that memory does not grow with what is scanned. Does not belong here: what a folder holds (``catalog/``),
or how an answer is found (``handlers/``).
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from anyio import to_thread

from scheduler.catalog.catalog import Catalog
from scheduler.catalog.reading import SkipReason
from scheduler.catalog.scan import SkipCounts, roots, scan
from scheduler.catalog.targets import CODE_ENTITY, PROJECT_DOCUMENT, Target
from scheduler.cli import options, render, report
from scheduler.cli.progress import RunView, Ticker
from scheduler.cli.signals import StopOnSignals, run_and_exit
from scheduler.cli.tables import Column, table
from scheduler.cli.tally import Tally, counts_of
from scheduler.cli.waiting import Waiting
from scheduler.cli.work import SOME_FAILED, following, with_quiet_log
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError
from scheduler.job import NewJob
from scheduler.registry import Route, fingerprint
from scheduler.runtime import Scheduler

SUMMARY_KEYWORDS, TOPICS = "enrich_entity_summary_keywords", "generate_topics"
_TASKS = {CODE_ENTITY: SUMMARY_KEYWORDS, PROJECT_DOCUMENT: SUMMARY_KEYWORDS}
#: A batch ends at whichever comes first: a transaction's worth of targets, or so much text.
_BATCH, _BATCH_CHARS = 500, 2_000_000
#: The scan waits while so many jobs do.
_MOST_OPEN = 50_000


def enrich(
    paths: Annotated[list[str], typer.Argument(help="Folders and files: code, documents, chat exports", metavar="PATH...")],
    force: Annotated[bool, typer.Option("--force", help="Enrich also what has not changed since")] = False,
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Summarise code, documents and conversations; only what changed since the last time.

    Exits with 1 if a job failed or was left waiting. Interrupted, it goes on where it was when run again.
    """
    # Jobs of other services in the same store are none of its business: without a handler here they are left alone.
    engine = {"concurrency": concurrency, "unknown_routes": "leave"}
    more: options.More = {"scheduler": engine, "log": {"level": log_level}}
    settings = options.settings_for(config, store, assign, more)
    starts = roots(paths)
    scheduler = Scheduler.open(settings if log_level else with_quiet_log(settings))
    enrichment = Enrichment(scheduler, starts, force=force)
    began = SystemClock.monotonic()

    def told() -> int:
        seconds = SystemClock.monotonic() - began
        if as_json:
            render.emit_json(enrichment.to_dict() | {"seconds": round(seconds, 3)}, indent=None)
        else:
            _show(enrichment, seconds)
        if enrichment.waiting.stopped_by is not None:
            render.note(f"stopped by {signal.Signals(enrichment.waiting.stopped_by).name}: run the same command again to go on")
        elif enrichment.waiting.held:
            render.note(f"{render.plural(len(enrichment.tally.open), 'job')} left waiting: {enrichment.waiting.held}")
        return enrichment.exit_code()

    run_and_exit(enrichment.run, told)


@dataclass
class Seen:
    """What the scan met."""

    targets: int = 0
    unchanged: int = 0
    gone: int = 0
    is_over: bool = False
    skipped: SkipCounts = field(default_factory=SkipCounts)


class Enrichment:
    """One run of the main job."""

    def __init__(self, scheduler: Scheduler, starts: list[Path], *, force: bool) -> None:
        self.seen = Seen()
        self.tally = Tally(expecting=True)
        self.waiting = Waiting(scheduler, self.tally)
        self.scheduler = scheduler
        self._starts = starts
        self._force = force
        for task_type, target_type in ((SUMMARY_KEYWORDS, CODE_ENTITY), (SUMMARY_KEYWORDS, PROJECT_DOCUMENT), (TOPICS, "conversation")):
            route = scheduler.routes.find(task_type, target_type)
            if route is None:
                raise ConfigError(f"no handler takes ({task_type!r}, {target_type!r}): add 'handlers.enrichment' to [handlers] modules")
            _try(route, scheduler)

    async def run(self) -> None:
        """Scan and run to the end, or until a signal (``waiting.stopped_by``) ends it early."""
        view = RunView("Enriching", self.tally, lambda: self.tally.waiting, self._detail, total_known=lambda: self.seen.is_over)
        self.tally.follow(self.scheduler.events)
        catalog = Catalog(self.scheduler.settings.catalog.path)
        async with self.scheduler, catalog, following(catalog, self.scheduler) as follower:
            with StopOnSignals(self.scheduler, self.exit_code, on_stop=self.waiting.stop), Ticker(view.plain, view.drawn) as ticker:
                async with anyio.create_task_group() as beside:
                    beside.start_soon(ticker.run)
                    beside.start_soon(self._feed_and_finish, catalog)
                    await self.scheduler.run()
                    beside.cancel_scope.cancel()
            if self.waiting.stopped_by is None:
                await self.waiting.look_up()
                await follower.flush()
                # Unchanged targets that the catalog did not know yet, and what other processes did.
                await follower.reconcile(self.scheduler.store.find, self.scheduler.clock.now())

    def exit_code(self) -> int:
        """0 when everything is enriched, 1 when a job failed or waits, else what a shell says of a signal."""
        if self.waiting.stopped_by is not None and (self.tally.open or not self.seen.is_over):
            return 128 + self.waiting.stopped_by
        return SOME_FAILED if self.tally.failed or self.tally.open else 0

    def to_dict(self) -> dict[str, Any]:
        """For machines."""
        skipped = {str(reason): count for reason, count in self.seen.skipped.counts.items()}
        return {"targets": self.seen.targets, "unchanged": self.seen.unchanged, **counts_of(self.tally), "skipped": skipped}

    # -- in

    async def _feed_and_finish(self, catalog: Catalog) -> None:
        await self._feed(catalog)
        await self.waiting.wait_while(lambda: bool(self.tally.open))
        self.scheduler.stop()

    async def _feed(self, catalog: Catalog) -> None:
        """Bring what the scan finds into the catalog and the store, batch by batch."""
        limit = self.scheduler.settings.catalog.max_file_bytes
        stamp = self.scheduler.clock.now()
        targets = scan(self._starts, max_file_bytes=limit, on_skip=self.seen.skipped)
        while batch := await to_thread.run_sync(_next_batch, targets):
            if self.waiting.stopped_by is not None:
                return
            await self._take(batch, catalog)
            await self.waiting.wait_while(lambda: len(self.tally.open) >= _MOST_OPEN)
            if self.waiting.held:
                return
        if not self.seen.skipped.counts[SkipReason.UNREADABLE]:  # a folder out of reach for now is not gone
            self.seen.gone = await catalog.forget_missing(self._starts, stamp)
        self.seen.is_over = True

    async def _take(self, batch: list[Target], catalog: Catalog) -> None:
        await catalog.record(batch, self.scheduler.clock.now())
        receipts = await self.scheduler.enqueue_many(_job(target, self._force) for target in batch)
        jobs = []
        for target, receipt in zip(batch, receipts, strict=True):
            if receipt.unchanged:
                self.seen.unchanged += 1
            elif not receipt.created:  # left from an earlier run; those created are known by their event
                self.tally.expect(receipt.job_id, _TASKS.get(target.target_type, TOPICS))
            jobs.append((target.target_id, receipt.job_id))
        self.seen.targets += len(batch)
        await catalog.mark_jobs(jobs, self.scheduler.clock.now())

    # -- what is shown

    def _detail(self) -> str:
        scanning = "" if self.seen.is_over else f"scanning: {render.plural(self.seen.targets, 'target')} so far"
        unchanged = f"{self.seen.unchanged:,} unchanged" if self.seen.unchanged else ""
        return ", ".join(filter(None, (scanning, unchanged, self.waiting.paused)))


def _try(route: Route, scheduler: Scheduler) -> None:
    """Make what the route's freshness asks for, so that a missing key or extra shows before anything is changed."""
    with suppress(KeyError, TypeError, AttributeError):  # an empty payload need not fit
        fingerprint(route, {}, scheduler.resources)


def _next_batch(targets: Iterator[Target]) -> list[Target]:
    """Runs in a thread."""
    batch: list[Target] = []
    chars = 0
    for target in targets:
        batch.append(target)
        chars += _size(target.payload)
        if len(batch) >= _BATCH or chars >= _BATCH_CHARS:
            break
    return batch


def _size(payload: dict[str, Any]) -> int:
    text = payload.get("text")
    if isinstance(text, str):
        return len(text)
    messages: Iterable[dict[str, str]] = payload.get("messages", ())
    return sum(len(message["text"]) for message in messages)


def _job(target: Target, force: bool) -> NewJob:
    task_type = _TASKS.get(target.target_type, TOPICS)
    return NewJob(task_type, target.target_type, target.target_id, target.payload, force=force)


# -- what is left to read


def _show(enrichment: Enrichment, seconds: float) -> None:
    seen, tally = enrichment.seen, enrichment.tally
    parts = [f"{render.plural(seen.targets, 'target')} in {render.span(seconds)}", f"{seen.unchanged:,} unchanged"]
    if seen.gone:
        parts.append(f"{seen.gone:,} no longer there")
    render.say(", ".join(parts))
    report.show_counts(tally)
    report.show_slowest(tally)
    report.show_samples(tally)
    _show_skipped(seen.skipped)
    _show_where(enrichment)


def _show_skipped(skipped: SkipCounts) -> None:
    """Files that gave no targets, with one example of each kind."""
    counts = {reason: count for reason, count in skipped.counts.items() if count and reason is not SkipReason.SYMLINK}
    if counts:
        render.heading("Skipped files")
        rows = [(str(reason), f"{count:,}", _example(skipped, reason)) for reason, count in counts.items()]
        table(("why", Column("files", right=True), Column("for example", fit="wrap")), rows)


def _example(skipped: SkipCounts, reason: SkipReason) -> str:
    first = skipped.examples[reason][0]
    return f"{first.path}: {first.detail}"


def _show_where(enrichment: Enrichment) -> None:
    settings = enrichment.scheduler.settings
    render.heading("Where the rest is")
    pairs = [("scheduler find WORDS", f"searches what was learned ({settings.catalog.path})")]
    if enrichment.tally.failed:
        pairs.append(
            ("scheduler jobs --status failed_ai", f"lists what failed ({settings.scheduler.store}); `scheduler retry` sends it back")
        )
    else:
        pairs.append(("scheduler jobs", f"lists the jobs ({settings.scheduler.store})"))
    render.facts(pairs)
