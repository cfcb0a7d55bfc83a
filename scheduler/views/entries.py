"""What happened, as it is shown: an entry of the journal."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from scheduler.journal import ENDINGS, Entry


class EntryView(BaseModel):
    """One change of a job; ``name`` begins with ``lane.`` for one of a pause, which has no job."""

    id: int
    at: str | None
    name: str = Field(examples=["job.completed"])
    job_id: str | None
    task_type: str | None
    target_type: str | None
    target_id: str | None
    owner: str | None
    batch: str | None
    status: str | None
    reason: str | None
    error: str | None
    attempt: int | None
    worker: str | None
    detail: dict[str, Any]

    @classmethod
    def of(cls, entry: Entry) -> EntryView:
        return cls(**entry.to_dict())

    @property
    def is_end(self) -> bool:
        """Whether the job is over with it, unless a person retries it."""
        return self.name in ENDINGS


class HistoryView(BaseModel):
    entries: list[EntryView] = Field(description="Oldest first")
