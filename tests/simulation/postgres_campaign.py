"""Faults of workers, of the server and of the way between them, as often as asked; then the rules are replayed.

    python -m tests.simulation.postgres_campaign --rounds 25 [--seed 7] [--only kills restarts cuts partitions] [--keep FOLDER]

Two workers and two clients on a PostgreSQL server of the campaign's own. ``kills``: one worker is killed with -9. ``restarts``: the
server is stopped in immediate mode, every third time once more while it recovers. ``cuts``: connections are terminated, idle and
at work, many times a round. ``partitions``: a worker is frozen, or its way to the server cut, for longer than its lease.
Exit code 1 if any rule was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.checker import check
from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.own_postgres import OwnServer, own_server
from tests.support.partition_proxy import a_cable
from tests.support.postgres_audit import ask, evidence_at
from tests.support.postgres_server import a_schema, with_schema
from tests.support.service_process import SETTINGS

RESTART_S = 2.0
RECONNECT_S = 5.0
DRAIN_S = 60.0
#: Lines about the store that a worker may log for one outage: the dispatcher's, the settler's, the pool's.
LINES_AN_OUTAGE = 6
LEASE_S = 1.5

Told = Callable[[str], None]


@dataclass
class Report:
    fault: str
    rounds: int = 0
    acknowledged: int = 0
    hit: int = 0
    slowest_s: float = 0.0
    log_lines: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [
            f"{self.fault}: {self.rounds} rounds, {self.hit} with jobs running; {self.acknowledged} jobs acknowledged; "
            f"back at work after {self.slowest_s:.2f} s at most; {self.log_lines} log lines about the store; "
            f"{json.dumps(self.statuses, sort_keys=True)}; violations: {len(self.violations)}",
            *self.violations[:20],
        ]


@contextmanager
def _under_load(folder: Path, url: str, seed: int, report: Report) -> Iterator[tuple[Fleet, list[Process], str]]:
    """Two workers and two clients; when the faults are over the store is drained and judged."""
    store = with_schema(url, a_schema("faults"))
    folder.mkdir(parents=True, exist_ok=True)
    with fleet(folder, store) as started:
        clients = [started.client(seed * 100 + number) for number in range(2)]
        workers = [started.service(lease_s=LEASE_S) for _ in range(2)]
        until(lambda: all(process.has_run() for process in workers), 30.0, "the first jobs run")
        yield started, workers, store
        for process in workers:
            if not process.is_running():
                report.violations.append(f"12 worker {process.pid} ended by itself: {process.said()}")
        for process in clients:
            process.go()
            if code := process.wait(30.0):
                report.violations.append(f"12 a client exited with {code}: {process.said()}")
        _drain(started, workers, store, report)
    engine, slow = SETTINGS["scheduler"]["concurrency"], SETTINGS["task_types"]["slow"]["concurrency"]
    seen = evidence_at(store, folder, limits={"": engine, "slow": slow}, blameless=True)
    report.acknowledged = len({line["job"] for line in seen.clients if line["what"] == "ack"})
    report.statuses = dict(Counter(job["status"] for job in seen.jobs))
    report.log_lines = sum(map(_store_lines, folder.glob("log-*.txt")))
    report.violations += check(seen)


def _drain(started: Fleet, workers: list[Process], store: str, report: Report) -> None:
    """The living workers have to finish everything: a successor would hide what is stuck in a living worker's name."""

    def is_empty() -> bool:
        return ask(store, "SELECT count(*) AS n FROM @.jobs WHERE finished_us IS NULL")[0]["n"] == 0

    try:
        _slowly(is_empty, DRAIN_S, "the workers run the store empty")
    except TimeoutError as error:
        report.violations.append(f"12 {error}")
    for process in workers:
        process.signal(signal.SIGTERM)
        try:
            if code := process.wait(15.0):
                report.violations.append(f"12 a worker exited with {code}: {process.said()}")
        except TimeoutError as error:
            report.violations.append(f"12 {error}")


