"""``logs``: reading the JSON log lines back. What selects and adds up is ``logread``; here it is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Annotated, Any

import anyio
import pydantic_core
import typer
from rich.text import Text

from scheduler.cli import logsummary, options, render
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError, SchedulerError
from scheduler.logread import Filter, Record, follow, read, siblings, summarize
from scheduler.settings import Settings

_LEVEL_STYLES = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red", "critical": "bold red"}
#: Shown first, and not again among the other fields.
_SHOWN = ("timestamp", "level", "event")
_LAST = ("error", "exception", "stack")


def logs(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Log files; - for standard input (default: as configured)", show_default=False)
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only lines about this job", metavar="ID")] = None,
    task_type: Annotated[str | None, typer.Option("--type", help="Only lines about this task type", metavar="TYPE")] = None,
    event: Annotated[str | None, typer.Option("--event", help="Only this event, or those that begin so: job.", metavar="NAME")] = None,
    level: Annotated[str | None, typer.Option("--level", help="Only this level and louder ones", metavar="LEVEL")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Only lines with this reason", metavar="REASON")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Not before: a time, or 15m for that long ago", metavar="WHEN")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Not after: a time, or 15m for that long ago", metavar="WHEN")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Only lines that hold this in some value", metavar="TEXT")] = None,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Show the last lines, then new ones as they come")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Add the lines up instead of showing them")] = False,
    top: Annotated[int, typer.Option("--top", help="How many slowest jobs and distinct errors a summary shows", metavar="N", min=0)] = 10,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Read log files: by job, type, event, level, reason, time or text; followed, or summed up."""
    where = _filter(job=job, task_type=task_type, event=event, level=level, reason=reason, since=since, until=until, text=text)
    if follow_on and summary:
        raise SchedulerError("--follow never ends, so it cannot be summed up: leave one of the two out")
    if follow_on:
        anyio.run(_follow, _one_file(paths, lambda: options.settings_for(config, store, assign)), where, as_json)
        return
    records = read(_sources(paths, lambda: options.settings_for(config, store, assign)), where)
    try:
        if summary:
            logsummary.show(summarize(records, top=top), as_json)
            return
        _print(records, as_json)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ConfigError(f"{error.filename or 'the log'} cannot be read: {error.strerror or error}") from None
    if records.malformed and not as_json:
        render.note(f"{render.plural(records.malformed, 'line')} of {records.lines:,} passed over: not JSON objects")


def _filter(*, since: str | None, until: str | None, **words: Any) -> Filter:
    now = SystemClock.now()
    words["job_id"] = words.pop("job")
    try:
        since_at = None if since is None else options.moment(since, now, ago=True)
        until_at = None if until is None else options.moment(until, now, ago=True)
        return Filter(since=since_at, until=until_at, **words)
    except ValueError as error:
        raise SchedulerError(str(error)) from None


def _sources(paths: list[str] | None, settings: Callable[[], Settings]) -> list[Path | IO[bytes]]:
    """The given files, or the configured one with what rotation left of it."""
    if paths:
        for path in paths:
            if path != "-" and not Path(path).is_file():
                raise ConfigError(f"there is no log file {path}")
        return [sys.stdin.buffer if path == "-" else Path(path) for path in paths]
    configured = _configured(settings())
    found: list[Path | IO[bytes]] = list(siblings(configured))
    if not found:
        raise ConfigError(f"there is no log file {configured} yet: it begins with the first event that a service logs")
    return found


def _one_file(paths: list[str] | None, settings: Callable[[], Settings]) -> Path:
    if paths:
        if len(paths) > 1 or paths[0] == "-":
            raise SchedulerError("--follow takes one file")
        return Path(paths[0])
    return _configured(settings())


def _configured(settings: Settings) -> Path:
    if not settings.log.path:
        raise ConfigError("no log file is configured: set [log] path in config.toml, or name files (- for standard input)")
    return Path(settings.log.path).expanduser()


async def _follow(path: Path, where: Filter, as_json: bool) -> None:
    async for record in follow(path, where):
        _print([record], as_json)
        sys.stdout.flush()


def _print(records: Iterable[Record], as_json: bool) -> None:
    """One line each: JSON as it was, or for people."""
    if as_json:
        for record in records:
            typer.echo(pydantic_core.to_json(record.fields, inf_nan_mode="strings"))
        return
    console = render.out()
    if not console.is_terminal:
        for record in records:
            typer.echo(_line(record).plain)
        return
    for record in records:
        console.print(_line(record), soft_wrap=True)


def _line(record: Record) -> Text:
    """Local time, level, event, then the other fields; errors last."""
    at = record.at
    when = render.local_time(at) if at is not None else record.timestamp
    line = Text(f"{render.clean(when or '')} ", style="dim")
    line.append(f"{render.clean(record.level):<8}", style=_LEVEL_STYLES.get(record.level, ""))
    line.append(f"{render.clean(record.event):<18}", style="bold")
    names = [name for name, value in record.fields.items() if name not in _SHOWN and name not in _LAST and value != ""]
    for name in [*names, *(name for name in _LAST if name in record.fields)]:
        value = record.fields[name]
        shown = value if isinstance(value, str) else pydantic_core.to_json(value, inf_nan_mode="strings").decode("utf-8", "replace")
        one_line = render.clean(shown).replace("\n", "\\n").replace("\t", "\\t")
        line.append(f" {render.clean(name)}=", style="dim")
        line.append(one_line, style="red" if name in _LAST else render.STYLES.get(one_line, ""))
    return line
