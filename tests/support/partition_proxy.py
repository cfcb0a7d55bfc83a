"""A way to the server that can be cut like a cable: while it is, bytes wait and nobody is told. Or it loses answers: what the
server says next on a line is dropped, after it did what it was asked, and the line with it. Runs in a thread of its own."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

#: What a session of ours calls itself, in the first thing it says; and how the server says that it waits for a question.
_NAME = re.compile(rb"application_name\0(scheduler [a-z]+)")
_IS_IDLE = b"Z\0\0\0\x05I"
#: The first answers of a line are about itself and its statements: nothing is committed.
_WARM = 6


class _LostError(Exception):
    """An answer was dropped: the line goes with it."""


@dataclass
class _Line:
    """One connection: what it is for, how many answers it brought, whether one was lost."""

    name: str = ""
    answers: int = 0
    is_lost: bool = False


class Cable:
    """``url``: the server; a socket's folder in ``host=``, or a host and port."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        self._socket_path = f"{folder}/.s.PGSQL.{parts.port or 5432}" if folder.startswith("/") else None
        self._there = parts.hostname or folder or "localhost", parts.port or 5432
        self._losing: str | None = None
        #: How many answers were lost.
        self.lost = 0
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

    def lose_an_answer(self, purpose: str) -> None:
        """Drop the next answer on a line for ``purpose`` (``claims``, ``ends`` …), and then that line."""
        self._losing = f"scheduler {purpose}"

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
            there, back = await self._connected()
        except (OSError, asyncio.CancelledError):
            writer.close()
            return
        line = _Line()
        try:
            await asyncio.gather(
                self._pass_on(reader, back, line, is_answer=False), self._pass_on(there, writer, line, is_answer=True)
            )  # fmt: skip
        except _LostError:
            self.lost += 1
        except asyncio.CancelledError:
            pass  # the end of this cable
        finally:
            back.close()
            writer.transport.abort() if line.is_lost else writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._socket_path is not None:
            return await asyncio.open_unix_connection(self._socket_path)
        return await asyncio.open_connection(*self._there)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: _Line, *, is_answer: bool) -> None:
        try:
            while data := await reader.read(65536):
                await self._whole.wait()
                if not is_answer and not line.name:
                    found = _NAME.search(data)
                    line.name = found[1].decode() if found else ""
                if is_answer and line.answers >= _WARM and self._losing is not None and line.name.startswith(self._losing):
                    self._losing, line.is_lost = None, True
                    raise _LostError
                line.answers += is_answer and data.endswith(_IS_IDLE)
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass  # the end of this cable; asyncio would report a cancelled connection at length
        finally:
            writer.close()


@contextmanager
def a_cable(url: str) -> Iterator[tuple[Cable, str]]:
    """A cable to the server at ``url``, and the URL through it."""
    parts = urlsplit(url)
    cable = Cable(url)
    cable.start()
    query = "&".join([*(word for word in parts.query.split("&") if not word.startswith("host=")), "sslmode=disable"])
    who = parts.netloc.rpartition("@")[0] or "postgres"
    try:
        yield cable, f"postgresql://{who}@127.0.0.1:{cable.port}{parts.path}?{query}"
    finally:
        cable.mend()
        cable.end()
