"""``sync``: a workspace's records from where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.cli import options, render
from scheduler.cli.longrun import existing, run_long, settings_of
from scheduler.cli.tables import Column, table
from scheduler.errors import ConfigError
from scheduler.job import Job, NewJob

SYNC = "sync"


def sync(
    workspace: Annotated[str, typer.Argument(help="The workspace: at most one sync of it at a time", metavar="WORKSPACE")],
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders of CSV and JSON files, addresses of JSON APIs, or .json files that describe them", metavar="SOURCES..."
        ),
    ],
    initial: Annotated[bool, typer.Option("--initial", help="Everything, and forget what is no longer there")] = False,
    records: Annotated[Path, typer.Option("--records", help="File that the records are kept in", metavar="FILE")] = Path("records.db"),
    owner: options.Owner = None,
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Bring a workspace's records here: everything the first time, then what changed.

    Exits with 1 if the job failed or was left waiting. Interrupted, it goes on where it was when run again.
    """
    settings = settings_of(config, store, assign, concurrency, log_level)
    described = [one for text in sources for one in _described(text)]
    mode = "initial" if initial else "incremental"
    payload = {"workspace": workspace, "sources": described, "mode": mode, "records": str(records.resolve())}
    job = NewJob(SYNC, "workspace", workspace, payload, unique_key=f"{SYNC}:{workspace}", owner=owner)
    run_long(settings, "Syncing", [job], "handlers.sync", _show, as_json=as_json, quiet=log_level is None)


def _described(text: str) -> list[dict[str, Any]]:
    """A source as the handler takes it. Raises ``ConfigError``."""
    if text.startswith(("http://", "https://")):
        return [{"kind": "http", "name": text.partition("?")[0].rstrip("/").rsplit("/", 1)[-1], "url": text}]
    path = existing(Path(text))
    if path.is_dir():
        return [{"kind": "folder", "name": path.name, "path": str(path)}]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{text}: describes no source: {error}") from None
    return found if isinstance(found, list) else [found]


def _show(jobs: list[Job]) -> None:
    for result in (job.result for job in jobs if isinstance(job.result, dict) and "totalRecords" in job.result):
        render.say(f"{render.plural(result['totalRecords'], 'record')} synced")
        counts = ("records", "new", "changed", "unchanged", "gone", "pages")
        rows = [(one["connector"], one["mode"], *(f"{one[name]:,}" for name in counts)) for one in result["results"]]
        table(("connector", "mode", *(Column(name, right=True) for name in counts)), rows)
        for error in result["errors"]:
            render.note(error)
