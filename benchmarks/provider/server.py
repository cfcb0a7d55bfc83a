"""The simulated provider over HTTP, on the loopback only, for the real client libraries.

    async with ProviderService(preset(Dialect.OPENAI, rpm=600)) as service:
        client = AsyncOpenAI(base_url=service.url + "/v1", api_key="any", max_retries=0)

Any path that ends in ``/messages`` speaks Anthropic's protocol, any other POST OpenAI's; ``GET /_stats`` (also
``?last_s=60``) tells counters and shares. Latency is really slept, failures are really done. Streams are not
spoken. ``x-sim-output-tokens`` in a request says what its answer's length would be.
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

import anyio

from benchmarks.provider.answers import Answer
from benchmarks.provider.http1 import Request, encoded, read_request
from benchmarks.provider.model import Provider
from benchmarks.provider.spec import ProviderSpec
from benchmarks.provider.wire import answer_body, call_of

_BACKLOG = 2_048
_MAX_HEAD_BYTES = 64 * 1024


class ProviderService:
    """Listens on the loopback while it is entered. ``output_tokens``: the median length of an answer (log-normal)."""

    def __init__(self, spec: ProviderSpec, *, port: int = 0, seed: int = 0, output_tokens: int = 120, spread: float = 0.5) -> None:
        self._spec = spec
        self._port = port
        self._rng = random.Random(seed)
        self._output_tokens, self._spread = output_tokens, spread
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._closing = False

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    def now(self) -> float:
        """Seconds since the epoch, by the loop's clock: it never goes back."""
        return self._started + asyncio.get_running_loop().time() - self._loop_started

    async def __aenter__(self) -> ProviderService:
        self._started, self._loop_started = time.time(), asyncio.get_running_loop().time()
        self.provider = Provider(self._spec, random.Random(self._rng.random()), start=self._started)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=_BACKLOG, limit=_MAX_HEAD_BYTES)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing = True
        self._server.close()
        serving = [task for task in self._open.values() if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: request after request until either side has enough."""
        self._open[writer] = asyncio.current_task()
        try:
            while await self._answer(await read_request(reader), reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the client went away, or speaks no HTTP: nobody is left to answer
        except asyncio.CancelledError:
            writer.transport.abort()
            if not self._closing:  # asyncio's streams would report our own cancelling as an error
                raise
        finally:
            del self._open[writer]
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection lives on."""
        if request.method != "POST":
            status, body = (200, self.stats(request.query)) if request.path == "/_stats" else (404, _error("no such page: GET /_stats"))
            writer.write(encoded(status, {}, body))
            return True
        try:
            asked = request.json()
        except ValueError as error:
            writer.write(encoded(400, {}, _error(f"the request is not JSON: {error}")))
            return True
        call = call_of(asked, self._length(request))
        answer = self.provider.call(call, self.now())
        said = answer.body if answer.body else answer_body(request.path, asked, call)
        return await self._play(answer, encoded(answer.status, answer.headers, said), reader, writer)

    async def _play(self, answer: Answer, content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if answer.fate == "hang":
            with anyio.move_on_after(answer.latency_s):
                await reader.read()  # until the client gives up
            return False
        await anyio.sleep(answer.latency_s)
        if answer.fate != "disconnect":
            writer.write(content)
            return True
        if answer.status == 0:
            writer.transport.abort()
            return False
        writer.write(content[: len(content) - 20])
        await writer.drain()
        return False

    def _length(self, request: Request) -> int:
        said = request.headers.get("x-sim-output-tokens")
        return int(said) if said else round(self._output_tokens * math.exp(self._rng.gauss(0.0, self._spread)))

    def stats(self, query: str = "") -> dict[str, Any]:
        """Counters and shares since the start, or of the last ``last_s`` seconds."""
        last_s = float(parse_qs(query).get("last_s", ["inf"])[0])
        t1 = self.now()
        t0 = max(self._started, t1 - last_s)
        one = self.provider
        return {
            "seconds": t1 - t0,
            "in_flight": one.in_flight,
            "counts": one.counts(t0, t1),
            "used": one.used(t0, t1),
            "offered": one.offered(t0, t1),
            "taken": one.taken(t0, t1),
            "share": one.share(t0, t1),
        }


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


async def serve(spec: ProviderSpec, announce: Callable[[str], None], **options: Any) -> None:
    """Serve until interrupted; ``announce`` is called with the URL once the port is open."""
    async with ProviderService(spec, **options) as service:
        announce(service.url)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await anext(aiter(signals))
