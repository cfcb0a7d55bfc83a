"""What a workspace's syncs brought here: the latest state of every record, and how far each connector is. One SQLite file.

Plain methods that block: handlers call them in threads. Putting a page again changes nothing, because a job may run again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from handlers.files import opened

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    workspace TEXT, connector TEXT, id TEXT, data TEXT NOT NULL, hash TEXT NOT NULL, sync TEXT NOT NULL,
    PRIMARY KEY (workspace, connector, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (
    workspace TEXT, connector TEXT, mark TEXT NOT NULL, PRIMARY KEY (workspace, connector)
) WITHOUT ROWID;
"""


class Counts(NamedTuple):
    """What a page came to."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


class Records:
    """One file, one connection, one thread at a time."""

    def __init__(self, path: str | Path) -> None:
        self._guard = threading.Lock()
        self._db = opened(path, _SCHEMA)

    def close(self) -> None:
        with self._guard:
            self._db.close()

    def put(self, workspace: str, connector: str, sync: str, records: Mapping[str, Mapping[str, Any]]) -> Counts:
        """Keep a page of records by their ids, in one transaction; ``sync`` names the sync that saw them."""
        rows = {key: json.dumps(data, ensure_ascii=False, sort_keys=True) for key, data in records.items()}
        hashes = {key: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for key, text in rows.items()}
        with self._guard, self._db:
            known = dict(
                row
                for key in rows
                for row in self._db.execute(
                    "SELECT id, hash FROM record WHERE workspace = ? AND connector = ? AND id = ?", (workspace, connector, key)
                )
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?)",
                [(workspace, connector, key, text, hashes[key], sync) for key, text in rows.items()],
            )
        changed = sum(key in known and known[key] != hashes[key] for key in rows)
        return Counts(len(rows) - len(known), changed, len(known) - changed)

    def finish(self, workspace: str, connector: str, sync: str, mark: str | None, *, is_whole: bool) -> int:
        """A connector is through: keep how far it is. What a whole sync did not see is gone there; returns how many that were."""
        gone = 0
        with self._guard, self._db:
            if mark is not None:
                self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?, ?)", (workspace, connector, mark))
            if is_whole:
                gone = self._db.execute(
                    "DELETE FROM record WHERE workspace = ? AND connector = ? AND sync <> ?", (workspace, connector, sync)
                ).rowcount
        return gone

    def mark(self, workspace: str, connector: str) -> str | None:
        """How far the last finished sync of a connector came; None before the first."""
        with self._guard:
            row = self._db.execute("SELECT mark FROM mark WHERE workspace = ? AND connector = ?", (workspace, connector)).fetchone()
        return None if row is None else str(row[0])

    def all(self, workspace: str, connector: str | None = None) -> dict[tuple[str, str], Any]:
        """A workspace's records by connector and id."""
        with self._guard:
            rows = self._db.execute(
                "SELECT connector, id, data FROM record WHERE workspace = ? AND (? IS NULL OR connector = ?) ORDER BY connector, id",
                (workspace, connector, connector),
            ).fetchall()
        return {(name, key): json.loads(data) for name, key, data in rows}
