"""A handler that does nothing, for services that benchmarks start."""

from __future__ import annotations

from typing import Any

from scheduler import JobContext, Registry

routes = Registry()


@routes.handler("noop")
async def noop(job: JobContext, payload: Any) -> None: ...
