"""Drain: jobs lie ready, workers are started; jobs/s from the first handler call until the store says that all are done."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from benchmarks.postgres import ours
from benchmarks.postgres.hits import Hits
from benchmarks.postgres.peers import LEFT
from benchmarks.postgres.server import Server

ROOT = Path(__file__).parents[2]
#: The store is asked so often whether everything is done, in seconds; only after the last handler call.
_LOOK_S = 0.003
LIMIT_S = 300.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Drained:
    """Jobs/s; CPU time of the workers and of the server for one job, in microseconds (0 where it could not be seen)."""

    per_s: float
    workers_us: float
    server_us: float


def peer_python(name: str) -> str | None:
    """The interpreter that has the peer: ``BENCH_PEERS`` names a folder with one environment for each."""
    folder = os.environ.get("BENCH_PEERS")
    python = Path(folder or "/nowhere") / name / "bin" / "python"
    return str(python) if python.exists() else None


@contextmanager
def workers(commands: list[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of ours, and of nobody else: ended by their handles."""
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for command in commands]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def hit_files(server: Server, number: int) -> list[Path]:
    run = next(_numbers)
    return [server.folder / f"hits-{run}-{place}" for place in range(number)]


def our_command(url: str, hits: Path, concurrency: int, wait_s: float = 0.0) -> list[str]:
    return [sys.executable, "-m", "benchmarks.postgres.ours", url, str(hits), str(concurrency), str(wait_s)]


async def _timed(server: Server, commands: list[list[str]], files: list[Path], jobs: int, left: Callable[[], Awaitable[int]]) -> Drained:
    """Of all workers together."""
    seen = [Hits(path) for path in files]
    with workers(commands) as started:
        ends = time.monotonic() + LIMIT_S

        def run_so_far() -> int:
            if time.monotonic() > ends or any(process.poll() is not None for process in started):
                raise SystemExit(f"{commands[0]}: {sum(one.read()[0] for one in seen)} of {jobs} jobs run")
            return sum(one.read()[0] for one in seen)

        while not run_so_far():
            await asyncio.sleep(_LOOK_S)
        before = _cpu_s(started), server.cpu_s()
        while run_so_far() < jobs:
            await asyncio.sleep(_LOOK_S)
        while await left():
            await asyncio.sleep(_LOOK_S)
        ended = time.monotonic()
        after = _cpu_s(started), server.cpu_s()
    took = ended - min(one.read()[1] for one in seen if one.read()[0])
    return Drained(jobs / took, *(1e6 * (late - early) / jobs for early, late in zip(before, after, strict=True)))


def _cpu_s(processes: list[subprocess.Popen[bytes]]) -> float:
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))


async def drain_ours(
    server: Server, jobs: int, concurrency: int, processes: int = 1, url: str | None = None, wait_s: float = 0.0
) -> Drained:
    """``url``: drain the store there, beside whatever it holds already."""
    url = url or server.store()
    async with ours.scheduler(url) as scheduler:
        await scheduler.enqueue_many(ours.new_jobs(jobs))
    files = hit_files(server, processes)
    commands = [our_command(url, path, concurrency, wait_s) for path in files]
    connection = await asyncpg.connect(server.url)
    try:
        left = f"SELECT count(*) FROM {server.table(url)} WHERE finished_us IS NULL AND status = ANY ($1) AND task_type = 'noop'"
        return await _timed(server, commands, files, jobs, lambda: connection.fetchval(left, ["pending", "processing"]))
    finally:
        await connection.close()


async def drain_peer(name: str, server: Server, jobs: int, concurrency: int) -> Drained | None:
    """None if the peer is not installed."""
    python = peer_python(name)
    if python is None:
        return None
    url = await server.database()
    files = hit_files(server, 1)
    base = [python, "-m", "benchmarks.postgres.peers", name]
    for role in ("install", "fill"):
        subprocess.run([*base, role, url, str(files[0]), str(jobs)], cwd=ROOT, check=True, timeout=LIMIT_S)
    connection = await asyncpg.connect(url)
    try:
        command = [*base, "work", url, str(files[0]), str(concurrency)]
        return await _timed(server, [command], files, jobs, lambda: connection.fetchval(LEFT[name]))
    finally:
        await connection.close()
