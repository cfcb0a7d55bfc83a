"""What stands between a client and a service, and does it badly: keeps answers back until they are whole, or cuts connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class BadProxy:
    """Hands each answer on only when it has ended; ``cut`` so many requests after the service has done what they asked for."""

    def __init__(self, upstream: str) -> None:
        self.cut = 0
        self.requests: list[str] = []
        self.url = ""
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname, parts.port

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                await self._one(reader, writer)
            finally:
                writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        length = next((int(field.partition(":")[2]) for field in fields if field.lower().startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        self.requests.append(first.rpartition(" ")[0])
        kept = [field for field in fields if field and not field.lower().startswith("connection:")]
        above, upward = await asyncio.open_connection(self._host, self._port)
        try:
            upward.write("\r\n".join([first, *kept, "Connection: close", "", ""]).encode("latin-1") + body)
            reading = asyncio.ensure_future(above.read())
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait((reading, gone), return_when=asyncio.FIRST_COMPLETED)
            for one in (reading, gone):
                one.cancel()
            if not reading.done() or reading.cancelled():
                return
            if self.cut:
                self.cut -= 1
                writer.transport.abort()
                return
            writer.write(reading.result())
            await writer.drain()
        finally:
            upward.close()


@asynccontextmanager
async def bad_proxy(upstream: str) -> AsyncIterator[BadProxy]:
    proxy = BadProxy(upstream)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
