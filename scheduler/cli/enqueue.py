"""``enqueue``: one job from flags, or as many as a file or a pipe holds, one JSON object a line.

Bulk input streams: it is read in blocks, stored a transaction a block, and a bad line costs only itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import anyio
import pydantic_core
import typer
from anyio import to_thread

from scheduler.cli import options, render
from scheduler.cli.progress import Ticker
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError, InvalidJobError, SchedulerError
from scheduler.job import NewJob, Receipt
from scheduler.runtime import Scheduler

#: Read at once; what a pipe has so far is stored without waiting for more.
_BLOCK_BYTES = 262_144
#: Above the limit of a job's body, with room for its other fields.
_MAX_LINE_BYTES = 2_000_000
#: Bad lines kept for ``--json``; all are told on standard error and counted.
_MAX_ERRORS = 1_000
_FIELDS = frozenset(NewJob._fields)
_FOR_ONE = (
    "payload",
    "priority",
    "run_after",
    "unique_key",
    "owner",
    "max_attempts",
    "timeout_s",
    "force",
    "batch",
    "after",
    "if_failed",
    "webhook",
)


def enqueue(
    task_type: Annotated[str | None, typer.Argument(help="What is to be done", metavar="TASK_TYPE", show_default=False)] = None,
    target_type: Annotated[str, typer.Argument(help="The kind of thing it is done to", show_default=False)] = "",
    target_id: Annotated[str, typer.Argument(help="Which one", show_default=False)] = "",
    payload: Annotated[
        str | None, typer.Option("--payload", help="A JSON object; @FILE reads a file, - standard input", metavar="JSON")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", help="Higher goes first", metavar="N")] = 0,
    run_after: Annotated[str | None, typer.Option("--run-after", help="Not before: a time, or 10m from now", metavar="WHEN")] = None,
    unique_key: Annotated[
        str | None, typer.Option("--unique-key", help="Store nothing while an unfinished job has this key", metavar="KEY")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Whose job it is", metavar="OWNER")] = None,
    max_attempts: Annotated[int | None, typer.Option("--max-attempts", help="Counted attempts, the first included", metavar="N")] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Time limit of an attempt", metavar="DURATION", parser=options.parse_duration)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run it although nothing has changed")] = False,
    batch: Annotated[str | None, typer.Option("--batch", help="Count the job among this batch", metavar="NAME")] = None,
    after: Annotated[
        list[str] | None, typer.Option("--after", help="Run it when this job, or batch:NAME, has ended (may be given again)", metavar="ID")
    ] = None,
    if_failed: Annotated[str | None, typer.Option("--if-failed", help="If one failed: fail, cancel or run", metavar="WHAT")] = None,
    webhook: Annotated[str | None, typer.Option("--webhook", help="Tell this address how the job ended", metavar="URL")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Enqueue each line of this JSONL file (- for standard input)", metavar="FILE")
    ] = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Store one job, or each line of a file; durable when it returns."""
    settings = options.settings_for(config, store, assign)
    given = (payload, priority, run_after, unique_key, owner, max_attempts, timeout_s, force, batch, after, if_failed, webhook)
    if source is not None:
        if task_type is not None or any(given):
            raise SchedulerError("--from takes everything from the lines: leave out the task type and the options of a single job")
        _bulk(options.opened(settings, with_routes=True), source, as_json)
        return
    if task_type is None:
        raise SchedulerError("say what to enqueue: a TASK_TYPE, or --from FILE")
    fields = {name: value for name, value in zip(_FOR_ONE, given, strict=True) if value is not None}
    fields |= {"task_type": task_type, "target_type": target_type, "target_id": target_id, "payload": _payload(payload)}
    _one(options.opened(settings, with_routes=True), fields, as_json)


def _one(scheduler: Scheduler, fields: dict[str, Any], as_json: bool) -> None:
    new = new_job(fields, scheduler.clock.now())

    async def store() -> Receipt:
        async with scheduler:
            return await scheduler.enqueue(**new._asdict())

    receipt = anyio.run(store)
    if scheduler.routes.find(new.task_type, new.target_type) is None:
        what = f"({new.task_type!r}, {new.target_type!r})"
        render.note(f"no handler here takes {what}: the job fails with `no_handler` unless another service has one")
    if as_json:
        render.emit_json({"job_id": receipt.job_id, "created": receipt.created, "unchanged": receipt.unchanged})
        return
    render.say(receipt.job_id)
    if receipt.unchanged:
        render.note("nothing has changed since this job completed: nothing was stored (--force stores it anyway)")
    elif not receipt.created:
        render.note("this unfinished job stands for it already: nothing was stored")


