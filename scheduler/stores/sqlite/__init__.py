"""The default store: one SQLite file in WAL mode, safe for several processes.

``schema`` opens files and migrates them, ``thread`` is a connection with its thread, ``writer`` owns the writing one and
group-commits.
What runs inside a transaction, as plain functions of the connection: ``enqueueing``, ``claiming``,
``settling``, ``people``, ``gates``, ``sharing``, ``workers``. ``rows`` and ``query`` turn records into SQL and back,
``hints`` wakes other processes, ``store`` puts the verbs of the port on top.
"""

from scheduler.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
