"""Partitions: a worker is out of reach for longer than its lease, with a job in its hands that does not end by itself.

Asserted directly, beside the checker's rules: the job runs elsewhere before the worker is back; when it is back its handler is
cancelled, and what it then tries to write under its old token changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scheduler import Registry, Scheduler
from tests.simulation.postgres_load import LEASE_S, Load, Report, Told, slowly, started_after, under_load
from tests.support.fleet import Process, until
from tests.support.partition_proxy import Cable, a_cable
from tests.support.postgres_audit import ask
from tests.support.service_process import Lines

#: Beats and looks are hundredths of a lease; the rest is the machine.
TAKEN_OVER_S = LEASE_S + 5.0
CANCELLED_S = 10.0


def partitions(folder: Path, url: str, *, rounds: int, seed: int, told: Told = lambda line: None) -> Report:
    """Every other time the worker is frozen, else its way to the server cut."""
    rng, report = random.Random(seed), Report("partitions", rounds)
    with ExitStack() as stack:
        cables: list[Cable] = []

        def ways(store: str) -> list[str]:
            laid = [stack.enter_context(a_cable(store)) for _ in range(2)]
            cables.extend(cable for cable, _ in laid)
            return [way for _, way in laid]

        with under_load(folder, url, seed, report, ways) as load:
            noted = Lines(folder / "client-partitions.jsonl")
            for number in range(rounds):
                time.sleep(rng.uniform(0.0, 0.3))
                _partition(load, cables, noted, report, by_cable=number % 2 == 1, told=told)
    return report


def _partition(load: Load, cables: list[Cable], noted: Lines, report: Report, *, by_cable: bool, told: Told) -> None:
    job_id = asyncio.run(_enqueued(load.store))
    noted.write("ack", job=job_id, created=True, key=None, task_type="zombie")
    victim, token = _holder(load, job_id, above=0)
    place = load.workers.index(victim)
    report.hit += 1
    cables[place].cut() if by_cable else victim.signal(signal.SIGSTOP)
    try:
        successor, took = None, 0.0
        try:
            took = slowly(lambda: _token(load.store, job_id) > token, TAKEN_OVER_S, f"job {job_id} moves on")
            successor, _ = _holder(load, job_id, above=token)
        except TimeoutError as error:
            report.violations.append(f"12 {error}")
        if successor is victim:
            report.violations.append(f"2 job {job_id}: the worker out of reach took it again")
        report.back(took, TAKEN_OVER_S)
    finally:
        wall = time.time()
        cables[place].mend() if by_cable else victim.signal(signal.SIGCONT)
    until(lambda: _end_of(victim, job_id, token) is not None, CANCELLED_S, "the zombie's handler ends")
    end = _end_of(victim, job_id, token) or {}
    report.notes["zombies cancelled"] += _is_cancellation(end["how"])
    if not _is_cancellation(end["how"]):
        report.violations.append(f"3 job {job_id}: the zombie's handler ended with {end['how']}, it was not cancelled")
    until(lambda: started_after(victim, wall), 30.0, "the zombie works again")
    _judge_late_writes(load.store, job_id, token, report)
    asyncio.run(_cancelled(load.store, job_id))
    noted.write("cancelled", job=job_id, was="processing")
    told(f"partitions {report.hit}: {'cable' if by_cable else 'frozen'}, moved on after {took:.2f} s, {end['how']}")


def _judge_late_writes(store: str, job_id: str, token: int, report: Report) -> None:
    """The end under the old token is the taking back and nothing else, and the late checkpoint is not there."""
    ends = ask(store, "SELECT reason FROM @.audit WHERE kind = 'move' AND was = 'processing' AND job_id = $1 AND token = $2", job_id, token)
    if [row["reason"] for row in ends] != ["worker_lost"]:
        report.violations.append(f"3 job {job_id}: under token {token} it ended as {[row['reason'] for row in ends]}")
    state = ask(store, "SELECT state_json FROM @.jobs WHERE job_id = $1", job_id)[0]["state_json"]
    if state is not None and json.loads(state) == {"late": token}:
        report.violations.append(f"3 job {job_id}: the zombie's late checkpoint was stored")
    report.notes["late writes refused"] += 1


def _is_cancellation(how: str) -> bool:
    return how == "CancelledError"


def _holder(load: Load, job_id: str, *, above: int) -> tuple[Process, int]:
    """The worker that runs the job under a token above ``above``, and that token."""
    found: list[tuple[Process, int]] = []

    def is_running() -> bool:
        for process in load.workers:
            for line in process.lines("runs"):
                if line["what"] == "start" and line["job"] == job_id and line["token"] > above:
                    found.append((process, line["token"]))
        return bool(found)

    until(is_running, 20.0, f"job {job_id} runs")
    return found[-1]


def _end_of(process: Process, job_id: str, token: int) -> dict[str, Any] | None:
    ends = [line for line in process.lines("runs") if line["what"] == "end" and (line["job"], line["token"]) == (job_id, token)]
    return ends[0] if ends else None


def _token(store: str, job_id: str) -> int:
    row = ask(store, "SELECT token, status FROM @.jobs WHERE job_id = $1", job_id)[0]
    return int(row["token"]) if row["status"] == "processing" else 0


async def _enqueued(store: str) -> str:
    async with Scheduler.open({"scheduler": {"store": store}}, Registry(), logs=False) as client:
        return (await client.enqueue("zombie", priority=9)).job_id


async def _cancelled(store: str, job_id: str) -> None:
    async with Scheduler.open({"scheduler": {"store": store}}, Registry(), logs=False) as client:
        await client.cancel(job_id)
