"""Many jobs at once: in as a stream of lines, cancelled and retried by what they have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from scheduler.api.accepting import owner_for
from scheduler.api.bodies import CancelGiven, CancelSelection, JobLine, RetrySelected, RetrySelection, SelectionBody, described
from scheduler.api.callers import Writes
from scheduler.api.doors import MAX_REQUEST_BYTES, NDJSON
from scheduler.api.jobs import At, answer, is_foreign
from scheduler.api.problems import ProblemError, documented, places
from scheduler.api.tokens import Caller
from scheduler.bulk import PORTION
from scheduler.controls import Verb
from scheduler.errors import InvalidJobError
from scheduler.job import NewJob, Receipt
from scheduler.views.answers import TOLD, BulkView, LineRefused

router = APIRouter(tags=["many jobs"])


class ChangedView(BaseModel):
    """``matched`` jobs could be changed, ``changed`` were: with ``dry_run`` none."""

    matched: int
    changed: int


_LINE_BY_LINE = {"type": "array", "items": {"$ref": "#/components/schemas/NewJobBody"}, "description": "One item a line, no brackets"}
_LINES = {
    "requestBody": {
        "required": True,
        "description": "One JSON object a line, each as the schema JobLine says; a line that is not is refused alone",
        "content": {NDJSON: {"schema": {}, "example": [{"task_type": "a"}, {"task_type": "b", "priority": 5}]}},
    }
}


@router.post(
    "/jobs/bulk",
    status_code=202,
    response_model=BulkView,
    responses=documented(401, 403, 413, 415, 422, 429, 503, 507),
    openapi_extra=_LINES,
    summary="Enqueue many jobs",
)
async def bulk(
    request: Request, face: At, caller: Writes, job_ids: Annotated[bool, Query(description="Answer with the ids")] = False
) -> Response:
    """One job a line, as many as you like: they are stored while they come. A line is refused alone; the answer says which and why."""
    if not request.headers.get("content-type", "").startswith(NDJSON):
        raise ProblemError(415, f"send one JSON object a line: Content-Type: {NDJSON}")
    loading = _Loading(face, caller)
    portion: list[NewJob] = []
    async for line in _lines(request):
        new = loading.parsed(line)
        if new is not None:
            portion.append(new)
        if len(portion) == PORTION:
            await loading.store(portion)
            portion = []
    await loading.store(portion)
    return answer(loading.told(job_ids), 202)


class _Loading:
    """Counts as it goes."""

    def __init__(self, face: Any, caller: Caller) -> None:
        self._scheduler = face.scheduler
        self._caller = caller
        self._line = 0
        self._created = 0
        self._refused = 0
        self._errors: list[LineRefused] = []
        self._job_ids: list[str] = []
        self._places: list[int] = []

    def parsed(self, line: bytes) -> NewJob | None:
        self._line += 1
        if not line.strip():
            return None
        try:
            new = JobLine.model_validate_json(line)
            job = new.to_new_job(owner_for(self._caller, new.owner))
        except ValidationError as error:
            self._refuse(self._line, "; ".join(f"{one.where}: {one.what}" for one in places(error)[:5]))
            return None
        except ProblemError as error:
            self._refuse(self._line, error.detail)
            return None
        self._places.append(self._line)
        return job

    async def store(self, portion: list[NewJob]) -> None:
        """Store a portion; what is refused of it is refused alone, for the others are none the worse."""
        lines, self._places = self._places, []
        if portion:
            await self._store(list(zip(lines, portion, strict=True)))

    async def _store(self, jobs: list[tuple[int, NewJob]]) -> None:
        receipts: list[Receipt] = []
        try:
            async for receipt in self._scheduler.enqueue_many(new for _, new in jobs):
                receipts.append(receipt)
        except InvalidJobError as error:
            await self._go_on(jobs[len(receipts) :], error, some_were_stored=bool(receipts))
        self._created += sum(receipt.created for receipt in receipts)
        self._job_ids += [receipt.job_id for receipt in receipts]

    async def _go_on(self, jobs: list[tuple[int, NewJob]], error: InvalidJobError, *, some_were_stored: bool) -> None:
        """One of ``jobs`` was refused: the first, where those before it were stored; else nobody says which, and halves find out."""
        if some_were_stored or len(jobs) == 1:
            self._refuse(jobs[0][0], str(error))
            if len(jobs) > 1:
                await self._store(jobs[1:])
            return
        half = len(jobs) // 2
        await self._store(jobs[:half])
        await self._store(jobs[half:])

    def _refuse(self, line: int, detail: str) -> None:
        self._refused += 1
        if len(self._errors) < TOLD:
            self._errors.append(LineRefused(line=line, detail=detail))

    def told(self, job_ids: bool) -> BulkView:
        errors = sorted(self._errors, key=lambda one: one.line)
        return BulkView(
            accepted=len(self._job_ids),
            created=self._created,
            refused=self._refused,
            errors=errors,
            job_ids=self._job_ids if job_ids else None,
        )


async def _lines(request: Request) -> AsyncIterator[bytes]:
    """The lines of the body as they come. Raises ``ProblemError`` for one that does not end."""
    rest = b""
    async for chunk in request.stream():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > MAX_REQUEST_BYTES:
            raise ProblemError(413, f"a line has at most {MAX_REQUEST_BYTES:,} bytes; what came before it is stored")
    if rest:
        yield rest


async def _change(face: Any, caller: Caller, selection: SelectionBody, verb: Verb) -> Response:
    which = selection.words()
    asked = which.pop("owner", None)
    if is_foreign(caller, asked):
        return answer(ChangedView(matched=0, changed=0))
    owner = caller.owner or asked
    scheduler = face.scheduler
    if selection.dry_run:
        return answer(ChangedView(matched=await scheduler.matching(verb, owner=owner, **which), changed=0))
    changed = await (scheduler.cancel if verb == "cancel" else scheduler.retry)(owner=owner, **which)
    return answer(ChangedView(matched=len(changed), changed=len(changed)))


_CHANGES: dict[str, Any] = {"response_model": ChangedView, "responses": documented(401, 403, 413, 415, 422, 503, 507)}


@router.post("/jobs/cancel", summary="Cancel jobs by what they have in common", openapi_extra=described(CancelSelection), **_CHANGES)
async def cancel(caller: Writes, selection: CancelGiven, face: At) -> Response:
    return await _change(face, caller, selection, "cancel")


@router.post("/jobs/retry", summary="Run failed or cancelled jobs again", openapi_extra=described(RetrySelection), **_CHANGES)
async def retry(caller: Writes, selection: RetrySelected, face: At) -> Response:
    return await _change(face, caller, selection, "retry")
