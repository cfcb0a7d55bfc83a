"""A client that does not read is dropped, and costs nobody else anything meanwhile."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import anyio
import pytest

from scheduler import NewJob
from scheduler.api import streams
from tests.support.served_app import served


async def test_who_does_not_read_is_dropped_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALLED_S", 3.0)  # the one who reads shares the loop with all the rest
    async with served() as face:
        where = urlsplit(face.url)
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            stalled.connect((where.hostname, where.port))
            stalled.sendall(f"GET /api/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
            async with face.client.stream("GET", "/api/events") as answer:
                lines = answer.aiter_lines()
                with anyio.fail_after(30):
                    while len(face.face.streams) < 2:  # noqa: ASYNC110 - it rings no bell
                        await anyio.sleep(0.01)
                    await face.scheduler.enqueue_many(NewJob("work", target_id="x" * 1_000) for _ in range(5_000))
                    seen = 0
                    while seen < 5_000:
                        seen += "event: job.enqueued" in await anext(lines)
                    while len(face.face.streams) > 1:  # noqa: ASYNC110
                        await anyio.sleep(0.01)
                assert face.face.feed.followers == 1
