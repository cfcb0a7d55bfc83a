"""A way to the server that can be cut like a cable: while it is, bytes wait and nobody is told. Runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit


class Cable:
    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._whole = asyncio.Event()
        self._whole.set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.set)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10.0)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10.0)
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._whole.wait()
            there, back = await asyncio.open_unix_connection(self._socket_path)
        except (OSError, asyncio.CancelledError):
            writer.close()
            return
        try:
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        finally:
            back.close()
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # the end of this cable; asyncio would report a cancelled connection at length
        finally:
            writer.close()


@contextmanager
def a_cable(url: str) -> Iterator[tuple[Cable, str]]:
    """A cable to the server at ``url`` (a socket's folder), and the URL through it."""
    parts = urlsplit(url)
    words = parse_qs(parts.query)
    cable = Cable(f"{words.pop('host')[0]}/.s.PGSQL.5432")
    cable.start()
    rest = parts.query.split("&")
    query = "&".join(word for word in rest if not word.startswith("host="))
    through = f"postgresql://postgres@127.0.0.1:{cable.port}{parts.path}?{query}"
    try:
        yield cable, through
    finally:
        cable.mend()
        cable.end()
