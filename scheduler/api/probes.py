"""For machines that watch: alive, ready, metrics. Exact paths, and nothing about any job in them."""

from __future__ import annotations

from typing import Any

import anyio
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from starlette.responses import Response

from scheduler.api.callers import ReadsAll
from scheduler.api.face import Face
from scheduler.api.jobs import At, answer
from scheduler.api.problems import documented
from scheduler.errors import StoreError
from scheduler.job import Status

router = APIRouter(tags=["probes"])

#: A store that has not answered within so many seconds does not serve.
_STORE_WITHIN_S = 2.0


_TEXT: dict[int | str, dict[str, Any]] = {200: {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}}}


class Alive(BaseModel):
    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """``problems`` say why it is not ready, and what to do."""

    ready: bool
    problems: list[str]


@router.get("/healthz", response_model=Alive, responses=documented(503), summary="Is it alive?")
async def healthz(face: At) -> Response:
    """The event loop turns."""
    return answer(Alive(status="ok"))


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready: says why"}}, summary="Is it ready?"
)
async def readyz(face: At) -> Response:
    """It can take jobs: the store answers, and is not refusing to write."""
    problems = await _problems(face)
    return answer(Readiness(ready=not problems, problems=problems), 503 if problems else 200)


async def _problems(face: Face) -> list[str]:
    problems: list[str] = []
    try:
        with anyio.fail_after(_STORE_WITHIN_S):
            await face.scheduler.store.lanes(face.scheduler.clock.now())
    except TimeoutError:
        problems.append(f"the store has not answered within {_STORE_WITHIN_S:g} s: look at what else uses it")
    except StoreError as error:
        problems.append(str(error))
    if face.store_trouble:
        problems.append(face.store_trouble)
    return problems


@router.get(
    "/metrics",
    responses={
        200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **documented(401, 403, 503),
    },
    response_class=Response,
    summary="Prometheus metrics",
)
async def metrics(face: At, caller: ReadsAll) -> Response:
    counted = await face.scheduler.stats()
    now = face.scheduler.clock.now()
    for status in Status:
        face.metrics.jobs.labels(str(status)).set(counted.by_status.get(str(status), 0))
    face.metrics.closed.set(sum(not window.is_open(now) for window in counted.pauses))
    face.metrics.workers.set(len(counted.workers))
    face.metrics.streams.set(len(face.streams))
    return Response(generate_latest(face.metrics.registry), media_type=CONTENT_TYPE_LATEST)
