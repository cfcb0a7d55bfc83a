"""Jobs over HTTP: what goes in comes out, errors say what to do, nothing refused changes anything."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2
import pytest

from scheduler import Chunk, JobContext, RateLimitError, Registry
from tests.support.served_app import Served, served

routes = Registry()


@routes.handler("work")
async def work(job: JobContext, payload: Any) -> Any:
    return {"echo": payload}


@routes.handler("fail", max_attempts=1)
async def fail(job: JobContext, payload: Any) -> None:
    raise ValueError("no luck")


@routes.handler("hang")
async def hang(job: JobContext, payload: Any) -> None:
    await anyio.sleep(60)


@routes.handler("limited")
async def limited(job: JobContext, payload: Any) -> None:
    raise RateLimitError("later", retry_after_s=600)


@routes.handler("items", max_attempts=1)
async def of_items(job: JobContext, payload: Any) -> Any:
    async def work_on(chunk: Chunk) -> list[int]:
        if 3 in chunk.items:
            raise ValueError("three")
        return list(chunk.items)

    return await job.chunks(range(5), work_on, size=5)


def problem(answer: httpx2.Response, status: int, word: str) -> dict[str, Any]:
    """The problem that was answered, after a look at its shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["type"], told["status"]) == (f"urn:scheduler:problem:{word}", status)
    assert told["title"]
    assert told["detail"]
    return told


async def ended(face: Served, job_id: str) -> dict[str, Any]:
    answer = await face.client.get(f"/api/jobs/{job_id}", params={"wait": 20})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_a_job_goes_in_and_its_result_comes_out() -> None:
    async with served(routes=routes, run=True) as face:
        answer = await face.client.post("/api/jobs", json={"task_type": "work", "payload": {"a": 1}, "priority": 5, "owner": "ada"})
        assert answer.status_code == 202
        assert answer.json() == {"job_id": answer.json()["job_id"], "created": True, "unchanged": False}
        job = (await face.client.get(answer.headers["location"], params={"wait": 20})).json()
        assert (job["status"], job["result"], job["payload"], job["priority"], job["owner"], job["attempts"]) == (
            "completed", {"echo": {"a": 1}}, {"a": 1}, 5, "ada", 1,
        )  # fmt: skip
        assert job["created_at"].endswith("Z")
        attachment = await face.client.get(f"/api/jobs/{job['job_id']}/result")
        assert attachment.json() == {"echo": {"a": 1}}
        assert attachment.headers["content-disposition"] == f'attachment; filename="{job["job_id"]}.json"'
        history = (await face.client.get(f"/api/jobs/{job['job_id']}/history")).json()["entries"]
        assert [entry["name"] for entry in history] == ["job.enqueued", "job.started", "job.completed"]


async def test_waiting_ends_with_the_time_or_with_the_job() -> None:
    async with served(routes=routes, run=True) as face:
        job_id = await face.put("hang")
        assert (await face.client.get(f"/api/jobs/{job_id}", params={"wait": 0.2})).json()["status"] == "processing"
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_soon, face, job_id)
            assert (await ended(face, job_id))["status"] == "cancelled"
        problem(await face.client.get(f"/api/jobs/{job_id}", params={"wait": 61}), 422, "refused")


async def _cancel_soon(face: Served, job_id: str) -> None:
    await anyio.sleep(0.2)
    await face.client.post(f"/api/jobs/{job_id}/cancel")


