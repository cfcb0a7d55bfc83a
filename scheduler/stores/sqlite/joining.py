"""Jobs in a transaction that is the user's own, on the user's connection to the store's file.

The user's commit makes the jobs exist, and is what decides how durable they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosqlite

from scheduler.errors import InvalidJobError, StoreError
from scheduler.job import Draft, Receipt
from scheduler.stores.sqlite import enqueueing
from scheduler.stores.sqlite.schema import translated


async def enqueue(connection: Any, path: Path, drafts: Sequence[Draft], now: float) -> list[Receipt]:
    """See ``Joins.enqueue_within``."""
    if isinstance(connection, sqlite3.Connection):
        return _enqueue(connection, path, drafts, now)
    if isinstance(connection, aiosqlite.Connection):
        # aiosqlite's own way to its thread; unannotated there
        receipts: list[Receipt] = await connection._execute(_enqueue, connection._conn, path, drafts, now)  # type: ignore[no-untyped-call]
        return receipts
    raise StoreError(f"connection is a {type(connection).__name__}: this store takes one of sqlite3 or aiosqlite to {path}")


def _enqueue(connection: sqlite3.Connection, path: Path, drafts: Sequence[Draft], now: float) -> list[Receipt]:
    try:
        cursor = connection.cursor()
        cursor.row_factory = None  # the user's may make anything of a row
        files = {name: file for _, name, file in cursor.execute("PRAGMA database_list").fetchall()}
        if not files["main"] or not path.exists() or not Path(files["main"]).samefile(path):
            raise StoreError(
                f"connection is to {files['main'] or 'a database in memory'}, but the store is {path}: connect to the same file"
            )
        if not connection.in_transaction:
            if connection.isolation_level is None:
                raise StoreError("connection has no open transaction, so the job would be stored by itself: BEGIN one first")
            cursor.execute("BEGIN IMMEDIATE")  # as the connection would with its first write; the user commits
        cursor.execute("SAVEPOINT scheduler_enqueue")
        try:
            receipts = enqueueing.enqueue(cursor, drafts, now)
        except (sqlite3.Error, InvalidJobError):  # the rest of the user's transaction is as it was
            if connection.in_transaction:
                cursor.execute("ROLLBACK TO scheduler_enqueue")
                cursor.execute("RELEASE scheduler_enqueue")
            raise
        cursor.execute("RELEASE scheduler_enqueue")
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return receipts
