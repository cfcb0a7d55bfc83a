"""Jobs in: what already stands for a draft, and the insert of what nothing does; inside a write transaction.

Drafts without a key, a request or a fingerprint, as a bulk load has them, go in by many rows a statement: every step hands the
GIL to the event loop and waits to get it back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain

from scheduler.job import Draft, Receipt
from scheduler.stores.sqlite import requests, waits
from scheduler.stores.sqlite.query import UNFINISHED_SQL
from scheduler.stores.sqlite.rows import DRAFT_COLUMNS, chunks, draft_values, us, values_text

#: Jobs inserted in one step, at most: a portion of the bulk path. SQLite binds 32,766 values, 15 are a job's.
_INSERTS = (1_024, 128, 16, 1)


def enqueue(connection: sqlite3.Connection | sqlite3.Cursor, drafts: Sequence[Draft], now: float) -> list[Receipt]:
    """Insert ``drafts``; those with a unique key or a fingerprint are looked up first."""
    now_us = us(now)
    if not _are_plain(drafts):
        return [_enqueue_one(connection, draft, now_us) for draft in drafts]
    for chunk in chunks(drafts, _INSERTS):
        rows = chain.from_iterable([draft_values(draft, now_us) for draft in chunk])
        connection.execute(_insert(len(chunk)), tuple(rows))
    return [Receipt(draft.job_id) for draft in drafts]


def is_one_statement(drafts: Sequence[Draft]) -> bool:
    """Whether ``enqueue`` inserts all of ``drafts`` in one step and does nothing else."""
    return len(drafts) in _INSERTS and _are_plain(drafts)


def _are_plain(drafts: Sequence[Draft]) -> bool:
    """Whether nothing can stand for any of ``drafts``, and nothing in their way."""
    return not any(
        draft.unique_key or draft.fingerprint or draft.after or draft.owner_limit is not None or draft.request for draft in drafts
    )


@cache
def _insert(rows: int) -> str:
    return f"INSERT INTO jobs ({DRAFT_COLUMNS}) {values_text(rows, 15)}"


def _enqueue_one(connection: sqlite3.Connection | sqlite3.Cursor, draft: Draft, now_us: int) -> Receipt:
    answered = requests.answered(connection, draft)
    if answered is not None:
        return answered
    receipt = _stored(connection, draft, now_us)
    requests.remember(connection, draft, receipt, now_us)
    return receipt


def _stored(connection: sqlite3.Connection | sqlite3.Cursor, draft: Draft, now_us: int) -> Receipt:
    standing = _standing(connection, draft)
    if standing is not None:
        return standing
    waits.check_limit(connection, draft)
    connection.execute(_insert(1), draft_values(draft, now_us))
    waits.enter(connection, draft)
    return Receipt(draft.job_id)


def _standing(connection: sqlite3.Connection | sqlite3.Cursor, draft: Draft) -> Receipt | None:
    """The receipt for a job that already stands for ``draft``."""
    if draft.unique_key is not None:
        row = connection.execute(
            f"SELECT job_id FROM jobs WHERE unique_key = ? AND owner IS ? AND {UNFINISHED_SQL}",
            (draft.unique_key, draft.owner),
        ).fetchone()
        if row:
            return Receipt(row[0], created=False)
    if draft.fingerprint is None:
        return None
    row = connection.execute(
        "SELECT job_id FROM jobs WHERE fingerprint = ? AND target_id = ? AND task_type = ? AND target_type = ? AND owner IS ? "
        f"AND {UNFINISHED_SQL}",
        (draft.fingerprint, draft.target_id, draft.task_type, draft.target_type, draft.owner),
    ).fetchone()
    if row:
        return Receipt(row[0], created=False)
    if draft.force:
        return None
    row = connection.execute(
        "SELECT job_id, fingerprint FROM freshness "
        "WHERE owner = ifnull(?, char(0)) AND task_type = ? AND target_type = ? AND target_id = ?",
        (draft.owner, draft.task_type, draft.target_type, draft.target_id),
    ).fetchone()
    return Receipt(row[0], created=False, unchanged=True) if row and row[1] == draft.fingerprint else None