def _payload(given: str | None) -> Any:
    """The payload from the command line, a file or standard input."""
    if given is None:
        return None
    text = given
    try:
        if given == "-":
            text = sys.stdin.read()
        elif given.startswith("@"):
            text = Path(given[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--payload {given}: cannot be read: {error}") from None
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidJobError(f'--payload is not JSON: {error}; write for example --payload \'{{"text": "…"}}\' or @FILE') from None


def _bulk(scheduler: Scheduler, source: str, as_json: bool) -> None:
    """Store every good line and tell of every bad one."""
    if source != "-" and not Path(source).is_file():
        raise ConfigError(f"--from {source}: there is no such file")
    lines = Lines(scheduler.clock.now)

    async def store() -> None:
        with Ticker(lambda: lines.told()) as ticker:
            async with scheduler:
                async for block in blocks(source):
                    await lines.store(block, scheduler)
                    ticker.tick()
                await lines.store(None, scheduler)

    anyio.run(store)
    if as_json:
        counts = {"lines": lines.number, "created": lines.created, "existing": lines.existing, "unchanged": lines.unchanged}
        render.emit_json(counts | {"bad": lines.bad, "errors": lines.errors})
    else:
        render.say(lines.told())
    if lines.bad:
        raise typer.Exit(2)


async def blocks(source: str) -> AsyncIterator[bytes]:
    """What the file or standard input holds, as it comes. Read in a thread: a slow pipe must not hold up Ctrl-C."""
    handle = sys.stdin.fileno() if source == "-" else os.open(source, os.O_RDONLY)
    try:
        while block := await to_thread.run_sync(os.read, handle, _BLOCK_BYTES, abandon_on_cancel=True):
            yield block
    except OSError as error:
        raise ConfigError(f"--from {source}: cannot be read: {error.strerror}") from None
    finally:
        if source != "-":
            os.close(handle)


class Lines:
    """Bulk input on its way in: where in it we are, what was stored, what was refused."""

    def __init__(self, now: Any = SystemClock.now) -> None:
        self.number = self.created = self.existing = self.unchanged = self.bad = 0
        self.errors: list[dict[str, Any]] = []
        self._now = now
        self._half = b""

    async def store(self, block: bytes | None, scheduler: Scheduler) -> None:
        """Store the jobs of the lines that ``block`` completes; None ends the last line."""
        jobs = self._parsed(block)
        while True:  # once, and again for each line that the door refuses: what came before it is stored by then
            try:
                async for receipt in scheduler.enqueue_many(jobs):
                    self.created += receipt.created
                    self.unchanged += receipt.unchanged
                    self.existing += not (receipt.created or receipt.unchanged)
                return
            except InvalidJobError as error:
                self._refuse(str(error))

    def told(self) -> str:
        """The counts so far, for people."""
        parts = [f"{render.plural(self.number, 'line')}: stored {render.plural(self.created, 'job')}"]
        parts += [f"{self.existing:,} waiting already"] if self.existing else []
        parts += [f"{self.unchanged:,} unchanged"] if self.unchanged else []
        parts += [render.plural(self.bad, "bad line")] if self.bad else []
        return ", ".join(parts)

    def _parsed(self, block: bytes | None) -> Iterator[NewJob]:
        for line in self._whole(block):
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) > _MAX_LINE_BYTES:
                self._refuse(f"longer than {_MAX_LINE_BYTES:,} bytes")
            elif line.strip():
                try:
                    yield new_job(_decoded(line), self._now())
                except InvalidJobError as error:
                    self._refuse(str(error))

    def _whole(self, block: bytes | None) -> Iterator[bytes]:
        """The lines that are complete now. What is too long is cut as it comes, so that it cannot fill memory."""
        if block is None:
            last, self._half = self._half, b""
            if last:
                yield last
            return
        *lines, half = (self._half + block).split(b"\n")
        self._half = half[: _MAX_LINE_BYTES + 1]
        yield from lines

    def _refuse(self, why: str) -> None:
        self.bad += 1
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append({"line": self.number, "error": why})
        render.note(f"line {self.number}: {why}")


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        fields = pydantic_core.from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidJobError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidJobError(f"a JSON {type(fields).__name__}, not an object")
    return fields


def _when(text: str, now: float) -> datetime | timedelta:
    """A duration stays one: sent again, it is the same request."""
    try:
        return timedelta(seconds=options.duration_s(text))
    except ValueError:
        return datetime.fromtimestamp(options.moment(text, now), UTC)


def new_job(fields: dict[str, Any], now: float) -> NewJob:
    """A job from plain JSON fields. Raises ``InvalidJobError``."""
    unknown = fields.keys() - _FIELDS
    if unknown:
        raise InvalidJobError(f"unknown field {', '.join(map(repr, sorted(unknown)))}; there are {', '.join(sorted(_FIELDS))}")
    if not fields.get("task_type"):
        raise InvalidJobError("it has no task_type")
    if not isinstance(fields.get("force", False), bool):
        raise InvalidJobError(f"force must be true or false, not {json.dumps(fields['force'])}")
    run_after = fields.get("run_after")
    if isinstance(run_after, str):
        try:
            fields = {**fields, "run_after": _when(run_after, now)}
        except (ValueError, OverflowError, OSError) as error:
            raise InvalidJobError(f"run_after: {error}") from None
    if fields.get("priority", 0) is None:
        fields = {**fields, "priority": 0}
    return NewJob(**fields)
