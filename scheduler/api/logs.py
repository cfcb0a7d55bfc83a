"""One job's lines of the log file."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from scheduler.api.callers import Reads
from scheduler.api.jobs import At, JobId, answer, known
from scheduler.api.problems import documented
from scheduler.logread.records import Filter
from scheduler.logread.streams import read, siblings

router = APIRouter(tags=["jobs"])

#: At most so much of the newest log files is read for one answer.
MAX_BYTES = 64_000_000


class LogLines(BaseModel):
    """``note`` says why there are no more."""

    lines: list[dict[str, Any]] = Field(description="Oldest first: time, level, event and what else was logged")
    note: str | None


@router.get("/jobs/{job_id}/logs", response_model=LogLines, responses=documented(401, 403, 404, 422, 503), summary="A job's log lines")
async def logs(job_id: JobId, face: At, caller: Reads, limit: Annotated[int, Query(ge=1, le=2_000)] = 200) -> Response:
    """Those of the log file on this machine, if `[log] path` names one."""
    job = await known(face, job_id, caller)
    path = face.scheduler.settings.log.path
    if not path:
        return answer(LogLines(lines=[], note="logs go to standard error here: set [log] path to see a job's lines"))
    lines, note = await to_thread.run_sync(_lines, path, job.job_id, limit)
    return answer(LogLines(lines=lines, note=note))


def _lines(path: str, job_id: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """The last ``limit`` lines about the job; runs in a thread."""
    sources: deque[Path] = deque()
    size = 0
    for source in reversed(siblings(path)):
        size += source.stat().st_size
        if sources and size > MAX_BYTES:
            break
        sources.appendleft(source)
    found = deque((record.fields for record in read(list(sources), Filter(job_id=job_id))), maxlen=limit)
    complete = len(sources) == len(siblings(path))
    return list(found), None if complete else "older log files were not searched: `scheduler logs --job ID` does"
