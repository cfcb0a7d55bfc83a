"""The owner matrix: every route and method, asked by nobody, a stranger, another owner, the owner, a reader, an operator."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scheduler import Registry
from scheduler.api.app import create_app
from tests.support.served_app import GUARDED, Served, bearer, served

WHO = ("none", "wrong", "eve", "ada", "ada_reader", "reader", "operator")
#: What each gets, in the order of ``WHO``: of a job that is ada's, of what is everybody's to ask or change, of what operators do.
LOOK = (401, 401, 404, 200, 200, 200, 200)
MOVE = (401, 401, 404, 200, 403, 403, 200)
ASK = (401, 401, 200, 200, 200, 200, 200)
CHANGE = (401, 401, 200, 200, 403, 403, 200)
WATCH = (401, 401, 403, 403, 403, 200, 200)
OPERATE = (401, 401, 403, 403, 403, 403, 200)
OPEN = (200, 200, 200, 200, 200, 200, 200)

MATRIX: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/api/jobs/{job_id}"): LOOK,
    ("GET", "/api/jobs/{job_id}/items"): LOOK,
    ("GET", "/api/jobs/{job_id}/history"): LOOK,
    ("GET", "/api/jobs/{job_id}/logs"): LOOK,
    ("GET", "/api/jobs/{job_id}/why"): LOOK,
    ("GET", "/api/jobs/{job_id}/events"): LOOK,
    ("GET", "/api/jobs/{job_id}/result"): (401, 401, 404, 409, 409, 409, 409),  # it has none yet
    ("POST", "/api/jobs/{job_id}/cancel"): MOVE,
    ("POST", "/api/jobs/{job_id}/retry"): (401, 401, 404, 409, 403, 403, 409),  # it has not failed
    ("POST", "/api/jobs/{job_id}/pause"): MOVE,
    ("POST", "/api/jobs/{job_id}/resume"): MOVE,
    ("DELETE", "/api/jobs/{job_id}"): (401, 401, 404, 204, 403, 403, 204),
    ("GET", "/api/jobs"): ASK,
    ("GET", "/api/events"): ASK,
    ("GET", "/api/stats"): ASK,
    ("GET", "/api/stats/throughput"): ASK,
    ("GET", "/api/pauses"): ASK,
    ("GET", "/api/me"): ASK,
    ("GET", "/api/batches/{name}"): (401, 401, 404, 200, 200, 200, 200),
    ("POST", "/api/jobs"): (401, 401, 202, 202, 403, 403, 202),
    ("POST", "/api/jobs/bulk"): (401, 401, 202, 202, 403, 403, 202),
    ("POST", "/api/jobs/cancel"): CHANGE,
    ("POST", "/api/jobs/retry"): CHANGE,
    ("GET", "/api/pools"): WATCH,
    ("GET", "/api/workers"): WATCH,
    ("GET", "/api/handlers"): WATCH,
    ("GET", "/metrics"): WATCH,
    ("POST", "/api/pauses"): OPERATE,
    ("DELETE", "/api/pauses/{scope}"): OPERATE,
    ("POST", "/api/process"): OPERATE,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/jobs"): {"json": {"task_type": "work"}},
    ("POST", "/api/jobs/bulk"): {"content": b'{"task_type":"work"}\n', "headers": {"Content-Type": "application/x-ndjson"}},
    ("POST", "/api/jobs/cancel"): {"json": {"status": ["pending"], "dry_run": True}},
    ("POST", "/api/jobs/retry"): {"json": {"status": ["cancelled"], "dry_run": True}},
    ("POST", "/api/pauses"): {"json": {"scope": "work", "for_s": 60}},
    ("POST", "/api/process"): {"json": {"max_seconds": 0.1}},
    ("GET", "/api/events"): {"params": {"max_s": 0}},
    ("GET", "/api/jobs/{job_id}/events"): {"params": {"max_s": 0}},
}


def headers(who: str) -> dict[str, str]:
    return {} if who == "none" else bearer(who)


async def ask(face: Served, method: str, path: str, who: str, **filled: str) -> httpx2.Response:
    more = dict(BODIES.get((method, path), {}))
    given = {**more.pop("headers", {}), **headers(who)}
    for name, value in filled.items():
        path = path.replace(f"{{{name}}}", value)
    return await face.client.request(method, path, headers=given, **more)


def test_the_matrix_has_every_route() -> None:
    paths = create_app({"scheduler": {"store": "memory:"}}).openapi()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(MATRIX)


@pytest.mark.parametrize(("method", "path"), sorted(MATRIX))
async def test_everybody_gets_what_is_theirs(method: str, path: str) -> None:
    async with served(GUARDED, Registry()) as face:
        for who, expected in zip(WHO, MATRIX[method, path], strict=True):
            job_id = await face.put(owner="ada", batch="b", headers=bearer("operator"))
            await face.scheduler.pause("lane")
            before = await face.scheduler.get(job_id)
            answer = await ask(face, method, path, who, job_id=job_id, name="b", scope="lane")
            assert answer.status_code == expected, (who, answer.text)
            if expected >= 400:
                assert await face.scheduler.get(job_id) == before
                assert [window.scope for window in await face.scheduler.pauses()] == ["lane"]


@pytest.mark.parametrize(("method", "path"), sorted(key for key in MATRIX if "{job_id}" in key[1]))
async def test_a_foreign_job_looks_exactly_like_a_missing_one(method: str, path: str) -> None:
    async with served(GUARDED, Registry()) as face:
        job_id = await face.put(owner="ada", headers=bearer("operator"))
        foreign = await ask(face, method, path, "eve", job_id=job_id)
        missing = await ask(face, method, path, "eve", job_id=job_id[:-1] + ("0" if job_id[-1] != "0" else "1"))
        assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)
        ours = {name: value for name, value in foreign.headers.items() if name != "date"}
        assert ours == {name: value for name, value in missing.headers.items() if name != "date"}


async def test_an_owner_sees_counts_and_changes_only_its_own() -> None:
    async with served(GUARDED, Registry()) as face:
        mine = await face.put(headers=bearer("ada"))
        await face.put(headers=bearer("eve"))
        await face.put(headers=bearer("operator"))
        job = await face.scheduler.get(mine)
        assert job is not None
        assert job.owner == "ada"
        answer = await face.client.post("/api/jobs", json={"task_type": "work", "owner": "eve"}, headers=bearer("ada"))
        assert answer.status_code == 403

        async def seen(**which: str) -> list[str]:
            return [one["job_id"] for one in (await face.client.get("/api/jobs", params=which, headers=bearer("ada"))).json()["jobs"]]

        assert await seen() == [mine]
        assert await seen(owner="eve") == []
        stats = (await face.client.get("/api/stats", headers=bearer("ada"))).json()
        assert (stats["total"], stats["workers"]) == (1, [])
        bulk = {"status": ["pending"]}
        theirs = await face.client.post("/api/jobs/cancel", json={**bulk, "owner": "eve"}, headers=bearer("ada"))
        assert theirs.json() == {"matched": 0, "changed": 0}
        own = await face.client.post("/api/jobs/cancel", json=bulk, headers=bearer("ada"))
        assert own.json() == {"matched": 1, "changed": 1}
        assert (await face.scheduler.stats()).by_status == {"pending": 2, "cancelled": 1}
        lines = b'{"task_type":"work"}\n{"task_type":"work","owner":"eve"}\n'
        kind = {"Content-Type": "application/x-ndjson"}
        loaded = (await face.client.post("/api/jobs/bulk", content=lines, headers=kind | bearer("ada"))).json()
        assert (loaded["created"], loaded["refused"]) == (1, 1)


async def test_pauses_do_not_tell_an_owner_of_others() -> None:
    async with served(GUARDED, Registry()) as face:
        for scope in ("owner:eve", "owner:ada", "work"):
            await face.scheduler.pause(scope)
        shown = (await face.client.get("/api/pauses", headers=bearer("ada"))).json()["pauses"]
        assert [pause["scope"] for pause in shown] == ["owner:ada", "work"]
