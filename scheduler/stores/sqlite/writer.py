"""The writing connection and its one owner, who group-commits what the others send.

Callers hand over *work*, a function of the connection, and wait for its result. While groups are being
committed the next one gathers, so a thousand outcomes cost a handful of transactions. A caller that is
cancelled only stops waiting: its work is done whole or not at all, and no transaction stays open.

A commit does not wait for the disk; who asked for something durable has it synced right after, and waits for that.
Everybody else in the group, and other processes, go on as soon as it is committed.

Does not belong here: what the work does (``claiming``, ``settling`` … beside this module).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anyio import lowlevel

from scheduler.errors import SchedulerError, StoreError, StoreFullError
from scheduler.stores.sqlite.schema import translated
from scheduler.stores.sqlite.thread import ConnectionThread

T = TypeVar("T")
#: As SQLite does it: the data and the file's size, not its time stamps.
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

Work = Callable[[sqlite3.Connection], Any]
Answers = list[tuple[Any, Exception | None]]

#: At most so many pieces of work share a transaction: bounds how long one caller waits for the others.
GROUP = 256


@dataclass(slots=True)
class _Request:
    work: Work
    durable: bool
    one_statement: bool
    on_commit: Callable[[Any], None] | None
    future: asyncio.Future[Any]


class Writer:
    """Owns the writing connection. It has no task: the loop hands a group over, the thread's answer calls back."""

    def __init__(self, thread: ConnectionThread, path: Path, after_commit: Work) -> None:
        self._thread = thread
        self._path = path
        self._transactions = _Transactions(path, after_commit)
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Request] = deque()
        self._under_way: set[asyncio.Future[None]] = set()
        self._starting = False
        self._syncing = False
        self._closed = False

    async def do(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        durable: bool = False,
        one_statement: bool = False,
        on_commit: Callable[[T], None] | None = None,
    ) -> T:
        """Run ``work`` in a transaction; ``durable`` syncs it to disk before this returns.

        ``one_statement``: all that it does is one statement, which without company is a transaction by itself.
        ``on_commit`` is told the result in the event loop once it is committed, before anybody can act on it.

        Raises ``StoreBusyError``, ``StoreFullError`` … or whatever ``SchedulerError`` the work itself raises.
        """
        if self._closed:
            raise StoreError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending.append(_Request(work, durable, one_statement, on_commit, future))
        self._start()
        return await future

    async def close(self) -> None:
        """Finish what was accepted, then close the connection."""
        self._closed = True
        while self._pending or self._under_way:
            self._start()
            await (asyncio.wait(self._under_way) if self._under_way else lowlevel.checkpoint())
        self._transactions.close()
        await self._thread.close()

    def _start(self) -> None:
        """Have one more group committed, unless it had better gather.

        While one group waits for the disk a second one may stand behind it, so that the thread has work at once. Behind a
        group that only computes it would only be smaller, and both would want the GIL.
        """
        if self._starting or not self._pending:
            return
        if not self._under_way or (self._syncing and len(self._under_way) == 1):
            self._starting = True
            self._loop.call_soon(self._hand_over)  # and not at once: whoever asks in the same turn of the loop rides along

    def _hand_over(self) -> None:
        self._starting = False
        group = [self._pending.popleft() for _ in range(min(GROUP, len(self._pending)))]
        self._syncing = any(request.durable for request in group)
        ended: asyncio.Future[None] = self._loop.create_future()
        self._under_way.add(ended)
        self._thread.post(lambda connection: self._commit(connection, group, ended))

    def _commit(self, connection: sqlite3.Connection, group: Sequence[_Request], ended: asyncio.Future[None]) -> None:
        """In the thread."""
        try:
            answers = self._transactions.run(connection, group, lambda answers: self._thread.tell(_tell_early, group, answers))
        except BaseException as error:  # nobody may wait for ever
            answers = [(None, StoreError(f"{self._path}: the store stopped: {error!r}"))] * len(group)
        self._thread.tell(self._finish, group, answers, ended)

    def _finish(self, group: Sequence[_Request], answers: Answers, ended: asyncio.Future[None]) -> None:
        self._under_way.discard(ended)
        ended.set_result(None)
        try:
            _answer(group, answers)
        finally:
            self._start()


def _tell_early(group: Sequence[_Request], answers: Answers) -> None:
    """The group is committed: say so, and let those go on who need not wait for the disk."""
    for request, (value, _) in zip(group, answers, strict=True):
        if request.on_commit is not None:
            request.on_commit(value)
            request.on_commit = None
    ready = [pair for pair in zip(group, answers, strict=True) if not pair[0].durable]
    _answer([request for request, _ in ready], [answer for _, answer in ready])


def _answer(group: Sequence[_Request], answers: Answers) -> None:
    for request, (value, failure) in zip(group, answers, strict=True):
        if failure is None and request.on_commit is not None:
            request.on_commit(value)
        if request.future.done():  # answered early, or its caller was cancelled meanwhile
            continue
        if failure is None:
            request.future.set_result(value)
        else:
            request.future.set_exception(failure)


class _Transactions:
    """What runs in the connection's thread."""

    def __init__(self, path: Path, after_commit: Work) -> None:
        self._path = path
        self._after_commit = after_commit
        self._wal: int | None = None

    def run(self, connection: sqlite3.Connection, group: Sequence[_Request], early: Callable[[Answers], object]) -> Answers:
        """Commit the group together; if a piece of work fails, each piece on its own, so that it fails alone."""
        try:
            values = _committed(connection, group)
        except Exception as error:
            _roll_back(connection)
            if len(group) > 1 and not isinstance(error, sqlite3.OperationalError):
                return [self.run(connection, [request], lambda answers: None)[0] for request in group]
            failure = _failure(error, self._path)
            return [(None, failure) for _ in group]
        answers: Answers = [(value, None) for value in values]
        if any(request.durable for request in group):
            if any(request.on_commit is not None or not request.durable for request in group):
                early(answers)
            self._after_commit(connection)
            answers = self._synced(group, answers)
        return answers

    def _synced(self, group: Sequence[_Request], answers: Answers) -> Answers:
        try:
            self._sync()
        except OSError as error:
            text = f"{self._path}: not synced to disk ({error.strerror}): free some space, then see whether it is there"
            return [(None, StoreFullError(text)) if request.durable else answer for request, answer in zip(group, answers, strict=True)]
        return answers

    def _sync(self) -> None:
        """What ``PRAGMA synchronous = FULL`` does after a commit: have the disk write the log that holds it.

        The file is synced whoever wrote to it. SQLite locks the database and its -shm, never the -wal, so that another
        descriptor on it does no harm.
        """
        if self._wal is None:
            self._wal = os.open(f"{self._path}-wal", os.O_RDWR)
        _sync_data(self._wal)

    def close(self) -> None:
        if self._wal is not None:
            os.close(self._wal)
            self._wal = None


def _committed(connection: sqlite3.Connection, group: Sequence[_Request]) -> list[Any]:
    if len(group) == 1 and group[0].one_statement:  # every step hands over the GIL: one is better than three
        return [group[0].work(connection)]
    connection.execute("BEGIN IMMEDIATE")
    values = [request.work(connection) for request in group]
    connection.execute("COMMIT")
    return values


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # after a full disk SQLite may have rolled back by itself
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            if connection.in_transaction:
                raise


def _failure(error: Exception, path: Path) -> Exception:
    if isinstance(error, SchedulerError):
        return error
    if isinstance(error, sqlite3.Error):
        return translated(error, path)
    return StoreError(f"{path}: {type(error).__name__}: {error}")
