"""Kill -9 at random moments under load, as often as asked, then replay the rules over what is left.

    python -m tests.simulation.kill_campaign --rounds 300 [--seed 7] [--services 2] [--keep FOLDER]

Each round lets services run for a random fraction of a second and kills one of them; a fresh one takes its
place. Clients enqueue all the while. When the rounds are over the clients stop, one last service drains the
store, and ``checker.py`` judges. Exit code 1 if any rule was broken.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.checker import check, evidence_in
from tests.support.fleet import fleet, until
from tests.support.service_process import SETTINGS

ROOT = Path(__file__).parents[2]
#: A restarted service must run jobs again within so many seconds.
RESTART_S = 2.0
DRAIN_S = 60.0


@dataclass
class Report:
    """What a campaign found."""

    rounds: int = 0
    acknowledged: int = 0
    killed_running: int = 0
    restarts_s: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        slowest = max(self.restarts_s, default=0.0)
        return [
            f"{self.rounds} kills, {self.killed_running} of them with jobs running; {self.acknowledged} jobs acknowledged",
            f"restart to first start: {slowest:.2f} s at most",
            f"statuses: {json.dumps(self.statuses, sort_keys=True)}",
            f"violations: {len(self.violations)}",
            *self.violations[:20],
        ]


def campaign(
    folder: Path, *, rounds: int, seed: int, services: int = 1, clients: int = 2, told: Callable[[str], None] = lambda line: None
) -> Report:
    """Kill ``rounds`` services in turn; returns what was found. ``told`` hears of each round."""
    rng = random.Random(seed)
    report = Report(rounds)
    with fleet(folder) as started:
        enqueuing = [started.client(seed * 100 + number) for number in range(clients)]
        at_work = [started.service() for _ in range(services)]
        until(lambda: all(process.has_run() for process in at_work), 30.0, "the first jobs run")
        for number in range(rounds):
            successor = started.service(at_once=False)
            until(successor.is_ready, 30.0, "a successor is ready")
            time.sleep(rng.uniform(0.0, 0.4))
            victim = at_work.pop(rng.randrange(len(at_work)))
            victim.signal(signal.SIGKILL)
            victim.wait(10.0)
            report.killed_running += victim.running() > 0
            successor.go()
            at_work.append(successor)
            report.restarts_s.append(until(successor.has_run, 30.0, "a successor runs jobs"))
            told(f"round {number + 1}: killed {victim.pid}, {victim.running()} running; back after {report.restarts_s[-1]:.2f} s")
        for process in enqueuing:
            process.go()
            process.wait(10.0)
        for process in at_work:
            process.signal(signal.SIGTERM)
            process.wait(10.0)
        last = started.service(until_empty=True)
        try:
            if code := last.wait(DRAIN_S):
                report.violations.append(f"12 the last service exited with {code}: {last.said()}")
        except TimeoutError as error:
            report.violations.append(f"12 the store does not run empty: {error}")
    _judge(folder, report)
    return report


def _judge(folder: Path, report: Report) -> None:
    engine = SETTINGS["scheduler"]
    seen = evidence_in(folder, limits={"": engine["concurrency"], "slow": SETTINGS["task_types"]["slow"]["concurrency"]}, blameless=True)
    report.acknowledged = len({line["job"] for line in seen.clients if line["what"] == "ack"})
    report.statuses = dict(Counter(job["status"] for job in seen.jobs))
    report.violations += check(seen)
    report.violations += [f"12 a restart took {taken:.2f} s" for taken in report.restarts_s if taken > RESTART_S]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--services", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the evidence in this folder")
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        report = campaign(folder, rounds=asked.rounds, seed=asked.seed, services=asked.services, told=print)
    print("\n".join(report.lines()))
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
