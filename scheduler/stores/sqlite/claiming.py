"""Attempts begin: due jobs of open lanes become ``processing``, inside a write transaction.

The hot path: its cost must not grow with finished, future, paused or foreign-lane rows, so it reads the few stored
windows once and then only what the partial indexes hold. Does not belong here: how an attempt ends (``settling.py``).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from scheduler.job import Lease
from scheduler.pauses import OUTAGE, Gate, PauseWindow, paused_owners
from scheduler.stores.base import Claim, Claims, Want
from scheduler.stores.sqlite import fairness
from scheduler.stores.sqlite.gates import save_window
from scheduler.stores.sqlite.rows import JOB_ARRAY, PAUSE_COLUMNS, job_from, unpacked, us, window_from
from scheduler.stores.turns import Turns

#: Scheduled jobs that fell due are made claimable in such portions; the rest follow with the next claim.
PROMOTE = 1_000
#: The index of ready jobs, walked forwards and backwards.
FIRST_FIRST, LAST_FIRST = "priority DESC, ifnull(owner, ''), seq", "priority, ifnull(owner, '') DESC, seq DESC"


def claim(connection: sqlite3.Connection, wants: Sequence[Want], worker: str, now: float, turns: Turns) -> Claims:
    """Claim for each want in order; see ``Store.claim``."""
    now_us = us(now)
    windows = {window.scope: window for window in map(window_from, connection.execute(f"SELECT {PAUSE_COLUMNS} FROM pauses"))}
    claims: list[Claim] = []
    short: set[str] = set()
    for want in wants:
        got = _claim_lane(connection, want, windows, worker, now, now_us, turns)
        claims.extend(got)
        if len(got) < want.limit:
            short.add(want.task_type)
    return Claims(claims, frozenset(short))


def _promote(connection: sqlite3.Connection, want: Want, now_us: int) -> None:
    """Lane by lane, and only of open ones: a paused lane's due jobs must not crowd out another's."""
    connection.execute(
        "UPDATE jobs SET ready = 1 WHERE seq IN "
        "(SELECT seq FROM jobs WHERE ready = 0 AND task_type = ? AND run_after_us <= ? ORDER BY run_after_us LIMIT ?)",
        (want.task_type, now_us, max(PROMOTE, want.limit)),
    )


def _claim_lane(
    connection: sqlite3.Connection, want: Want, windows: dict[str, PauseWindow], worker: str, now: float, now_us: int, turns: Turns
) -> list[Claim]:
    gates = {scope: windows[scope].gate(now) for scope in want.scopes if scope in windows}
    if Gate.CLOSED in gates.values() or Gate.PROBING in gates.values():
        return []
    probing = tuple(scope for scope, gate in gates.items() if gate is Gate.PROBE)
    limit = _room(connection, want)
    if limit <= 0:
        return []
    paused = frozenset(paused_owners(windows.values(), now))
    if probing and not paused:
        rows = _probe(connection, want, any(windows[scope].reason == OUTAGE for scope in probing), worker, now_us)
    else:
        room = min(limit, 1) if probing else limit

        def fair() -> list[list[Any]]:
            return fairness.pick(connection, want, room, paused, turns)

        rows = _take(connection, want, room, worker, now_us, fair=fair, always=bool(paused))
    claims = [_claim_from(row, worker, now_us, probing) for row in rows]
    if claims and probing:
        for scope in probing:
            window = windows[scope] = _with_probe(windows[scope], claims[0].job.job_id)
            save_window(connection, window)
    return claims


def _room(connection: sqlite3.Connection, want: Want) -> int:
    """How many jobs may start: all processes write in turn, so what is counted here still holds at the commit."""
    if want.cap is None:
        return want.limit
    counted = "SELECT count(*) FROM jobs INDEXED BY jobs_by_status WHERE status = 'processing' AND task_type = ?"
    return min(want.limit, want.cap - int(connection.execute(counted, (want.task_type,)).fetchone()[0]))


def _probe(connection: sqlite3.Connection, want: Want, is_outage: bool, worker: str, now_us: int) -> list[list[Any]]:
    """One row: an outage's probe is anybody but those that stand first or are to be avoided, if there is anybody."""
    if not is_outage:
        return _take(connection, want, 1, worker, now_us)
    others = _take(connection, want, 1, worker, now_us, LAST_FIRST, want.avoid) if want.avoid else []
    return others or _take(connection, want, 1, worker, now_us, LAST_FIRST)


