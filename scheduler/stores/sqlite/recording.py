"""What long jobs record of their items; the writes run inside a write transaction.

A pass and its items change in the same transaction as the guard is checked, so that whoever lost the lease records nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from scheduler.job import Item, Job, Lease, Ledger, Oks
from scheduler.stores.sqlite.rows import chunks, us, values_text

_SAVE = (
    "INSERT INTO ledgers (seq, name, begun_us, total, next, done, failed, counters_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (seq, name) DO UPDATE SET total = excluded.total, next = excluded.next, done = excluded.done, failed = excluded.failed, "
    "counters_json = excluded.counters_json"
)


def record(
    connection: sqlite3.Connection, lease: Lease, ledger: Ledger, items: Sequence[Item], now: float, progress_json: str | None
) -> bool:
    """See ``Store.record``."""
    gets_on = ", crashes = 0" if items else ""
    held = connection.execute(
        f"UPDATE jobs SET progress_json = coalesce(?, progress_json){gets_on} WHERE seq = ? AND token = ? AND status = 'processing'",
        (progress_json, lease.seq, lease.token),
    )
    if held.rowcount != 1:
        return False
    connection.execute(_SAVE, (lease.seq, ledger.name, us(now), *ledger[1:]))
    for chunk in chunks(items):
        values = [value for item in chunk for value in (lease.seq, ledger.name, *item)]
        connection.execute(
            f"INSERT OR REPLACE INTO items (seq, name, position, key, ok, error, value_json) {values_text(len(chunk), 7)}", values
        )
    return True


def ledgers(connection: sqlite3.Connection, job_id: str) -> list[Ledger]:
    rows = connection.execute(
        "SELECT name, total, next, done, failed, counters_json FROM ledgers WHERE seq = (SELECT seq FROM jobs WHERE job_id = ?) "
        "ORDER BY begun_us, name",
        (job_id,),
    )
    return [Ledger(*row) for row in rows]


def items(connection: sqlite3.Connection, job_id: str, name: str, ok: Oks | None, after: int, limit: int) -> list[Item]:
    only = "" if ok is None else f" AND ({' OR '.join(_IS[outcome] for outcome in ok) or '0'})"
    rows = connection.execute(
        "SELECT position, key, ok, error, value_json FROM items WHERE seq = (SELECT seq FROM jobs WHERE job_id = ?) AND name = ? "
        f"AND position > ?{only} ORDER BY position LIMIT ?",
        (job_id, name, after, limit),
    )
    return [Item(position, key, None if done is None else bool(done), error, value) for position, key, done, error, value in rows]


_IS = {True: "ok = 1", False: "(ok = 0 AND ok IS NOT 1)", None: "(ok IS NULL AND ok IS NOT 1)"}  # the rest helps the partial index


def again(connection: sqlite3.Connection, jobs: Sequence[Job], *, restart: bool) -> None:
    """What a retry does to the ledgers of ``jobs``."""
    seqs = str([job.seq for job in jobs])
    these = "seq IN (SELECT value FROM json_each(?))"
    if restart:
        connection.execute(f"DELETE FROM items WHERE {these}", (seqs,))
        connection.execute(f"DELETE FROM ledgers WHERE {these}", (seqs,))
        return
    with_failed = [row[0] for row in connection.execute(f"SELECT DISTINCT seq FROM ledgers WHERE {these} AND failed > 0", (seqs,))]
    for seq in with_failed:
        connection.execute("UPDATE items SET ok = NULL, error = NULL, value_json = NULL WHERE seq = ? AND ok = 0 AND ok IS NOT 1", (seq,))
        connection.execute("UPDATE ledgers SET failed = 0 WHERE seq = ?", (seq,))
