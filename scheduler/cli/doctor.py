"""``doctor``: is everything in place, and if not, what to do. Looks, and changes nothing."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import anyio
import typer

from scheduler.catalog.catalog import Catalog
from scheduler.catalog.code import LANGUAGES
from scheduler.cli import options, render
from scheduler.cli.tables import Column, table
from scheduler.clock import SystemClock
from scheduler.errors import SchedulerError, StoreError
from scheduler.identity import is_alive
from scheduler.job import UNFINISHED, Status
from scheduler.modules import load_routes
from scheduler.pauses import POOL_PREFIX, pool_scope
from scheduler.pools.hold import REASONS
from scheduler.pools.portrait import portraits
from scheduler.pools.sentence import OUTAGE
from scheduler.registry import Registry, Resources
from scheduler.settings import Settings
from scheduler.stores import open_store
from scheduler.stores.base import JobQuery, Store
from scheduler.stores.extras import Foresees
from scheduler.stores.sqlite import SqliteStore
from scheduler.stores.sqlite.schema import OLDEST_SQLITE
from scheduler.views.operating import task_types_of

_LITTLE_BYTES, _NOTHING_BYTES = 1_000_000_000, 50_000_000
_SHARED = stat.S_IRWXG | stat.S_IRWXO
_SQLITE_FILES = ("", "-wal", "-shm")
CHECK_FAILED = 2
#: What a person does about a pool that is closed for these reasons.
_CURES = {
    REASONS["quota"]: "Look at the account's billing and budget, or wait for the quota's next period",
    OUTAGE: "Look at the provider's status page, and at `scheduler jobs --status rate_limited` for what it answered",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``told`` says what to do unless it is ``ok``."""

    check: str
    result: Literal["ok", "warn", "fail"]
    told: str


def doctor(
    as_json: options.AsJson = False,
    config: options.ConfigFile = None,
    store: options.StoreUrl = None,
    assign: options.Assignments = None,
) -> None:
    """Check configuration, store, routes, provider and workers; exit with 2 if something is wrong."""

    async def examine() -> list[Finding]:
        return [finding async for finding in _findings(config, store, assign)]

    found = anyio.run(examine)
    failed = any(finding.result == "fail" for finding in found)
    if as_json:
        render.emit_json({"ok": not failed, "checks": [asdict(finding) for finding in found]})
    else:
        table(("check", "result", Column("finding", fit="wrap")), [(one.check, one.result, one.told) for one in found])
    if failed:
        raise typer.Exit(CHECK_FAILED)


async def _findings(config: Path | None, store: str | None, assign: list[str] | None) -> AsyncIterator[Finding]:
    yield _python()
    yield _sqlite()
    try:
        settings = options.settings_for(config, store, assign)
    except SchedulerError as error:
        yield Finding("config", "fail", str(error))
        return
    source = options.config_file(config)
    yield Finding("config", "ok", f"settings from {source}" if source else "defaults: no config.toml here, none named")
    routes: Registry | None = None
    try:
        routes = load_routes(settings.handlers)
        yield _routes(routes)
    except SchedulerError as error:
        yield Finding("handlers", "fail", str(error))
    if routes is not None:
        for finding in _resources(routes, settings):
            yield finding
        for finding in _unused_pools(routes, settings):
            yield finding
    yield _grammars()
    async for finding in _store(settings, routes):
        yield finding
    async for finding in _catalog(Path(settings.catalog.path)):
        yield finding
    yield _log(settings)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", f"{version}; 3.11 or newer is needed")


def _sqlite() -> Finding:
    needed = ".".join(map(str, OLDEST_SQLITE))
    is_new = sqlite3.sqlite_version_info >= OLDEST_SQLITE
    return Finding("sqlite", "ok" if is_new else "fail", f"{sqlite3.sqlite_version}; {needed} or newer is needed")


def _routes(registry: Registry) -> Finding:
    count = len(registry.freeze())
    if not count:
        return Finding("handlers", "warn", "no routes: name modules under [handlers] modules, else no job can run here")
    return Finding("handlers", "ok", f"{render.plural(count, 'route')}; see `scheduler handlers`")


