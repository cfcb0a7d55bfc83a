"""The SQLite store keeps the contract, through closing and opening too."""

from __future__ import annotations

from pathlib import Path

from scheduler.stores.base import Store
from scheduler.stores.sqlite import SqliteStore
from tests.stores.contract import StoreContract


class TestSqliteStore(StoreContract):
    durable = True
    walks = 25  # each makes a file
    thousands = 100

    def store_at(self, folder: Path) -> Store:
        return SqliteStore(folder / "jobs.db")
