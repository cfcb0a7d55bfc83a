"""PostgreSQL, for a service on several machines: one schema of a database, through asyncpg.

``address`` reads the URL, ``schema`` creates and migrates, ``session`` is a connection with a time limit on everything,
``line`` owns one and does what the others send it. What runs on a session: ``enqueueing``, ``claiming``, ``settling``,
``people``, ``gates``, ``sharing``, ``workers``. ``rows`` and ``query`` turn records into SQL and back, ``faults`` says what
to do about an error, ``hints`` listens, ``store`` puts the verbs of the port on top.
"""

from scheduler.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
