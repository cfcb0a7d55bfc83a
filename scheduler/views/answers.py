"""What the API answers with around jobs, pools and the like; its clients read the same models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from scheduler.job import Receipt
from scheduler.views.jobs import JobSummary
from scheduler.views.operating import BucketView, PoolView, WorkerView

#: So many refused lines are told of one by one.
TOLD = 100


class ReceiptView(BaseModel):
    """The job is stored, durably. ``created`` is false when another stands for it; ``unchanged``: its target has not changed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"job_id": "0193a7c2-8d1f-7c55-9b1e-5c0d7a2f4e11", "created": True, "unchanged": False}]}
    )

    job_id: str
    created: bool
    unchanged: bool

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptView:
        return cls(job_id=receipt.job_id, created=receipt.created, unchanged=receipt.unchanged)


class JobsPage(BaseModel):
    """Jobs, newest first. ``next_cursor`` gives the next page; null on the last."""

    jobs: list[JobSummary]
    next_cursor: str | None


class LineRefused(BaseModel):
    line: int = Field(ge=1)
    detail: str


class BulkView(BaseModel):
    """What became of the lines: each is stored or refused for itself, a thousand in a transaction."""

    accepted: int = Field(description="Lines for which a job stands now")
    created: int = Field(description="Jobs that are new")
    refused: int
    errors: list[LineRefused] = Field(description=f"The first {TOLD} refused lines")
    job_ids: list[str] | None = Field(None, description="In the order of the accepted lines, if asked for")


class Me(BaseModel):
    """What the token that asked may do. ``authenticated`` is false where none is needed."""

    owner: str | None
    scope: str
    authenticated: bool


class PoolsView(BaseModel):
    pools: list[PoolView]


class WorkersView(BaseModel):
    workers: list[WorkerView]


class ThroughputView(BaseModel):
    bucket_s: float = Field(description="Seconds in a bucket")
    buckets: list[BucketView] = Field(description="Oldest first, also those in which nothing ended")
