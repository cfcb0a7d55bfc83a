"""Payloads on their way in and results on their way out, sound and unsound."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from scheduler import (
    JobContext,
    NewJob,
    Registry,
    Status,
)
from tests.support.engine import engine
from tests.support.odd_jobs import outcome, raising
from tests.support.virtual_time import in_virtual_time


class Unserialisable(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    inside: object = object()


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "result",
    [
        object(),
        {1: 2},
        float("nan"),
        2**70,
        "lone \ud800",
        "nul \x00",
        {"deep": object()},
        b"bytes",
        "x" * 1_000_001,
        Unserialisable(),
        endless(),
    ],
    ids=lambda result: type(result).__name__,
)
@in_virtual_time
async def test_a_result_that_json_cannot_hold_fails_its_job_at_the_first_try(result: Any) -> None:
    routes, runs = raising(ValueError()), []

    @routes.handler("odd", "result")
    async def odd(job: JobContext) -> Any:
        runs.append(job.attempt)
        return result

    async with engine(routes) as at:
        status, reason, error = await outcome(at, "result")
    assert (status, reason) == (Status.FAILED_JOB_LOGIC, "bad_result")
    assert error
    assert runs == [1]


@dataclass
class Answer:
    words: list[str]


class Model(BaseModel):
    count: int = 0


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        (None, None),
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        (Answer(["x"]), {"words": ["x"]}),
        (Model(count=2), {"count": 2}),
        ("é", "é"),
        (0, 0),
    ],
    ids=repr,
)
@in_virtual_time
async def test_a_result_is_stored_as_json(store: str, result: Any, stored: Any) -> None:
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext) -> Any:
        return result

    async with engine(routes, store) as at:
        receipt = await at.scheduler.enqueue("work")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    assert (job.status, job.result) == (Status.COMPLETED, stored)


class Strict(BaseModel):
    name: str
    size: int = 1

    @field_validator("name")
    @classmethod
    def no_bombs(cls, name: str) -> str:
        if name == "exit":
            raise SystemExit
        if name == "break":
            raise RuntimeError("broken validator")
        return name


@pytest.mark.parametrize(
    ("payload", "reason", "says"),
    [
        ({"size": 2}, "payload_invalid", "name: Field required"),
        ({"name": "a", "size": "many"}, "payload_invalid", "size"),
        ({"name": "break"}, "payload_invalid", "broken validator"),
        ({"name": "exit"}, "payload_invalid", "SystemExit"),
        ([1, 2], "payload_not_json", "not an object"),
        ("text", "payload_not_json", "not an object"),
        (7, "payload_not_json", "not an object"),
    ],
    ids=repr,
)
@in_virtual_time
async def test_a_payload_that_does_not_fit_fails_without_running_the_handler(payload: Any, reason: str, says: str) -> None:
    routes, runs = raising(ValueError()), []

    @routes.handler("odd", "strict", payload=Strict)
    async def odd(job: JobContext, payload: Strict) -> None:
        runs.append(payload)

    async with engine(routes) as at:
        status, why, error = await outcome(at, "strict", payload)
    assert (status, why) == (Status.FAILED_PAYLOAD_PARSING, reason)
    assert says in (error or "")
    assert runs == []


@in_virtual_time
async def test_a_payload_that_is_no_json_at_all_fails_alone(sqlite: str) -> None:
    """Written past the door, by another program."""
    routes = Registry()

    @routes.handler("work")
    async def work(job: JobContext, payload: dict[str, Any]) -> Any:
        return payload

    async with engine(routes, sqlite) as at:
        receipts = await at.scheduler.enqueue_many([NewJob("work", payload={"n": n}) for n in range(4)])
        with sqlite3.connect(sqlite.removeprefix("sqlite:///")) as other:
            other.execute("UPDATE jobs SET payload_json = '{\"half' WHERE job_id = ?", (receipts[0].job_id,))
            other.execute("UPDATE jobs SET payload_json = CAST(x'ff7b7d' AS TEXT) WHERE job_id = ?", (receipts[1].job_id,))
            other.execute("UPDATE jobs SET target_id = CAST(x'fe' AS TEXT) WHERE job_id = ?", (receipts[2].job_id,))
        other.close()
        await at.scheduler.run(until_empty=True)
        jobs = [await at.job(receipt.job_id) for receipt in receipts]
    assert [job.status for job in jobs] == [Status.FAILED_PAYLOAD_PARSING] * 2 + [Status.COMPLETED] * 2
    assert {job.reason for job in jobs[:2]} == {"payload_not_json"}


@in_virtual_time
async def test_a_payload_that_fits_arrives_as_the_model() -> None:
    routes, seen = Registry(), []

    @routes.handler("work", payload=Strict)
    async def work(job: JobContext, payload: Strict) -> None:
        seen.append(payload)

    async with engine(routes) as at:
        await at.scheduler.enqueue("work", payload={"name": "a"})
        await at.scheduler.run(until_empty=True)
    assert seen == [Strict(name="a", size=1)]
