"""What the long jobs learn, in one SQLite file beside the jobs: documents, chunks, vectors, entities, relations, clusters.

Plain methods that block: handlers call them in threads. Every write can be repeated without harm, because a job may run again.
Does not belong here: how any of it is found out.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from handlers.files import opened
from handlers.pieces import Document, Mention, Piece, Relation

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, path TEXT NOT NULL, title TEXT NOT NULL, content_hash TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunk (
    id TEXT PRIMARY KEY, document TEXT NOT NULL REFERENCES document ON DELETE CASCADE,
    position INTEGER NOT NULL, heading TEXT NOT NULL, text TEXT NOT NULL, hash TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunk_of ON chunk (document, position);
CREATE TABLE IF NOT EXISTS vector (model TEXT, hash TEXT, vector BLOB NOT NULL, PRIMARY KEY (model, hash)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mention (
    entity TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, times INTEGER NOT NULL,
    chunk TEXT NOT NULL REFERENCES chunk ON DELETE CASCADE, PRIMARY KEY (entity, chunk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mention_in ON mention (chunk);
CREATE TABLE IF NOT EXISTS relation (
    source TEXT NOT NULL, label TEXT NOT NULL, target TEXT NOT NULL,
    chunk TEXT NOT NULL REFERENCES chunk ON DELETE CASCADE, PRIMARY KEY (source, label, target, chunk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS relation_in ON relation (chunk);
CREATE TABLE IF NOT EXISTS cluster (
    chunk TEXT PRIMARY KEY REFERENCES chunk ON DELETE CASCADE, number INTEGER NOT NULL, label TEXT NOT NULL
) WITHOUT ROWID;
"""
_MOST_IN_ONE = 500


