"""The default store: one SQLite file in WAL mode, safe for several processes.

``schema`` opens files and migrates them, ``writer`` owns the writing connection and group-commits,
``work`` holds what runs inside a transaction, ``rows`` turns rows into records, ``hints`` wakes other
processes, ``store`` puts the verbs of the port on top.
"""

from scheduler.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
