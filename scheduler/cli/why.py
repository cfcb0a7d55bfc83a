"""``why``: what keeps a job from running, in a sentence."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from scheduler.cli import options, render
from scheduler.cli.tables import Column, table
from scheduler.views.jobs import WhyView
from scheduler.why import Why


def why(
    job_id: Annotated[str, typer.Argument(help="The job", metavar="ID")],
    owner: options.Owner = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Say why a job does not run: what it waits for, how long, and behind how many others."""

    async def ask() -> Why:
        async with options.opened(options.settings_for(config, store, assign)) as scheduler:
            return await scheduler.why(job_id, owner=owner)

    told = anyio.run(ask)
    if as_json:
        render.emit_json(WhyView.of(told))
        return
    render.paragraph(told.sentence)
    if len(told.causes) > 1:
        rows = [(cause.kind, render.local_time(cause.until), cause.sentence) for cause in told.causes]
        render.say()
        table(("cause", "until", Column("", fit="wrap")), rows)
