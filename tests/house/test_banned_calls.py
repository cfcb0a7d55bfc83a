"""Calls that only one place may make: reading clocks and sleeping (``clock.py``), printing (the command line).

Code that asks a ``Clock``, or sleeps by ``anyio.sleep``, runs an hour in a blink under the virtual-time loop.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKED = sorted(path for folder in ("scheduler", "handlers") for path in (ROOT / folder).rglob("*.py"))

CLOCKS = frozenset(
    {
        *(f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time") for unit in ("", "_ns")),
        "time.sleep",
        "asyncio.sleep",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    }
)


def mentions(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of each use of an imported or built-in name, called or only passed on."""
    tree = ast.parse(source)
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            dotted = _dotted(node)
            first, *rest = dotted.split(".") if dotted else [""]
            if first:
                yield node.lineno, ".".join([imported.get(first, first), *rest])


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None


def uses(source: str, banned: frozenset[str]) -> list[str]:
    return [f"line {line}: {name}" for line, name in mentions(source) if name in banned]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [path for path in CHECKED if name_of(path) != "scheduler/clock.py"], ids=name_of)
def test_only_the_clock_reads_clocks_or_sleeps(path: Path) -> None:
    assert uses(path.read_text("utf-8"), CLOCKS) == [], "ask a Clock for the time, sleep with anyio.sleep"


@pytest.mark.parametrize("path", [path for path in CHECKED if not name_of(path).startswith("scheduler/cli/")], ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    assert uses(path.read_text("utf-8"), frozenset({"print"})) == [], "emit an event, or return what the caller may print"


def test_the_clock_itself_is_found_out() -> None:
    assert uses((ROOT / "scheduler" / "clock.py").read_text("utf-8"), CLOCKS)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nt.monotonic_ns()",
        "from time import perf_counter\nperf_counter()",
        "from time import sleep as nap\nnap(1)",
        "import time\nfield(default_factory=time.time)",
        "import datetime\ndatetime.datetime.now(tz)",
        "from datetime import datetime\ndatetime.utcnow()",
        "from datetime import datetime as dt\ndt.now()",
        "from datetime import date\ndate.today()",
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)",
        "from asyncio import sleep\nsleep(0)",
    ],
)
def test_no_disguise_helps(source: str) -> None:
    assert len(uses(source, CLOCKS)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "clock.now()",
        "import anyio\nanyio.sleep(1)",
        "from datetime import datetime\ndatetime.fromtimestamp(0)",
        "'time.time()'",
        "job.time.sleep()",
    ],
)
def test_what_is_allowed_is_not_reported(source: str) -> None:
    assert uses(source, CLOCKS) == []