def _resources(registry: Registry, settings: Settings) -> Iterator[Finding]:
    """What handlers share is made once, as at the first job: a missing extra or key shows here."""
    resources = Resources(registry.factories, settings)
    for kind in registry.factories:
        name = kind.__name__.lower()
        try:
            made: object = resources.get(kind)
        except SchedulerError as error:
            yield Finding(name, "fail", str(error))
        except Exception as error:  # a factory of somebody's module may raise anything
            yield Finding(name, "fail", f"cannot be made: {type(error).__name__}: {error}")
        else:
            yield Finding(name, "ok", f"{getattr(made, 'model', '') or type(made).__name__}: ready (nothing was sent)")


def _unused_pools(registry: Registry, settings: Settings) -> Iterator[Finding]:
    """Limits that bind nobody: the name is misspelt, or the handler is gone."""
    used = task_types_of(settings, registry.freeze())
    for name in sorted(settings.pools):
        if pool_scope(name) not in used:
            others = ", ".join(sorted(scope.removeprefix(POOL_PREFIX) for scope in used)) or "none"
            cure = "correct its name, or name it at a handler or under [task_types.NAME] pool"
            yield Finding("pools", "warn", f"[pools.{name}] binds nothing: no handler or task type names it (they name: {others}); {cure}")


def _grammars() -> Finding:
    missing = sorted({language.grammar for language in LANGUAGES if find_spec(language.grammar) is None})
    if missing or find_spec("tree_sitter") is None:
        return Finding("languages", "warn", "`enrich` cannot read code: install ai-job-scheduler[local]")
    return Finding("languages", "ok", ", ".join(sorted({language.name for language in LANGUAGES})))


# -- the store


async def _store(settings: Settings, routes: Registry | None) -> AsyncIterator[Finding]:
    try:
        store = open_store(settings.scheduler.store)
    except SchedulerError as error:
        yield Finding("store", "fail", str(error))
        return
    if isinstance(store, SqliteStore):
        yield _space(store.path)
        if not store.path.exists():
            yield _creatable(store.path)
            return
        yield _permissions("permissions", store.path)
    elif settings.scheduler.store.startswith("memory"):
        yield Finding("store", "warn", "memory: forgets every job when the process ends; use sqlite:///FILE to keep them")
        return
    try:
        coming = await store.foreseen() if isinstance(store, Foresees) else None
        if coming is not None:
            yield Finding("store", "ok", coming)
            return
        await store.open()
    except SchedulerError as error:  # a URL that the driver cannot make sense of is the configuration's fault
        yield Finding("store", "fail", str(error))
        return
    try:
        async for finding in _contents(store, settings, routes):
            yield finding
    except StoreError as error:
        yield Finding("store", "fail", str(error))
    finally:
        await store.close()


async def _contents(store: Store, settings: Settings, routes: Registry | None) -> AsyncIterator[Finding]:
    await store.check()
    unfinished = await store.count(JobQuery(statuses=UNFINISHED))
    count = sum(tally.count for tally in unfinished)
    yield Finding("store", "ok", f"{store.url} is sound; {render.plural(count, 'unfinished job')}")
    if routes is not None and settings.scheduler.unknown_routes == "fail":
        known = routes.freeze().task_types()
        for name in sorted({tally.task_type for tally in unfinished} - known):
            yield Finding("routes", "warn", f"unfinished jobs of {name!r} have no handler here: a service with these settings fails them")
    yield await _workers(store)
    yield await _pauses(store)
    for finding in await _pools(store, settings):
        yield finding


