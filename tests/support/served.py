"""A real ``scheduler serve`` on a loopback port, and the few questions that tests ask it over HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scheduler import NewJob, Registry, Scheduler
from tests.shell.cli.command import environment

LIMIT_S = 30.0
_CONFIG = """
[scheduler]
store = "sqlite:///jobs.db"
drain_grace_s = 0.3
lease_s = 5.0

[handlers]
modules = ["tests.support.served_jobs"]
entry_points = false

[log]
path = "service.log"
level = "debug"

[api]
port = {port}
"""


class Served:
    """A service in ``folder``; ``more`` is further TOML. It keeps its port when it is started again."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        self.token: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        (folder / "config.toml").write_text(_CONFIG.format(port=port) + more, encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        script = "from scheduler.cli import main; main()"
        with (self.folder / "stderr.txt").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script, "serve"], cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=errors
            )
        until(self._answers, f"the service answers: {self.said()}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the service ended: {self.said()}"
        try:
            self.ask("GET", "healthz")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it, by kill -9 unless told otherwise."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(number)
            self._process.wait(LIMIT_S)
            self._process = None

    def said(self) -> str:
        path = self.folder / "stderr.txt"
        return path.read_text("utf-8", "replace")[-2_000:] if path.exists() else ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A question to the API; what it answered, decoded. Raises ``HTTPError``."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text.decode()

    def enqueue(self, task_type: str, payload: Any = None, **more: Any) -> str:
        """The id of a new job."""
        body = {"task_type": task_type, "payload": payload, **more}
        return str(self.ask("POST", "api/jobs", body)["job_id"])

    def job(self, job_id: str) -> Any:
        return self.ask("GET", f"api/jobs/{job_id}")

    def until_status(self, job_id: str, *statuses: str) -> Any:
        until(lambda: self.job(job_id)["status"] in statuses, f"{job_id} comes to {statuses}")
        return self.job(job_id)

    def store(self, jobs: Iterable[NewJob]) -> None:
        """Put jobs into the store before the service starts: the quick way for very many."""

        async def put() -> None:
            settings = {"scheduler": {"store": f"sqlite:///{self.folder / 'jobs.db'}"}}
            async with Scheduler.open(settings, Registry(), logs=False) as scheduler:
                await scheduler.enqueue_many(jobs)

        with ThreadPoolExecutor(1) as other:  # in this thread the browser has a loop of its own
            other.submit(asyncio.run, put()).result()


def until(is_so: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for it; fails with ``what`` was waited for."""
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        time.sleep(0.05)
