"""Faults of workers, of the server and of the way between them, as often as asked; then the rules are replayed.

    python -m tests.simulation.postgres_campaign [--seed 7] [--rounds 5] [--only kills restarts cuts answers partitions] [--keep FOLDER]

Two workers and two clients. ``kills``: one worker is killed with -9. ``restarts``: the server is stopped in immediate mode, every
third time once more while it recovers. ``cuts``: connections are terminated, in turns in the midst of a claim's transaction, in the
midst of a settlement's, all at once, and those that listen and beat. ``answers``: the answer to a claim, an outcome or a checkpoint is
lost after the server did what it says. ``partitions``: a worker is out of reach for longer than its lease.

The server is the campaign's own. With ``PG_URL`` it is that one, and ``restarts`` are left out. Exit code 1 if any rule was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from anyio.from_thread import start_blocking_portal

from scheduler.stores.postgres.address import parse
from tests.simulation.postgres_load import LEASE_S, Load, Report, Told, under_load
from tests.simulation.postgres_partitions import partitions
from tests.support.fleet import until
from tests.support.own_postgres import OwnServer, own_server
from tests.support.partition_proxy import Cable, a_cable
from tests.support.postgres_audit import HOLD, ask

RESTART_S = 2.0
#: So many rounds of each, unless the command says otherwise.
ROUNDS = {"kills": 25, "restarts": 25, "cuts": 24, "answers": 24, "partitions": 10}


def kills(folder: Path, url: str, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """A worker is killed with -9, another takes its place."""
    rng, report = random.Random(seed), Report("kills", rounds)
    with under_load(folder, url, seed, report) as load:
        for number in range(rounds):
            successor = load.fleet.service(at_once=False, lease_s=LEASE_S)
            until(successor.is_ready, 30.0, "a successor is ready")
            time.sleep(rng.uniform(0.0, 0.4))
            victim = load.workers.pop(rng.randrange(len(load.workers)))
            victim.signal(signal.SIGKILL)
            victim.wait(10.0)
            report.hit += victim.running() > 0
            successor.go()
            load.workers.append(successor)
            took = until(successor.has_run, 30.0, "a successor runs jobs")
            report.back(took, RESTART_S)
            told(f"kills {number + 1}: back after {took:.2f} s")
    return report


def restarts(folder: Path, url: str, *, rounds: int, seed: int, server: OwnServer, told: Told = lambda line: None) -> Report:
    """The server is stopped in immediate mode and started, every third time once more in its recovery."""
    rng, report = random.Random(seed), Report("restarts", rounds)
    with under_load(folder, url, seed, report) as load:
        for number in range(rounds):
            time.sleep(rng.uniform(0.1, 0.8))
            report.hit += any(process.running() for process in load.workers)
            with load.one_outage(report):
                server.crash()
                time.sleep(rng.choice([0.0, 0.0, rng.uniform(0.0, 2.0)]))
                server.begin()
                if number % 3 == 2:
                    time.sleep(rng.uniform(0.0, 0.05))
                    report.notes["crashes in recovery"] += not server.is_ready()
                    server.crash()
                    server.begin()
                server.until_ready()
                took = load.at_work_again()
            report.back(took)
            told(f"restarts {number + 1}: back after {took:.2f} s")
    return report


def cuts(folder: Path, url: str, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """Connections are terminated. A writer is held by the audit's gate until it is cut: rows changed, nothing committed."""
    rng, report = random.Random(seed), Report("cuts", rounds)
    with under_load(folder, url, seed, report) as load:
        for number in range(rounds):
            time.sleep(rng.uniform(0.0, 0.2))
            kind = ("claims", "ends", "%", "pulse", "listener")[number % 5]
            with load.one_outage(report):
                ended = _cut_in_the_midst(load, kind) if kind in ("claims", "ends") else _cut(load, kind)
                took = load.at_work_again()
            report.hit += ended > 0
            report.notes[f"{'any' if kind == '%' else kind} cut"] += ended
            report.back(took)
            told(f"cuts {number + 1}: {ended} of {kind} ended, back after {took:.2f} s")
    return report


