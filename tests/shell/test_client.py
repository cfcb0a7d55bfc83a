"""The client against a real service: followed to the end through restarts and bad proxies, and never two jobs for one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import anyio
import pytest

from scheduler import NewJob, Status
from scheduler.api.tokens import hashed
from scheduler.client import (
    ConflictError,
    DeniedError,
    JobClient,
    JobFailedError,
    LimitedError,
    MissingError,
    SyncJobClient,
    UnreachableError,
    counters_of,
    percent_of,
    streams,
)
from scheduler.views.jobs import JobDetails
from tests.shell.cli.command import environment
from tests.support.bad_proxy import bad_proxy
from tests.support.serving import Serving

LIMIT_S = 40.0
OWNERS = f"""
[owners."*"]
max_unfinished = 2

[tokens.operator]
sha256 = "{hashed("sched_operator")}"
scope = "operate"

[tokens.ada]
sha256 = "{hashed("sched_ada")}"
scope = "write"
owner = "ada"

[tokens.eve]
sha256 = "{hashed("sched_eve")}"
owner = "eve"
"""


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    serving = Serving(tmp_path, getattr(request, "param", ""))
    serving.start()
    yield serving
    serving.end()


@pytest.fixture
async def client(service: Serving) -> AsyncIterator[JobClient]:
    async with JobClient(service.url) as client:
        yield client


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """A test that fails rather than hangs."""

    @wraps(test)
    async def run(**given: Any) -> None:
        with anyio.fail_after(LIMIT_S):
            await test(**given)

    return run


@bounded
async def test_a_job_is_started_and_followed_to_its_end(service: Serving, client: JobClient, tmp_path: Path) -> None:
    told: list[tuple[Status, float, float | None]] = []

    def on_progress(job: JobDetails) -> None:
        told.append((job.status, percent_of(job), counters_of(job)["done"]))
        done = counters_of(job)["done"]
        (tmp_path / f"go-{done:g}").touch()

    payload = {"items": list(range(6)), "until": str(tmp_path / "go")}
    job = await client.start("listing", "list", "1", payload, on_progress=on_progress)
    assert job.status is Status.COMPLETED
    assert job.result["done"] == 6
    assert counters_of(job) == {"done": 6, "failed": 0, "total": 6, "seen": 6}
    assert await client.result(job.job_id) == job.result
    assert {done for _, _, done in told} >= {0, 2, 4, 6}, "each chunk was told of before the next one began"
    assert [percent for _, percent, _ in told] == sorted(percent for _, percent, _ in told)
    assert told[-1] == (Status.COMPLETED, 100.0, 6)


@bounded
async def test_a_kill_in_the_midst_is_survived_by_whoever_follows(service: Serving, client: JobClient, tmp_path: Path) -> None:
    receipt = await client.enqueue("gated", payload={"until": str(tmp_path / "go")})
    seen: list[int] = []
    runs = 0

    async def watch() -> None:
        async for entry in client.events(receipt.job_id):
            seen.append(entry.id)

    async def on_progress(job: JobDetails) -> None:
        nonlocal runs
        if percent_of(job) == 25.0 and not runs:
            runs += 1
            await anyio.to_thread.run_sync(service.end)
            await anyio.to_thread.run_sync(service.start)
            (tmp_path / "go").touch()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        job = await client.follow(receipt.job_id, on_progress)
    assert job.status is Status.COMPLETED
    kept = [entry["id"] for entry in (await client.request("GET", f"/api/jobs/{receipt.job_id}/history"))["entries"]]
    assert set(kept) <= set(seen), "nothing was missed"
    assert seen == sorted(set(seen)), "nothing came twice"


@bounded
async def test_a_proxy_that_keeps_events_back_is_gone_round(service: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FIRST_S", 0.5)
    told: list[float] = []

    def on_progress(job: JobDetails) -> None:
        told.append(percent_of(job))
        if percent_of(job) == 25.0:
            (tmp_path / "go").touch()

    async with bad_proxy(service.url) as proxy, JobClient(proxy.url, poll_s=0.1) as client:
        job = await client.start("gated", payload={"until": str(tmp_path / "go")}, on_progress=on_progress)
        assert job.status is Status.COMPLETED
        assert told[-2:] == [25.0, 100.0]
        assert sum("/events" in request for request in proxy.requests) == 1, "what does not get through is not tried all the time"
        names = [entry.name async for entry in client.events(job.job_id)]
        assert (names[0], names[-1]) == ("job.enqueued", "job.completed")


@bounded
async def test_all_that_happens_gets_through_such_a_proxy_without_gaps(service: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FIRST_S", 0.3)
    seen: list[str] = []
    async with bad_proxy(service.url) as proxy, JobClient(proxy.url, poll_s=0.2) as client:
        events = client.events(after=0)
        for number in range(8):
            await client.enqueue("quick", target_id=str(number))
            await anyio.sleep(0.1)
        async for entry in events:
            if entry.name == "job.completed":
                seen.append(str(entry.target_id))
            if len(seen) == 8:
                break
        await events.aclose()
    assert sorted(seen) == [str(number) for number in range(8)]


@bounded
async def test_a_lost_answer_does_not_enqueue_twice(service: Serving, client: JobClient) -> None:
    async with bad_proxy(service.url) as proxy, JobClient(proxy.url) as through:
        proxy.cut = 2
        receipt = await through.enqueue("quick", target_id="1")
        assert proxy.requests == ["POST /api/jobs"] * 3
        assert [job.job_id async for job in client.jobs()] == [receipt.job_id]
        proxy.cut = 1
        with pytest.raises(UnreachableError, match="whether it was done is not known"):
            await through.retry(receipt.job_id)


@bounded
async def test_a_wait_does_not_make_another_request_of_the_same_one(client: JobClient) -> None:
    first = await client.enqueue("quick", run_after=timedelta(hours=1), idempotency_key="k")
    await anyio.sleep(0.01)
    assert (await client.enqueue("quick", run_after=timedelta(hours=1), idempotency_key="k")).job_id == first.job_id
    with pytest.raises(ConflictError):
        await client.enqueue("quick", run_after=timedelta(hours=2), idempotency_key="k")


@bounded
async def test_many_jobs_stream_in_and_are_listed_page_by_page(client: JobClient) -> None:
    told = await client.enqueue_many((NewJob("quick", "t", str(n), batch="b" if n % 2 else "c") for n in range(1_200)), job_ids=True)
    assert (told.accepted, told.refused, len(told.job_ids or ())) == (1_200, 0, 1_200)
    listed = [job async for job in client.jobs(batch="b")]
    assert len(listed) == 600
    assert len([job async for job in client.jobs(limit=7)]) == 7
    assert (await client.stats()).total == 1_200

    async def some() -> AsyncIterator[NewJob]:
        yield NewJob("quick")
        yield NewJob("pool:no")

    partly = await client.enqueue_many(some())
    assert (partly.created, partly.refused, partly.errors[0].line) == (1, 1, 2)
    none = await client.enqueue_many([NewJob("pool:no")])
    assert (none.accepted, none.refused) == (0, 1)


@bounded
async def test_as_many_are_followed_as_one_likes(client: JobClient) -> None:
    told = await client.enqueue_many([NewJob("quick", run_after=3e9) for _ in range(120)], job_ids=True)
    followed = [client.events(job_id) for job_id in told.job_ids or ()]
    for events in followed:
        assert (await anext(events)).name == "job.enqueued"
    assert (await client.stats()).total == 120, "all of them hold a connection, and there is another"
    for events in followed:
        await events.aclose()


@bounded
async def test_a_job_is_moved_and_taken_out(client: JobClient, tmp_path: Path) -> None:
    receipt = await client.enqueue("gated", payload={"until": str(tmp_path / "go")}, run_after=3e9)
    assert (await client.pause(receipt.job_id, 60.0)).held
    assert not (await client.resume(receipt.job_id)).held
    assert (await client.cancel(receipt.job_id)).status is Status.CANCELLED
    with pytest.raises(JobFailedError):
        await client.follow(receipt.job_id)
    (tmp_path / "go").touch()
    await client.retry(receipt.job_id)
    assert (await client.get(receipt.job_id, wait_s=20)).status is Status.COMPLETED
    with pytest.raises(ConflictError):
        await client.cancel(receipt.job_id)
    await client.delete(receipt.job_id)
    with pytest.raises(MissingError):
        await client.get(receipt.job_id)
    with pytest.raises(JobFailedError, match=r"failed_ai .invalid_request: .* never") as caught:
        await client.start("picky", payload={"say": "never"})
    assert caught.value.job.attempts == 1


@pytest.mark.parametrize("service", [OWNERS], indirect=True)
@bounded
async def test_a_token_opens_what_is_its_owners(service: Serving, tmp_path: Path) -> None:
    async with JobClient(service.url, "sched_ada") as ada, JobClient(service.url, "sched_eve") as eve, JobClient(service.url) as nobody:
        receipt = await ada.enqueue("gated", payload={"until": str(tmp_path / "go")})
        assert (await ada.get(receipt.job_id)).owner == "ada"
        assert (await ada.me()).owner == "ada"
        for question in (eve.get(receipt.job_id), eve.follow(receipt.job_id), anext(eve.events(receipt.job_id))):
            with pytest.raises(MissingError):
                await question
        assert [job async for job in eve.jobs()] == []
        with pytest.raises(DeniedError):
            await eve.enqueue("quick")
        with pytest.raises(DeniedError):
            await ada.pools()
        with pytest.raises(DeniedError):
            await nobody.get(receipt.job_id)
        await ada.enqueue("gated", run_after=3e9)
        with pytest.raises(LimitedError):
            await ada.enqueue("gated", run_after=3e9)


def test_ctrl_c_ends_the_waiting_of_a_program_without_an_event_loop(service: Serving) -> None:
    script = (
        "import sys, scheduler.client as c\n"
        "with c.SyncJobClient(sys.argv[1]) as client:\n"
        "    client.start('gated', payload={'until': 'never'}, on_progress=lambda job: print(job.status, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, service.url], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        while process.stdout.readline() != "processing\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1, errors


def test_a_program_without_an_event_loop_does_the_same(service: Serving, tmp_path: Path) -> None:
    told: list[float] = []

    def on_progress(job: JobDetails) -> None:
        told.append(percent_of(job))
        (tmp_path / "go").touch()

    with SyncJobClient(service.url) as client:
        job = client.start("gated", payload={"until": str(tmp_path / "go")}, on_progress=on_progress)
        assert job.result == {"attempt": 1}
        assert told[-1] == 100.0
        assert [entry.name for entry in client.events(job.job_id)][-1] == "job.completed"
        assert [one.job_id for one in client.jobs()] == [job.job_id]
        with pytest.raises(MissingError):
            client.get("missing")
    assert "scheduler.client" not in repr(client)
