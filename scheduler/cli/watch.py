"""``watch``: what is happening now, live in a terminal; at a store, or at a service by its URL."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import anyio
import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from scheduler.cli import options, render
from scheduler.cli.looking import Looks, StoreLooks, UrlLooks
from scheduler.cli.pauses import registry_or_none
from scheduler.cli.picture import Look, picture
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError, SchedulerError
from scheduler.settings import TOKEN_VARIABLE

try:
    import termios
    import tty
except ImportError:  # no such terminals here: Ctrl-C ends it
    termios = None  # type: ignore[assignment]

#: A new picture so often, a new look no more often, and so many times as far apart as one takes: watching must cost little.
DRAWN_EVERY_S, LOOK_EVERY_S, SPARING = 0.25, 0.5, 10.0
#: Looks that fail are taken again after so many seconds, ever fewer.
AGAIN_S, AGAIN_MOST_S = 0.5, 5.0
#: One picture for a pipe is as large as it has to be.
_PLAIN_WIDTH, _PLAIN_HEIGHT = 160, 500


def watch(
    url: Annotated[
        str | None,
        typer.Option("--url", help=f"Watch a service through its API; its token, if it needs one, in ${TOKEN_VARIABLE}", metavar="URL"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show one picture and exit, as where standard output is no terminal")] = False,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Watch jobs run: counts, progress, pauses, pools, throughput, failures, workers. Ends with q or Ctrl-C."""
    looks = _looks(url, config, store, assign)
    if as_json or once or not render.is_terminal(sys.stdout):
        look = anyio.run(_one, looks)
        if as_json:
            render.emit_json(look)
        else:
            _show_once(look)
        return
    try:
        with _keys() as pressed:
            anyio.run(_live, looks, pressed)
    except KeyboardInterrupt:
        return


def _looks(url: str | None, config: options.ConfigFile, store: str | None, assign: list[str] | None) -> Looks:
    if url is None:
        settings = options.settings_for(config, store, assign)
        return StoreLooks(options.opened(settings, routes=registry_or_none(settings)))
    if store is not None:
        raise ConfigError("--url and --store are two places to look at: give one of them")
    from scheduler.client import JobClient  # its library is an extra

    token = os.environ.get(TOKEN_VARIABLE, "").strip() or None
    return UrlLooks(url, JobClient(url, token, timeout_s=10.0, patience_s=0.0))


async def _one(looks: Looks) -> Look:
    async with looks:
        return await looks.look()


def _show_once(look: Look) -> None:
    console = render.out()
    on_terminal = render.is_terminal(sys.stdout)
    for line in picture(look, look.at, console.width if on_terminal else _PLAIN_WIDTH, _PLAIN_HEIGHT):
        if on_terminal:
            console.print(line)
        else:
            render.say(line.plain.rstrip())


async def _live(looks: Looks, pressed: Callable[[], str]) -> None:
    async with looks:
        watching = _Watching(looks)
        await watching.first()
        console = render.out()
        with Live(console=console, screen=True, auto_refresh=False) as live:
            async with anyio.create_task_group() as beside:
                beside.start_soon(watching.run)
                while pressed() not in ("q", "Q"):
                    lines = watching.lines(console.width, console.height)
                    live.update(Group(*lines), refresh=True)
                    await anyio.sleep(DRAWN_EVERY_S)
                beside.cancel_scope.cancel()


class _Watching:
    """The last look, taken anew again and again; a service that restarts is waited for."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._look: Look
        self._trouble = ""

    async def first(self) -> None:
        """Raises ``SchedulerError``: what cannot be looked at once is not waited for."""
        self._look = await self._looks.look()

    async def run(self) -> None:
        failures = 0
        while True:
            began = SystemClock.monotonic()
            try:
                self._look = await self._looks.look()
                failures, self._trouble = 0, ""
                wait_s = max(LOOK_EVERY_S, SPARING * (SystemClock.monotonic() - began))
            except SchedulerError as error:
                wait_s = min(AGAIN_MOST_S, AGAIN_S * 2.0 ** min(failures, 10))
                failures += 1
                self._trouble = f"reconnecting… {error}"
            await anyio.sleep(wait_s)

    def lines(self, width: int, height: int) -> list[Text]:
        return picture(self._look, SystemClock.now(), width, height, self._trouble)


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """What was pressed since it was last asked, without waiting for a line; nothing where keys cannot be read."""
    if termios is None or not render.is_terminal(sys.stdin):
        yield lambda: ""
        return
    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)
    tty.setcbreak(stream)

    def pressed() -> str:
        if not select.select([stream], [], [], 0)[0]:
            return ""
        return os.read(stream, 1).decode("ascii", "replace")

    try:
        yield pressed
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
