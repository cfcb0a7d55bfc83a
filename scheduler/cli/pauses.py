"""``pause``, ``resume`` and ``pauses``: which lanes are closed, until when, and why."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
import typer

from scheduler.cli import options, render
from scheduler.cli.tables import Column, table
from scheduler.clock import SystemClock
from scheduler.errors import ConfigError
from scheduler.modules import load_routes
from scheduler.pauses import JOB_PREFIX, MANUAL, OWNER_PREFIX, Gate, PauseWindow, pool_scope
from scheduler.registry import Registry, Routes
from scheduler.settings import Settings
from scheduler.views.operating import PauseView, task_types_of

Scope = Annotated[str, typer.Argument(help="A task type, pool:NAME, owner:NAME or job:ID", metavar="SCOPE")]
_GATES = {Gate.CLOSED: "closed", Gate.PROBE: "one probe may start", Gate.PROBING: "a probe is running"}


def pause(
    scope: Scope,
    for_s: Annotated[
        float | None,
        typer.Option("--for", help="How long, for example 10m (default: until resumed)", metavar="DURATION", parser=options.parse_duration),
    ] = None,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Let no job of a task type, pool or owner start, or stop one job. A longer pause that stands already stays."""
    settings = options.settings_for(config, store, assign)

    async def change() -> PauseWindow:
        async with options.opened(settings) as scheduler:
            return await scheduler.pause(scope, for_s)

    window = anyio.run(change)
    if as_json:
        render.emit_json(PauseView.of(window, SystemClock.now(), task_types_of(settings, routes_or_none(settings)).get(scope, [])))
        return
    until = render.local_time(window.until)
    ends = f"until {until}" if until else f"until you run: scheduler resume {scope}"
    render.say(f"paused {scope} {ends}" + ("" if window.reason == MANUAL else f" (it was closed until then already: {window.reason})"))
    _doubt(scope, settings)


def resume(
    scope: Scope,
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Open a task type, pool or owner again, whoever closed it, or let one job go on."""
    settings = options.settings_for(config, store, assign)

    async def change() -> PauseWindow | None:
        async with options.opened(settings) as scheduler:
            return await scheduler.resume(scope)

    window = anyio.run(change)
    if as_json:
        render.emit_json({"scope": scope, "resumed": window is not None, "reason": window.reason if window else None})
        return
    render.say(f"resumed {scope} (it was closed: {window.reason})" if window else f"{scope} was not paused")
    if window is None:
        _doubt(scope, settings)


def pauses(
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """List what is closed. The pause of a pool also shows under each task type that draws on it."""
    settings = options.settings_for(config, store, assign)

    async def ask() -> list[PauseWindow]:
        async with options.opened(settings) as scheduler:
            return await scheduler.pauses()

    now = SystemClock.now()
    standing = [window for window in anyio.run(ask) if not window.is_open(now)]
    users = task_types_of(settings, routes_or_none(settings))
    if as_json:
        render.emit_json([PauseView.of(window, now, users.get(window.scope, [])) for window in standing])
    elif standing:
        show_pauses(standing, users, now)
    else:
        render.say("nothing is paused")


def show_pauses(standing: list[PauseWindow], users: dict[str, list[str]], now: float) -> None:
    """The table of pauses."""
    columns = (
        Column("closed", fit="end"),
        "by",
        Column("left", right=True),
        "reason",
        "until",
        Column("state", minor=True),
        Column("set by", minor=True),
    )
    rows: list[tuple[Any, ...]] = []
    for window in standing:
        left = render.span(max(0.0, window.until - now))
        set_by = window.set_by or ("hand" if window.reason == MANUAL else "")
        told = (left, window.reason, render.local_time(window.until) or "resumed by hand", _GATES[window.gate(now)], set_by)
        rows.append((window.scope, "itself", *told))
        rows.extend((task_type, window.scope, *told) for task_type in users.get(window.scope, []))
    table(columns, rows)


def routes_or_none(settings: Settings) -> Routes | None:
    """The routes, if the handler modules load: what is paused must show also when they do not."""
    registry = registry_or_none(settings)
    return None if registry is None else registry.freeze()


def registry_or_none(settings: Settings) -> Registry | None:
    """The same before they are frozen, for a scheduler of one's own."""
    try:
        registry = load_routes(settings.handlers)
        registry.freeze()
    except ConfigError as error:
        render.note(f"handlers are not known here: {error}")
        return None
    return registry


def _doubt(scope: str, settings: Settings) -> None:
    """Say so when a scope is none that this configuration knows: it may be misspelt."""
    if scope.startswith((OWNER_PREFIX, JOB_PREFIX)):
        return  # of those it knows nothing
    routes = routes_or_none(settings)
    if routes is None:
        return
    users = task_types_of(settings, routes)
    known = {*routes.task_types(), *settings.task_types, *users, *map(pool_scope, settings.pools)}
    if scope not in known:
        render.note(f"no handler or setting here knows {scope!r}; there are {', '.join(sorted(known)) or 'none'}")
