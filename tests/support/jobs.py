"""Builders of records for tests: each takes only what the test is about, the rest is plain."""

from __future__ import annotations

from itertools import count
from typing import Any

from scheduler.job import Draft, Job, Status, Transition
from scheduler.pauses import PauseRequest, PauseWindow

#: When tests begin: a whole number of seconds since the epoch.
T0 = 1_700_000_000.0

_numbers = count(1)


def a_draft(task_type: str = "lane", **fields: Any) -> Draft:
    """A draft that is due at ``T0``; without a ``job_id`` it gets a fresh one."""
    plain: dict[str, Any] = {
        "job_id": f"job-{next(_numbers)}",
        "task_type": task_type,
        "target_type": "code_entity",
        "target_id": "1",
        "payload_json": "{}",
        "priority": 0,
        "run_after": T0,
        "unique_key": None,
        "owner": None,
        "max_attempts": None,
        "timeout_s": None,
        "fingerprint": None,
    }
    return Draft(**{**plain, **fields})


def a_job(**fields: Any) -> Job:
    """A job in its first attempt, as a claim at ``T0`` gives it."""
    plain: dict[str, Any] = {
        "seq": 1,
        "job_id": "job",
        "task_type": "lane",
        "target_type": "code_entity",
        "target_id": "1",
        "payload_json": "{}",
        "status": Status.PROCESSING,
        "reason": None,
        "error": None,
        "priority": 0,
        "run_after": T0,
        "attempts": 1,
        "crashes": 0,
        "max_attempts": None,
        "timeout_s": None,
        "token": 1,
        "worker": "worker",
        "unique_key": None,
        "owner": None,
        "fingerprint": None,
        "created_at": T0,
        "started_at": T0,
        "finished_at": None,
        "waiting_since": None,
        "result_json": None,
        "progress_json": None,
        "state_json": None,
    }
    return Job(**{**plain, **fields})


def a_request(job_id: str = "job", scope: str = "lane", **fields: Any) -> PauseRequest:
    """A provider's "later" without a hint, from an attempt claimed at ``T0``."""
    plain: dict[str, Any] = {"reason": "rate_limited", "retry_after_s": None, "base_s": 60.0, "cap_s": 900.0, "claimed_at": T0}
    return PauseRequest(scope=scope, job_id=job_id, **{**plain, **fields})


def a_window(scope: str = "lane", until: float = T0 + 60.0, **fields: Any) -> PauseWindow:
    """A pause that a provider caused at ``T0``."""
    plain: dict[str, Any] = {"reason": "rate_limited", "set_at": T0, "set_by": "job", "strikes": 1}
    return PauseWindow(scope=scope, until=until, **{**plain, **fields})


def put_off(job_id: str, now: float, scope: str = "lane", *, retry_after_s: float | None = None) -> Transition:
    """What a rate limit asks for: attempt given back, ``scope`` closed."""
    request = a_request(job_id, scope, retry_after_s=retry_after_s, claimed_at=now)
    return Transition(Status.RATE_LIMITED, "rate_limited", "RateLimitError: later", refund=True, waiting_since=now, pause=request)
