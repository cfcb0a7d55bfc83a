"""What operators ask and do over HTTP: counts, pauses, pools, workers, handlers, a slice of work."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from scheduler.api.bodies import SCOPE, Name, PauseBody, PauseGiven, ProcessBody, ProcessGiven, described
from scheduler.api.callers import Operates, Reads, ReadsAll
from scheduler.api.jobs import At, answer
from scheduler.api.problems import ProblemError, documented
from scheduler.errors import NotFoundError
from scheduler.pauses import JOB_PREFIX, OWNER_PREFIX, PauseWindow
from scheduler.times import utc_time
from scheduler.views.answers import Me, PoolsView, ThroughputView, WorkersView
from scheduler.views.operating import BucketView, HandlerView, PauseView, PoolView, StatsView, WorkerView, task_types_of

router = APIRouter(tags=["operating"])

_READ = documented(401, 403, 503)


class PausesView(BaseModel):
    pauses: list[PauseView]


class HandlersView(BaseModel):
    handlers: list[HandlerView]


class BatchView(BaseModel):
    """How a batch stands."""

    name: str
    total: int
    ended: int
    percent: float
    by_status: dict[str, int]


class LeftView(BaseModel):
    """What a slice of work left. ``due_at``: when the next of them falls due; null if none will by itself."""

    jobs: int = Field(description="Unfinished jobs")
    due_at: str | None
    seconds: float = Field(description="How long the slice took")
    running: bool = Field(description="Whether this process runs jobs anyway: then the slice only waited")


@router.get("/me", response_model=Me, responses=documented(401, 503), summary="What am I allowed?")
async def me(caller: Reads) -> Response:
    return answer(Me(owner=caller.owner, scope=caller.scope, authenticated=caller.authenticated))


@router.get("/stats", response_model=StatsView, responses=_READ, summary="Count jobs")
async def stats(face: At, caller: Reads) -> Response:
    """By status, task type and reason; those of the token's owner, if it has one."""
    counted = await face.scheduler.stats(owner=caller.owner)
    view = StatsView.of(counted, face.scheduler.clock.now(), task_types_of(face.scheduler.settings, face.scheduler.routes))
    if caller.owner is not None:
        view.pauses = [_for_owner(pause) for pause in view.pauses if _concerns(pause.scope, caller.owner)]
        view.workers = []
    return answer(view)


def _concerns(scope: str, owner: str) -> bool:
    """Whether an owner may know of the pause: of a lane, a pool or himself, not of somebody else."""
    return scope == OWNER_PREFIX + owner or not scope.startswith((OWNER_PREFIX, JOB_PREFIX))


def _for_owner(pause: PauseView) -> PauseView:
    """Without the jobs that it names: they may be another's."""
    return pause.model_copy(update={"set_by": None, "probe": None})


@router.get(
    "/stats/throughput", response_model=ThroughputView, responses={**_READ, **documented(422)}, summary="What ended over the last hours"
)
async def throughput(
    face: At,
    caller: Reads,
    hours: Annotated[float, Query(gt=0, le=168, allow_inf_nan=False)] = 6.0,
    bucket_s: Annotated[float, Query(ge=10, le=86_400, allow_inf_nan=False)] = 300.0,
) -> Response:
    """By time, in buckets of ``bucket_s`` seconds, or larger ones where that would be more than a thousand."""
    bucket_s = max(bucket_s, math.ceil(hours * 3_600 / 1_000))
    found = await face.scheduler.throughput(hours=hours, bucket_s=bucket_s, owner=caller.owner)
    return answer(ThroughputView(bucket_s=bucket_s, buckets=[BucketView.of(one) for one in found]))


@router.get("/batches/{name}", response_model=BatchView, responses={**_READ, **documented(404, 422)}, summary="How a batch stands")
async def batch(name: Annotated[Name, Path()], face: At, caller: Reads) -> Response:
    found = await face.scheduler.batch(name, owner=caller.owner)
    if found is None:
        raise ProblemError(404, "there is no such batch")
    told = found.to_dict()
    return answer(BatchView(name=found.name, total=found.total, ended=found.ended, percent=told["percent"], by_status=told["by_status"]))


