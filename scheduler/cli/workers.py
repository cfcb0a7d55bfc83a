"""``workers``: who runs jobs on this store, and who has stopped without saying so."""

from __future__ import annotations

import anyio

from scheduler.cli import options, render
from scheduler.cli.tables import Column, table
from scheduler.roster import Listed
from scheduler.views.operating import WorkerView


def workers(
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """List the workers, living and lost, and how many jobs each runs."""
    settings = options.settings_for(config, store, assign)

    async def ask() -> list[Listed]:
        async with options.opened(settings) as scheduler:
            return await scheduler.workers()

    listed = anyio.run(ask)
    if as_json:
        render.emit_json([WorkerView.of(one) for one in listed])
        return
    if not listed:
        render.say("none: start one with `scheduler serve`")
        return
    columns = (
        "worker",
        "state",
        Column("running", right=True),
        Column("at once", right=True, minor=True),
        Column("last beat", right=True),
        Column("host", minor=True),
        Column("pid", right=True, minor=True),
        Column("since", minor=True),
    )
    rows = [
        (
            one.worker.worker_id,
            "living" if one.lives else "lost",
            f"{one.running:,}",
            None if one.offers is None else f"{one.offers.concurrency:,}",
            f"{render.span(one.silent_s)} ago",
            one.worker.host,
            one.worker.pid,
            render.local_time(one.worker.started_at),
        )
        for one in listed
    ]
    table(columns, rows)
    if not all(one.lives for one in listed):
        render.note("a lost worker's jobs move on when another worker notices, at the latest when its lease has ended")
