"""What operators ask and do: counts, pauses, bulk changes, slices of work, probes, metrics; and a store that is busy or full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from scheduler import JobContext, Registry, Scheduler
from scheduler.api.app import create_app, open_app
from scheduler.errors import StoreBusyError, StoreFullError
from scheduler.events import StoreFailing, StoreRecovered
from scheduler.stores.memory import MemoryStore
from tests.shell.api.test_jobs_api import problem
from tests.support.served_app import GUARDED, Served, bearer, served

NDJSON = {"Content-Type": "application/x-ndjson"}
routes = Registry()


@routes.handler("work", pool="main")
async def work(job: JobContext, payload: Any) -> None: ...


@routes.handler("fail", max_attempts=1)
async def fail(job: JobContext, payload: Any) -> None:
    raise ValueError("no luck")


async def finished(face: Served) -> None:
    """All jobs have ended."""
    with anyio.fail_after(10):
        while (await face.scheduler.stats()).unfinished:  # noqa: ASYNC110 - the store rings no bell
            await anyio.sleep(0.02)


# -- many jobs


async def test_many_jobs_come_in_line_by_line_and_a_bad_line_is_refused_alone() -> None:
    lines = [b'{"task_type":"work"}'] * 1_500
    lines[3] = b'{"task_type":""}'
    lines[1_200] = b'{"task_type":"work","payload":' + str(2**63).encode() + b"}"
    lines[1_201] = b""
    lines[1_400] = b"{"
    async with served() as face:
        answer = await face.client.post("/api/jobs/bulk", content=b"\n".join(lines), headers=NDJSON, params={"job_ids": "true"})
        told = answer.json()
        assert (answer.status_code, told["accepted"], told["created"], told["refused"]) == (202, 1_496, 1_496, 3)
        assert [one["line"] for one in told["errors"]] == [4, 1_201, 1_401]
        assert "63 bits" in told["errors"][1]["detail"]
        assert len(set(told["job_ids"])) == 1_496
        assert (await face.scheduler.stats()).total == 1_496


async def test_lines_without_end_and_other_media_types_are_refused() -> None:
    async with served() as face:
        problem(await face.client.post("/api/jobs/bulk", content=b"x" * 1_200_000, headers=NDJSON), 413, "too_large")
        problem(await face.client.post("/api/jobs/bulk", json={"task_type": "work"}), 415, "unsupported_media_type")
        for content, refused in ((b'{"a":1}\n', 1), (b"\n", 0), (b'{"task_type":"a","webhook":"https://example.com"}', 1)):
            answer = await face.client.post("/api/jobs/bulk", content=content, headers=NDJSON)
            assert (answer.status_code, answer.json()["accepted"], answer.json()["refused"]) == (202, 0, refused)
        assert (await face.scheduler.stats()).total == 0


async def test_jobs_are_cancelled_and_run_again_by_what_they_have_in_common() -> None:
    async with served(routes=routes, run=True) as face:
        for _ in range(3):
            await face.put("fail")
        await finished(face)
        waiting = [await face.put("work", delay_s=600, target_id=f"t{number}") for number in range(4)]
        which = {"reason": ["handler_error"]}
        counted = await face.client.post("/api/jobs/retry", json={**which, "dry_run": True})
        assert counted.json() == {"matched": 3, "changed": 0}
        assert (await face.scheduler.stats()).by_status["failed_job_logic"] == 3
        assert (await face.client.post("/api/jobs/retry", json=which)).json() == {"matched": 3, "changed": 3}
        cancelled = await face.client.post("/api/jobs/cancel", json={"text": "T2", "status": ["pending"]})
        assert cancelled.json() == {"matched": 1, "changed": 1}
        job = await face.scheduler.get(waiting[2])
        assert job is not None
        assert job.status == "cancelled"
        everything = await face.client.post("/api/jobs/cancel", json={"created_after": "2000-01-01T00:00:00Z", "task_type": ["work"]})
        assert everything.json()["changed"] == 3
        for bad in ({}, {"dry_run": True}, {"status": ["completed"]}, {"statuses": []}, {"created_after": 0}, {"owner": None}):
            problem(await face.client.post("/api/jobs/cancel", json=bad), 422, "refused")


# -- pauses, counts, the rest


async def test_pauses_by_hand() -> None:
    async with served(routes=routes) as face:
        answer = await face.client.post("/api/pauses", json={"scope": "pool:main", "for_s": 60})
        assert (answer.status_code, answer.json()["task_types"], answer.json()["reason"]) == (200, ["work"], "manual")
        assert 59 < answer.json()["remaining_s"] <= 60
        endless = (await face.client.post("/api/pauses", json={"scope": "a/b c"})).json()
        assert (endless["until"], endless["remaining_s"]) == (None, None)
        scopes = [one["scope"] for one in (await face.client.get("/api/pauses")).json()["pauses"]]
        assert scopes == ["a/b c", "pool:main"]
        assert (await face.client.delete("/api/pauses/a%2Fb%20c")).json()["scope"] == "a/b c"
        assert (await face.client.delete("/api/pauses/pool:main")).status_code == 200
        problem(await face.client.delete("/api/pauses/pool:main"), 404, "not_found")
        problem(await face.client.delete("/api/pauses/job:none"), 404, "not_found")
        problem(await face.client.post("/api/pauses", json={"scope": "job:none"}), 404, "not_found")
        for bad in ({}, {"scope": ""}, {"scope": "a\n"}, {"scope": "work", "for_s": -1}, {"scope": "work", "for_s": "1"}):
            problem(await face.client.post("/api/pauses", json=bad), 422, "refused")


async def test_counts_throughput_batches_workers_pools_and_handlers() -> None:
    async with served({"pools": {"main": {"requests_per_minute": 60}}}, routes, run=True) as face:
        await face.put("work", batch="b")
        await face.put("fail", batch="b")
        await finished(face)
        stats = (await face.client.get("/api/stats")).json()
        assert (stats["total"], stats["by_status"], stats["reasons"]) == (2, {"completed": 1, "failed_job_logic": 1}, {"handler_error": 1})
        told = (await face.client.get("/api/stats/throughput", params={"hours": 1, "bucket_s": 600})).json()
        assert (told["bucket_s"], sum(one["completed"] for one in told["buckets"]), sum(one["failed"] for one in told["buckets"])) == (
            600,
            1,
            1,
        )
        finest = (await face.client.get("/api/stats/throughput", params={"hours": 168, "bucket_s": 10})).json()
        assert len(finest["buckets"]) <= 1_001
        batch = (await face.client.get("/api/batches/b")).json()
        assert (batch["total"], batch["ended"], batch["percent"]) == (2, 2, 100.0)
        problem(await face.client.get("/api/batches/none"), 404, "not_found")
        (worker,) = (await face.client.get("/api/workers")).json()["workers"]
        assert worker["state"] == "living"
        (pool,) = (await face.client.get("/api/pools")).json()["pools"]
        assert (pool["name"], pool["task_types"]) == ("main", ["work"])
        handlers = (await face.client.get("/api/handlers")).json()["handlers"]
        assert sorted(one["task_type"] for one in handlers) == ["fail", "work"]


async def test_a_slice_of_work_is_done_and_what_is_left_told() -> None:
    async with served(routes=routes) as face:
        for _ in range(3):
            await face.put("work")
        later = await face.put("work", delay_s=3_600)
        told = (await face.client.post("/api/process", json={"max_seconds": 10, "max_jobs": 2})).json()
        assert (told["jobs"], told["running"]) == (2, False)
        told = (await face.client.post("/api/process", json={"max_seconds": 0.5})).json()
        assert told["jobs"] == 1
        job = await face.scheduler.get(later)
        assert job is not None
        assert told["due_at"][:19] == (await face.client.get(f"/api/jobs/{later}")).json()["run_after"][:19]
    async with served(routes=routes, run=True) as face:
        assert (await face.client.post("/api/process")).json()["running"] is True


async def test_two_slices_at_once_are_one_too_many() -> None:
    slow = Registry()

    @slow.handler("slow")
    async def handler(job: JobContext, payload: Any) -> None:
        await anyio.sleep(1)

    async with served(routes=slow) as face:
        await face.put("slow")
        async with anyio.create_task_group() as group:
            group.start_soon(face.client.post, "/api/process")
            await anyio.sleep(0.3)
            problem(await face.client.post("/api/process"), 409, "conflict")


# -- probes


async def test_probes_say_whether_it_lives_and_why_it_is_not_ready() -> None:
    async with served() as face:
        assert (await face.client.get("/healthz")).json() == {"status": "ok"}
        assert (await face.client.get("/readyz")).json() == {"ready": True, "problems": []}
        face.scheduler.events.emit(StoreFailing(0.0, "the disk is full"))
        answer = await face.client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "problems": ["the disk is full"]})
        face.scheduler.events.emit(StoreRecovered(0.0, 1.0))
        assert (await face.client.get("/readyz")).status_code == 200


async def test_metrics_count_what_happened_and_what_there_is() -> None:
    async with served(GUARDED, routes, run=True) as face:
        for task_type in ("work", "work", "fail"):
            await face.put(task_type, headers=bearer("operator"))
        await finished(face)
        await face.scheduler.pause("lane")
        text = (await face.client.get("/metrics", headers=bearer("reader"))).text
        for line in (
            'scheduler_jobs_enqueued_total{task_type="work"} 2.0',
            'scheduler_attempts_ended_total{reason="handler_error",status="failed_job_logic",task_type="fail"} 1.0',
            'scheduler_jobs{status="completed"} 2.0',
            'scheduler_jobs{status="pending"} 0.0',
            "scheduler_paused_scopes 1.0",
            "scheduler_workers 1.0",
            'scheduler_attempt_duration_seconds_count{task_type="work"} 2.0',
        ):
            assert line in text


# -- a store in trouble


@pytest.mark.parametrize(
    ("error", "status", "word"), [(StoreBusyError("busy"), 503, "unavailable"), (StoreFullError("full"), 507, "storage_full")]
)
async def test_a_store_in_trouble_is_told_and_nothing_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, word: str
) -> None:
    async def refuse(*arguments: Any, **more: Any) -> Any:
        raise error

    async with served() as face:
        monkeypatch.setattr(MemoryStore, "enqueue", refuse)
        answer = await face.client.post("/api/jobs", json={"task_type": "work"})
        problem(answer, status, word)
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
        problem(await face.client.post("/api/jobs/bulk", content=b'{"task_type":"work"}', headers=NDJSON), status, word)
        monkeypatch.setattr(MemoryStore, "find", refuse)
        problem(await face.client.get("/api/jobs"), status, word)


async def test_a_fault_of_ours_is_a_problem_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError("a secret path")

    async with served() as face:
        monkeypatch.setattr(MemoryStore, "find", break_down)
        answer = await face.client.get("/api/jobs")
        assert "secret" not in problem(answer, 500, "internal")["detail"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]


# -- in applications of one's own


async def test_an_application_of_its_own_opens_and_closes_the_scheduler(tmp_path: Path) -> None:
    app = create_app({"scheduler": {"store": f"sqlite:///{tmp_path}/jobs.db"}}, routes)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        problem(await client.get("/api/jobs"), 503, "unavailable")  # nobody has started it
        async with app.router.lifespan_context(app):
            assert (await client.post("/api/jobs", json={"task_type": "work"})).status_code == 202
            assert (await client.post("/api/process", json={"max_seconds": 5})).json()["jobs"] == 0
        problem(await client.get("/api/jobs"), 503, "unavailable")


async def test_it_can_be_mounted_beside_other_pages() -> None:
    async with Scheduler.open({"scheduler": {"store": "memory:"}}, routes, logs=False) as scheduler, open_app(scheduler) as app:
        whole = Starlette(routes=[Mount("/queue", app)])
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(whole), base_url="http://localhost") as client:
            assert (await client.get("/queue/healthz")).status_code == 200
            answer = await client.post("/queue/api/jobs", json={"task_type": "work"})
            assert (await client.get(answer.headers["location"])).status_code == 200


async def test_what_another_process_does_is_streamed_too(tmp_path: Path) -> None:
    store = {"scheduler": {"store": f"sqlite:///{tmp_path}/jobs.db"}}
    async with served(store) as face, Scheduler.open(store, routes, logs=False) as other:
        with anyio.fail_after(10):
            async with face.client.stream("GET", "/api/events") as answer:
                lines = answer.aiter_lines()
                await anext(lines)
                await other.enqueue("work")
                while "job.enqueued" not in await anext(lines):
                    pass
