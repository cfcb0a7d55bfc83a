"""How far long work is: a live display on a terminal, a plain line every few seconds elsewhere.

Both go to standard error, so that standard output holds nothing but the answer. Log lines that reach the
terminal meanwhile are printed above the display. Does not belong here: counting (``tally.py``).
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scheduler.cli import render
from scheduler.cli.tally import Tally
from scheduler.clock import SystemClock

_LIVE_EVERY_S = 0.1
_PLAIN_EVERY_S = 5.0
_RATE_OVER_S = 10.0


class Ticker:
    """Shows ``plain()``, or ``drawn()`` on a terminal, whenever it is due. Enter it, then ``tick`` often."""

    def __init__(self, plain: Callable[[], str], drawn: Callable[[], RenderableType] | None = None) -> None:
        self._plain = plain
        self._drawn = drawn or (lambda: Text(render.clean(plain())))
        self._live: Live | None = None
        self._due = 0.0

    def __enter__(self) -> Self:
        if render.is_terminal(sys.stderr):
            self._live = Live(console=render.err(), auto_refresh=False, transient=True, get_renderable=self._drawn)
            self._live.start()
        else:
            self._due = SystemClock.monotonic() + _PLAIN_EVERY_S
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Show how things stand, unless that was done a moment ago."""
        now = SystemClock.monotonic()
        if now < self._due:
            return
        self._due = now + (_LIVE_EVERY_S if self._live is not None else _PLAIN_EVERY_S)
        with suppress(BrokenPipeError):  # nobody looks: the work goes on
            if self._live is not None:
                self._live.refresh()
            else:
                render.note(self._plain())

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            self.tick()
            await anyio.sleep(_LIVE_EVERY_S)


class Rate:
    """Ends a second over the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def per_s(self, count: int, at: float) -> float:
        """The rate, given that ``count`` have ended at ``at`` (monotonic seconds)."""
        if not self._seen or at - self._seen[-1][0] >= _LIVE_EVERY_S:
            self._seen.append((at, count))
        while len(self._seen) > 2 and at - self._seen[0][0] > _RATE_OVER_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (count - before) / (at - since) if at > since else 0.0


class RunView:
    """What a run of jobs looks like from outside. ``waiting`` is what still waits, ``detail`` what else to say."""

    def __init__(
        self, title: str, tally: Tally, waiting: Callable[[], int], detail: Callable[[], str], *, total_known: Callable[[], bool]
    ) -> None:
        self._title = title
        self._tally = tally
        self._waiting = waiting
        self._detail = detail
        self._total_known = total_known
        self._rate = Rate()

    def plain(self) -> str:
        """One line."""
        detail = self._detail()
        return f"{self._title}: {self._counts()}" + (f"; {detail}" if detail else "")

    def drawn(self) -> RenderableType:
        """A bar, the counts, and a line for what holds things up."""
        done, left = self._tally.done, self._waiting() + self._tally.running
        known = self._total_known()
        bar = ProgressBar(total=max(1, done + left), completed=done, width=40, pulse=not known and not done)
        share = f"{done / max(1, done + left):4.0%}" if known else ""
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text(self._title, style="bold"), bar, Text(share))
        lines: list[RenderableType] = [grid, Text(self._counts(), no_wrap=True, overflow="ellipsis")]
        if detail := self._detail():
            lines.append(Text(render.clean(detail), style="yellow", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)

    def _counts(self) -> str:
        tally, waiting = self._tally, self._waiting()
        rate = self._rate.per_s(tally.done, SystemClock.monotonic())
        parts = [
            f"{tally.done:,} done",
            f"{tally.running:,} running",
            f"{waiting:,} waiting",
            f"{tally.failed:,} failed",
            f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s",
        ]
        if self._total_known() and rate > 0:
            parts.append(f"{_clock(math.ceil((waiting + tally.running) / rate))} left")
        return ", ".join(parts)


def _clock(seconds: int) -> str:
    """``0:05``, ``12:34``, ``1:02:03``: short, and of steady width."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
