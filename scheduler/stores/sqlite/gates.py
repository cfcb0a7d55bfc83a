"""The stored pause windows, read and changed inside a write transaction.

Claims, outcomes and people all reach the windows through here, so that a pause that one process stored binds the next
claim of every other. Does not belong here: how long a pause lasts, or what it lets through (``scheduler/pauses.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from scheduler import pauses
from scheduler.pauses import PauseWindow
from scheduler.stores.sqlite.rows import PAUSE_COLUMNS, values_text, window_from, window_values


def pause(connection: sqlite3.Connection, scope: str, until: float, now: float) -> PauseWindow:
    window = pauses.paused_by_hand(window_of(connection, scope), scope, until, now)
    save_window(connection, window)
    return window


def resume(connection: sqlite3.Connection, scope: str) -> PauseWindow | None:
    window = window_of(connection, scope)
    connection.execute("DELETE FROM pauses WHERE scope = ?", (scope,))
    return window


def reopen(connection: sqlite3.Connection, scope: str, now: float) -> bool:
    window = window_of(connection, scope)
    if window is None or not window.ran_out(now):
        return False
    connection.execute("DELETE FROM pauses WHERE scope = ?", (scope,))
    return True


def forget_probes(connection: sqlite3.Connection, job_ids: Sequence[str]) -> None:
    """Let the next job probe in place of these."""
    if connection.execute("SELECT 1 FROM pauses WHERE probe IS NOT NULL LIMIT 1").fetchone():
        connection.executemany("UPDATE pauses SET probe = NULL WHERE probe = ?", [(job_id,) for job_id in job_ids])


def window_of(connection: sqlite3.Connection, scope: str) -> PauseWindow | None:
    row = connection.execute(f"SELECT {PAUSE_COLUMNS} FROM pauses WHERE scope = ?", (scope,)).fetchone()
    return None if row is None else window_from(row)


def save_window(connection: sqlite3.Connection, window: PauseWindow) -> None:
    connection.execute(f"INSERT OR REPLACE INTO pauses ({PAUSE_COLUMNS}) {values_text(1, 7)}", window_values(window))