async def test_the_same_request_gets_the_same_job_and_another_body_a_conflict() -> None:
    async with served(routes=routes, run=True) as face:
        send = {"task_type": "work", "payload": {"a": 1}}
        key = {"Idempotency-Key": "k1"}
        first = await face.client.post("/api/jobs", json=send, headers=key)
        await ended(face, first.json()["job_id"])
        again = await face.client.post("/api/jobs", json=send, headers=key)
        assert (again.status_code, again.json()["job_id"], again.json()["created"]) == (202, first.json()["job_id"], False)
        problem(await face.client.post("/api/jobs", json={**send, "priority": 1}, headers=key), 409, "conflict")
        other = await face.client.post("/api/jobs", json=send, headers={"Idempotency-Key": "k2"})
        assert other.json()["job_id"] != first.json()["job_id"]
        assert (await face.scheduler.stats()).total == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ("{}", "task_type"),
        ('{"task_type":""}', "task_type"),
        ('{"task_type":"pool:x"}', "task_type"),
        ('{"task_type":"a","priority":"1"}', "priority"),
        ('{"task_type":"a","priority":1.5}', "priority"),
        ('{"task_type":"a","priority":3000000000}', "priority"),
        ('{"task_type":"a","prioritty":1}', "prioritty"),
        ('{"task_type":"a","run_after":"2030-01-01T00:00:00"}', "run_after"),
        ('{"task_type":"a","run_after":1900000000}', "run_after"),
        ('{"task_type":"a","delay_s":-1}', "delay_s"),
        ('{"task_type":"a","timeout_s":0}', "timeout_s"),
        ('{"task_type":"a","timeout_s":1e999}', "timeout_s"),
        ('{"task_type":"a","max_attempts":0}', "max_attempts"),
        ('{"task_type":"a","owner":""}', "owner"),
        ('{"task_type":"a","unique_key":"a\\u0000"}', "unique_key"),
        ('{"task_type":"a","payload":{"a":NaN}}', "payload"),
        ('{"task_type":"a","payload":{"a":"\\u0000"}}', "payload"),
        ('{"task_type":"a","payload":{"a":"\\ud800"}}', "body"),
        ('{"task_type":"a","payload":' + str(2**63) + "}", "payload"),
        ('{"task_type":"a","payload":' + "[" * 40 + "]" * 40 + "}", "payload"),
        ('{"task_type":"a","payload":' + "[" * 100_000, "body"),
        ('{"task_type":"a","payload":"' + "x" * 1_000_100 + '"}', "payload"),
        ('{"task_type":"a","batch":"a\\nb"}', "batch"),
        ('{"task_type":"a","if_failed":"never"}', "if_failed"),
    ],
)
async def test_a_bad_body_is_refused_and_changes_nothing(body: str, says: str) -> None:
    async with served() as face:
        answer = await face.client.post("/api/jobs", content=body.encode(), headers={"Content-Type": "application/json"})
        assert says in problem(answer, 422, "refused")["detail"]
        assert (await face.scheduler.stats()).total == 0


async def test_a_job_waits_only_for_jobs_that_exist() -> None:
    async with served() as face:
        answer = await face.client.post("/api/jobs", json={"task_type": "a", "after": ["nobody"]})
        assert "nobody" in problem(answer, 409, "conflict")["detail"]
        assert (await face.scheduler.stats()).total == 0


