"""Who may import whom. The list of rooms below is the architecture: lower rooms import only rooms above.

A new module fails here until somebody gives it a room, which is a decision and not a formality: the higher,
the fewer things it may know. A package is one room; within it anything goes, except in circles.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: No I/O, no clock, no logging.
PURE = """
    errors
    values
    times
    pauses
    job
    journal
    offers
    outcome
    policy
    pools.*
    redact
    decide
    eta
    why
"""
PORTS = """
    clock
    ids
    events.*
    registry
    named
    settings
    stores.query
    stores.base
    stores.extras
    stores.turns
"""
ADAPTERS = """
    stores.memory.*
    stores.sqlite.*
    stores.postgres.*
    stores
    logsink
    logs
    logread.*
"""
MOVING_PARTS = """
    identity
    unsaid
    booth
    keeper
    calls
    invoke
    chunks
    context
    settler
    scribe
    feed
    health
    attempt
    slots
    lanes
    bounds
    remaining
    dispatcher
    retention
    janitor
    webhooks.*
    heartbeat
    service
"""
COMPOSITION = """
    batches
    bulk
    door
    modules
    selection
    controls
    pausing
    stats
    roster
    views.*
    explain
    runtime
    scheduler
"""
SHELLS = """
    client.*
    catalog.*
    metrics
    dashboard
    api.*
    cli.*
"""
ROOMS = (PURE + PORTS + ADAPTERS + MOVING_PARTS + COMPOSITION + SHELLS).split()

#: What a pure module has no use for.
IMPURE = frozenset(
    [
        "aiosqlite",
        "anyio",
        "asyncio",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "secrets",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "structlog",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
    ]
)

#: The doors of the engine for handlers: its public names, and the contracts and translations that providers build on.
DOORS = frozenset(
    [
        "scheduler",
        "scheduler.calls",
        "scheduler.clock",
        "scheduler.context",
        "scheduler.errors",
        "scheduler.pools.answers",
        "scheduler.registry",
        "scheduler.settings",
        "scheduler.values",
    ]
)


def source_files(package: str) -> dict[str, Path]:
    """The modules of a package by their full names."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SCHEDULER = source_files("scheduler")
HANDLERS = source_files("handlers")
MODULES = {**SCHEDULER, **HANDLERS}


def imports_of(name: str, source: str, known: frozenset[str] = frozenset(MODULES), *, is_package: bool = False) -> set[str]:
    """The modules that ``source`` imports anywhere, inside functions too; of ours the very module that is meant."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, node, is_package)
            found.update(f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names)
    return found - {name}


def _base(name: str, node: ast.ImportFrom, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = name.split(".")
    around = parts[: len(parts) - node.level + is_package]
    return ".".join([*around, node.module] if node.module else around)


IMPORTS = {name: imports_of(name, path.read_text("utf-8"), is_package=path.name == "__init__.py") for name, path in MODULES.items()}
OURS = {name: {one for one in imports if one in MODULES} for name, imports in IMPORTS.items()}


def room_of(module: str) -> str | None:
    """The room of a module of ``scheduler``: its own, or that of the package that it is in."""
    short = module.removeprefix("scheduler.")
    if short in ROOMS:
        return short
    parts = short.split(".")
    packages = [".".join([*parts[:length], "*"]) for length in range(len(parts), 0, -1)]
    return next((package for package in packages if package in ROOMS), None)


def test_every_room_is_listed_once() -> None:
    assert sorted(ROOMS) == sorted(set(ROOMS))


def test_every_module_has_a_room() -> None:
    homeless = [name for name in SCHEDULER if room_of(name) is None]
    assert not homeless, f"give each of these a room in {Path(__file__).name}: {', '.join(homeless)}"


@pytest.mark.parametrize("module", sorted(SCHEDULER))
def test_a_module_imports_only_rooms_above_its_own(module: str) -> None:
    room = room_of(module)
    assert room is not None
    below = {one for one in OURS[module] if one in SCHEDULER and ROOMS.index(room_of(one) or room) > ROOMS.index(room)}
    assert not below, f"{module} ({room}) imports from below: {', '.join(sorted(below))}"


def test_nobody_imports_in_circles() -> None:
    try:
        TopologicalSorter(OURS).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


def test_the_engine_knows_no_handlers_and_no_tests() -> None:
    forbidden = ("handlers", "tests", "benchmarks")
    knowing = {name: one for name in SCHEDULER for one in IMPORTS[name] if one.split(".")[0] in forbidden}
    assert not knowing


@pytest.mark.parametrize("module", sorted(HANDLERS))
def test_handlers_come_in_by_the_doors_only(module: str) -> None:
    inside = {one for one in IMPORTS[module] if one.split(".")[0] in ("scheduler", "tests", "benchmarks")} - DOORS
    assert not inside, f"{module} reaches into {', '.join(sorted(inside))}: import what it needs from scheduler itself"


@pytest.mark.parametrize("module", [name for name in sorted(SCHEDULER) if room_of(name) in PURE.split()])
def test_pure_modules_do_nothing_but_think(module: str) -> None:
    impure = {one for one in IMPORTS[module] if one.split(".")[0] in IMPURE}
    assert not impure, f"{module} is pure, yet imports {', '.join(sorted(impure))}"


class TestTheReaderOfImports:
    KNOWN = frozenset({"scheduler", "scheduler.job", "scheduler.stores", "scheduler.stores.base", "scheduler.stores.memory"})

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("import scheduler.job", {"scheduler.job"}),
            ("import scheduler.job as j, os", {"scheduler.job", "os"}),
            ("from scheduler import job, Job", {"scheduler.job", "scheduler"}),
            ("from scheduler.stores import base", {"scheduler.stores.base"}),
            ("from scheduler.stores import open_store", {"scheduler.stores"}),
            ("def f():\n    from scheduler.job import Job", {"scheduler.job"}),
            ("if TYPE_CHECKING:\n    import scheduler.job", {"scheduler.job"}),
            ("from . import base", {"scheduler.stores.base"}),
            ("from .base import Store", {"scheduler.stores.base"}),
            ("from ..job import Job", {"scheduler.job"}),
            ("from .. import job", {"scheduler.job"}),
        ],
    )
    def test_it_finds_the_module_that_is_meant(self, source: str, expected: set[str]) -> None:
        assert imports_of("scheduler.stores.memory", source, self.KNOWN) == expected

    def test_in_a_package_a_dot_is_the_package_itself(self) -> None:
        assert imports_of("scheduler.stores", "from .base import Store", self.KNOWN, is_package=True) == {"scheduler.stores.base"}

    def test_it_sees_the_whole_house(self) -> None:
        assert {"scheduler", "scheduler.job", "scheduler.stores.base"} <= set(SCHEDULER)
        assert "scheduler.pauses" in OURS["scheduler.job"]
