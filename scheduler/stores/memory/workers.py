"""The workers of the memory store: rows that pulses renew from threads of their own."""

from __future__ import annotations

import threading
from dataclasses import replace

from scheduler.stores.base import Worker


class WorkerRows:
    """The rows, under a lock: a beat must not bring back a row that was just removed."""

    def __init__(self) -> None:
        self._rows: dict[str, Worker] = {}
        self._lock = threading.Lock()

    def add(self, worker: Worker) -> None:
        with self._lock:
            self._rows[worker.worker_id] = worker

    def beat(self, worker_id: str, now: float) -> bool:
        with self._lock:
            row = self._rows.get(worker_id)
            if row is not None:
                self._rows[worker_id] = replace(row, beats=row.beats + 1, beat_at=now)
            return row is not None

    def remove(self, worker_id: str) -> None:
        with self._lock:
            self._rows.pop(worker_id, None)

    def all(self) -> list[Worker]:
        with self._lock:
            return list(self._rows.values())


class MemoryPulse:
    """One worker's heartbeat."""

    def __init__(self, rows: WorkerRows, worker_id: str) -> None:
        self._rows = rows
        self._worker_id = worker_id

    def beat(self, now: float) -> bool:
        return self._rows.beat(self._worker_id, now)

    def close(self) -> None:
        """Nothing to give back: the row is removed by ``dismiss``."""
