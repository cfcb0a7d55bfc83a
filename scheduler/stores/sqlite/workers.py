"""Workers' rows, and the pulse that renews one of them.

A pulse has a connection of its own, because it beats from a thread of its own: neither a blocked event loop nor what
queues before the writer may make a living worker look dead.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from scheduler.stores.base import Worker
from scheduler.stores.sqlite import schema
from scheduler.stores.sqlite.rows import WORKER_COLUMNS, us, values_text, worker_values


def register(connection: sqlite3.Connection, worker: Worker) -> None:
    connection.execute(f"INSERT INTO workers ({WORKER_COLUMNS}) {values_text(1, 11)}", worker_values(worker))


def dismiss(connection: sqlite3.Connection, worker_id: str) -> None:
    connection.execute("DELETE FROM workers WHERE worker_id = ?", (worker_id,))


def take_turn(connection: sqlite3.Connection, duty: str, worker_id: str, now: float, for_s: float) -> bool:
    """See ``Store.take_turn``."""
    taken = connection.execute(
        "INSERT INTO turns (duty, worker, until_us) VALUES (?, ?, ?) ON CONFLICT (duty) DO UPDATE "
        "SET worker = excluded.worker, until_us = excluded.until_us "
        "WHERE turns.worker = excluded.worker OR turns.until_us <= ? OR turns.until_us > excluded.until_us",
        (duty, worker_id, us(now + for_s), us(now)),
    )
    return taken.rowcount == 1


class SqlitePulse:
    """Renews one worker's row on a connection of its own; made and used in the heartbeat's thread."""

    def __init__(self, path: Path, worker_id: str) -> None:
        self._path = path
        self._worker_id = worker_id
        self._connection: sqlite3.Connection | None = None

    def beat(self, now: float) -> bool:
        try:
            if self._connection is None:
                self._connection = schema.connect(self._path)
            renewed = self._connection.execute(
                "UPDATE workers SET beats = beats + 1, beat_us = ? WHERE worker_id = ?", (us(now), self._worker_id)
            )
            return renewed.rowcount == 1
        except sqlite3.Error as error:
            raise schema.translated(error, self._path) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
