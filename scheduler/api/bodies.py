"""What requests may hold, and reading it: strictly, straight from the bytes.

The models say what JSON Schema can say; the door of the scheduler (``door.py``) checks the rest for every way in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from scheduler.api.problems import ProblemError, places
from scheduler.job import NewJob, Status

#: Text that every store can hold.
PLAIN = r"^[^\x00]*$"
SCOPE = r"^[^\x00-\x1f\x7f-\x9f]+$"
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00\r\n]+$")]
Key = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
TargetId = Annotated[str, Field(max_length=2_048, pattern=PLAIN)]
TargetType = Annotated[str, Field(max_length=512, pattern=PLAIN)]
Seconds = Annotated[float, Field(ge=0, le=3.2e10, allow_inf_nan=False)]


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _iso(value: Any) -> Any:
    """A time in words, not a number that stands for one."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("write ISO 8601 with an offset, as 2030-01-31T18:00:00Z")
    return value


When = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_iso)]
#: What a payload may hold, as every store can: described once, by hand, as it contains itself.
JSON_SCHEMA: dict[str, Any] = {
    "title": "Json",
    "description": "Nested at most 32 deep",
    "anyOf": [
        {"type": "null"},
        {"type": "boolean"},
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        {"type": "number"},
        {"type": "string", "pattern": PLAIN},
        {"type": "array", "items": {"$ref": "#/components/schemas/Json"}},
        {
            "type": "object",
            "propertyNames": {"pattern": PLAIN},
            "additionalProperties": {"$ref": "#/components/schemas/Json"},
        },
    ],
}

Unfinished = Literal[Status.PENDING, Status.PROCESSING, Status.RATE_LIMITED, Status.RETRY_AI]
Retryable = Literal[Status.FAILED_AI, Status.FAILED_PAYLOAD_PARSING, Status.FAILED_JOB_LOGIC, Status.FAILED_TIMEOUT, Status.CANCELLED]
_UNSET = datetime.fromtimestamp(0, UTC)

B = TypeVar("B", bound="Body")


class Body(BaseModel):
    """Nothing is converted, and nothing unknown is passed over: a misspelt field must not be ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class JobLine(Body):
    """A job to enqueue among many."""

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
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31), BeforeValidator(_whole)] = Field(
        0, description="Higher goes first within a task type"
    )
    run_after: When | None = Field(None, description="Not before this time")
    delay_s: Seconds | None = Field(None, description="Not before so many seconds from now; run_after wins")
    unique_key: Key | None = Field(None, description="While an unfinished job of the same owner has it, that job is returned")
    owner: Key | None = Field(None, description="Whose job it is; a token with an owner enqueues only for that")
    max_attempts: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(_whole)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3.2e10, allow_inf_nan=False)] | None = None
    force: bool = Field(False, description="Run although nothing that the result depends on has changed")
    batch: Name | None = Field(None, description="The group that it belongs to")
    after: Annotated[list[Key], Field(max_length=1_000)] = Field([], description="Job ids, or batch:NAME, that must have ended before")
    if_failed: Literal["fail", "cancel", "run"] = Field("fail", description="What becomes of it if one of those failed")

    def to_new_job(self, owner: str | None) -> NewJob:
        """The job, for ``owner``. A delay stays one: the same request, sent again later, is the same."""
        due = self.run_after if self.run_after is not None or self.delay_s is None else timedelta(seconds=self.delay_s)
        return NewJob(
            self.task_type, self.target_type, self.target_id, self.payload, self.priority, due, self.unique_key, owner,
            self.max_attempts, self.timeout_s, self.force, self.batch, self.after, self.if_failed,
        )  # fmt: skip


class NewJobBody(JobLine):
    """A job to enqueue."""

    webhook: Annotated[str, Field(min_length=9, max_length=2_048, pattern=r"^https?://[\x21-\x7e]+$")] | None = Field(
        None, description="An https address that is told how the job ended"
    )

    def to_new_job(self, owner: str | None) -> NewJob:
        return super().to_new_job(owner)._replace(webhook=self.webhook)


def _some_of_them(schema: dict[str, Any]) -> None:
    """At least one field that selects."""
    schema["anyOf"] = [{"required": [name]} for name in schema["properties"] if name != "dry_run"]
    for field in schema["properties"].values():
        field.pop("default", None)


class SelectionBody(Body):
    """Which jobs: every given field must match, at least one must be given."""

    model_config = ConfigDict(json_schema_extra=_some_of_them)

    reason: Annotated[list[Key], Field(min_length=1)] = []
    task_type: Annotated[list[Key], Field(min_length=1)] = []
    target_type: TargetType = ""
    target_id: TargetId = ""
    owner: Key = ""
    batch: Name = ""
    text: Annotated[Key, Field(description="Part of the id, target, task type, key or error")] = ""
    created_after: When = _UNSET
    created_before: When = _UNSET
    dry_run: Annotated[bool, Field(description="Only count")] = False

    def words(self) -> dict[str, Any]:
        """What selects, for ``Scheduler.cancel`` and ``retry``. Raises ``ProblemError`` if nothing does."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name != "dry_run"}
        if not given:
            raise ProblemError(422, "say which jobs: status, reason, task_type, target_type, target_id, owner, batch, text or a time")
        return {name: value.timestamp() if isinstance(value, datetime) else value for name, value in given.items()}


class CancelSelection(SelectionBody):
    """Which unfinished jobs: every given field must match, at least one must be given."""

    status: Annotated[list[Unfinished], Field(min_length=1)] = []


class RetrySelection(SelectionBody):
    """Which failed or cancelled jobs: every given field must match, at least one must be given."""

    status: Annotated[list[Retryable], Field(min_length=1)] = []


class RetryBody(Body):
    failed_items: bool = Field(False, description="Only the items of a long job that failed; refused if it has none")
    restart: bool = Field(False, description="Forget its checkpoint and what it recorded of its items")


class PauseJobBody(Body):
    for_s: Seconds | None = Field(None, description="Seconds; null until resumed")


class PauseBody(PauseJobBody):
    model_config = ConfigDict(json_schema_extra={"examples": [{"scope": "pool:main", "for_s": 600}]})

    scope: Annotated[str, Field(min_length=1, max_length=512, pattern=SCOPE, description="A task type, pool:NAME, owner:NAME or job:ID")]


class ProcessBody(Body):
    max_seconds: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = Field(
        20.0, description="The slice ends within so many seconds"
    )
    max_jobs: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(_whole)] | None = Field(
        None, description="It starts no more jobs than that"
    )


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


CancelGiven = Annotated[CancelSelection, Depends(reads(CancelSelection))]
RetrySelected = Annotated[RetrySelection, Depends(reads(RetrySelection))]
RetryGiven = Annotated[RetryBody, Depends(reads(RetryBody, optional=True))]
PauseJobGiven = Annotated[PauseJobBody, Depends(reads(PauseJobBody, optional=True))]
PauseGiven = Annotated[PauseBody, Depends(reads(PauseBody))]
ProcessGiven = Annotated[ProcessBody, Depends(reads(ProcessBody, optional=True))]
#: Described in the OpenAPI document, as FastAPI does not see them.
BODIES: tuple[type[Body], ...] = (NewJobBody, JobLine, CancelSelection, RetrySelection, RetryBody, PauseJobBody, PauseBody, ProcessBody)
