"""Requests that callers may send again, and the job that each got; inside a write transaction."""

from __future__ import annotations

import sqlite3

from scheduler.errors import IdempotencyConflictError
from scheduler.job import Draft, Receipt
from scheduler.stores.sqlite.rows import us

Connection = sqlite3.Connection | sqlite3.Cursor


def answered(connection: Connection, draft: Draft) -> Receipt | None:
    """The receipt for a request that was made before. Raises ``IdempotencyConflictError`` if its body was another."""
    if draft.request is None:
        return None
    key, body_hash = draft.request
    row = connection.execute("SELECT body_hash, job_id FROM requests WHERE owner = ? AND key = ?", (draft.owner or "", key)).fetchone()
    if row is None:
        return None
    if row[0] != body_hash:
        raise IdempotencyConflictError.of(key)
    return Receipt(row[1], created=False)


def remember(connection: Connection, draft: Draft, receipt: Receipt, now_us: int) -> None:
    if draft.request is not None:
        values = (draft.owner or "", *draft.request, receipt.job_id, now_us)
        connection.execute("INSERT INTO requests (owner, key, body_hash, job_id, at_us) VALUES (?, ?, ?, ?, ?)", values)


def forget(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """See ``Store.forget``."""
    oldest = "SELECT owner, key FROM requests WHERE at_us < ? ORDER BY at_us LIMIT ?"
    return connection.execute(f"DELETE FROM requests WHERE (owner, key) IN ({oldest})", (us(before), limit)).rowcount
