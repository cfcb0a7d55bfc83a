"""A transaction-pooling proxy, as PgBouncer is in its transaction mode: each transaction gets the next server connection.

Unlike PgBouncer it always moves on, so that whatever relies on a session fails at once: prepared statements, session
settings, LISTEN. A client has all server connections it will ever use from the start.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_SERVERS = 3


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


async def _startup(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("!I", head)[0] - 4)


class Pooler:
    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self.transactions = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        servers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            hello = await _startup(reader)
            while struct.unpack("!I", hello[4:8])[0] == 80877103:  # SSLRequest
                writer.write(b"N")
                hello = await _startup(reader)
            for number in range(_SERVERS):
                server = await asyncio.open_unix_connection(self._socket_path)
                servers.append(server)
                server[1].write(hello)
                await self._answers(server[0], writer if number == 0 else None)
            await self._transactions(reader, writer, servers)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for _, each in [*servers, (reader, writer)]:
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def _transactions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, servers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    ) -> None:
        turn = 0
        while True:
            kind, message = await _message(reader)
            if kind == b"X":
                return
            server_reader, server_writer = servers[turn % len(servers)]
            server_writer.write(message)
            if kind == b"H":  # what was asked is described at once, the transaction goes on
                await self._answers(server_reader, writer, until=b"TnE")
            elif kind in (b"Q", b"S") and await self._answers(server_reader, writer) == b"I":  # idle: the transaction is over
                turn += 1
                self.transactions += 1

    @staticmethod
    async def _answers(server: asyncio.StreamReader, writer: asyncio.StreamWriter | None, until: bytes = b"Z") -> bytes:
        """Pass on until the server is ready; its state then."""
        while True:
            kind, message = await _message(server)
            if writer is not None:
                writer.write(message)
            if kind in until:
                if writer is not None:
                    await writer.drain()
                return message[5:6]

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@asynccontextmanager
async def a_pooler(socket_path: str) -> AsyncIterator[tuple[Pooler, int]]:
    """A proxy before the server at ``socket_path``, and the port that it listens on."""
    pooler = Pooler(socket_path)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    try:
        yield pooler, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await pooler.close()
        await server.wait_closed()
