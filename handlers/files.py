"""SQLite files of the handlers' own: each is used over one connection, by one thread at a time."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

#: Another process may be writing for so long, in seconds.
_PATIENCE_S = 30.0


def opened(path: str | Path, schema: str, *, isolation_level: Literal["DEFERRED"] | None = "DEFERRED") -> sqlite3.Connection:
    """A connection to the file at ``path``, made if it is not there, with the tables of ``schema``; ``None``: no transaction but those
    that are begun in so many words. Raises ``sqlite3.Error``, and then leaves nothing open.
    """
    connection = sqlite3.connect(path, check_same_thread=False, timeout=_PATIENCE_S, isolation_level=isolation_level)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    return connection
