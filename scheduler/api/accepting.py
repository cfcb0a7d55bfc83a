"""Enqueueing over HTTP: what is asked most, and so as plainly as it can be.

Dependencies that the framework resolves cost more than all the rest of an enqueue: here the steps are plain calls. The route in
``jobs.py`` describes it.
"""

from __future__ import annotations

import pydantic_core
from fastapi import Request
from starlette.responses import Response

from scheduler.api.bodies import NewJobBody, reads
from scheduler.api.callers import caller_of
from scheduler.api.face import face_of
from scheduler.api.problems import ProblemError
from scheduler.api.tokens import Caller
from scheduler.values import MAX_NAME_CHARS
from scheduler.views.answers import ReceiptView

_read = reads(NewJobBody)
KEY = "Idempotency-Key"
_KEYWORDS = ("priority", "run_after", "unique_key", "owner", "max_attempts", "timeout_s", "force", "batch", "after", "if_failed", "webhook")


async def accept(request: Request) -> Response:
    """Store one job; durable when answered. Raises ``ProblemError`` and what ``Scheduler.enqueue`` raises."""
    face = await face_of(request)
    caller = await caller_of(request, face, "write")  # nobody's body is read before it is known whose it is
    key = request.headers.get(KEY)
    if key is not None and not 1 <= len(key) <= MAX_NAME_CHARS:
        raise ProblemError(422, f"{KEY} must have 1 to {MAX_NAME_CHARS} characters")
    new = await _read(request)
    job = new.to_new_job(owner_for(caller, new.owner))
    receipt = await face.scheduler.enqueue(*job[:4], **{name: getattr(job, name) for name in _KEYWORDS}, request_key=key)
    where = f"{request.scope.get('root_path', '')}/api/jobs/{receipt.job_id}"
    return Response(pydantic_core.to_json(ReceiptView.of(receipt)), 202, {"Location": where}, "application/json")


def owner_for(caller: Caller, asked: str | None) -> str | None:
    """Whose jobs an enqueue is for. Raises ``ProblemError`` if the token is another owner's."""
    if caller.owner is None:
        return asked
    if asked not in (None, caller.owner):
        raise ProblemError(403, "the token enqueues only for its owner: leave owner out")
    return caller.owner
