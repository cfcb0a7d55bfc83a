"""What every fault of the PostgreSQL campaign happens under: workers and clients at work; and the judgement when it is over.

Does not belong here: the faults (``postgres_campaign.py``, ``postgres_partitions.py``).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.support.checker import check
from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.postgres_audit import ask, evidence_at
from tests.support.postgres_server import a_schema, with_schema
from tests.support.service_process import SETTINGS

RECONNECT_S = 5.0
DRAIN_S = 60.0
#: Lines about the store that a worker may log for one outage: dispatcher's, settler's, scribe's; twice, if the server comes and goes.
LINES_AN_OUTAGE = 6
LEASE_S = 1.5

Told = Callable[[str], None]


@dataclass
class Report:
    """What came of one kind of fault. ``hit``: rounds that met what they were aimed at."""

    fault: str
    rounds: int = 0
    acknowledged: int = 0
    hit: int = 0
    slowest_s: float = 0.0
    log_lines: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        noted = "".join(f"; {number} {what}" for what, number in sorted(self.notes.items()))
        return [
            f"{self.fault}: {self.rounds} rounds, {self.hit} met jobs or connections at work{noted}; "
            f"{self.acknowledged} jobs acknowledged; "
            f"back at work after {self.slowest_s:.2f} s at most; {self.log_lines} log lines about the store; "
            f"{json.dumps(self.statuses, sort_keys=True)}; violations: {len(self.violations)}",
            *self.violations[:20],
        ]

    def back(self, took_s: float, limit_s: float = RECONNECT_S) -> None:
        """Everybody was at work again after ``took_s``."""
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > limit_s:
            self.violations.append(f"12 it took {took_s:.2f} s until jobs ran again")


class Load:
    """Two workers and two clients on a schema of their own."""

    def __init__(self, started: Fleet, store: str) -> None:
        self.fleet = started
        self.store = store
        self.workers: list[Process] = []

    def begin(self, seed: int, through: list[str]) -> None:
        """``through``: the ways on which the workers reach the store."""
        self.clients = [self.fleet.client(seed * 100 + number) for number in range(2)]
        self.workers = [self.fleet.service(lease_s=LEASE_S, store=way) for way in through]
        until(lambda: all(process.has_run() for process in self.workers), 30.0, "the first jobs run")
        noted = [self.fleet.folder / f"client-{seed * 100 + number}.jsonl" for number in range(2)]
        # A client that comes late meets a server that is down, and cannot even open the store.
        until(lambda: all(path.exists() and path.stat().st_size for path in noted), 30.0, "both clients enqueue")

    def at_work_again(self) -> float:
        """Wait until every worker has begun a job from now on; the seconds it took."""
        wall = time.time()
        return until(lambda: all(started_after(process, wall) for process in self.workers), 30.0, "all workers run jobs again")

    @contextmanager
    def one_outage(self, report: Report) -> Iterator[None]:
        """No worker says more about it than need be."""
        logs = {process: self.fleet.folder / f"log-{process.pid}.txt" for process in self.workers}
        before = {process: _store_lines(path) for process, path in logs.items()}
        yield
        for process, path in logs.items():
            said = _store_lines(path) - before[process]
            if said > LINES_AN_OUTAGE:
                report.violations.append(f"log flood: worker {process.pid} said {said} lines about one outage")


@contextmanager
def under_load(folder: Path, url: str, seed: int, report: Report, ways: Callable[[str], list[str]] | None = None) -> Iterator[Load]:
    """When the faults are over the store is drained and judged. ``ways``: the URLs on which workers reach the store."""
    store = with_schema(url, a_schema("faults"))
    folder.mkdir(parents=True, exist_ok=True)
    with fleet(folder, store) as started:
        load = Load(started, store)
        load.begin(seed, [store, store] if ways is None else ways(store))
        yield load
        for process in load.workers:
            if not process.is_running():
                report.violations.append(f"12 worker {process.pid} ended by itself: {process.said()}")
        for process in load.clients:
            process.go()
            if code := process.wait(30.0):
                report.violations.append(f"12 a client exited with {code}: {process.said()}")
        _drain(load, report)
    engine, slow = SETTINGS["scheduler"]["concurrency"], SETTINGS["task_types"]["slow"]["concurrency"]
    seen = evidence_at(store, folder, limits={"": engine, "slow": slow}, blameless=True)
    report.acknowledged = len({line["job"] for line in seen.clients if line["what"] == "ack"})
    report.statuses = dict(Counter(job["status"] for job in seen.jobs))
    report.log_lines = sum(map(_store_lines, folder.glob("log-*.txt")))
    report.violations += check(seen)
    ask(store, "DROP SCHEMA @ CASCADE") if os.environ.get("PG_URL") else None


def _drain(load: Load, report: Report) -> None:
    """The living workers have to finish everything: a successor would hide what is stuck in a living worker's name."""

    def is_empty() -> bool:
        return ask(load.store, "SELECT count(*) AS n FROM @.jobs WHERE finished_us IS NULL")[0]["n"] == 0

    try:
        slowly(is_empty, DRAIN_S, "the workers run the store empty")
    except TimeoutError as error:
        report.violations.append(f"12 {error}")
    for process in load.workers:
        process.signal(signal.SIGTERM)
        try:
            if code := process.wait(15.0):
                report.violations.append(f"12 a worker exited with {code}: {process.said()}")
        except TimeoutError as error:
            report.violations.append(f"12 {error}")


def slowly(is_so: Callable[[], bool], limit_s: float, what: str) -> float:
    """``until`` for a question that costs something."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"{what}: not within {limit_s} s")
        time.sleep(0.1)
    return time.monotonic() - began


def _store_lines(path: Path) -> int:
    """Lines of a log that are about anything but a job's own end."""
    return sum('"job.' not in line for line in path.read_text("utf-8").splitlines()) if path.exists() else 0


def started_after(process: Process, wall: float) -> bool:
    return any(line["what"] == "start" and line["at"] > wall for line in process.lines("runs")[-50:])


def until_running(process: Process) -> None:
    until(partial(lambda one: one.running() > 0, process), 30.0, "the victim runs jobs")