class Corpus:
    """One file, one connection, one thread at a time."""

    def __init__(self, path: str | Path) -> None:
        self._guard = threading.Lock()
        self._db = opened(path, _SCHEMA, isolation_level=None)

    def close(self) -> None:
        with self._guard:
            self._db.close()

    # -- documents

    def document(self, document_id: str) -> Document | None:
        rows = self._rows("SELECT id, owner, path, title, content_hash FROM document WHERE id = ?", (document_id,))
        return Document(*rows[0]) if rows else None

    def documents(self, owner: str) -> list[Document]:
        return [
            Document(*row)
            for row in self._rows("SELECT id, owner, path, title, content_hash FROM document WHERE owner = ? ORDER BY path", (owner,))
        ]

    def put(self, document: Document, pieces: Sequence[Piece]) -> None:
        """Keep a document with its pieces in place of what was kept of it; what was known of pieces that stayed the same stays."""
        with self._guard, closing(self._begun()) as db:
            kept = {row[0] for row in db.execute("SELECT id FROM chunk WHERE document = ?", (document.id,))}
            db.execute(
                "INSERT INTO document VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET title = excluded.title, content_hash = excluded.content_hash",
                (document.id, document.owner, document.path, document.title, document.content_hash),
            )
            db.executemany("DELETE FROM chunk WHERE id = ?", [(one,) for one in kept - {piece.id for piece in pieces}])
            db.executemany(
                "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET position = excluded.position, heading = excluded.heading",
                [(one.id, one.document, one.position, one.heading, one.text, one.hash) for one in pieces],
            )
            db.execute("COMMIT")

    def pieces(self, owner: str, document_id: str | None = None) -> list[Piece]:
        """An owner's chunks, or those of one document, in the order of the text."""
        return [
            Piece(*row)
            for row in self._rows(
                "SELECT chunk.id, document, position, heading, text, hash FROM chunk JOIN document ON document.id = document"
                " WHERE owner = ? AND (? IS NULL OR document = ?) ORDER BY path, position",
                (owner, document_id, document_id),
            )
        ]

    # -- vectors

    def vectors(self, model: str, hashes: Sequence[str]) -> dict[str, bytes]:
        """Those that are known, by the hash of their text."""
        found: dict[str, bytes] = {}
        for start in range(0, len(hashes), _MOST_IN_ONE):
            some = hashes[start : start + _MOST_IN_ONE]
            marks = ",".join("?" * len(some))
            found.update(self._rows(f"SELECT hash, vector FROM vector WHERE model = ? AND hash IN ({marks})", (model, *some)))
        return found

    def put_vectors(self, model: str, vectors: Mapping[str, bytes]) -> None:
        self._many("INSERT OR REPLACE INTO vector VALUES (?, ?, ?)", [(model, key, vector) for key, vector in vectors.items()])

    def drop_vectors(self, *, but: str) -> int:
        """Forget what other models than ``but`` made of chunks; returns how many vectors that were."""
        with self._guard, closing(self._begun()) as db:
            gone = db.execute("DELETE FROM vector WHERE model <> ? AND hash IN (SELECT hash FROM chunk)", (but,)).rowcount
            db.execute("COMMIT")
        return gone

    # -- entities

    def put_found(self, chunk: str, mentions: Iterable[Mention], relations: Iterable[Relation]) -> None:
        """Keep what a chunk names, in place of what was kept of it."""
        with self._guard, closing(self._begun()) as db:
            db.execute("DELETE FROM mention WHERE chunk = ?", (chunk,))
            db.execute("DELETE FROM relation WHERE chunk = ?", (chunk,))
            db.executemany(
                "INSERT OR REPLACE INTO mention VALUES (?, ?, ?, ?, ?)",
                [(one.entity, one.name, one.kind, one.times, chunk) for one in mentions],
            )
            db.executemany(
                "INSERT OR REPLACE INTO relation VALUES (?, ?, ?, ?)", [(one.source, one.label, one.target, chunk) for one in relations]
            )
            db.execute("COMMIT")

    def entities(self, owner: str) -> list[tuple[str, str, int]]:
        """``(name, kind, times)`` of an owner's entities, the most frequent first."""
        return self._rows(
            "SELECT name, kind, sum(times) AS total FROM mention JOIN chunk ON chunk.id = chunk JOIN document ON document.id = document"
            " WHERE owner = ? GROUP BY entity ORDER BY total DESC, entity",
            (owner,),
        )

    def named_in(self, document_id: str) -> list[tuple[str, int]]:
        """``(name, times)`` of the entities of one document, the most frequent first."""
        return self._rows(
            "SELECT name, sum(times) AS total FROM mention JOIN chunk ON chunk.id = chunk WHERE document = ?"
            " GROUP BY entity ORDER BY total DESC, entity",
            (document_id,),
        )

    def relations(self, owner: str) -> list[tuple[str, str, str, int]]:
        """``(source, label, target, chunks)`` of an owner's relations, the most frequent first."""
        return self._rows(
            "SELECT source, label, target, count(*) AS total FROM relation JOIN chunk ON chunk.id = chunk"
            " JOIN document ON document.id = document WHERE owner = ? GROUP BY 1, 2, 3 ORDER BY total DESC, 1, 2, 3",
            (owner,),
        )

    # -- clusters

    def put_clusters(self, owner: str, clusters: Iterable[tuple[str, int, str]]) -> None:
        """Keep an owner's ``(chunk, number, label)``, in place of all kept before."""
        with self._guard, closing(self._begun()) as db:
            db.execute(
                "DELETE FROM cluster WHERE chunk IN (SELECT chunk.id FROM chunk JOIN document ON document.id = document WHERE owner = ?)",
                (owner,),
            )
            db.executemany("INSERT OR REPLACE INTO cluster VALUES (?, ?, ?)", list(clusters))
            db.execute("COMMIT")

    def clusters(self, owner: str) -> list[tuple[int, str, int]]:
        """``(number, label, chunks)`` of an owner's clusters, the largest first."""
        return self._rows(
            "SELECT number, label, count(*) AS total FROM cluster JOIN chunk ON chunk.id = chunk JOIN document ON document.id = document"
            " WHERE owner = ? GROUP BY number ORDER BY total DESC, number",
            (owner,),
        )

    # -- how

    def _rows(self, statement: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]  # as the statement has them
        with self._guard:
            return self._db.execute(statement, values).fetchall()

    def _many(self, statement: str, rows: list[tuple]) -> None:  # type: ignore[type-arg]
        with self._guard, closing(self._begun()) as db:
            db.executemany(statement, rows)
            db.execute("COMMIT")

    def _begun(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    """Begun when made; rolled back when closed before its ``COMMIT``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.execute = db.execute
        self.executemany = db.executemany
        db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


class Corpora:
    """The open corpora of this process, one a file; handlers ask for it by ``job.resource(Corpora)``."""

    def __init__(self) -> None:
        self._open: dict[str, Corpus] = {}
        self._guard = threading.Lock()

    def at(self, path: str) -> Corpus:
        """The corpus in the file ``path``, made if there is none."""
        with self._guard:
            if path not in self._open:
                self._open[path] = Corpus(path)
            return self._open[path]

    def close(self) -> None:
        for corpus in self._open.values():
            corpus.close()
        self._open.clear()
