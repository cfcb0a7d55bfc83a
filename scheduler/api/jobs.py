"""Jobs over HTTP: in, looked at, moved, taken out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import anyio
import pydantic_core
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from scheduler.api.accepting import KEY, accept
from scheduler.api.bodies import (
    Key,
    Name,
    NewJobBody,
    PauseJobBody,
    PauseJobGiven,
    RetryBody,
    RetryGiven,
    TargetId,
    TargetType,
    When,
    described,
)
from scheduler.api.callers import TAKES_TOKEN, Reads, Writes
from scheduler.api.face import Face, face_of
from scheduler.api.problems import ProblemError, documented
from scheduler.api.tokens import Caller
from scheduler.errors import NotFoundError, SchedulerError
from scheduler.feed import Follower
from scheduler.job import Job, Status
from scheduler.pauses import JOB_PREFIX
from scheduler.views.answers import JobsPage, ReceiptView
from scheduler.views.jobs import JobDetails, body, summary

router = APIRouter(tags=["jobs"])

At = Annotated[Face, Depends(face_of)]
JobId = Annotated[str, Path(description="The job", min_length=1, max_length=512)]
_MISSING = documented(401, 403, 404, 503)
_MAX_WAIT_S = 60.0


class ItemView(BaseModel):
    """What a long job recorded of one item. ``ok`` is null for one that is to be tried again."""

    position: int
    key: str
    ok: bool | None
    error: str | None
    value: Any


class ItemsPage(BaseModel):
    items: list[ItemView]
    next_after: int | None = Field(description="The last position, if there may be more")


class JobsAsked(BaseModel):
    """The query of a listing."""

    model_config = ConfigDict(extra="forbid")

    status: list[Status] = Field([], description="May repeat")
    reason: list[Key] = Field([], description="May repeat")
    task_type: list[Key] = Field([], description="May repeat")
    target_type: TargetType | None = None
    target_id: TargetId | None = None
    owner: Key | None = None
    batch: Name | None = None
    text: Key | None = Field(None, description="Part of the id, target, task type, key or error")
    created_after: When | None = None
    created_before: When | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = None


def answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``view`` as JSON. What it holds was checked when it was made; it is not checked again."""
    return Response(pydantic_core.to_json(view, inf_nan_mode="null"), status, headers, "application/json")


def is_foreign(caller: Caller, asked: str | None) -> bool:
    """Whether somebody asks for another's jobs: there are none, as far as he is told."""
    return caller.owner is not None and asked not in (None, caller.owner)


async def known(face: Face, job_id: str, caller: Caller) -> Job:
    """The job, if it is there for the caller. Raises ``ProblemError``: a foreign job looks exactly like a missing one."""
    job = await face.scheduler.get(job_id, owner=caller.owner)
    if job is None:
        raise ProblemError(404, "there is no such job")
    return job


async def details(face: Face, job: Job) -> Response:
    ledgers = await face.scheduler.ledgers(job.job_id)
    return answer(JobDetails.with_ledgers(job, ledgers, await face.scheduler.ends_at(job)))


_KEY = {
    "name": KEY,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 512},
    "description": "The same key and body give the same job; another body is refused. Kept a day.",
}


@router.post(
    "/jobs",
    status_code=202,
    response_model=ReceiptView,
    responses=documented(401, 403, 409, 413, 415, 422, 429, 503, 507),
    dependencies=[TAKES_TOKEN],
    openapi_extra={**described(NewJobBody), "parameters": [_KEY]},
    summary="Enqueue a job",
)
async def enqueue(request: Request) -> Response:
    """Durable when answered. ``Location`` is where the job can be looked at."""
    return await accept(request)


@router.get("/jobs", response_model=JobsPage, responses=documented(401, 403, 422, 503), summary="List jobs")
async def listing(asked: Annotated[JobsAsked, Query()], face: At, caller: Reads) -> Response:
    """Newest first, without their bodies."""
    if is_foreign(caller, asked.owner):
        return answer(JobsPage(jobs=[], next_cursor=None))
    found = await face.scheduler.jobs(
        status=asked.status or None,
        reason=asked.reason or None,
        task_type=asked.task_type or None,
        target_type=asked.target_type,
        target_id=asked.target_id,
        owner=caller.owner or asked.owner,
        batch=asked.batch,
        text=asked.text,
        created_after=_epoch(asked.created_after),
        created_before=_epoch(asked.created_before),
        limit=asked.limit,
        before_seq=None if asked.cursor is None else int(asked.cursor),
    )
    more = str(found[-1].seq) if len(found) == asked.limit else None
    return answer(JobsPage(jobs=[summary(job) for job in found], next_cursor=more))


def _epoch(when: Any) -> float | None:
    return None if when is None else when.timestamp()


@router.get("/jobs/{job_id}", response_model=JobDetails, responses={**_MISSING, **documented(422)}, summary="Look at a job")
async def look(
    job_id: JobId,
    face: At,
    caller: Reads,
    wait: Annotated[float, Query(ge=0, le=_MAX_WAIT_S, description="Wait so many seconds for its end", allow_inf_nan=False)] = 0.0,
) -> Response:
    """With ``wait`` the answer comes when the job has ended, or after so many seconds with the job as it is then."""
    job = await known(face, job_id, caller)
    if wait > 0 and not job.status.is_terminal:
        async with face.feed.follow(seq=job.seq, owner=caller.owner) as follower:
            with anyio.move_on_after(wait):
                await _ended(follower)
        job = await known(face, job_id, caller)
    return await details(face, job)


