"""What every benchmark shares: contenders as processes of their own, taking turns; medians, spreads and ratios.

A contender is ``python -m benchmarks.NAME ROLE {json}`` and prints one JSON object as its last line. Rounds interleave
the contenders, so that a machine that speeds up or slows down does so for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Numbers = dict[str, float]


def child(module: str, role: str, **options: Any) -> Numbers:
    """Run one contender in a fresh process and a fresh folder; returns what it measured."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=os.environ.get("BENCH_DIR")) as folder:
        command = [sys.executable, "-m", module, "--role", role, "--options", json.dumps({"folder": folder, **options})]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{role} failed:\n{done.stderr[-3000:]}")
    measured: Numbers = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def rounds(module: str, roles: Sequence[str], count: int, **options: Any) -> dict[str, list[Numbers]]:
    """``count`` rounds, the contenders in turn."""
    results: dict[str, list[Numbers]] = {role: [] for role in roles}
    for number in range(count):
        for role in roles:
            results[role].append(child(module, role, **options))
            print(f"  round {number + 1}/{count} {role}: {_short(results[role][-1])}", file=sys.stderr, flush=True)
    return results


def spread(values: Sequence[float], digits: int = 0) -> str:
    """``median (min–max)``."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def column(results: Sequence[Numbers], key: str) -> list[float]:
    return [one[key] for one in results if key in one]


def ratios(ours: Sequence[Numbers], theirs: Sequence[Numbers], key: str) -> list[float]:
    """Round by round."""
    return [mine[key] / other[key] for mine, other in zip(ours, theirs, strict=True)]


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as Markdown; the first is the head."""
    head, *rest = rows
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rest:
        print("| " + " | ".join(row) + " |")


def peak_mb() -> float:
    """This process's peak resident memory in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main(roles: dict[str, Callable[[Path, dict[str, Any]], Numbers]], run: Callable[[argparse.Namespace], None], **defaults: int) -> None:
    """The command line of a benchmark: the whole comparison, or (for ``child``) one role of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--options", default="{}", help=argparse.SUPPRESS)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    arguments = parser.parse_args()
    if arguments.role is None:
        run(arguments)
        return
    options = json.loads(arguments.options)
    measured = roles[arguments.role](Path(options.pop("folder")), options)
    print(json.dumps({**measured, "peak_mb": peak_mb()}), flush=True)
    os._exit(0)  # peers leave threads behind


def _short(measured: Numbers) -> str:
    return ", ".join(f"{key} {value:,.1f}" for key, value in measured.items())
