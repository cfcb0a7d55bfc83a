"""A handler that does nothing but tell when it was called, for services that benchmarks start."""

from __future__ import annotations

import time
from typing import Any

from scheduler import JobContext, Registry

routes = Registry()


@routes.handler("noop")
async def noop(job: JobContext, payload: Any) -> float:
    return time.time()