async def test_jobs_are_found_by_what_they_are_in_pages() -> None:
    async with served(routes=routes, run=True) as face:
        ids = [await face.put("work", target_id=f"t{number}", owner="ada" if number % 2 else None) for number in range(7)]
        failed = await face.put("fail", target_type="file", target_id="100%_sure", batch="b")
        for job_id in (*ids, failed):
            await ended(face, job_id)

        async def found(**which: Any) -> list[str]:
            answer = await face.client.get("/api/jobs", params=which)
            assert answer.status_code == 200, answer.text
            return [job["job_id"] for job in answer.json()["jobs"]]

        assert await found() == [failed, *reversed(ids)]
        assert await found(status=["failed_job_logic", "cancelled"]) == [failed]
        assert await found(reason="handler_error") == [failed]
        assert await found(task_type="work", owner="ada") == [ids[5], ids[3], ids[1]]
        assert await found(target_type="file", target_id="100%_sure") == [failed]
        assert await found(batch="b") == [failed]
        assert await found(text="%_S") == [failed]
        assert await found(text="NO LUCK") == [failed]
        assert await found(created_after="2100-01-01T00:00:00Z") == []
        assert len(await found(created_before="2100-01-01T00:00:00Z")) == 8
        pages: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await face.client.get("/api/jobs", params={"limit": 3, **cursor})).json()
            pages += [job["job_id"] for job in page["jobs"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert pages == [failed, *reversed(ids)]
        assert "payload" not in page["jobs"][0]
        for bad in (
            {"status": "gone"},
            {"limit": 0},
            {"limit": 1001},
            {"cursor": "x"},
            {"statuses": "failed_ai"},
            {"created_after": "soon"},
        ):
            problem(await face.client.get("/api/jobs", params=bad), 422, "refused")


async def test_what_failed_can_be_run_again_and_what_runs_cancelled() -> None:
    async with served(routes=routes, run=True) as face:
        failed = await face.put("fail")
        assert (await ended(face, failed))["reason"] == "handler_error"
        assert (await face.client.post(f"/api/jobs/{failed}/retry")).json()["status"] in ("pending", "processing", "failed_job_logic")
        assert (await ended(face, failed))["attempts"] == 1
        problem(await face.client.post(f"/api/jobs/{failed}/retry", json={"failed_items": True}), 409, "conflict")
        problem(await face.client.post(f"/api/jobs/{failed}/retry", json={"restart": "yes"}), 422, "refused")
        running = await face.put("hang")
        problem(await face.client.post(f"/api/jobs/{running}/retry"), 409, "conflict")
        assert (await face.client.post(f"/api/jobs/{running}/cancel")).json()["status"] == "cancelled"
        assert (await face.client.post(f"/api/jobs/{running}/cancel")).status_code == 200, "it is cancelled, as asked for"
        done = await face.put("work")
        await ended(face, done)
        problem(await face.client.post(f"/api/jobs/{done}/cancel"), 409, "conflict")
        problem(await face.client.post(f"/api/jobs/{done}/pause"), 409, "conflict")


async def test_one_job_is_paused_and_let_go() -> None:
    async with served(routes=routes) as face:
        job_id = await face.put("work")
        held = (await face.client.post(f"/api/jobs/{job_id}/pause", json={"for_s": 600})).json()
        assert (held["held"], held["status"]) == (True, "pending")
        assert (await face.client.post(f"/api/jobs/{job_id}/resume")).json()["held"] is False
        assert (await face.client.post(f"/api/jobs/{job_id}/pause")).json()["run_after"] is None
        sentence = (await face.client.get(f"/api/jobs/{job_id}/why")).json()["sentence"]
        assert "paused" in sentence


async def test_a_deleted_job_is_gone_whatever_it_was() -> None:
    async with served(routes=routes, run=True) as face:
        for task_type in ("work", "hang"):
            job_id = await face.put(task_type)
            await face.client.get(f"/api/jobs/{job_id}", params={"wait": 0.3})
            assert (await face.client.delete(f"/api/jobs/{job_id}")).status_code == 204
            for verb, path in (("GET", ""), ("DELETE", ""), ("GET", "/history"), ("POST", "/retry"), ("GET", "/result"), ("GET", "/why")):
                problem(await face.client.request(verb, f"/api/jobs/{job_id}{path}"), 404, "not_found")
        assert (await face.scheduler.stats()).total == 0


async def test_a_long_job_shows_its_items() -> None:
    async with served(routes=routes, run=True) as face:
        job_id = await face.put("items")
        job = await ended(face, job_id)
        assert job["reason"] == "items_failed"
        assert [(one["total"], one["done"], one["failed"]) for one in job["ledgers"]] == [(5, 4, 1)]
        items = (await face.client.get(f"/api/jobs/{job_id}/items", params={"failed": "true"})).json()
        assert [(one["position"], one["ok"]) for one in items["items"]] == [(3, False)]
        first = (await face.client.get(f"/api/jobs/{job_id}/items", params={"limit": 2})).json()
        assert (len(first["items"]), first["next_after"]) == (2, 1)


async def test_a_paused_lane_is_named_by_why() -> None:
    async with served(routes=routes, run=True) as face:
        job_id = await face.put("limited")
        for _ in range(50):
            job = (await face.client.get(f"/api/jobs/{job_id}")).json()
            if job["status"] == "rate_limited":
                break
            await anyio.sleep(0.05)
        why = (await face.client.get(f"/api/jobs/{job_id}/why")).json()
        assert "rate_limited" in why["sentence"]
        assert why["causes"][0]["until"].endswith("Z")


async def test_an_owners_limit_is_a_429() -> None:
    async with served({"owners": {"*": {"max_unfinished": 1}}}) as face:
        await face.put("work", owner="ada")
        problem(await face.client.post("/api/jobs", json={"task_type": "work", "owner": "ada"}), 429, "too_many")


async def test_logs_come_from_the_file(tmp_path: Any) -> None:
    async with served({"log": {"path": str(tmp_path / "log.jsonl")}}, routes) as face:
        job_id = await face.put("work")
        (tmp_path / "log.jsonl").write_text(
            f'{{"timestamp":"2030-01-01T00:00:00Z","level":"info","event":"said","job_id":"{job_id}","n":1}}\n'
            '{"timestamp":"2030-01-01T00:00:00Z","level":"info","event":"other","job_id":"another"}\nno json\n'
        )
        told = (await face.client.get(f"/api/jobs/{job_id}/logs")).json()
        assert [line["event"] for line in told["lines"]] == ["said"]
    async with served(routes=routes) as face:
        job_id = await face.put("work")
        assert "[log] path" in (await face.client.get(f"/api/jobs/{job_id}/logs")).json()["note"]
