"""The pools' documents: what all workers know of a quota, changed by one of them at a time.

Each exchange reads, changes and writes one row. It is cheap because it rides in a group with whatever else is being
written, and safe among processes because every group begins by taking SQLite's write lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from scheduler.stores.sqlite.rows import us

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Raised:
    """What a ``change`` raised, on its way to the caller."""

    error: BaseException


def share(connection: sqlite3.Connection, pool: str, change: Callable[[str | None], tuple[str | None, T]], now: float) -> T | Raised:
    """See ``Store.share``.

    An error of ``change`` is an answer here: nothing was written yet, so the group that this rides in need not be
    rolled back for it, and the caller gets the very error.
    """
    row = connection.execute("SELECT document FROM pools WHERE name = ?", (pool,)).fetchone()
    try:
        document, answer = change(None if row is None else row[0])
    except BaseException as error:
        return Raised(error)
    if document is not None:
        connection.execute("INSERT OR REPLACE INTO pools (name, document, updated_us) VALUES (?, ?, ?)", (pool, document, us(now)))
    return answer


def shared(connection: sqlite3.Connection) -> dict[str, str]:
    """Every pool's document; runs in the reader's thread."""
    return dict(connection.execute("SELECT name, document FROM pools").fetchall())
