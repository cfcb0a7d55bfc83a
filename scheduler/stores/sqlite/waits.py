"""Who waits for whom; inside a write transaction.

A job that waits for others is not claimable (`ready` is NULL) until the last of them has ended. Does not belong here: what becomes
of a doomed job (``decide.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from scheduler.errors import OwnerLimitError, UnknownJobError
from scheduler.job import BATCH_PREFIX, Draft, batch_key
from scheduler.stores.sqlite.query import UNFINISHED_SQL

Connection = sqlite3.Connection | sqlite3.Cursor


def check_limit(connection: Connection, draft: Draft) -> None:
    """Refuse a job that would be one too many for its owner."""
    limit = draft.owner_limit
    if limit is None:
        return
    counted = "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE owner = ? AND owner IS NOT NULL AND finished_us IS NULL LIMIT ?)"
    if connection.execute(counted, (draft.owner, limit)).fetchone()[0] >= limit:
        raise OwnerLimitError(f"owner {draft.owner} has {limit} unfinished jobs, as many as it may: let some end, or cancel some")


def enter(connection: Connection, draft: Draft) -> None:
    """Have the job of ``draft``, which is stored, wait for what it names."""
    if not draft.after:
        return
    seq = connection.execute("SELECT seq FROM jobs WHERE job_id = ?", (draft.job_id,)).fetchone()[0]
    blockers, doomed = 0, None
    for name in draft.after:
        is_open, failed = _stand(connection, draft, name)
        if is_open:
            blockers += 1
            connection.execute("INSERT INTO waits (awaited, seq, if_failed) VALUES (?, ?, ?)", (_key(draft, name), seq, draft.if_failed))
        elif failed and draft.if_failed != "run":
            doomed = f"{draft.if_failed} {name}"
    if doomed is not None:
        blockers = 0
    connection.execute(
        "UPDATE jobs SET blockers = :blockers, doomed = :doomed, ready = CASE WHEN :blockers > 0 THEN NULL ELSE ready END WHERE seq = :seq",
        {"blockers": blockers, "doomed": doomed, "seq": seq},
    )


def _key(draft: Draft, name: str) -> str:
    return batch_key(draft.owner, name.removeprefix(BATCH_PREFIX)) if name.startswith(BATCH_PREFIX) else name


def _stand(connection: Connection, draft: Draft, name: str) -> tuple[bool, bool]:
    """Whether what is named is still open, and whether it failed."""
    if name.startswith(BATCH_PREFIX):
        return _batch(connection, draft.owner, name.removeprefix(BATCH_PREFIX))
    row = connection.execute("SELECT finished_us IS NULL, status <> 'completed', owner FROM jobs WHERE job_id = ?", (name,)).fetchone()
    if row is None or (draft.owner is not None and row[2] != draft.owner):
        if not draft.strict:
            return False, True
        raise UnknownJobError(f"after names {name}, but there is no such job: enqueue it first")
    return bool(row[0]), bool(row[1])


def _batch(connection: Connection, owner: str | None, batch: str) -> tuple[bool, bool]:
    mine = "SELECT 1 FROM jobs WHERE batch = :batch AND batch IS NOT NULL AND owner IS :owner"
    row = connection.execute(
        f"SELECT EXISTS ({mine} AND finished_us IS NULL), EXISTS ({mine} AND finished_us IS NOT NULL AND status <> 'completed')",
        {"batch": batch, "owner": owner},
    ).fetchone()
    return bool(row[0]), bool(row[1])


def ended(connection: Connection, seqs: Iterable[int], now_us: int) -> dict[int, tuple[str, ...]]:
    """Those jobs have ended, if they have: let go who waited for them. The task types of those that may run now, by who let them go."""
    if not connection.execute("SELECT EXISTS (SELECT 1 FROM waits)").fetchone()[0]:
        return {}
    rows = connection.execute(
        "SELECT seq, job_id, batch, owner, status <> 'completed' FROM jobs "
        "WHERE seq IN (SELECT value FROM json_each(?)) AND finished_us IS NOT NULL",
        (str(list(seqs)),),
    ).fetchall()
    freed: dict[int, tuple[str, ...]] = {}
    for seq, job_id, batch, owner, failed in rows:
        lanes = _let_go(connection, job_id, job_id, bool(failed), now_us)
        if batch is not None:
            is_open, any_failed = _batch(connection, owner, batch)
            if not is_open:
                lanes += _let_go(connection, batch_key(owner, batch), BATCH_PREFIX + batch, any_failed, now_us)
        if lanes:
            freed[seq] = tuple(lanes)
    return freed


def _let_go(connection: Connection, key: str, name: str, failed: bool, now_us: int) -> list[str]:
    lanes: list[str] = []
    for seq, if_failed in connection.execute("SELECT seq, if_failed FROM waits WHERE awaited = ?", (key,)).fetchall():
        doomed = f"{if_failed} {name}" if failed and if_failed != "run" else None
        rows = connection.execute(
            "UPDATE jobs SET doomed = coalesce(:doomed, doomed), blockers = CASE WHEN :doomed IS NULL THEN blockers - 1 ELSE 0 END, "
            "ready = CASE WHEN :doomed IS NULL AND blockers > 1 THEN NULL ELSE run_after_us <= :now END "
            f"WHERE seq = :seq AND blockers > 0 AND {UNFINISHED_SQL} RETURNING task_type, blockers",
            {"doomed": doomed, "now": now_us, "seq": seq},
        ).fetchall()
        lanes += [task_type for task_type, blockers in rows if blockers == 0]
    connection.execute("DELETE FROM waits WHERE awaited = ?", (key,))
    return lanes
