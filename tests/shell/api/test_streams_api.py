"""Live events over a real socket: nothing missed, nothing twice, from wherever one begins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest

from scheduler import JobContext, Registry
from tests.shell.api.test_jobs_api import problem
from tests.support.served_app import GUARDED, Served, bearer, served

routes = Registry()


@routes.handler("work")
async def work(job: JobContext, payload: Any) -> None: ...


@asynccontextmanager
async def events(face: Served, path: str, **more: Any) -> AsyncIterator[AsyncIterator[tuple[str, dict[str, Any]]]]:
    async with face.client.stream("GET", path, **more) as answer:
        assert answer.status_code == 200, (await answer.aread()).decode()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parsed(answer)


async def _parsed(answer: httpx2.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            field, _, value = line.partition(": ")
            event[field] = value
        else:
            if "data" in event:
                data = json.loads(event["data"])
                assert event["event"] == "reset" or (event["id"], event["event"]) == (str(data["id"]), data["name"])
                yield event["event"], data
            event = {}


async def taken(stream: AsyncIterator[tuple[str, dict[str, Any]]], count: int) -> list[tuple[str, int]]:
    with anyio.fail_after(10):
        return [(name, data.get("id", 0)) for name, data in [await anext(stream) for _ in range(count)]]


async def test_a_job_is_streamed_from_its_first_entry_to_its_last() -> None:
    async with served(routes=routes, run=True) as face:
        job_id = await face.put()
        async with events(face, f"/api/jobs/{job_id}/events") as stream:
            with anyio.fail_after(10):
                told = [name async for name, _ in stream]
        assert told == ["job.enqueued", "job.started", "job.completed"], "and it ended by itself"
        answer = await face.client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": "3"})
        assert (answer.status_code, answer.content) == (204, b"")
        async with events(face, f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": "2"}) as stream:
            assert await taken(stream, 1) == [("job.completed", 3)]


async def test_a_stream_says_at_once_where_it_begins() -> None:
    async with served() as face:
        await face.put()
        async with face.client.stream("GET", "/api/events") as answer:
            with anyio.fail_after(10):
                assert await anext(answer.aiter_text()) == "retry: 2000\nid: 1\n\n"
        await face.put()
        async with events(face, "/api/events", headers={"Last-Event-ID": "1"}) as stream:
            assert await taken(stream, 1) == [("job.enqueued", 2)], "what happened between is not lost"


async def test_all_is_streamed_from_now_on_or_behind_what_was_seen() -> None:
    async with served() as face:
        await face.put()
        async with events(face, "/api/events") as stream:
            await face.put()
            assert await taken(stream, 1) == [("job.enqueued", 2)]
            await face.scheduler.pause("work")
            assert await taken(stream, 1) == [("lane.paused", 3)]
        await face.put("other")
        async with events(face, "/api/events", headers={"Last-Event-ID": "1"}) as stream:
            assert await taken(stream, 3) == [("job.enqueued", 2), ("lane.paused", 3), ("job.enqueued", 4)]
        async with events(face, "/api/events", params={"after": 1, "task_type": "other"}, headers={"Last-Event-ID": ""}) as stream:
            assert await taken(stream, 1) == [("job.enqueued", 4)]
        async with events(face, "/api/events", params={"after": 0}, headers={"Last-Event-ID": "3"}) as stream:
            assert await taken(stream, 1) == [("job.enqueued", 4)], "who reconnects says what he saw last"


async def test_what_is_kept_no_more_is_announced() -> None:
    async with served() as face:
        for _ in range(3):
            await face.put()
        await face.scheduler.store.prune_journal(9e9, 0, 2)
        async with events(face, "/api/events", headers={"Last-Event-ID": "1"}) as stream:
            assert await taken(stream, 2) == [("reset", 0), ("job.enqueued", 3)]


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19, "9" * 33, "\u0661"])
async def test_a_number_that_is_none_is_refused(last: str) -> None:
    async with served() as face:
        problem(await face.client.get("/api/events", headers={"Last-Event-ID": last.encode()}), 422, "refused")  # type: ignore[dict-item]


async def test_an_owner_streams_its_own_only() -> None:
    async with served(GUARDED) as face, events(face, "/api/events", params={"after": 0}, headers=bearer("ada")) as stream:
        await face.put(owner="eve", headers=bearer("operator"))
        await face.scheduler.pause("work")
        await face.put(owner="ada", headers=bearer("operator"))
        assert await taken(stream, 1) == [("job.enqueued", 3)]


async def test_a_stream_ends_when_it_was_asked_to_and_there_is_room_for_so_many() -> None:
    async with served({"api": {"max_streams": 1}}) as face:
        async with events(face, "/api/events", params={"max_s": 0.2}) as stream:
            problem(await face.client.get("/api/events"), 503, "unavailable")
            with anyio.fail_after(5):
                assert [event async for event in stream] == []
        async with events(face, "/api/events", params={"max_s": 0}):
            pass


async def test_who_went_away_is_forgotten() -> None:
    async with served() as face:
        async with events(face, "/api/events") as stream:
            await face.put()
            await taken(stream, 1)
            assert (len(face.face.streams), face.face.feed.followers) == (1, 1)
        for _ in range(100):
            if not face.face.streams:
                break
            await anyio.sleep(0.02)
        assert (len(face.face.streams), face.face.feed.followers) == (0, 0)


async def _opened(face: Served) -> None:
    for _ in range(500):
        if face.face.streams:
            return
        await anyio.sleep(0.01)
    pytest.fail("no stream was opened")


async def test_streams_end_with_the_service_and_do_not_hold_it_up() -> None:
    async with anyio.create_task_group() as group:
        with anyio.fail_after(5):
            async with served() as face:
                ended = anyio.Event()

                async def read() -> None:
                    async with httpx2.AsyncClient(base_url=face.url) as client, client.stream("GET", "/api/events") as answer:
                        async for _ in answer.aiter_lines():
                            pass
                    ended.set()

                group.start_soon(read)
                await _opened(face)
            await ended.wait()
