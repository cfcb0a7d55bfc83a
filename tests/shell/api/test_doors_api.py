"""The doors of the web face: other hosts, other sites, other media types, bodies without end, wrong tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from scheduler.api import server
from scheduler.api.doors import MAX_REQUEST_BYTES
from scheduler.errors import ConfigError
from scheduler.settings import load
from tests.shell.api.test_jobs_api import problem
from tests.support.served_app import GUARDED, Served, bearer, served

JOB = {"task_type": "work"}


async def total(face: Served) -> int:
    return (await face.scheduler.stats()).total


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", "a@localhost"])
async def test_a_host_that_is_not_ours_is_not_served(host: str) -> None:
    async with served() as face:
        problem(await face.client.get("/healthz", headers={"Host": host}), 421, "misdirected")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8080", "jobs.example", "10.1.2.3"])
async def test_our_names_and_addresses_are_served(host: str) -> None:
    async with served({"api": {"hosts": ["jobs.example"]}}) as face:
        assert (await face.client.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_another_sites_page_changes_nothing(headers: dict[str, str]) -> None:
    async with served() as face:
        problem(await face.client.post("/api/jobs", json=JOB, headers=headers), 403, "forbidden")
        job_id = await face.put()
        problem(await face.client.delete(f"/api/jobs/{job_id}", headers=headers), 403, "forbidden")
        assert await total(face) == 1


async def test_our_own_pages_and_those_that_are_allowed_may() -> None:
    async with served({"api": {"origins": ["https://app.example"]}}) as face:
        own = {"Origin": face.url, "Sec-Fetch-Site": "same-origin"}
        assert (await face.client.post("/api/jobs", json=JOB, headers=own)).status_code == 202
        other = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
        answer = await face.client.post("/api/jobs", json=JOB, headers=other)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, "https://app.example")
    async with served() as face:
        answer = await face.client.get("/api/jobs", headers={"Origin": "https://app.example"})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
async def test_only_json_is_read(kind: str) -> None:
    async with served() as face:
        answer = await face.client.post("/api/jobs", content=b'{"task_type":"work"}', headers={"Content-Type": kind})
        problem(answer, 415, "unsupported_media_type")
        assert await total(face) == 0


async def test_a_body_is_counted_while_it_streams() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'{"task_type":"work","payload":"'
        while sent < 50_000_000:
            sent += 65_536
            yield b"x" * 65_536

    async with served() as face:
        answer = await face.client.post("/api/jobs", content=endless(), headers={"Content-Type": "application/json"})
        problem(answer, 413, "too_large")
        problem(
            await face.client.post("/api/jobs", content=b" " * (MAX_REQUEST_BYTES + 1), headers={"Content-Type": "application/json"}),
            413,
            "too_large",
        )
        assert await total(face) == 0


async def test_every_answer_tells_browsers_to_be_strict() -> None:
    async with served() as face:
        for path in ("/healthz", "/api/jobs", "/nothing", "/api/jobs/none", "/openapi.json"):
            headers = (await face.client.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers


async def test_unknown_paths_and_methods_are_problems() -> None:
    async with served() as face:
        problem(await face.client.get("/nothing"), 404, "not_found")
        answer = await face.client.put("/api/jobs")
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"]


async def test_without_a_token_there_is_no_answer_where_tokens_are() -> None:
    async with served(GUARDED) as face:
        for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
            answer = await face.client.get("/api/jobs", headers=headers)
            problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        problem(await face.client.get("/api/jobs", headers=bearer("sched_nobody's")), 401, "unauthenticated")
        not_ascii: Any = {"Authorization": "Bearer sch\u00e9d".encode("latin-1")}
        problem(await face.client.get("/api/jobs", headers=not_ascii), 401, "unauthenticated")
        problem(await face.client.get("/api/jobs", params={"token": "sched_operator"}), 401, "unauthenticated")
        assert (await face.client.get("/api/jobs", headers=bearer("reader"))).status_code == 200
        assert (await face.client.get("/api/me", headers=bearer("ada"))).json() == {
            "owner": "ada",
            "scope": "write",
            "authenticated": True,
        }
        for open_to_all in ("/healthz", "/readyz", "/openapi.json"):
            assert (await face.client.get(open_to_all)).status_code == 200


async def test_wrong_tokens_are_slowed_down_and_right_ones_are_not() -> None:
    async with served(GUARDED) as face:
        with anyio.fail_after(10):
            began = anyio.current_time()
            for _ in range(4):
                await face.client.get("/api/jobs", headers=bearer("wrong"))
            assert anyio.current_time() - began >= 0.1 + 0.2 + 0.4 + 0.8
            began = anyio.current_time()
            await face.client.get("/api/jobs", headers=bearer("reader"))
            assert anyio.current_time() - began < 0.8


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="scheduler token new"):
        server.bind(load({"api": {"host": host, "port": 0}}), search=False)
    server.bind(load({"api": {"host": host, "port": 0}, **GUARDED}), search=False).close()


def test_a_port_that_is_taken_is_an_error_unless_any_will_do() -> None:
    first = server.bind(load({"api": {"port": 0}}), search=False)
    with first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match="--port"):
            server.bind(load({"api": {"port": port}}), search=False)
        with server.bind(load({"api": {"port": port}}), search=True) as second:
            assert second.getsockname()[1] > port
    with pytest.raises(ConfigError, match="no address of this machine"):
        server.bind(load({"api": {"host": "no such host"}}), search=False)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"scope": "read"}, "sha256"),
        ({"sha256": "0" * 64, "scope": "root"}, "scope"),
        ({"sha256": "0" * 64, "owner": ""}, "owner"),
        ({"sha256": "0" * 64, "owner": "ada", "scope": "operate"}, "owner"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_at_start(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load({"tokens": {"a": table}})
