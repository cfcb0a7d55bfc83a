"""A customer database behind an HTTP API with pages, changes, a token and limits: what a connector has to get along with."""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.provider_server import ProviderServer, Reply, Request

SIZE = 10


class Crm:
    """``records`` by id, each with ``updated_at``; ``trouble`` are answers that come in place of the next ones."""

    def __init__(self, count: int = 35) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.trouble: deque[tuple[int, Reply]] = deque()
        self.asked: list[dict[str, str]] = []
        self.token = ""
        for number in range(count):
            self.change(f"c{number:03}", name=f"Customer {number}", at=f"2026-01-01T00:00:{number % 60:02}Z")

    def change(self, key: str, *, name: str, at: str) -> None:
        self.records[key] = {"id": key, "name": name, "updated_at": at}

    def __call__(self, request: Request) -> Reply:
        """One answer: a page of what changed after ``since``, from ``after`` on."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        self.asked.append(asked)
        if self.trouble and len(self.asked) >= self.trouble[0][0]:
            return self.trouble.popleft()[1]
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, body={"error": "no"})
        since, start = asked.get("since", ""), int(asked.get("after", "0"))
        wanted = [record for record in self.records.values() if record["updated_at"] > since]
        paging = {"next": {"after": str(start + SIZE)}} if start + SIZE < len(wanted) else {}
        return Reply(body={"results": wanted[start : start + SIZE], "paging": paging, "total": len(wanted)})

    def serve(self, server: ProviderServer) -> dict[str, Any]:
        """Answer all of a server's requests; returns the source that says how to ask."""
        server.script(*[self] * 1_000)
        return {
            "kind": "http",
            "name": "crm",
            "url": f"{server.url}/contacts",
            "items": "results",
            "next": "paging.next.after",
            "cursor_param": "after",
        }


def limited(after_s: float) -> Reply:
    return Reply(429, {"retry-after": f"{after_s:g}"}, {"error": {"message": "slow down"}})
