"""``ingest``: documents into the corpus, and what they name and speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli import options, render
from scheduler.cli.longrun import existing, run_long, settings_of
from scheduler.cli.tables import Column, table
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError
from scheduler.ids import job_id
from scheduler.job import Job, NewJob

INGESTION, CLUSTERING, REINDEX = "ingestion", "clustering", "reindex"
_SUFFIXES = (".md", ".markdown", ".rst", ".txt", ".html", ".htm")
_MOST_TOLD = 15


def ingest(
    paths: Annotated[list[str], typer.Argument(help="Folders and files: text, Markdown, reStructuredText, HTML", metavar="PATH...")],
    corpus: Annotated[Path, typer.Option("--corpus", help="File that documents are kept in", metavar="FILE")] = Path("corpus.db"),
    reindex: Annotated[bool, typer.Option("--reindex", help="Make the vectors of all documents anew, too")] = False,
    force: Annotated[bool, typer.Option("--force", help="Ingest also what has not changed since")] = False,
    owner: options.Owner = None,
    concurrency: options.Concurrency = None,
    log_level: options.LogLevel = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Load documents, cut and embed them, extract entities and relations, group what speaks of the same.

    A job for each document that is new or changed, its extraction after it, and one grouping after all of them.
    Exits with 1 if a job failed or was left waiting.
    """
    settings = settings_of(config, store, assign, concurrency, log_level)
    found = _documents([existing(Path(path)) for path in paths])
    place, batch = str(corpus.resolve()), f"ingest-{job_id(SystemClock.now())}"
    jobs = [
        NewJob(
            INGESTION,
            "document",
            _document_id(path, owner or ""),
            {"path": str(path), "corpus": place, "content_hash": _hash(path)},
            owner=owner,
            force=force,
            batch=batch,
        )
        for path in found
    ]
    if reindex:
        jobs.append(NewJob(REINDEX, "corpus", owner or "all", {"corpus": place}, unique_key=f"{REINDEX}:{place}", owner=owner, batch=batch))
    # One document that cannot be read is no reason not to group the others.
    last = NewJob(CLUSTERING, "corpus", owner or "all", {"corpus": place}, owner=owner, after=[f"batch:{batch}"], if_failed="run")
    run_long(settings, "Ingesting", [*jobs, last], "handlers.ingestion", _show, as_json=as_json, quiet=log_level is None)


def _documents(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, and in folders those with a known suffix, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            found[path] = None
        else:
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in _SUFFIXES and one.is_file())
            found.update({one: None for one in inside if not any(part.startswith(".") for part in one.relative_to(path).parts)})
    return list(found)


def _document_id(path: Path, owner: str) -> str:
    """As ``handlers.reading.document_id`` has it."""
    return hashlib.sha256(f"{owner}\n{path}".encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _show(jobs: list[Job]) -> None:
    by_type = {
        task_type: [job.result for job in jobs if job.task_type == task_type and isinstance(job.result, dict)] for task_type in _TOLD
    }
    ingested, extracted = by_type[INGESTION], by_type["extraction"]
    chunks = sum(one["chunk_count"] for one in ingested)
    named = sum(one["entity_count"] for one in extracted)
    said = sum(one["relationship_count"] for one in extracted)
    render.say(f"{render.plural(len(ingested), 'document')} in {render.plural(chunks, 'chunk')}; {named:,} names, {said:,} relations new")
    for result in by_type[CLUSTERING]:
        render.heading("What they speak of")
        rows = [(one["name"], f"{one['chunks']:,}") for one in result["clusters"][:_MOST_TOLD]]
        table((Column("about", fit="end"), Column("chunks", right=True)), rows)


_TOLD = (INGESTION, "extraction", CLUSTERING)
