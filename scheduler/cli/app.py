"""The ``scheduler`` command: its verbs, and what every one of them does with errors, pipes and Ctrl-C.

Exit codes: 0 done, 1 some job failed, 2 wrong use or configuration. Does not belong here: any verb.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from scheduler.cli import (
    discover,
    doctor,
    enqueue,
    enrich,
    find,
    ingest,
    jobs,
    logs,
    match,
    overview,
    pauses,
    pools,
    sync,
    token,
    watch,
    why,
    work,
    workers,
)
from scheduler.cli.render import note
from scheduler.errors import SchedulerError

WRONG_USE = 2
#: What a shell reports for a program that SIGINT or SIGPIPE ended.
INTERRUPTED, PIPE_CLOSED = 130, 141
_LINGER_S = 0.5


class Commands(TyperGroup):
    """Turns what the verbs raise into one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
            return answer
        except SchedulerError as error:
            refuse(error)
        except BaseExceptionGroup as group:
            refuse(_only_ours(group))
        except BrokenPipeError:
            raise typer.Exit(PIPE_CLOSED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="scheduler",
    cls=Commands,
    help="Schedules AI jobs: durable, paced by what providers answer, with a precise outcome for every job.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(version("ai-job-scheduler"))
        except PackageNotFoundError:
            typer.echo("unknown: not installed as a package")
        raise typer.Exit


@app.callback()
def scheduler(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Schedules AI jobs: durable, paced by what providers answer, with a precise outcome for every job."""


_MAIN, _LONG, _JOBS, _OPERATING = "The main job", "Long jobs", "Jobs", "Operating"
for _name, _verb, _panel in (
    ("enrich", enrich.enrich, _MAIN),
    ("find", find.find, _MAIN),
    ("match", match.match, _LONG),
    ("discover", discover.discover, _LONG),
    ("sync", sync.sync, _LONG),
    ("ingest", ingest.ingest, _LONG),
    ("serve", work.serve, _OPERATING),
    ("watch", watch.watch, _OPERATING),
    ("token", token.token, _OPERATING),
    ("run", work.run, _OPERATING),
    ("enqueue", enqueue.enqueue, _JOBS),
    ("jobs", jobs.jobs, _JOBS),
    ("show", jobs.show, _JOBS),
    ("items", jobs.items, _JOBS),
    ("batch", jobs.batch, _JOBS),
    ("cancel", jobs.cancel, _JOBS),
    ("retry", jobs.retry, _JOBS),
    ("delete", jobs.delete, _JOBS),
    ("why", why.why, _JOBS),
    ("pause", pauses.pause, _OPERATING),
    ("resume", pauses.resume, _OPERATING),
    ("pauses", pauses.pauses, _OPERATING),
    ("pools", pools.pools, _OPERATING),
    ("stats", overview.stats, _OPERATING),
    ("workers", workers.workers, _OPERATING),
    ("handlers", overview.handlers, _OPERATING),
    ("logs", logs.logs, _OPERATING),
    ("prune", overview.prune, _OPERATING),
    ("doctor", doctor.doctor, _OPERATING),
):
    app.command(_name, rich_help_panel=_panel)(_verb)


def main() -> None:
    """The entry point of the ``scheduler`` script."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream of the caller's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except SystemExit as leaving:
        _leave(leaving.code)


def refuse(error: SchedulerError) -> NoReturn:
    """One sentence on standard error, exit code 2."""
    note(f"scheduler: {error}")
    raise typer.Exit(WRONG_USE) from None


def _only_ours(group: BaseExceptionGroup[BaseException]) -> SchedulerError:
    """The first error of a group that holds nothing but ours; any other group is a bug and keeps its traceback."""
    ours, others = group.split(SchedulerError)
    if ours is None or others is not None:
        raise group
    leaf: BaseException = ours
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, SchedulerError)
    return leaf


def _leave(code: str | int | None) -> NoReturn:
    """Exit, also while threads of sync handlers run on that nobody can stop."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)
    others = [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]
    for thread in others:
        thread.join(_LINGER_S / len(others))
    if any(thread.is_alive() for thread in others):
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
    sys.exit(code)


def _silence(stream: Any) -> None:
    """Nobody reads any more: let what is still buffered go nowhere, so that the interpreter's last flush is quiet."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
