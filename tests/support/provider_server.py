"""A local HTTP server that answers like an AI provider: as scripted, or well, or as badly as a network can.

Real sockets on the loopback, so that the real client libraries run against it. Plain asyncio: the
server must be able to break HTTP (cut an answer short, hang, drip), which frameworks will not do.

    async with ProviderServer() as server:
        server.script(Reply(429, {"retry-after": "3"}, {"error": {...}}), Hang())
        ...  # two calls get those; later ones get a good answer of whichever protocol they speak
        assert len(server.requests) == 2
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import anyio

from benchmarks.provider.wire import chat_completion
from benchmarks.provider.wire import message as messages_answer


@dataclass(frozen=True)
class Request:
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes = b""


@dataclass(frozen=True)
class Reply:
    """An answer. ``body``: bytes and text go out as they are, anything else as JSON."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""

    def encoded(self) -> bytes:
        is_raw = isinstance(self.body, bytes | str)
        content = self.body if isinstance(self.body, bytes) else self.body.encode() if is_raw else json.dumps(self.body).encode()
        kind = "text/plain" if is_raw else "application/json"
        headers = {"content-type": kind, "content-length": str(len(content)), "connection": "close", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Scripted\r\n{lines}\r\n".encode() + content


@dataclass(frozen=True)
class Hang:
    """Take the request and never answer."""


@dataclass(frozen=True)
class Disconnect:
    """Send only the first ``after_bytes`` of ``reply``, then break the connection."""

    reply: Reply
    after_bytes: int = 0


@dataclass(frozen=True)
class Drip:
    """Send ``reply`` in pieces of ``piece_bytes``, one every ``every_s`` seconds; ``endless``: then blanks without end."""

    reply: Reply
    piece_bytes: int = 7
    endless: bool = False
    every_s: float = 0.0


Step = Reply | Hang | Disconnect | Drip | Callable[[Request], Reply]


def good_answer(request: Request) -> Reply:
    """A well-formed answer in the protocol of ``request``, with the fields that its schema asks for."""
    return anthropic_answer(request) if request.path.endswith("/messages") else openai_answer(request)


def openai_answer(request: Request, content: str | None = None, finish_reason: str = "stop", **message: Any) -> Reply:
    """A chat completion, with the fields that the request's schema asks for unless ``content`` is given."""
    usage = (50, 800 if finish_reason == "length" else 20)
    body = chat_completion(request.body, usage, content, finish_reason, **message)
    return Reply(200, {"x-ratelimit-remaining-requests": "59"}, body)


def anthropic_answer(request: Request, stop_reason: str = "tool_use", content: list[Any] | None = None) -> Reply:
    """A message that uses the tool that the request forces."""
    return Reply(200, {}, messages_answer(request.body, (50, 20), content, stop_reason))


class ProviderServer:
    """Listens on a free loopback port while it is entered; plays its script, then answers well: ``otherwise``."""

    def __init__(self, otherwise: Step = good_answer, tls: ssl.SSLContext | None = None) -> None:
        self._otherwise = otherwise
        self._tls = tls
        self.requests: list[Request] = []
        self._script: deque[Step] = deque()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def script(self, *steps: Step) -> None:
        """Answer the next requests so, one step each."""
        self._script.extend(steps)

    async def __aenter__(self) -> ProviderServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            request = await _read(reader)
            self.requests.append(request)
            step = self._script.popleft() if self._script else self._otherwise
            await self._play(step if isinstance(step, Reply | Hang | Disconnect | Drip) else step(request), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away: nobody is left to answer
        finally:
            self._open.discard(writer)
            writer.close()

    async def _play(self, step: Reply | Hang | Disconnect | Drip, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(step, Hang):
            await reader.read()  # until the client gives up
        elif isinstance(step, Disconnect):
            writer.write(step.reply.encoded()[: step.after_bytes])
            await writer.drain()
            if step.after_bytes == 0:
                writer.transport.abort()
        elif isinstance(step, Drip):
            content = step.reply.encoded()
            for start in range(0, len(content), step.piece_bytes):
                writer.write(content[start : start + step.piece_bytes])
                await writer.drain()
                await anyio.sleep(step.every_s)
            while step.endless:  # until the client hangs up, which drain() reports
                writer.write(b" " * step.piece_bytes)
                await writer.drain()
                await anyio.sleep(step.every_s)
        else:
            writer.write(step.encoded())
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, json.loads(raw) if raw else None, raw)
