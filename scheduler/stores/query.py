"""What people ask a store about jobs. Pure."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from scheduler.job import Status

#: Where ``text`` is looked for: fields of a job, columns of a table.
TEXT_COLUMNS = ("job_id", "target_id", "task_type", "unique_key", "error")

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Which jobs: every given field must match; an empty query matches all.

    ``can_run`` leaves out unfinished jobs that cannot run before another job or a person moves them: they wait for others, or are held
    for ever. ``text`` is part of the id, target id, task type, unique key or error, whether its letters (A to Z) are small or not.
    ``newest_first`` with ``before_seq`` pages backwards; without it ``after_seq`` pages forwards.
    """

    job_ids: tuple[str, ...] | None = None
    statuses: frozenset[Status] | None = None
    reasons: frozenset[str] | None = None
    task_types: frozenset[str] | None = None
    target_type: str | None = None
    target_id: str | None = None
    owner: str | None = None
    worker: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    finished_after: float | None = None
    waiting_before: float | None = None
    text: str | None = None
    batch: str | None = None
    can_run: bool | None = None
    before_seq: int | None = None
    after_seq: int | None = None
    newest_first: bool = True
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs share a task type, status and reason."""

    task_type: str
    status: Status
    reason: str | None
    count: int


def like(text: str) -> str:
    r"""The pattern of SQL's ``LIKE`` for whatever has ``text`` in it; ``\`` escapes."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def small(text: str) -> str:
    """``text`` with A to Z made small, and nothing else: what SQL databases agree on."""
    return text.translate(_SMALL)
