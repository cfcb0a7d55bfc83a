"""What requests may hold, and reading it: strictly, straight from the bytes.

The models say what JSON Schema can say; the door of the scheduler (``door.py``) checks the rest for every way in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from scheduler.api.problems import ProblemError, places
from scheduler.job import NewJob, Status

#: Text that every store can hold.
PLAIN = r"^[^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00\r\n]+$")]
Key = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
TargetId = Annotated[str, Field(max_length=2_048, pattern=PLAIN)]
TargetType = Annotated[str, Field(max_length=512, pattern=PLAIN)]
Seconds = Annotated[float, Field(ge=0, le=3.2e10, allow_inf_nan=False)]

B = TypeVar("B", bound="Body")


class Body(BaseModel):
    """Nothing is converted, and nothing unknown is passed over: a misspelt field must not be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewJobBody(Body):
    """A job to enqueue."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_type": "generate_topics",
                    "target_type": "conversation",
                    "target_id": "42",
                    "payload": {"messages": []},
                    "priority": 5,
                }
            ]
        }
    )

    task_type: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
    target_type: TargetType = ""
    target_id: TargetId = ""
    payload: Any = Field(None, description="A JSON object that the handler understands; at most 1,000,000 bytes, nested at most 32 deep")
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] = Field(0, description="Higher goes first within a task type")
    run_after: AwareDatetime | None = Field(None, description="Not before this time")
    delay_s: Seconds | None = Field(None, description="Not before so many seconds from now; in place of run_after")
    unique_key: Key | None = Field(None, description="While an unfinished job of the same owner has it, that job is returned")
    owner: Key | None = Field(None, description="Whose job it is; a token with an owner enqueues only for that")
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3.2e10, allow_inf_nan=False)] | None = None
    force: bool = Field(False, description="Run although nothing that the result depends on has changed")
    batch: Name | None = Field(None, description="The group that it belongs to")
    after: Annotated[list[Key], Field(max_length=1_000)] = Field([], description="Job ids, or batch:NAME, that must have ended before")
    if_failed: Literal["fail", "cancel", "run"] = Field("fail", description="What becomes of it if one of those failed")

    def to_new_job(self, owner: str | None) -> NewJob:
        """The job, for ``owner``. Raises ``ProblemError``."""
        if self.run_after is not None and self.delay_s is not None:
            raise ProblemError(422, "give run_after or delay_s, not both")
        due = timedelta(seconds=self.delay_s) if self.delay_s is not None else self.run_after
        return NewJob(
            self.task_type, self.target_type, self.target_id, self.payload, self.priority, due, self.unique_key, owner,
            self.max_attempts, self.timeout_s, self.force, self.batch, self.after, self.if_failed,
        )  # fmt: skip


class SelectionBody(Body):
    """Which jobs: every given field must match, at least one must be given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": ["quota_exhausted"], "dry_run": True}]})

    status: list[Status] | None = None
    reason: list[Key] | None = None
    task_type: list[Key] | None = None
    target_type: TargetType | None = None
    target_id: TargetId | None = None
    owner: Key | None = None
    batch: Name | None = None
    text: Key | None = Field(None, description="Part of the id, target, task type, key or error")
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    dry_run: bool = Field(False, description="Only count")


class RetryBody(Body):
    failed_items: bool = Field(False, description="Only the items of a long job that failed; refused if it has none")
    restart: bool = Field(False, description="Forget its checkpoint and what it recorded of its items")


class PauseJobBody(Body):
    for_s: Seconds | None = Field(None, description="Seconds; null until resumed")


class PauseBody(PauseJobBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": "pool:main", "for_s": 600}]})

    scope: Annotated[str, Field(min_length=1, max_length=512, description="A task type, pool:NAME, owner:NAME or job:ID")]


class ProcessBody(Body):
    max_seconds: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = Field(
        20.0, description="The slice ends within so many seconds"
    )
    max_jobs: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(None, description="It starts no more jobs than that")


def reads(model: type[B], *, optional: bool = False) -> Callable[[Request], Awaitable[B]]:
    """A dependency that gives the body as a ``model``; ``optional``: no body is an empty one."""

    async def read(request: Request) -> B:
        body = await request.body()
        if not body and optional:
            body = b"{}"
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            found = places(error, "body")
            raise ProblemError(422, "; ".join(f"{one.where}: {one.what}" for one in found[:5]), errors=found) from None

    return read


def described(model: type[Body], *, required: bool = True) -> dict[str, Any]:
    """For a route's ``openapi_extra``: its body."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


NewJobGiven = Annotated[NewJobBody, Depends(reads(NewJobBody))]
SelectionGiven = Annotated[SelectionBody, Depends(reads(SelectionBody))]
RetryGiven = Annotated[RetryBody, Depends(reads(RetryBody, optional=True))]
PauseJobGiven = Annotated[PauseJobBody, Depends(reads(PauseJobBody, optional=True))]
PauseGiven = Annotated[PauseBody, Depends(reads(PauseBody))]
ProcessGiven = Annotated[ProcessBody, Depends(reads(ProcessBody, optional=True))]
#: Described in the OpenAPI document, as FastAPI does not see them.
BODIES: tuple[type[Body], ...] = (NewJobBody, SelectionBody, RetryBody, PauseJobBody, PauseBody, ProcessBody)