@router.get("/pauses", response_model=PausesView, responses=_READ, summary="What is paused")
async def pauses(face: At, caller: Reads) -> Response:
    now = face.scheduler.clock.now()
    shown = [_shown(face, window) for window in await face.scheduler.pauses() if not window.is_open(now)]
    if caller.owner is not None:
        shown = [_for_owner(pause) for pause in shown if _concerns(pause.scope, caller.owner)]
    return answer(PausesView(pauses=shown))


def _shown(face: At, window: PauseWindow) -> PauseView:
    users = task_types_of(face.scheduler.settings, face.scheduler.routes)
    return PauseView.of(window, face.scheduler.clock.now(), users.get(window.scope, []))


@router.post(
    "/pauses",
    response_model=PauseView,
    responses={**_READ, **documented(404, 413, 415, 422)},
    openapi_extra=described(PauseBody),
    summary="Pause a task type, a pool, an owner or a job",
)
async def pause(caller: Operates, how: PauseGiven, face: At) -> Response:
    """Extends a pause that stands, never shortens it."""
    return answer(_shown(face, await face.scheduler.pause(how.scope, how.for_s)))


@router.delete("/pauses/{scope:path}", response_model=PauseView, responses={**_READ, **documented(404, 422)}, summary="Lift a pause")
async def resume(scope: Annotated[str, Path(min_length=1, max_length=512, pattern=SCOPE)], face: At, caller: Operates) -> Response:
    """Answers with the pause that was lifted."""
    try:
        window = await face.scheduler.resume(scope)
    except NotFoundError:
        window = None
    if window is None:
        raise ProblemError(404, "nothing of that name is paused")
    return answer(_shown(face, window))


@router.get("/pools", response_model=PoolsView, responses=_READ, summary="Provider quotas")
async def pools(face: At, caller: ReadsAll) -> Response:
    users = task_types_of(face.scheduler.settings, face.scheduler.routes)
    now = face.scheduler.clock.now()
    return answer(PoolsView(pools=[PoolView.of(one, now, users.get(f"pool:{one.name}", [])) for one in await face.scheduler.pools()]))


@router.get("/workers", response_model=WorkersView, responses=_READ, summary="Who runs jobs")
async def workers(face: At, caller: ReadsAll) -> Response:
    return answer(WorkersView(workers=[WorkerView.of(one) for one in await face.scheduler.workers()]))


@router.get("/handlers", response_model=HandlersView, responses=_READ, summary="What runs which jobs here")
async def handlers(face: At, caller: ReadsAll) -> Response:
    return answer(HandlersView(handlers=[HandlerView.of(route, face.scheduler.settings) for route in face.scheduler.routes]))


@router.post(
    "/process",
    response_model=LeftView,
    responses={**_READ, **documented(409, 413, 415, 422, 507)},
    openapi_extra=described(ProcessBody, required=False),
    summary="Do a slice of work",
)
async def process(caller: Operates, how: ProcessGiven, face: At) -> Response:
    """For hosts that forbid long-running processes: runs jobs in this process for a bounded time, and answers with what is left.

    Where a service runs here anyway, the slice is a look at what it has left.
    """
    scheduler = face.scheduler
    began = scheduler.clock.monotonic()
    running = scheduler.is_running
    if running and face.slicing:
        raise ProblemError(409, "another slice of work is under way in this process: wait for its answer")
    if running:
        found = await scheduler.left()
    else:
        face.slicing = True
        try:
            found = await scheduler.run(max_seconds=how.max_seconds, max_jobs=how.max_jobs)
        finally:
            face.slicing = False
    seconds = round(scheduler.clock.monotonic() - began, 3)
    return answer(LeftView(jobs=found.jobs, due_at=utc_time(found.due_at), seconds=seconds, running=running))