async def _ended(follower: Follower) -> None:
    """Until the job has come to an end that it has not left again."""
    while True:
        entries = await follower.next()
        moves = [entry for entry in entries if entry.status is not None]
        if moves and moves[-1].is_end:
            return


@router.delete("/jobs/{job_id}", status_code=204, responses=_MISSING, summary="Delete a job")
async def delete(job_id: JobId, face: At, caller: Writes) -> Response:
    """It is gone afterwards, with its result and its history. One that has not ended is cancelled first."""
    await known(face, job_id, caller)
    await _or_missing(face.scheduler.delete(job_id, owner=caller.owner))
    return Response(status_code=204)


@router.post("/jobs/{job_id}/cancel", response_model=JobDetails, responses={**_MISSING, **documented(409)}, summary="Cancel a job")
async def cancel(job_id: JobId, face: At, caller: Writes) -> Response:
    """A running handler is cancelled, and what it may still return changes nothing."""
    await known(face, job_id, caller)
    cancelled = await _or_missing(face.scheduler.cancel(job_id, owner=caller.owner))
    job = await known(face, job_id, caller)
    if not cancelled and job.status is not Status.CANCELLED:
        raise ProblemError(409, f"the job has ended as {job.status}")
    return await details(face, job)


@router.post(
    "/jobs/{job_id}/retry",
    response_model=JobDetails,
    responses={**_MISSING, **documented(409, 413, 415, 422)},
    openapi_extra=described(RetryBody, required=False),
    summary="Run a failed or cancelled job again",
)
async def retry(caller: Writes, job_id: JobId, how: RetryGiven, face: At) -> Response:
    """With fresh attempts; it goes on from its checkpoint, unless ``restart``."""
    job = await known(face, job_id, caller)
    if not (job.status.is_failure or job.status is Status.CANCELLED):
        raise ProblemError(409, f"the job is {job.status}: only what failed or was cancelled can be run again")
    try:
        sent = await _or_missing(face.scheduler.retry(job_id, owner=caller.owner, failed_items=how.failed_items, restart=how.restart))
    except SchedulerError as error:
        if type(error) is SchedulerError:  # no failed items, or restart beside them
            raise ProblemError(409, str(error)) from None
        raise
    if not sent:
        raise ProblemError(409, "an unfinished job has its unique key by now")
    return await details(face, await known(face, job_id, caller))


@router.post(
    "/jobs/{job_id}/pause",
    response_model=JobDetails,
    responses={**_MISSING, **documented(409, 413, 415, 422)},
    openapi_extra=described(PauseJobBody, required=False),
    summary="Pause one job",
)
async def pause(caller: Writes, job_id: JobId, how: PauseJobGiven, face: At) -> Response:
    """A waiting job waits, a running one stops at its next checkpoint."""
    job = await known(face, job_id, caller)
    if job.status.is_terminal:
        raise ProblemError(409, f"the job has ended as {job.status}")
    await _or_missing(face.scheduler.pause(JOB_PREFIX + job_id, how.for_s))
    return await details(face, await known(face, job_id, caller))


@router.post("/jobs/{job_id}/resume", response_model=JobDetails, responses=_MISSING, summary="Let a paused job go")
async def resume(job_id: JobId, face: At, caller: Writes) -> Response:
    await known(face, job_id, caller)
    await _or_missing(face.scheduler.resume(JOB_PREFIX + job_id))
    return await details(face, await known(face, job_id, caller))


async def _or_missing(change: Any) -> Any:
    """What somebody deleted between two looks is missing."""
    try:
        return await change
    except NotFoundError:
        raise ProblemError(404, "there is no such job") from None


_ATTACHMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The result",
        "content": {"application/json": {"schema": {}}},
        "headers": {"Content-Disposition": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/jobs/{job_id}/result",
    responses={**_MISSING, **_ATTACHMENT, **documented(409)},
    response_class=Response,
    summary="Download a job's result",
)
async def result(job_id: JobId, face: At, caller: Reads) -> Response:
    """As an attachment: no browser shows what a job made as a page of this site."""
    job = await known(face, job_id, caller)
    if job.result_json is None:
        raise ProblemError(409, f"the job has no result: it is {job.status}")
    text = json.dumps(body(job.result_json), ensure_ascii=False, indent=2)
    name = "".join(character for character in job.job_id if character.isalnum() or character in "-_")[:100]
    return Response(text, 200, {"Content-Disposition": f'attachment; filename="{name}.json"'}, "application/json")


@router.get("/jobs/{job_id}/items", response_model=ItemsPage, responses={**_MISSING, **documented(422)}, summary="Items of a long job")
async def items(
    job_id: JobId,
    face: At,
    caller: Reads,
    name: Annotated[str, Query(alias="pass", min_length=1, max_length=512, pattern=r"^[^\x00]+$")] = "items",
    failed: Annotated[bool | None, Query(description="Only those that failed, or only those that did not")] = None,
    after: Annotated[int, Query(ge=-1, le=2**53)] = -1,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    job = await known(face, job_id, caller)
    found = await face.scheduler.items(job.job_id, name, failed=failed, after=after, limit=limit)
    shown = [ItemView(position=one.position, key=one.key, ok=one.ok, error=one.error, value=body(one.value_json)) for one in found]
    return answer(ItemsPage(items=shown, next_after=found[-1].position if len(found) == limit else None))
