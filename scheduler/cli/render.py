"""How things look: text and facts, JSON for machines, times and spans for people. Tables are next door.

Whatever jobs and logs hold is shown as text: control characters are made visible and nothing in it is
taken for markup. Does not belong here: what a command shows.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from scheduler.job import Status
from scheduler.times import span as span
from scheduler.times import utc_datetime

#: What a terminal acts on, and what no encoding can write: C0, DEL, C1, bidirectional controls, lone surrogates.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

#: A cell or value that is exactly one of these words is shown in its colour.
STYLES = {
    Status.PENDING: "cyan",
    Status.PROCESSING: "blue",
    Status.RATE_LIMITED: "yellow",
    Status.RETRY_AI: "yellow",
    Status.COMPLETED: "green",
    Status.FAILED_AI: "red",
    Status.FAILED_PAYLOAD_PARSING: "red",
    Status.FAILED_JOB_LOGIC: "red",
    Status.FAILED_TIMEOUT: "red",
    Status.CANCELLED: "dim",
    "open": "green",
    "trying": "cyan",
    "held": "yellow",
    "paused": "yellow",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
}


class _Pipe(Console):
    """Rich's console, but a reader that went away is the caller's to handle."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def out() -> Console:
    """Standard output as it is now."""
    return _Pipe(highlight=False, markup=False, emoji=False, soft_wrap=False)


def err() -> Console:
    """Standard error as it is now."""
    return _Pipe(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=False)


def is_terminal(stream: Any) -> bool:
    """Whether people read ``stream`` (False for a closed or missing one)."""
    try:
        return stream is not None and bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except ValueError:
        return False


def say(text: str = "") -> None:
    """A line on standard output."""
    typer.echo(clean(text))


def note(text: str) -> None:
    """A line on standard error."""
    typer.echo(clean(text), err=True)


def heading(text: str) -> None:
    """A line above a table; bold on a terminal."""
    out().print(Text(f"\n{text}", style="bold"))


def paragraph(text: str | Text, *, style: str = "", indent: int = 0) -> None:
    """Text wrapped to the terminal, or one line elsewhere."""
    console = out()
    shown = Text(clean(text), style=style) if isinstance(text, str) else text
    if console.is_terminal:
        console.print(Padding(shown, (0, 0, 0, indent)))
    else:
        typer.echo(" " * indent + shown.plain)


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line; None values are left out."""
    known = [(name, clean(str(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    console = out()
    for name, value in known:
        indented = value.replace("\n", "\n" + " " * (width + 2))
        line = Text.assemble((name.ljust(width), "bold"), "  ", (indented, STYLES.get(value, "")))
        if console.is_terminal:
            console.print(line, soft_wrap=True)
        else:
            typer.echo(line.plain)


def emit_json(value: Any, *, indent: int | None = 2) -> None:
    """``value``, with views in it or one itself, on standard output. Infinities are null: JSON knows none."""
    typer.echo(json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _finite(value.model_dump(mode="json"))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def clean(text: str) -> str:
    """``text`` with what a terminal would act on made visible; tabs and new lines stay."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def shortened(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def tail(text: str, limit: int) -> str:
    """At most ``limit`` characters from the end, which of a path says most."""
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def plural(count: int, noun: str) -> str:
    """``1 job``, ``2,000 jobs``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def local_time(at: float | None) -> str | None:
    """ISO 8601 in this machine's zone, with its offset."""
    when = utc_datetime(at)
    return None if when is None else when.astimezone().isoformat(" ", timespec="seconds")