def _cut(load: Load, purpose: str, also: str = "true") -> int:
    """End the sessions of a purpose; how many."""
    which = f"application_name LIKE 'scheduler {purpose}%' AND datname = current_database() AND {also}"
    return len(ask(load.store, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"))


#: Held by the audit's gate, not by a lock of our own.
_HELD = (
    "pid IN (SELECT l.pid FROM pg_locks AS l WHERE NOT l.granted AND l.locktype = 'advisory' "
    "AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('{schema}', 1))"
)


def _cut_in_the_midst(load: Load, purpose: str) -> int:
    """End those sessions of a purpose that are held between their first write and their commit; 0 if none came there in time."""
    held = _HELD.format(schema=_literal(load.store))
    for _ in range(5):  # who waits for a lock of one that is held does not come so far: let all go, and hold again
        with _writers_held(load.store), suppress(TimeoutError):
            ended: list[int] = []
            until(lambda ended=ended: bool(ended.append(_cut(load, purpose, held)) or ended[-1]), 0.5, purpose)
            return ended[-1]
        time.sleep(0.1)
    return 0


def _literal(store: str) -> str:
    return parse(store).schema.replace("'", "''")


@contextmanager
def _writers_held(store: str) -> Iterator[None]:
    address = parse(store)
    with start_blocking_portal() as portal:
        connection = portal.call(partial(asyncpg.connect, address.dsn, timeout=10.0))
        try:
            portal.call(connection.execute, HOLD.replace("$1", f"'{_literal(store)}'"))
            yield
        finally:
            portal.call(connection.close)


def answers(folder: Path, url: str, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """The server did what it was asked, and nobody hears of it."""
    rng, report = random.Random(seed), Report("answers", rounds)
    with ExitStack() as stack:
        cables: list[Cable] = []

        def ways(store: str) -> list[str]:
            laid = [stack.enter_context(a_cable(store)) for _ in range(2)]
            cables.extend(cable for cable, _ in laid)
            return [way for _, way in laid]

        with under_load(folder, url, seed, report, ways) as load:
            for number in range(rounds):
                time.sleep(rng.uniform(0.0, 0.2))
                purpose, cable = ("claims", "ends", "synced")[number % 3], cables[number // 3 % 2]
                before = cable.lost
                with load.one_outage(report):
                    cable.lose_an_answer(purpose)
                    until(partial(_has_lost, cable, before), 20.0, f"an answer to {purpose} is lost")
                    took = load.at_work_again()
                report.hit += 1
                report.notes[f"answers to {purpose} lost"] += 1
                report.back(took)
                told(f"answers {number + 1}: one to {purpose} lost, back after {took:.2f} s")
    return report


def _has_lost(cable: Cable, before: int) -> bool:
    return cable.lost > before


FAULTS: dict[str, Callable[..., Report]] = {
    "kills": kills,
    "restarts": restarts,
    "cuts": cuts,
    "answers": answers,
    "partitions": partitions,
}


def run_fault(name: str, folder: Path, server: OwnServer | None, **how: Any) -> Report:
    """One kind of fault on ``server``, or on the one at ``PG_URL``."""
    url = os.environ["PG_URL"] if server is None else server.url
    more = {"server": server} if name == "restarts" else {}
    return FAULTS[name](folder, url, **more, **how)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help=f"of each; by default {ROUNDS}")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--keep", type=Path, help="leave the evidence in this folder")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    told: Any = partial(print, flush=True)
    elsewhere = bool(os.environ.get("PG_URL"))
    names = [name for name in asked.only if not (elsewhere and name == "restarts")]
    reports: list[Report] = []
    with tempfile.TemporaryDirectory() as scratch, nullcontext() if elsewhere else own_server() as server:
        for name in names:
            folder = (asked.keep or Path(scratch)) / name
            reports.append(run_fault(name, folder, server, rounds=asked.rounds or ROUNDS[name], seed=asked.seed, told=told))
            told("\n".join(reports[-1].lines()))
    told("\n".join(["", *(line for report in reports for line in report.lines())]))
    if len(names) < len(asked.only):
        told("restarts: left out, the server at PG_URL is not ours to stop")
    return 1 if any(report.violations for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