async def _workers(store: Store) -> Finding:
    workers = await store.workers()
    now = SystemClock.now()
    lost = [one for one in workers if is_alive(one) is False or (is_alive(one) is None and now - one.beat_at > 2 * one.lease_s)]
    if lost:
        held = await store.count(JobQuery(statuses=frozenset({Status.PROCESSING})))
        jobs = render.plural(sum(tally.count for tally in held), "job")
        names = ", ".join(one.worker_id for one in lost)
        return Finding(
            "workers", "warn", f"{names} died; {jobs} under way in all. Start `scheduler serve`: it takes lost ones back at once"
        )
    if not workers:
        return Finding("workers", "ok", "none is running: start one with `scheduler serve`")
    return Finding("workers", "ok", f"{render.plural(len(workers), 'worker')} running: {', '.join(one.worker_id for one in workers)}")


async def _pauses(store: Store) -> Finding:
    now = SystemClock.now()
    closed = [window for window in await store.pauses() if not window.is_open(now)]
    if not closed:
        return Finding("pauses", "ok", "nothing is paused")
    told = ", ".join(f"{window.scope} ({window.reason}, {render.span(max(0.0, window.until - now))} left)" for window in closed)
    return Finding("pauses", "warn", f"{told}. See `scheduler pauses`; lift one with `scheduler resume SCOPE`")


async def _pools(store: Store, settings: Settings) -> list[Finding]:
    """Pools that only a person can help, or that wait for a provider that fails for everybody."""
    seen = portraits(await store.shared(), await store.pauses(), settings.pools, settings.limits, SystemClock.now())
    told = []
    for one in seen:
        reasons = {held.reason for held in (one.held, one.pause) if held is not None}
        cure = next((_CURES[reason] for reason in _CURES if reason in reasons), None)
        if cure is not None:
            told.append(Finding("pools", "warn", f"{one.name}: {one.summary}. {cure}"))
    return told or [Finding("pools", "ok", "none is out of quota or in an outage; see `scheduler pools`")]


def _creatable(path: Path) -> Finding:
    if not path.parent.is_dir():
        return Finding("store", "fail", f"the folder {path.parent} does not exist: create it, or choose another store")
    return Finding("store", "ok", f"{path} does not exist yet: the first command that needs it makes it")


def _space(path: Path) -> Finding:
    folder = path.parent if path.parent.is_dir() else Path()
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:,.1f} GB free for the store"
    if free < _NOTHING_BYTES:
        return Finding("disk", "fail", f"{told}: free some, or jobs can no longer be recorded")
    return Finding("disk", "ok" if free >= _LITTLE_BYTES else "warn", told + ("" if free >= _LITTLE_BYTES else ": free some soon"))


def _permissions(check: str, path: Path) -> Finding:
    """Jobs hold what people wrote: their files are their owner's only."""
    files = [one for one in (path.with_name(path.name + suffix) for suffix in _SQLITE_FILES) if one.exists()]
    shared = [one for one in files if stat.S_IMODE(one.stat().st_mode) & _SHARED]
    if shared:
        return Finding(check, "warn", f"others on this machine can read {path}: chmod 600 {' '.join(map(str, shared))}")
    return Finding(check, "ok", f"{path} is its owner's only")


# -- beside the store


async def _catalog(path: Path) -> AsyncIterator[Finding]:
    if not await anyio.Path(path).exists():
        yield Finding("catalog", "ok", f"{path} does not exist yet: `scheduler enrich` makes it")
        return
    try:
        async with Catalog(path) as catalog:
            targets = sum(count.count for count in await catalog.counts())
    except StoreError as error:
        yield Finding("catalog", "fail", str(error))
        return
    permissions = _permissions("catalog", path)
    yield permissions if permissions.result != "ok" else Finding("catalog", "ok", f"{path}: {render.plural(targets, 'target')}")


def _log(settings: Settings) -> Finding:
    if not settings.log.path:
        return Finding("log", "ok", "to standard error; set [log] path to keep it for `scheduler logs`")
    path = Path(settings.log.path).expanduser()
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        writable = bool(folder.stat().st_mode & stat.S_IWUSR) and folder.is_dir()
    except OSError:
        writable = False
    return Finding("log", "ok" if writable else "fail", f"to {path}" + ("" if writable else f": {folder} cannot be written to"))
