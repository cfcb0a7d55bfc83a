"""``match``: a list of items against a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli import options, render
from scheduler.cli.longrun import content_of, existing, key_of, run_long, settings_of
from scheduler.cli.tables import Column, table
from scheduler.job import Job, NewJob

MATCH = "match_items"


def match(
    items: Annotated[Path, typer.Argument(help="CSV or JSON file of what is to be matched", metavar="ITEMS")],
    catalogue: Annotated[Path, typer.Argument(help="CSV or JSON file of what it is matched against", metavar="CATALOGUE")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write every item with its match to this CSV file", metavar="FILE")
    ] = None,
    pages: Annotated[Path | None, typer.Option("--pages", help="Folder of text and HTML pages for the search", metavar="FOLDER")] = None,
    rules_only: Annotated[bool, typer.Option("--rules-only", help="Codes, words and spelling only: no provider, no search")] = False,
    owner: options.Owner = None,
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Match items against a catalogue: by code and spelling, by a provider's choice, by a search.

    Exits with 1 if the job failed or was left waiting. Interrupted, it goes on where it was when run again.
    """
    settings = settings_of(config, store, assign, concurrency, log_level)
    payload: dict[str, Any] = {
        "items": str(existing(items)),
        "catalogue": str(existing(catalogue)),
        "content_hash": content_of(items, catalogue),
        "pages": str(existing(pages)) if pages else "",
        "out": str(out.resolve()) if out else "",
        "passes": [] if rules_only else ["ai", "search"],
    }
    job = NewJob(MATCH, "list", items.name, payload, unique_key=key_of(MATCH, payload), owner=owner)
    run_long(settings, "Matching", [job], "handlers.matching", _show, as_json=as_json, quiet=log_level is None)


def _show(jobs: list[Job]) -> None:
    for result in (job.result for job in jobs if isinstance(job.result, dict) and "match_rate" in job.result):
        render.say(f"{result['matches']:,} of {render.plural(result['total'], 'item')} matched ({result['match_rate']} %)")
        render.heading("How")
        table(("pass", Column("matches", right=True)), [(how, f"{count:,}") for how, count in result["by_pass"].items()])
        lines = [line for each in result["examples"].values() for line in each]
        if lines:
            render.heading("For example")
            rows = [(line[1], line[3], f"{line[4]:.2f}", line[5]) for line in lines]
            table((Column("item", fit="end"), Column("match", fit="end"), Column("score", right=True), "how"), rows)
        if result["failed"]:
            render.say(f"{render.plural(result['failed'], 'item')} failed: `scheduler retry --failed-items` asks for those again")
        if result["out"]:
            render.say(f"everything is in {result['out']}")
