"""A connection and the one thread that uses it: functions of the connection go in, and are run in order.

Does not belong here: transactions (``writer.py``), or what the functions do.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from scheduler.errors import StoreError
from scheduler.stores.sqlite.schema import connect, translated

T = TypeVar("T")

_Function = Callable[[sqlite3.Connection], object]


class ConnectionThread:
    """``open`` it first; ``close`` waits for what was handed in."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._loop = asyncio.get_running_loop()
        self._functions: SimpleQueue[_Function | None] = SimpleQueue()
        # A store that was never closed, or a stuck file system, must not keep the process from ending.
        self._thread = threading.Thread(target=self._live, name=f"sqlite {path.name}", daemon=True)

    async def open(self) -> None:
        """Raises ``StoreError`` when the file cannot be opened."""
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()
        await self._opened

    def post(self, function: _Function) -> None:
        """Have ``function`` run in the thread. It reports by ``tell``, and must not raise."""
        self._functions.put(function)

    def tell(self, callback: Callable[..., object], *args: Any) -> None:
        """From the thread: have ``callback`` called in the event loop."""
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            self._loop.call_soon_threadsafe(callback, *args)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """``function(connection, *args)``, run in the thread: one hop for many statements."""
        future: asyncio.Future[T] = self._loop.create_future()

        def call(connection: sqlite3.Connection) -> None:
            try:
                result = function(connection, *args)
            except BaseException as error:
                self.tell(_fail, future, error)
            else:
                self.tell(_fulfil, future, result)

        self.post(call)
        return await future

    async def close(self) -> None:
        """After what was handed in."""
        if self._thread.is_alive():
            try:
                await self.run(lambda connection: connection.close())
            finally:
                self._functions.put(None)

    def _live(self) -> None:
        try:
            connection = connect(self._path, read_only=self._read_only)
        except sqlite3.Error as error:
            self.tell(_fail, self._opened, translated(error, self._path))
            return
        except BaseException as error:
            self.tell(_fail, self._opened, StoreError(f"{self._path} cannot be opened: {error!r}"))
            return
        self.tell(_fulfil, self._opened, None)
        while (function := self._functions.get()) is not None:
            function(connection)
            del function  # what it holds is not kept until the next comes


def _fulfil(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
