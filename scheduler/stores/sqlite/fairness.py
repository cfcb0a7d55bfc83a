"""Owners take turns: which of a lane's ready jobs start, where they belong to several owners; inside a write transaction.

Goes from priority to priority and from owner to owner by seeks in the index of ready jobs: its cost grows with the owners that
it serves, not with their jobs.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from scheduler.stores.base import Want
from scheduler.stores.sqlite.rows import JOB_ARRAY, unpacked
from scheduler.stores.turns import Turns, in_turn, shares

_READY = "FROM jobs WHERE ready = 1 AND task_type = ?"
_OWNER = "ifnull(owner, '')"


def pick(connection: sqlite3.Connection, want: Want, room: int, paused: frozenset[str], turns: Turns) -> list[list[Any]]:
    """Up to ``room`` rows: the highest priority first, owners in turn, and none of those that are ``paused``."""
    rows: list[list[Any]] = []
    priority: int | None = None
    while len(rows) < room:
        priority = _next_priority(connection, want, priority)
        if priority is None:
            break
        got = _level(connection, want, priority, room - len(rows), paused, turns)
        turns.served(want.task_type, [row[18] or "" for row in got])
        rows += got
    return rows


def _only(want: Want) -> tuple[str, tuple[str, ...]]:
    types = want.target_types
    return ("", ()) if types is None else (f" AND target_type IN ({', '.join('?' * len(types))})", types)


def _next_priority(connection: sqlite3.Connection, want: Want, below: int | None) -> int | None:
    only, types = _only(want)
    lower = "" if below is None else " AND priority < ?"
    values = (want.task_type, *types, *(() if below is None else (below,)))
    row = connection.execute(f"SELECT priority {_READY}{only}{lower} ORDER BY priority DESC LIMIT 1", values).fetchone()
    return None if row is None else int(row[0])


def _level(connection: sqlite3.Connection, want: Want, priority: int, room: int, paused: frozenset[str], turns: Turns) -> list[list[Any]]:
    """Up to ``room`` rows of one priority, shared out until nobody has more."""
    rows: list[list[Any]] = []
    taken = dict.fromkeys(_owners(connection, want, priority, room, paused, turns.last(want.task_type)), 0)
    hungry = list(taken)
    while hungry and len(rows) < room:
        still_hungry = []
        for owner, share in zip(hungry, shares(hungry, room - len(rows)), strict=True):
            got = _rows(connection, want, priority, owner, taken[owner], share)
            rows += got
            taken[owner] += len(got)
            if len(got) == share and share > 0:
                still_hungry.append(owner)
        hungry = still_hungry
    return rows


def _owners(connection: sqlite3.Connection, want: Want, priority: int, room: int, paused: frozenset[str], last: str | None) -> list[str]:
    """Those whose turn it is, at most ``room``."""
    only, types = _only(want)
    owners: list[str] = []
    sides = [(">=", "", None)] if last is None else [(">", last, None), (">=", "", last)]
    for comparison, start, end in sides:
        while len(owners) < room:
            sql = f"SELECT {_OWNER} {_READY} AND priority = ? AND {_OWNER} {comparison} ?{only} ORDER BY {_OWNER} LIMIT 1"
            row = connection.execute(sql, (want.task_type, priority, start, *types)).fetchone()
            if row is None or (end is not None and row[0] > end):
                break
            comparison, start = ">", row[0]
            if start not in paused:
                owners.append(start)
    return in_turn(owners, last)


def _rows(connection: sqlite3.Connection, want: Want, priority: int, owner: str, skip: int, limit: int) -> list[list[Any]]:
    only, types = _only(want)
    inner = f"SELECT * {_READY} AND priority = ? AND {_OWNER} = ?{only} ORDER BY seq LIMIT ? OFFSET ?"
    packed = f"SELECT CAST(json_group_array({JOB_ARRAY}) AS BLOB) FROM ({inner})"
    return unpacked(connection.execute(packed, (want.task_type, priority, owner, *types, limit, skip)).fetchone()[0])
