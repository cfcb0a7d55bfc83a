"""The words: statuses, and the moves between them."""

from __future__ import annotations

import pytest

from scheduler.job import FAILED, LEGAL, RETRYABLE, TERMINAL, UNFINISHED, WAITING, Progress, Status
from tests.support.jobs import a_job

#: The table of the documentation, written out once more: a change of either is noticed here.
EXPECTED = {
    "pending": "processing cancelled",
    "rate_limited": "processing cancelled",
    "retry_ai": "processing cancelled",
    "processing": "completed rate_limited retry_ai failed_ai failed_payload_parsing failed_job_logic failed_timeout cancelled pending",
    "completed": "",
    "failed_ai": "pending",
    "failed_payload_parsing": "pending",
    "failed_job_logic": "pending",
    "failed_timeout": "pending",
    "cancelled": "pending",
}


@pytest.mark.parametrize("before", sorted(EXPECTED))
def test_only_the_documented_moves_are_legal(before: str) -> None:
    assert LEGAL[Status(before)] == {Status(after) for after in EXPECTED[before].split()}


def test_the_table_has_every_status_and_cannot_be_changed() -> None:
    assert set(LEGAL) == set(Status) == {Status(name) for name in EXPECTED}
    with pytest.raises(TypeError):
        LEGAL[Status.COMPLETED] = frozenset(Status)  # type: ignore[index]


def test_a_completed_job_is_final() -> None:
    assert not LEGAL[Status.COMPLETED]
    assert Status.COMPLETED not in RETRYABLE


def test_every_status_is_waiting_running_or_terminal_and_only_one_of_them() -> None:
    assert WAITING | TERMINAL | {Status.PROCESSING} == set(Status)
    assert not WAITING & TERMINAL
    assert set(Status) - TERMINAL == UNFINISHED
    assert Status.PROCESSING not in WAITING | TERMINAL


@pytest.mark.parametrize("status", Status)
def test_a_status_says_what_kind_it_is(status: Status) -> None:
    assert status.is_waiting == (status in ("pending", "rate_limited", "retry_ai"))
    assert status.is_failure == status.startswith("failed_")
    assert status.is_terminal == (status.is_failure or status in ("completed", "cancelled"))
    assert str(status) == status.value


def test_failures_and_cancelled_jobs_may_be_retried() -> None:
    assert FAILED | {Status.CANCELLED} == RETRYABLE
    assert all(LEGAL[status] == {Status.PENDING} for status in RETRYABLE)


def test_every_unfinished_status_can_be_cancelled() -> None:
    assert all(Status.CANCELLED in LEGAL[status] for status in UNFINISHED)


def test_a_job_decodes_what_it_holds() -> None:
    job = a_job(payload_json='{"a": [1]}', result_json='"x"', state_json="3", progress_json='{"percent": 50.0, "message": "half"}')
    assert (job.payload, job.result, job.state, job.progress) == ({"a": [1]}, "x", 3, Progress(50.0, "half"))
    empty = a_job(payload_json=None)
    assert (empty.payload, empty.result, empty.state, empty.progress) == (None, None, None, None)


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": Infinity}', "nonsense"])
def test_a_payload_that_is_not_json_says_so_when_it_is_read(text: str) -> None:
    with pytest.raises(ValueError):
        _ = a_job(payload_json=text).payload
