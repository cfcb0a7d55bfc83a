"""Why a job does not run, over HTTP."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from scheduler.api.callers import Reads
from scheduler.api.jobs import At, JobId, answer, known
from scheduler.api.problems import documented
from scheduler.views.jobs import WhyView

router = APIRouter(tags=["jobs"])


@router.get("/jobs/{job_id}/why", response_model=WhyView, responses=documented(401, 403, 404, 503), summary="Why does it not run?")
async def why(job_id: JobId, face: At, caller: Reads) -> Response:
    """In a sentence: which window until when, behind how many, which limit, no handler anywhere, due at."""
    job = await known(face, job_id, caller)
    return answer(WhyView.of(await face.scheduler.why(job.job_id, owner=caller.owner)))
