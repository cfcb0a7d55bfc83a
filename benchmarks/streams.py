"""A thousand followers: what pick-up and memory are while 1,000 clients stream events and a tenth of them do not read.

    python -m benchmarks.streams --clients 1000 --seconds 30 --rounds 3

A real ``scheduler serve`` on SQLite; the clients are sockets of another process. Jobs come in by HTTP at a steady pace; pick-up is from
the request to the handler's first line, by the service's own clock. ``alone`` is the same without clients. Memory is what the service's
process has grown by, after a third of the time and at its peak: it must not go on growing with what stalled clients do not read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks import harness
from benchmarks.api import service

ASKED_MS = 20.0
PACE_S = 0.02
_STREAM = b"GET /api/events HTTP/1.1\r\nHost: %s\r\n\r\n"


class Clients:
    """``read`` counts bytes; a stalled client has a small buffer and never reads."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url)
        self.read = 0
        self.ended = 0
        self._stalled: list[socket.socket] = []

    async def follow(self) -> None:
        reader, writer = await asyncio.open_connection(self._where.hostname, self._where.port)
        writer.write(_STREAM % self._where.netloc.encode())
        while chunk := await reader.read(65_536):
            self.read += len(chunk)
        self.ended += 1

    async def stall(self) -> None:
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stalled.setblocking(False)
        await asyncio.get_running_loop().sock_connect(stalled, (self._where.hostname, self._where.port))
        await asyncio.get_running_loop().sock_sendall(stalled, _STREAM % self._where.netloc.encode())
        self._stalled.append(stalled)


def _enqueue(url: str) -> str:
    request = urllib.request.Request(f"{url}/api/jobs", b'{"task_type":"noop"}', {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        job_id: str = json.load(answer)["job_id"]
        return job_id


def _waits_ms(url: str, job_ids: list[str]) -> list[float]:
    """How long the jobs waited, from the request to the handler's first line."""
    waits: list[float] = []
    for job_id in job_ids:
        with urllib.request.urlopen(f"{url}/api/jobs/{job_id}?wait=20", timeout=30) as answer:
            job = json.load(answer)
        created = datetime.fromisoformat(job["created_at"].replace("Z", "+00:00")).timestamp()
        waits.append((job["result"] - created) * 1000)
    return sorted(waits)


async def _measure(url: str, pid: int, clients: int, seconds: float) -> harness.Numbers:
    process = psutil.Process(pid)
    before = process.memory_info().rss
    crowd = Clients(url)
    tasks = [asyncio.create_task(crowd.follow()) for _ in range(clients - clients // 10)]
    for _ in range(clients // 10):
        await crowd.stall()
    await asyncio.sleep(2.0 if clients else 0.5)
    peak, third, job_ids = before, 0, list[str]()
    end = time.perf_counter() + seconds
    next_at = time.perf_counter()
    while time.perf_counter() < end:
        job_ids.append(await asyncio.to_thread(_enqueue, url))
        if len(job_ids) % 25 == 0:
            peak = max(peak, process.memory_info().rss)
        if not third and time.perf_counter() > end - seconds * 2 / 3:
            third = process.memory_info().rss
        next_at += PACE_S
        await asyncio.sleep(max(0.0, next_at - time.perf_counter()))
    await asyncio.sleep(1.0)
    read = crowd.read
    waits = await asyncio.to_thread(_waits_ms, url, job_ids)
    dropped = crowd.ended
    for task in tasks:
        task.cancel()
    return {
        "p50_ms": waits[len(waits) // 2],
        "p99_ms": waits[int(len(waits) * 0.99)],
        "third_mb": (third - before) / 1e6,
        "grown_mb": (peak - before) / 1e6,
        "jobs_per_s": len(job_ids) / seconds,
        "mb_per_s": read / seconds / 1e6,
        "dropped": float(dropped),
    }


def _role(folder: Path, options: dict[str, Any], clients: int) -> harness.Numbers:
    with service(folder, "--log-level", "info") as (url, pid):
        return asyncio.run(_measure(url, pid, clients, options["seconds"]))


def alone(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    return _role(folder, options, 0)


def crowd(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    return _role(folder, options, options["clients"])


def run(arguments: argparse.Namespace) -> None:
    options = {"clients": arguments.clients, "seconds": arguments.seconds}
    results = harness.rounds("benchmarks.streams", ["alone", "crowd"], arguments.rounds, **options)
    rows = [["", "pick-up p50 ms", "pick-up p99 ms", "grown MB, a third", "at the peak", "jobs/s", "streamed MB/s", "readers dropped"]]
    for role, found in results.items():
        columns = [harness.column(found, key) for key in ("p50_ms", "p99_ms", "third_mb", "grown_mb", "jobs_per_s", "mb_per_s", "dropped")]
        rows.append([role, *(harness.spread(values, 1) for values in columns)])
    harness.table(rows)
    p99 = harness.column(results["crowd"], "p99_ms")
    print(f"\np99 with {arguments.clients:,} clients / asked {ASKED_MS:g} ms: {harness.spread([one / ASKED_MS for one in p99], 2)}")


if __name__ == "__main__":
    harness.main({"alone": alone, "crowd": crowd}, run, clients=1_000, seconds=30, rounds=3)
