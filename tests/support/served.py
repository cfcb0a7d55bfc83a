"""A real ``scheduler serve``, and the few questions that the browser's tests ask it over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scheduler import NewJob, Registry, Scheduler
from tests.support.serving import LIMIT_S, Serving


class Served(Serving):
    """Asks as whoever has ``token``; ``url`` ends with a slash, as pages have it."""

    handlers = "tests.support.served_jobs"

    def __init__(self, folder: Path, more: str = "") -> None:
        super().__init__(folder, more)
        self.token: str | None = None

    def start(self) -> None:
        super().start()
        self.url = self.url.rstrip("/") + "/"

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
