"""The journal that the triggers of ``0005_journal.sql`` write: reading it, and forgetting what is old."""

from __future__ import annotations

import sqlite3
from typing import Any

from scheduler.journal import Entry, entry_from
from scheduler.stores.sqlite.rows import us

_READ = (
    "SELECT e.id, e.at_us, e.name, e.seq, j.job_id, j.task_type, j.target_type, j.target_id, e.owner, j.batch, e.status, e.reason, "
    "e.error, e.attempt, e.worker, e.detail FROM journal AS e LEFT JOIN jobs AS j ON j.seq = e.seq "
    "WHERE e.id > ?{only} ORDER BY e.id LIMIT ?"
)


def read(
    connection: sqlite3.Connection, after: int, owners: frozenset[str] | None, seq: int | None, upto: int | None, limit: int
) -> list[Entry]:
    """See ``Store.journal``."""
    only = ""
    values: list[Any] = [after]
    for condition, value in ((" AND e.seq = ?", seq), (" AND e.id <= ?", upto)):
        if value is not None:
            only += condition
            values.append(value)
    named: list[Any] = [] if owners is None else sorted(owners)
    if owners is not None:
        only += f" AND e.owner IN ({', '.join('?' * len(named))})"
    rows = connection.execute(_READ.format(only=only), (*values, *named, limit))
    return [entry_from(number, at_us / 1_000_000, told) for number, at_us, *told in rows]


def span(connection: sqlite3.Connection) -> tuple[int, int]:
    """See ``Store.journal_span``."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'").fetchone()
    last = 0 if row is None else row[0]
    first = connection.execute("SELECT min(id) FROM journal").fetchone()[0]
    return (last + 1 if first is None else first), last


#: In the order of ids, which is that of time: nothing is searched.
_OLD = "DELETE FROM journal WHERE id IN (SELECT id FROM journal ORDER BY id LIMIT ?) AND at_us < ?"
_SUPERSEDED = (
    "DELETE FROM journal WHERE id IN (SELECT e.id FROM journal AS e WHERE e.name = 'job.progress' AND e.at_us < ? "
    "AND EXISTS (SELECT 1 FROM journal AS n WHERE n.seq = e.seq AND n.id > e.id AND n.name = 'job.progress') LIMIT ?)"
)


def prune(connection: sqlite3.Connection, before: float, superseded_before: float, limit: int) -> int:
    """See ``Store.prune_journal``."""
    old = connection.execute(_OLD, (limit, us(before))).rowcount
    return old + connection.execute(_SUPERSEDED, (us(superseded_before), limit)).rowcount
