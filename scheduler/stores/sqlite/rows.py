"""Rows to records and back: the column lists, times in microseconds, bulk ``VALUES`` text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pydantic_core

from scheduler.job import Draft, Job, Status
from scheduler.pauses import PauseWindow
from scheduler.stores.base import Worker

JOB_COLUMNS = (
    "seq, job_id, task_type, target_type, target_id, payload_json, status, reason, error, priority, run_after_us, attempts, crashes, "
    "max_attempts, timeout_s, token, worker, unique_key, owner, fingerprint, created_us, started_us, finished_us, waiting_us, "
    "result_json, progress_json, state_json, batch, blockers, doomed, held_us"
)
#: One JSON text for many rows: a row at a time, SQLite and the event loop would trade the GIL for every row.
JOB_ARRAY = "json_array(" + JOB_COLUMNS + ")"

#: In the order of ``Draft``'s fields.
DRAFT_COLUMNS = (
    "job_id, task_type, target_type, target_id, payload_json, priority, run_after_us, unique_key, owner, max_attempts, timeout_s, "
    "fingerprint, batch, created_us, ready"
)
PAUSE_COLUMNS = "scope, until_us, reason, set_us, set_by, strikes, probe"
WORKER_COLUMNS = "worker_id, host, boot, pid, pid_started, started_us, lease_s, address, beats, beat_us, offers_json"

#: "Never": what an integer column holds of it.
FAR_US = 9_000_000_000_000_000_000
STATUS = {str(status): status for status in Status}


def us(seconds: float) -> int:
    """Seconds since the epoch as whole microseconds; far times are clamped to what an integer column holds."""
    if seconds > 9e12:
        return FAR_US
    return round(seconds * 1_000_000)


def us_or_none(seconds: float | None) -> int | None:
    return None if seconds is None else us(seconds)


def _s(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1_000_000


def job_from(row: Sequence[Any]) -> Job:
    """A ``Job`` from a row of ``JOB_COLUMNS``."""
    (seq, job_id, task_type, target_type, target_id, payload, status, reason, error, priority, run_after, attempts, crashes,
     max_attempts, timeout_s, token, worker, unique_key, owner, fingerprint, created, started, finished, waiting,
     result, progress, state, batch, blockers, doomed, held) = row  # fmt: skip
    return Job(
        seq, job_id, task_type, target_type, target_id, payload, STATUS[status], reason, error, priority, run_after / 1_000_000,
        attempts, crashes, max_attempts, timeout_s, token, worker, unique_key, owner, fingerprint, created / 1_000_000, _s(started),
        _s(finished), _s(waiting), result, progress, state, batch, blockers, doomed, held is not None,
    )  # fmt: skip


def draft_values(draft: Draft, now_us: int) -> tuple[Any, ...]:
    """A row of ``DRAFT_COLUMNS``."""
    run_after_us = us(draft.run_after)
    return (*draft[:6], run_after_us, *draft[7:12], draft.batch, now_us, run_after_us <= now_us)


def window_from(row: Sequence[Any]) -> PauseWindow:
    scope, until, reason, set_at, set_by, strikes, probe = row
    return PauseWindow(scope, math.inf if until is None else until / 1_000_000, reason, set_at / 1_000_000, set_by, strikes, probe)


def window_values(window: PauseWindow) -> tuple[Any, ...]:
    until = None if math.isinf(window.until) else us(window.until)
    return (window.scope, until, window.reason, us(window.set_at), window.set_by, window.strikes, window.probe)


def worker_from(row: Sequence[Any]) -> Worker:
    worker_id, host, boot, pid, pid_started, started, lease_s, address, beats, beat, offers = row
    return Worker(worker_id, host, boot, pid, pid_started, started / 1_000_000, lease_s, address, beats, beat / 1_000_000, offers)


def worker_values(worker: Worker) -> tuple[Any, ...]:
    return (
        worker.worker_id, worker.host, worker.boot, worker.pid, worker.pid_started, us(worker.started_at), worker.lease_s,
        worker.address, worker.beats, us(worker.beat_at), worker.offers_json,
    )  # fmt: skip


def unpacked(packed: bytes) -> list[list[Any]]:
    """Rows that were made one JSON text of ``JOB_ARRAY``s."""
    try:
        rows: list[list[Any]] = pydantic_core.from_json(packed)
    except ValueError:  # some text is not UTF-8: mark the bad bytes, so that only its own job fails
        rows = pydantic_core.from_json(packed.decode("utf-8", "replace"))
    return rows


@cache
def values_text(rows: int, columns: int) -> str:
    """``VALUES (?, ?), (?, ?) …``: one statement for many rows is one step, one release of the GIL."""
    row = "(" + ", ".join("?" * columns) + ")"
    return "VALUES " + ", ".join([row] * rows)


def chunks(items: Sequence[Any], sizes: tuple[int, ...] = (128, 16, 1)) -> Iterator[Sequence[Any]]:
    """``items`` in pieces of few ``sizes``, so that few statements are compiled."""
    start = 0
    for size in sizes:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size
