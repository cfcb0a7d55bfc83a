"""Wake-up hints between processes on one file: a datagram on loopback says "look at the store".

A hint is never needed for correctness: a lost one costs a poll interval, a forged one a look.
Each worker's row carries the port it listens on; whoever commits something new tells those ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
from collections.abc import Callable

_LOOPBACK = "127.0.0.1"
_HINT = b"look"


class Hints:
    """One process's end: sends to the workers in the file, listens when asked to."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._transport: asyncio.DatagramTransport | None = None
        self._own: str | None = None

    async def listen(self, on_hint: Callable[[], None]) -> str | None:
        """Call ``on_hint`` for each hint; the address to publish, None where loopback cannot be had."""
        self.deafen()
        try:
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Listener(on_hint), local_addr=(_LOOPBACK, 0)
            )
        except OSError:
            return None
        self._own = str(self._transport.get_extra_info("sockname")[1])
        return self._own

    def deafen(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
            self._transport = self._own = None

    def send(self, connection: sqlite3.Connection) -> None:
        """Tell the other workers of this file; runs in the writer's thread after a commit, never waits, never fails."""
        try:
            addresses = connection.execute("SELECT address FROM workers WHERE address IS NOT NULL").fetchall()
        except sqlite3.Error:
            return  # what was committed is committed; the others poll
        for (address,) in addresses:
            if address != self._own and address.isdecimal():
                with contextlib.suppress(OSError, OverflowError):
                    self._socket.sendto(_HINT, (_LOOPBACK, int(address)))

    def close(self) -> None:
        self.deafen()
        self._socket.close()


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, on_hint: Callable[[], None]) -> None:
        self._on_hint = on_hint

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._on_hint()
