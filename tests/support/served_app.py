"""The web face on a real socket, in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
import structlog

from scheduler import Registry, Scheduler
from scheduler.api import server
from scheduler.api.app import open_app
from scheduler.api.face import Face
from scheduler.api.tokens import hashed

TOKENS = {name: f"sched_{name}" for name in ("operator", "reader", "ada", "eve", "ada_reader")}
_GRANTS: dict[str, dict[str, str]] = {
    "operator": {"scope": "operate"},
    "reader": {"scope": "read"},
    "ada": {"scope": "write", "owner": "ada"},
    "eve": {"scope": "write", "owner": "eve"},
    "ada_reader": {"scope": "read", "owner": "ada"},
}
#: As ``[tokens.NAME]`` tables.
GUARDED = {"tokens": {name: {"sha256": hashed(token), **_GRANTS[name]} for name, token in TOKENS.items()}}


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS.get(name, name)}"}


@dataclass
class Served:
    """``client`` asks without a token; ``url`` is the server's."""

    scheduler: Scheduler
    face: Face
    client: httpx2.AsyncClient
    url: str

    async def put(self, task_type: str = "work", **body: Any) -> str:
        """Enqueue a job through the front door; its id."""
        headers = body.pop("headers", None)
        answer = await self.client.post("/api/jobs", json={"task_type": task_type, **body}, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])


@asynccontextmanager
async def served(config: Mapping[str, Any] | None = None, routes: Registry | None = None, *, run: bool = False) -> AsyncIterator[Served]:
    """A scheduler (``memory:`` unless ``config`` says) that answers on loopback; ``run``: it runs jobs too."""
    given = {key: dict(value) for key, value in (config or {}).items()}
    given["scheduler"] = {"store": "memory:", **given.get("scheduler", {})}
    given["api"] = {"port": 0, **given.get("api", {})}
    scheduler = Scheduler.open(given, routes or Registry(), logs=False)
    listening = server.bind(scheduler.settings, search=False)
    url = server.url_of(listening)
    async with (
        scheduler,
        open_app(scheduler) as app,
        server.serving(app, listening, structlog.get_logger()),
        anyio.create_task_group() as group,
        httpx2.AsyncClient(base_url=url, timeout=20) as client,
    ):
        if run:
            group.start_soon(scheduler.run)
        yield Served(scheduler, app.state.face, client, url)
        scheduler.stop(grace_s=0)
