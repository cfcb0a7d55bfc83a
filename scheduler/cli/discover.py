"""``discover``: who among the contacts belongs with whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli import options, render
from scheduler.cli.longrun import content_of, existing, key_of, run_long, settings_of
from scheduler.cli.tables import Column, table
from scheduler.job import Job, NewJob

DISCOVER = "discover_relationships"


def discover(
    contacts: Annotated[Path, typer.Argument(help="CSV or JSON file of contacts", metavar="CONTACTS")],
    owner: options.Owner = None,
    graph: Annotated[str, typer.Option("--graph", help="File, or address of a Neo4j server", metavar="FILE|URL")] = "graph.db",
    corpus: Annotated[Path, typer.Option("--corpus", help="File that keeps what texts mean", metavar="FILE")] = Path("corpus.db"),
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Find relationships between contacts: companies, likeness of what they do, common tags.

    Exits with 1 if the job failed or was left waiting. Interrupted, it goes on where it was when run again.
    """
    settings = settings_of(config, store, assign, concurrency, log_level)
    payload: dict[str, Any] = {
        "contacts": str(existing(contacts)),
        "content_hash": content_of(contacts),
        "graph": graph if "://" in graph else str(Path(graph).resolve()),
        "corpus": str(corpus.resolve()),
    }
    job = NewJob(DISCOVER, "contacts", contacts.name, payload, unique_key=key_of(DISCOVER, payload), owner=owner)
    run_long(settings, "Discovering", [job], "handlers.discovery", _show, as_json=as_json, quiet=log_level is None)


def _show(jobs: list[Job]) -> None:
    for result in (job.result for job in jobs if isinstance(job.result, dict) and "totalContacts" in job.result):
        render.say(f"{render.plural(result['totalContacts'], 'contact')} in {render.span(result['duration'] / 1000)}")
        render.heading("Relationships")
        counts = [
            ("companies", result["companiesFound"]),
            ("alike in what they do", result["similarityRelationships"]),
            ("common tags", result["tagRelationships"]),
        ]
        table(("what", Column("found", right=True)), [(what, f"{count:,}") for what, count in counts])
        if result["groups"]:
            render.heading("Groups")
            table(
                ("about", Column("people", right=True)),
                [(group["about"] or "(various)", f"{group['people']:,}") for group in result["groups"]],
            )
        if result["errors"]:
            render.heading("Rows that were passed over")
            for error in result["errors"][:10]:
                render.say(error)
