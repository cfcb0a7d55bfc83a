"""``stats``, ``handlers`` and ``prune``: what the store holds, what would run it, what may go."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from scheduler.cli import options, pauses, render
from scheduler.cli.tables import Column, table
from scheduler.clock import SystemClock
from scheduler.job import FAILED, WAITING, Status
from scheduler.modules import load_routes
from scheduler.stats import Stats
from scheduler.views.operating import HandlerView, StatsView, task_types_of


def stats(
    owner: options.Owner = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Count jobs by task type, status and reason; show pauses and workers."""
    settings = options.settings_for(config, store, assign)

    async def ask() -> Stats:
        async with options.opened(settings) as scheduler:
            return await scheduler.stats(owner=owner)

    counted = anyio.run(ask)
    now = SystemClock.now()
    users = task_types_of(settings, pauses.routes_or_none(settings))
    standing = [window for window in counted.pauses if not window.is_open(now)]
    if as_json:
        render.emit_json(StatsView.of(counted, now, users))
        return
    _show_counts(counted)
    if counted.reasons:
        render.heading("Reasons")
        table(("reason", Column("jobs", right=True)), [(reason, f"{count:,}") for reason, count in counted.reasons.items()])
    if standing:
        render.heading("Pauses")
        pauses.show_pauses(standing, users, now)
    render.heading("Workers")
    if counted.workers:
        rows = [(one.worker_id, one.host, one.pid, render.local_time(one.started_at)) for one in counted.workers]
        table(("worker", Column("host", minor=True), Column("pid", right=True), "since"), rows)
    else:
        render.say("none: start one with `scheduler serve`")


_GROUPS = (
    ("waiting", WAITING),
    ("running", frozenset({Status.PROCESSING})),
    ("completed", frozenset({Status.COMPLETED})),
    ("failed", FAILED),
    ("cancelled", frozenset({Status.CANCELLED})),
)


def _show_counts(counted: Stats) -> None:
    """Task types down, kinds of status across; statuses themselves below."""

    def sums(counts: dict[str, int]) -> list[str]:
        return [f"{sum(counts.get(str(status), 0) for status in statuses):,}" for _, statuses in _GROUPS]

    if not counted.total:
        render.say("no jobs")
        return
    heads = [Column("task type"), *(Column(name, right=True) for name, _ in _GROUPS), Column("all", right=True)]
    rows = [(name, *sums(counts), f"{sum(counts.values()):,}") for name, counts in counted.by_task_type.items()]
    if len(rows) > 1:
        rows.append(("all", *sums(counted.by_status), f"{counted.total:,}"))
    table(heads, rows)
    render.heading("Statuses")
    table(("status", Column("jobs", right=True)), [(status, f"{count:,}") for status, count in counted.by_status.items()])


def handlers(
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """List the routes: which handler runs for which jobs, and under what limits."""
    settings = options.settings_for(config, store, assign)
    found = [HandlerView.of(route, settings) for route in load_routes(settings.handlers).freeze()]
    if as_json:
        render.emit_json(found)
        return
    if not found:
        render.say("no handlers: name their modules under [handlers] modules in config.toml")
        return
    columns = (
        Column("task type", fit="end"),
        "target type",
        Column("handler", fit="start"),
        "pool",
        Column("at once", right=True),
        Column("attempts", right=True, minor=True),
        Column("time limit", right=True, minor=True),
        Column("skips unchanged", minor=True),
    )
    table(
        columns,
        [
            (
                one.task_type,
                one.target_type or "any",
                one.handler,
                one.pool,
                one.concurrency,
                one.max_attempts,
                "none" if one.timeout_s is None else render.span(one.timeout_s),
                "yes" if one.freshness else "no",
            )
            for one in found
        ],
    )


def prune(
    completed_after: Annotated[
        float | None,
        typer.Option(
            "--completed-after",
            help="Delete completed and cancelled jobs this long after they ended (default: as configured)",
            metavar="DURATION",
            parser=options.parse_duration,
        ),
    ] = None,
    failed_after: Annotated[
        float | None,
        typer.Option(
            "--failed-after",
            help="Delete failed jobs this long after they ended (default: as configured)",
            metavar="DURATION",
            parser=options.parse_duration,
        ),
    ] = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Delete jobs that ended long enough ago. What waits or runs is never touched."""
    retention = {"completed_after_s": completed_after, "failed_after_s": failed_after}
    settings = options.settings_for(config, store, assign, {"retention": retention})

    async def change() -> int:
        async with options.opened(settings) as scheduler:
            return await scheduler.prune()

    deleted = anyio.run(change)
    if as_json:
        render.emit_json({"deleted": deleted})
        return
    render.say(f"deleted {render.plural(deleted, 'job')}")
    keep = settings.retention
    if keep.completed_after_s == keep.failed_after_s == float("inf"):
        render.note("[retention] keeps every job: set it in config.toml, or give --completed-after 7d or --failed-after 30d")
