"""Tables: drawn to fit on a terminal, aligned in full width elsewhere.

On a terminal a row stays a line: columns that may be cut share the room that the others leave, empty ones
go, and where even that is too wide, so do the least important. Nothing is left out elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import typer
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from scheduler.cli.render import STYLES, clean, is_terminal, out

_GAP = 2
#: Columns that may be cut keep so much.
_LEAST = 20


@dataclass(frozen=True, slots=True)
class Column:
    """``right`` aligns numbers. ``fit``: never cut; cut at the end or at the start (paths); or wrapped.

    A ``minor`` column is left out where the terminal is too narrow.
    """

    title: str
    right: bool = False
    fit: Literal["whole", "end", "start", "wrap"] = "whole"
    minor: bool = False


def table(columns: Sequence[str | Column], rows: Iterable[Sequence[Any]]) -> None:
    """Print ``rows`` under their titles; None is an empty cell."""
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[clean("" if cell is None else str(cell)).replace("\n", " ") for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _drawn(heads, cells)
    else:
        _aligned(heads, cells)


def _drawn(heads: list[Column], rows: list[list[str]]) -> None:
    console = out()
    kept, widths = _fitted(heads, rows, console.width)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, padding=(0, 1), header_style="bold")
    for place in kept:
        head = heads[place]
        align: Literal["left", "right"] = "right" if head.right else "left"
        wraps = head.fit == "wrap"
        drawn.add_column(head.title, justify=align, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis", max_width=widths[place])
    for row in rows:
        drawn.add_row(*(Text(_cut(row[place], widths[place], heads[place]), style=STYLES.get(row[place], "")) for place in kept))
    console.print(drawn)


def _fitted(heads: list[Column], rows: list[list[str]], room: int) -> tuple[list[int], list[int]]:
    """Which columns to show, and how wide."""
    widths = [max([cell_len(head.title), *(cell_len(row[place]) for row in rows)]) for place, head in enumerate(heads)]
    kept = [place for place in range(len(heads)) if not rows or any(row[place] for row in rows)]

    def least(place: int) -> int:
        return widths[place] if heads[place].fit == "whole" else min(widths[place], _LEAST)

    def needed() -> int:
        return sum(map(least, kept)) + _GAP * (len(kept) - 1)

    while needed() > room and (minor := [place for place in kept if heads[place].minor]):
        kept.remove(minor[-1])
    spare = max(0, room - needed())
    elastic = sorted((place for place in kept if heads[place].fit != "whole"), key=lambda place: widths[place])
    for number, place in enumerate(elastic):  # the narrow first: what they do not need is there for the wide
        given = min(widths[place] - least(place), spare // (len(elastic) - number))
        widths[place] = least(place) + given
        spare -= given
    return kept, widths


def _cut(cell: str, width: int, head: Column) -> str:
    if head.fit in ("whole", "wrap") or cell_len(cell) <= width:
        return cell
    if head.fit == "end":
        return set_cell_size(cell, width - 1) + "…"
    return "…" + set_cell_size(cell[::-1], width - 1)[::-1]


def _aligned(heads: list[Column], rows: list[list[str]]) -> None:
    lines = [[head.title for head in heads], *rows]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(heads))]
    for line in lines:
        padded = []
        for head, width, cell in zip(heads, widths, line, strict=True):
            blank = " " * (width - cell_len(cell))
            padded.append(blank + cell if head.right else cell + blank)
        typer.echo("  ".join(padded).rstrip())
