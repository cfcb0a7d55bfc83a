"""The API under load: enqueues a second over HTTP, one request each and in bulk, on the cores that also generate the load.

    python -m benchmarks.api --jobs 20000 --rounds 5

A real ``scheduler serve`` on SQLite in a process of its own; 64 connections that are kept alive, each with one request under way, from
one more process. ``single`` stores only (``--no-jobs``), ``running`` also runs the jobs, whose handler does nothing. ``inside`` is the
same without HTTP: 64 tasks that await ``Scheduler.enqueue``; its rate is the limit that HTTP can come near to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import contenders, harness

ASKED = 2_000
CONNECTIONS = 64
_URL = re.compile(r'"url":"(http://[^"]+)"')
_CONFIG = """
[scheduler]
store = "sqlite:///{folder}/jobs.db"
drain_grace_s = 1.0
[handlers]
modules = ["benchmarks.noop"]
entry_points = false
[api]
port = 0
"""


@contextmanager
def service(folder: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """A service that answers; its URL and its process id."""
    (folder / "config.toml").write_text(_CONFIG.format(folder=folder))
    command = [sys.executable, "-c", "from scheduler.cli import main; main()", "serve", "--config", str(folder / "config.toml"), *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        told = next(match for line in process.stderr if (match := _URL.search(line)))
        yield told[1], process.pid
    finally:
        process.terminate()
        assert process.stderr is not None
        process.stderr.read()
        process.wait(30)


class _Connection(asyncio.Protocol):
    """Sends one request after the other; as little Python as can be, for it shares the cores with the service."""

    def __init__(self, requests: Iterator[bytes], times: list[float]) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._times = times
        self._answer = b""
        self._began = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.over.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self.over.set_exception(SystemExit(f"refused: {self._answer!r}"))
            return
        self._answer = b""
        self._times.append(time.perf_counter() - self._began)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(SystemExit(f"connection lost: {error}"))


async def _send(url: str, requests: Iterator[bytes], times: list[float], connections: int) -> None:
    where = urlsplit(url)
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Connection(requests, times), where.hostname, where.port) for _ in range(connections)]
    await asyncio.gather(*(connection.over for _, connection in made))


_HEAD = b"POST /api/jobs HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def _requests(url: str, count: int) -> Iterator[bytes]:
    host = urlsplit(url).netloc.encode()
    for number in range(count):
        body = json.dumps({"task_type": "noop", "target_type": "thing", "target_id": str(number), "payload": {"n": number}}).encode()
        yield _HEAD % (host, len(body)) + body


def _load(url: str, count: int) -> harness.Numbers:
    times: list[float] = []

    async def run() -> float:
        requests = iter(list(_requests(url, count)))  # made beforehand
        began = time.perf_counter()
        await _send(url, requests, times, CONNECTIONS)
        return time.perf_counter() - began

    took = asyncio.run(run())
    times.sort()
    return {"per_s": count / took, "p50_ms": times[len(times) // 2] * 1000, "p99_ms": times[int(len(times) * 0.99)] * 1000}


def single(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    with service(folder, "--no-jobs") as (url, _):
        return _load(url, options["jobs"])


def running(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    with service(folder) as (url, _):
        return _load(url, options["jobs"])


def bulk(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    count = options["jobs"] * 5
    lines = b"".join(b'{"task_type":"noop","target_type":"thing","target_id":"%d","payload":{"n":%d}}\n' % (n, n) for n in range(count))
    head = b"POST /api/jobs/bulk HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
    with service(folder, "--no-jobs") as (url, _):
        began = time.perf_counter()
        asyncio.run(_send(url, iter([head % (urlsplit(url).netloc.encode(), len(lines)) + lines]), [], 1))
        return {"per_s": count / (time.perf_counter() - began)}


def inside(folder: Path, options: dict[str, Any]) -> harness.Numbers:
    async def run() -> float:
        async with contenders.scheduler(folder) as scheduler:
            numbers = iter(range(options["jobs"]))

            async def enqueue() -> None:
                for number in numbers:
                    await scheduler.enqueue("noop", "thing", str(number), payload={"n": number})

            began = time.perf_counter()
            await asyncio.gather(*(enqueue() for _ in range(CONNECTIONS)))
            return options["jobs"] / (time.perf_counter() - began)

    return {"per_s": asyncio.run(run())}


def run(arguments: argparse.Namespace) -> None:
    roles = ["single", "running", "bulk", "inside"]
    results = harness.rounds("benchmarks.api", roles, arguments.rounds, jobs=arguments.jobs)
    rows = [["what", "jobs/s", "p50 ms", "p99 ms", "of the asked 2,000/s"]]
    for role, found in results.items():
        rates = harness.column(found, "per_s")
        waits = [harness.spread(times, 1) if (times := harness.column(found, key)) else "" for key in ("p50_ms", "p99_ms")]
        rows.append([role, harness.spread(rates), *waits, harness.spread([rate / ASKED for rate in rates], 2)])
    harness.table(rows)
    print(f"\nsingle / inside: {harness.spread(harness.ratios(results['single'], results['inside'], 'per_s'), 2)}")


if __name__ == "__main__":
    harness.main({"single": single, "running": running, "bulk": bulk, "inside": inside}, run, jobs=20_000, rounds=5)
