"""The catalog's SQLite file: opened, brought up to date, written in whole transactions.

Turns what SQLite says into ``StoreError``s that say what to do. Does not belong here: what the
tables mean (``catalog.py``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiosqlite
import anyio

from scheduler.errors import StoreBusyError, StoreDamagedError, StoreError, StoreFullError, StoreTooNewError

#: Written into the file's header ("AIJC"), so that no other SQLite file is taken for a catalog.
APPLICATION_ID = 0x41494A43
BUSY_TIMEOUT_S = 10.0

#: Append-only: a released script is never edited; the number of scripts applied is the file's ``user_version``.
MIGRATIONS = ("001_targets.sql",)


class Database:
    """One connection. Writers take turns; a cancelled caller never leaves a transaction open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: aiosqlite.Connection | None = None
        self._turn = anyio.Lock()

    @property
    def connection(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise StoreError(f"the catalog {self.path} is not open: open it first")
        return self._connection

    async def open(self) -> None:
        """Connect; create the file for its owner only, or bring an older schema up to date."""
        if self._connection is not None:
            return
        with anyio.CancelScope(shield=True), self.errors():
            _create_private(self.path)
            self._connection = await aiosqlite.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            await self._prepare()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with anyio.CancelScope(shield=True):
                await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """A write transaction: committed whole at the end, or not at all. Shielded, so keep it short."""
        async with self._turn:
            with anyio.CancelScope(shield=True), self.errors():
                connection = self.connection
                await connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    await connection.rollback()
                    raise
                await connection.commit()

    async def rows(self, sql: str, parameters: dict[str, object] | tuple[object, ...] = ()) -> list[sqlite3.Row]:
        with self.errors():
            async with self.connection.execute(sql, parameters) as cursor:
                return list(await cursor.fetchall())

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What SQLite and the file system raise, as errors that name the file and say what to do."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot create the catalog {self.path}: {error.strerror}. Choose a folder that you may write to.") from error
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreBusyError(f"the catalog {self.path} was locked by another process for {BUSY_TIMEOUT_S:g} s: try again")
        if code == sqlite3.SQLITE_FULL:
            return StoreFullError(f"no space left for the catalog {self.path}: free some, then try again")
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return StoreDamagedError(
                f"the catalog {self.path} is damaged or not a catalog ({error}): move it away and scan again, or restore a backup"
            )
        if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}:
            return StoreError(f"cannot write the catalog {self.path} ({error}): check the permissions of the file and its folder")
        return StoreError(f"the catalog {self.path} failed: {error}")

    async def _prepare(self) -> None:
        self.connection.row_factory = sqlite3.Row
        with self.errors():
            await self._check_it_is_ours()
            await self.connection.execute("PRAGMA journal_mode = WAL")
            await self.connection.execute("PRAGMA synchronous = NORMAL")  # losing the last batch costs a rescan, never a job
        async with self.transaction() as connection:
            [[version]] = await connection.execute_fetchall("PRAGMA user_version")
            if version > len(MIGRATIONS):
                raise StoreTooNewError(
                    f"the catalog {self.path} has schema {version}, this release knows {len(MIGRATIONS)}: upgrade ai-job-scheduler"
                )
            for name in MIGRATIONS[version:]:
                for statement in _statements((Path(__file__).parent / "migrations" / name).read_text("utf-8")):
                    await connection.execute(statement)
            await connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            await connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    async def _check_it_is_ours(self) -> None:
        """A catalog or an empty file; anything else stays untouched. In this order: another process may be creating it."""
        [[objects]] = await self.connection.execute_fetchall("SELECT count(*) FROM sqlite_schema")
        [[application_id]] = await self.connection.execute_fetchall("PRAGMA application_id")
        if objects and application_id != APPLICATION_ID:
            raise StoreDamagedError(f"{self.path} is an SQLite file, but not a catalog: choose another file for the catalog")


def _create_private(path: Path) -> None:
    """What was said in conversations is nobody else's business: a new file is its owner's. Old ones keep their mode."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600))


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: ``executescript`` would commit behind our back."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