def _slowly(is_so: Callable[[], bool], limit_s: float, what: str) -> None:
    """``until`` for a question that costs something."""
    ends = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {limit_s} s")
        time.sleep(0.2)


def _store_lines(path: Path) -> int:
    """Lines of a log that are about anything but a job's own end."""
    return sum('"job.' not in line for line in path.read_text("utf-8").splitlines())


def _started_after(process: Process, wall: float) -> bool:
    return any(line["what"] == "start" and line["at"] > wall for line in process.lines("runs")[-50:])


def kills(folder: Path, server: OwnServer, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """A worker is killed with -9, another takes its place."""
    rng, report = random.Random(seed), Report("kills", rounds)
    with _under_load(folder, server.url, seed, report) as (started, workers, _):
        for number in range(rounds):
            successor = started.service(at_once=False, lease_s=LEASE_S)
            until(successor.is_ready, 30.0, "a successor is ready")
            time.sleep(rng.uniform(0.0, 0.4))
            victim = workers.pop(rng.randrange(len(workers)))
            victim.signal(signal.SIGKILL)
            victim.wait(10.0)
            report.hit += victim.running() > 0
            successor.go()
            workers.append(successor)
            took = until(successor.has_run, 30.0, "a successor runs jobs")
            report.slowest_s = max(report.slowest_s, took)
            if took > RESTART_S:
                report.violations.append(f"12 a restart took {took:.2f} s")
            told(f"kills {number + 1}: back after {took:.2f} s")
    return report


def restarts(folder: Path, server: OwnServer, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """The server is stopped in immediate mode and started, every third time once more in its recovery."""
    rng, report = random.Random(seed), Report("restarts", rounds)
    with _under_load(folder, server.url, seed, report) as (_, workers, _store):
        for number in range(rounds):
            time.sleep(rng.uniform(0.1, 0.8))
            report.hit += any(process.running() for process in workers)
            before = {process.pid: _store_lines(folder / f"log-{process.pid}.txt") for process in workers}
            server.crash()
            time.sleep(rng.choice([0.0, 0.0, rng.uniform(0.0, 2.0)]))
            server.begin()
            if number % 3 == 2:
                time.sleep(rng.uniform(0.0, 0.1))
                server.crash()
                server.begin()
            server.until_ready()
            wall = time.time()
            everybody = partial(_all_started_after, workers, wall)
            took = until(everybody, 30.0, "both workers run jobs again")
            report.slowest_s = max(report.slowest_s, took)
            if took > RECONNECT_S:
                report.violations.append(f"12 it took {took:.2f} s until both workers ran jobs again")
            for process in workers:
                said = _store_lines(folder / f"log-{process.pid}.txt") - before[process.pid]
                if said > LINES_AN_OUTAGE:
                    report.violations.append(f"log flood: {said} lines about one outage")
            told(f"restarts {number + 1}: back after {took:.2f} s")
    return report


def _all_started_after(workers: list[Process], wall: float) -> bool:
    return all(_started_after(process, wall) for process in workers)


#: Who is cut: any, those in the midst of a claim or a settlement, those that hold a lock in the midst of a transaction.
_CUTS = (
    "application_name LIKE 'scheduler %'",
    "application_name LIKE 'scheduler claims%' AND state <> 'idle'",
    "application_name LIKE 'scheduler ends%' AND state <> 'idle'",
    "application_name LIKE 'scheduler pulse%' OR application_name LIKE 'scheduler listener%'",
)


def cuts(folder: Path, server: OwnServer, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """Connections are terminated; for claims and settlements the server looks on its own until it meets one at work."""
    rng, report = random.Random(seed), Report("cuts", rounds)
    with _under_load(folder, server.url, seed, report) as (_, workers, store):
        for number in range(rounds):
            which = _CUTS[number % len(_CUTS)]
            ended = ask(store, _terminated(which))[0]["n"] if " AND " in which else len(ask(store, _terminate(which)))
            report.hit += ended > 0
            wall = time.time()
            took = until(partial(_all_started_after, workers, wall), 30.0, "both workers run jobs again")
            report.slowest_s = max(report.slowest_s, took)
            if took > RECONNECT_S:
                report.violations.append(f"12 it took {took:.2f} s until both workers ran jobs again")
            time.sleep(rng.uniform(0.0, 0.2))
            told(f"cuts {number + 1}: {ended} ended, back after {took:.2f} s")
    return report


def _terminate(which: str) -> str:
    return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"


def _terminated(which: str) -> str:
    """Looks up to 2,000 times, a millisecond apart, in one statement: none of its own round trips come between look and cut."""
    return (
        "SELECT count(*) AS n FROM (SELECT pg_terminate_backend(a.pid) FROM generate_series(1, 2000) AS t(i), "
        f"LATERAL (SELECT pg_sleep(0.001), pg_stat_clear_snapshot(), t.i) AS nap, "
        f"LATERAL (SELECT pid FROM pg_stat_get_activity(NULL) AS s WHERE t.i > 0 AND {which} ) AS a LIMIT 2) AS ended"
    )


def partitions(folder: Path, server: OwnServer, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """A worker is out of reach for longer than its lease: frozen, or, every other time, its way to the server cut."""
    rng, report = random.Random(seed), Report("partitions", rounds)
    with _under_load(folder, server.url, seed, report) as (started, workers, store), a_cable(store) as (cable, through):
        far = started.service(lease_s=LEASE_S, store=through)
        workers.append(far)
        until(far.has_run, 30.0, "the far worker runs jobs")
        for number in range(rounds):
            by_cable = number % 2 == 1
            victim = far if by_cable else workers[rng.randrange(2)]
            _until_running(victim)
            cable.cut() if by_cable else victim.signal(signal.SIGSTOP)
            worker = _worker_of(victim)
            time.sleep(0.05)
            held = ask(store, "SELECT job_id, token FROM @.jobs WHERE status = 'processing' AND worker = $1", worker)
            report.hit += bool(held)
            began = time.monotonic()
            try:
                _slowly(partial(_is_taken_over, store, worker), LEASE_S + 15.0, f"the jobs of {worker} move on")
            except TimeoutError as error:
                report.violations.append(f"12 {error}")
            took = time.monotonic() - began
            report.slowest_s = max(report.slowest_s, took)
            wall = time.time()
            cable.mend() if by_cable else victim.signal(signal.SIGCONT)
            until(partial(_started_after, victim, wall), 30.0, "the zombie works again")
            told(f"partitions {number + 1}: {len(held)} jobs moved on after {took:.2f} s")
    return report


def _until_running(process: Process) -> None:
    until(lambda: process.running() > 0, 30.0, "the victim runs jobs")


def _worker_of(process: Process) -> str:
    return str([line for line in process.lines("events") if line["what"] == "service.started"][-1]["worker"])


def _is_taken_over(store: str, worker: str) -> bool:
    """Whether nothing is left in the name of a worker, and its row is gone."""
    left = "SELECT (SELECT count(*) FROM @.jobs WHERE status = 'processing' AND worker = $1)"
    return bool(ask(store, f"{left} + (SELECT count(*) FROM @.workers WHERE worker_id = $1) AS n", worker)[0]["n"] == 0)


FAULTS: dict[str, Callable[..., Report]] = {"kills": kills, "restarts": restarts, "cuts": cuts, "partitions": partitions}


def campaign(folder: Path, *, rounds: int, seed: int, only: list[str], told: Told) -> list[Report]:
    reports: list[Report] = []
    with own_server() as server:
        for name in only:
            reports.append(FAULTS[name](folder / name, server, rounds=rounds, seed=seed, told=told))
            told("\n".join(reports[-1].lines()))
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--keep", type=Path, help="leave the evidence in this folder")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    told: Any = partial(print, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        reports = campaign(asked.keep or Path(scratch), rounds=asked.rounds, seed=asked.seed, only=asked.only, told=told)
    print("\n".join(line for report in reports for line in report.lines()))
    return 1 if any(report.violations for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
