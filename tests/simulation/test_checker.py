"""The checker finds what is wrong: each rule is shown a sound story that was doctored to break it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tests.support.checker import Evidence, Row, check


def made(n: int, job: str, **more: Any) -> Row:
    plain = {"task_type": "lane", "now": "pending", "token": 0, "attempts": 0, "unique_key": None}
    return {"n": n, "kind": "made", "job_id": job, **plain, **more}


def move(n: int, job: str, was: str, now: str, token: int, attempts: int, **more: Any) -> Row:
    plain = {"run_after_us": 0, "started_us": 10, "max_attempts": None, "reason": None, "unique_key": None, "task_type": "lane"}
    return {"n": n, "kind": "move", "job_id": job, "was": was, "now": now, "token": token, "attempts": attempts, **plain, **more}


def start(job: str, token: int, pid: int = 7) -> Row:
    return {"what": "start", "job": job, "token": token, "pid": pid, "task_type": "lane"}


def end(job: str, token: int, how: str = "returned", pid: int = 7) -> Row:
    return {"what": "end", "job": job, "token": token, "how": how, "pid": pid, "task_type": "lane"}


def job(job_id: str, status: str, token: int, **more: Any) -> Row:
    result = f'{{"token": {token}}}' if status == "completed" else None
    return {"job_id": job_id, "status": status, "token": token, "reason": None, "result_json": result, "target_id": "", **more}


def sound() -> Evidence:
    """Job ``a`` is put off, probes and completes; ``b`` fails thrice; ``c`` is cancelled while it runs; ``d`` lost its worker once.

    ``e`` fails in an outage, and the attempt is given back while it runs again.
    """
    return Evidence(
        clients=[
            *({"what": "ack", "job": name} for name in "abcd"),
            {"what": "refused", "target": "refused"},
            {"what": "cancelled", "job": "c"},
        ],
        runs=[
            start("a", 1), end("a", 1, "RateLimitError"), start("a", 2), end("a", 2),
            start("b", 1), end("b", 1, "AIProviderError"), start("b", 2), end("b", 2, "AIProviderError"),
            start("b", 3), end("b", 3, "AIProviderError"),
            start("c", 1), end("c", 1, "CancelledError"), start("d", 1, pid=6), start("d", 2), end("d", 2),
            start("e", 1), end("e", 1, "AIProviderError"), start("e", 2), end("e", 2),
        ],
        events=[
            {"what": "service.started", "worker": "w"},
            {"what": "job.completed", "job_id": "a", "status": "completed"},
            {"what": "job.failed", "job_id": "b", "status": "failed_ai"},
        ],
        audit=[
            made(1, "a", unique_key="key"),
            move(2, "a", "pending", "processing", 1, 1, unique_key="key"),
            move(3, "a", "processing", "rate_limited", 1, 0, reason="rate_limited", unique_key="key"),
            {"n": 4, "kind": "paused", "scope": "lane", "until_us": 50, "reason": "rate_limited", "job_id": None},
            move(5, "a", "rate_limited", "processing", 2, 1, started_us=60, unique_key="key"),
            {"n": 6, "kind": "paused", "scope": "lane", "until_us": 50, "reason": "rate_limited", "job_id": "a"},
            {"n": 7, "kind": "progress", "job_id": "a", "now": "processing", "token": 2, "percent": 10.0},
            {"n": 8, "kind": "progress", "job_id": "a", "now": "processing", "token": 2, "percent": 20.0},
            move(9, "a", "processing", "completed", 2, 1, unique_key="key"),
            {"n": 10, "kind": "resumed", "scope": "lane", "at_us": 5_000},
            made(11, "b", unique_key="key"),
            move(12, "b", "pending", "processing", 1, 1, unique_key="key"),
            move(13, "b", "processing", "retry_ai", 1, 1, reason="provider_error", unique_key="key"),
            move(14, "b", "retry_ai", "processing", 2, 2, run_after_us=70, started_us=71, unique_key="key"),
            move(15, "b", "processing", "retry_ai", 2, 2, reason="provider_error", unique_key="key"),
            move(16, "b", "retry_ai", "processing", 3, 3, unique_key="key"),
            move(17, "b", "processing", "failed_ai", 3, 3, reason="provider_error", unique_key="key"),
            made(18, "c"),
            move(19, "c", "pending", "processing", 1, 1),
            move(20, "c", "processing", "cancelled", 1, 1, reason="cancelled"),
            made(21, "d"),
            move(22, "d", "pending", "processing", 1, 1),
            move(23, "d", "processing", "pending", 1, 0, reason="worker_lost"),
            move(24, "d", "pending", "processing", 2, 1),
            move(25, "d", "processing", "completed", 2, 1),
            made(26, "e"),
            move(27, "e", "pending", "processing", 1, 1),
            move(28, "e", "processing", "retry_ai", 1, 1, reason="provider_error"),
            move(29, "e", "retry_ai", "processing", 2, 2),
            {"n": 30, "kind": "refunded", "job_id": "e", "now": "processing", "token": 2, "attempts": 1},
            move(31, "e", "processing", "completed", 2, 1),
        ],
        jobs=[
            job("a", "completed", 2), job("b", "failed_ai", 3), job("c", "cancelled", 1), job("d", "completed", 2),
            job("e", "completed", 2),
        ],
        limits={"": 2, "lane": 2},
        blameless=True,
    )  # fmt: skip


def row(story: Evidence, n: int) -> Row:
    return next(one for one in story.audit if one["n"] == n)


def change(n: int, **fields: Any) -> Callable[[Evidence], None]:
    return lambda story: row(story, n).update(fields)


def _second_probe(story: Evidence) -> None:
    story.audit.insert(6, move(6, "b", "pending", "processing", 1, 1, started_us=60))


def _past_the_pool(story: Evidence) -> Evidence:
    for one in story.audit:
        if "scope" in one:
            one["scope"] = "pool:p"
    row(story, 5).update(started_us=49)
    return replace(story, pools={"lane": "pool:p"})


def _reopened_early(story: Evidence) -> None:
    for n in (4, 6):
        row(story, n).update(until_us=9_000)
    row(story, 5).update(started_us=9_001)


def drop(n: int) -> Callable[[Evidence], None]:
    return lambda story: story.audit.remove(row(story, n))


DOCTORED: list[tuple[str, str, Callable[[Evidence], Any]]] = [
    ("1", "an acknowledged job is gone", lambda story: story.jobs.pop(3)),
    ("2", "a token does not grow", change(5, token=1)),
    ("2", "a handler runs twice under one token", lambda story: story.runs.append(start("b", 2, pid=8))),
    ("2", "a handler runs under a token that nobody claimed", lambda story: story.runs.append(start("b", 9))),
    ("3", "an attempt ends under another's token", change(9, token=1)),
    ("3", "a move begins where the job does not stand", change(16, was="pending")),
    ("3", "a result of an earlier attempt is recorded", lambda story: story.jobs[0].update(result_json='{"token": 1}')),
    ("3", "a job is completed that no handler returned from", lambda story: story.runs.remove(end("d", 2))),
    ("3", "a job is cancelled that nobody cancelled", lambda story: story.clients.pop()),
    ("3", "progress is written after the end", change(8, now="completed")),
    ("4", "a completed job runs again", lambda story: story.audit.append(move(40, "d", "completed", "processing", 3, 2))),
    ("4", "cancelled, then completed", lambda story: story.audit.append(move(40, "c", "cancelled", "completed", 1, 1))),
    ("4", "an end is told twice", lambda story: story.events.append(story.events[1])),
    ("4", "an end is told that is not the stored one", lambda story: story.events[2].update(status="completed")),
    ("5", "a rate limit costs an attempt", change(3, attempts=1)),
    ("5", "a failure costs none", change(13, attempts=0)),
    ("5", "a claim counts twice", change(2, attempts=2)),
    ("5", "an attempt too many", lambda story: replace(story, max_attempts=2)),
    ("5", "failed for good too early", lambda story: replace(story, max_attempts=4)),
    ("5", "a lost worker costs an attempt", change(23, attempts=1)),
    ("5", "a failure of an outage gives two attempts back", change(30, attempts=0)),
    ("5", "a job is charged with what the store did", change(13, reason="handler_error")),
    ("5", "a job is charged with the time that the store took", change(13, reason="timeout")),
    ("5", "an attempt given back is counted all the same", change(31, attempts=2)),
    ("5", "an attempt is given back of a job that has ended", lambda story: story.audit.append(row(story, 30) | {"attempts": 0})),
    ("6", "a claim passes a window before its end", change(5, started_us=49)),
    ("6", "a claim passes an endless window", change(4, until_us=None)),
    ("6", "a claim beside the probe", change(6, job_id="b")),
    ("6", "a claim after the window that is no probe", drop(6)),
    ("6", "a second probe while the first runs", _second_probe),
    ("6", "a claim passes its pool's window", _past_the_pool),
    ("6", "a pause is shortened", change(6, until_us=49)),
    ("6", "a lane opens before its time", _reopened_early),
    ("7", "progress goes back", change(8, percent=5.0)),
    ("9", "too many handlers at once", lambda story: replace(story, limits={"": 0})),
    ("9", "too many handlers of a type at once", lambda story: replace(story, limits={"lane": 0})),
    ("10", "a start before its time", change(14, started_us=69)),
    ("11", "two unfinished jobs with one key", drop(9)),
    ("12", "a job is left running", lambda story: story.jobs[3].update(status="processing")),
    ("12", "a job is left waiting", lambda story: story.jobs[1].update(status="retry_ai")),
    ("13", "two processes with one identity", lambda story: story.events.append(story.events[0])),
    ("14", "what was refused is there", lambda story: story.jobs[1].update(target_id="refused")),
]  # fmt: skip


def test_a_sound_story_breaks_no_rule() -> None:
    assert check(sound()) == []


@pytest.mark.parametrize(("rule", "what", "doctor"), DOCTORED, ids=[what for _, what, _ in DOCTORED])
def test_a_doctored_story_is_rejected_by_its_rule(rule: str, what: str, doctor: Callable[[Evidence], Any]) -> None:
    story = deepcopy(sound())
    answer = doctor(story)
    found = check(answer if isinstance(answer, Evidence) else story)
    assert any(violation.split()[0] == rule for violation in found), f"{what}: {found}"
