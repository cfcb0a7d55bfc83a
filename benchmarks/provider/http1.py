"""The few words of HTTP/1.1 that the server needs, written so that it can also break them.

Does not belong here: what is answered (``server.py``).
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Unavailable"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    content: bytes

    def json(self) -> dict[str, Any]:
        """The body; raises ``ValueError`` for anything but an object."""
        decoded = json.loads(self.content)
        if not isinstance(decoded, dict):
            raise ValueError("the body is no JSON object")
        return decoded


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next request of a connection; raises ``IncompleteReadError`` when there is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, content)


def encoded(status: int, headers: dict[str, str], body: dict[str, Any] | bytes) -> bytes:
    """A whole response; bytes go out as they are, called HTML."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, bytes) else "application/json"
    lines = {"content-type": kind, "content-length": str(len(content)), "connection": "keep-alive", **headers}
    written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {_REASONS.get(status, 'Other')}\r\n{written}\r\n".encode() + content