def _take(
    connection: sqlite3.Connection,
    want: Want,
    limit: int,
    worker: str,
    now_us: int,
    order: str = FIRST_FIRST,
    avoid: tuple[str, ...] = (),
    fair: Callable[[], list[list[Any]]] | None = None,
    always: bool = False,
) -> list[list[Any]]:
    """The rows as they were; they are ``processing`` now. ``fair`` picks them where they are of several owners, or ``always``.

    A claim may ride in one transaction with an enqueue whose clock was read a moment later: no job starts before
    it is due, so the later of the two readings is its start.
    """
    some_fell_due, are_owned, packed = _look(connection, want, limit, now_us, order, avoid)
    if some_fell_due:
        _promote(connection, want, now_us)
        _, are_owned, packed = _look(connection, want, limit, now_us, order, avoid)
    rows = fair() if fair is not None and (are_owned or always) else unpacked(packed)
    if rows:
        seqs = [row[0] for row in rows]
        which = ("seq = ?", seqs[0]) if len(seqs) == 1 else ("seq IN (SELECT value FROM json_each(?))", str(seqs))
        connection.execute(f"{_CLAIMED} WHERE {which[0]}", (worker, now_us, which[1]))
    return sorted(rows, key=lambda row: (-row[9], row[0]))


#: What is claimable, whether more is once it is promoted, and whether any of it has an owner: one question, as an idle lane's next
#: job is what it is asked for most.
_LOOK = (
    "SELECT EXISTS (SELECT 1 FROM jobs WHERE ready = 0 AND task_type = ? AND run_after_us <= ?), "
    "EXISTS (SELECT 1 FROM jobs WHERE ready = 1 AND owner IS NOT NULL AND task_type = ?), "
    f"(SELECT CAST(json_group_array({JOB_ARRAY}) AS BLOB) FROM (SELECT * FROM jobs WHERE task_type = ? AND ready = 1{{only}} "
    "ORDER BY {order} LIMIT ?))"
)
_CLAIMED = (
    "UPDATE jobs SET status = 'processing', attempts = attempts + 1, token = token + 1, worker = ?, "
    "started_us = max(?, run_after_us), ready = NULL, held_us = NULL, due_us = NULL"
)


def _look(
    connection: sqlite3.Connection, want: Want, limit: int, now_us: int, order: str, avoid: tuple[str, ...]
) -> tuple[int, int, bytes]:
    found: tuple[int, int, bytes] = connection.execute(*question(want, limit, now_us, order, avoid)).fetchone()
    return found


def question(want: Want, limit: int, now_us: int, order: str, avoid: tuple[str, ...]) -> tuple[str, tuple[Any, ...]]:
    """The statement that looks, and its values."""
    types = want.target_types
    only, values = ("", ()) if types is None else (f" AND target_type IN ({', '.join('?' * len(types))})", types)
    if avoid:
        values = (*values, json.dumps(avoid))
        only += " AND job_id NOT IN (SELECT value FROM json_each(?))"
    return _LOOK.format(only=only, order=order), (want.task_type, now_us, want.task_type, want.task_type, *values, limit)


def _claim_from(row: list[Any], worker: str, now_us: int, probing: tuple[str, ...]) -> Claim:
    row[6], row[11], row[15], row[16], row[21] = "processing", row[11] + 1, row[15] + 1, worker, max(now_us, row[10])
    row[30] = None
    return Claim(job_from(row), Lease(row[0], row[1], row[15], probing))


def _with_probe(window: PauseWindow, job_id: str) -> PauseWindow:
    return PauseWindow(window.scope, window.until, window.reason, window.set_at, window.set_by, window.strikes, job_id)
