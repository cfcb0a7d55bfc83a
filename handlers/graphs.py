"""The graph of who belongs with whom, behind a port small enough for a file and for Neo4j.

``LocalGraph`` keeps nodes and edges in SQLite and thinks in networkx; ``Neo4jGraph`` (extra ``neo4j``) writes the same through the
official driver. Everything carries its owner, and nobody sees another's. Writes are merges: repeating one changes nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from anyio import to_thread

from handlers.extras import needing
from handlers.files import opened
from scheduler.errors import AIProviderError, AuthError, ConfigError
from scheduler.values import encode_json

PERSON, COMPANY = "Person", "Company"
WORKS_AT, SIMILAR_TO, SHARES_TAGS = "WORKS_AT", "SIMILAR_TO", "SHARES_TAGS"
#: What a query may be put together from: names of labels and types cannot be parameters.
_LABELS, _KINDS = frozenset({PERSON, COMPANY}), frozenset({WORKS_AT, SIMILAR_TO, SHARES_TAGS})

_SCHEMA = """
CREATE TABLE IF NOT EXISTS node (
    owner TEXT, label TEXT, id TEXT, properties TEXT NOT NULL, PRIMARY KEY (owner, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS edge (
    owner TEXT, kind TEXT, source TEXT, target TEXT, score REAL NOT NULL, PRIMARY KEY (owner, kind, source, target)
) WITHOUT ROWID;
"""

#: ``(id, properties)`` and ``(from, to, score)``.
Node = tuple[str, Mapping[str, Any]]
Edge = tuple[str, str, float]


class Graph(Protocol):
    """Where relationships are kept."""

    async def put(self, owner: str, label: str, nodes: Sequence[Node]) -> None:
        """Make or update nodes."""
        ...

    async def link(self, owner: str, kind: str, edges: Sequence[Edge]) -> None:
        """Make or update edges between nodes that are there."""
        ...

    async def unlink(self, owner: str, kind: str) -> None:
        """Remove all of an owner's edges of a kind: what an earlier discovery found."""
        ...

    async def groups(self, owner: str) -> list[list[str]]:
        """Ids of people who belong together, the largest group first; nobody alone."""
        ...

    async def aclose(self) -> None: ...


def open_graph(place: str) -> Graph:
    """The graph at a file's path, or at a ``bolt://`` or ``neo4j://`` address. Raises ``ConfigError``."""
    if "://" not in place:
        return LocalGraph(place)
    if not place.startswith(("bolt", "neo4j")):
        raise ConfigError(f"graph {place!r}: name a file, or an address that begins with bolt:// or neo4j://")
    return Neo4jGraph(place)


class LocalGraph:
    """A SQLite file; ``networkx`` finds the groups in it."""

    def __init__(self, path: str) -> None:
        self._guard = threading.Lock()
        self._db = opened(path, _SCHEMA)

    async def put(self, owner: str, label: str, nodes: Sequence[Node]) -> None:
        rows = [(owner, label, key, _json(properties)) for key, properties in nodes]
        await self._write("INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?)", rows)

    async def link(self, owner: str, kind: str, edges: Sequence[Edge]) -> None:
        await self._write("INSERT OR REPLACE INTO edge VALUES (?, ?, ?, ?, ?)", [(owner, kind, *edge) for edge in edges])

    async def unlink(self, owner: str, kind: str) -> None:
        await self._write("DELETE FROM edge WHERE owner = ? AND kind = ?", [(owner, kind)])

    async def groups(self, owner: str) -> list[list[str]]:
        return await to_thread.run_sync(self._groups, owner)

    async def aclose(self) -> None:
        with self._guard:
            self._db.close()

    def graph(self, owner: str) -> Any:
        """An owner's whole graph as a ``networkx.MultiGraph``; blocks."""
        with needing("discovery"):
            import networkx
        found = networkx.MultiGraph()
        with self._guard:
            for key, label in self._db.execute("SELECT id, label FROM node WHERE owner = ? ORDER BY id", (owner,)):
                found.add_node(key, label=label)
            edges = self._db.execute("SELECT source, target, kind, score FROM edge WHERE owner = ? ORDER BY 1, 2, 3", (owner,)).fetchall()
        for source, target, kind, score in edges:
            if source in found and target in found:  # a node may be another discovery's to remove
                found.add_edge(source, target, key=kind, weight=score)
        return found

    def _groups(self, owner: str) -> list[list[str]]:
        import networkx

        graph = self.graph(owner)
        people = [key for key, label in graph.nodes(data="label") if label == PERSON]
        found = networkx.community.louvain_communities(graph, weight="weight", seed=1) if graph.number_of_edges() else []
        groups = [sorted(set(one).intersection(people)) for one in found]
        return sorted((one for one in groups if len(one) > 1), key=lambda one: (-len(one), one))

    async def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        def write() -> None:
            with self._guard, self._db:
                self._db.executemany(statement, rows)

        await to_thread.run_sync(write)


class Neo4jGraph:
    """A Neo4j database. The user and the password are in ``NEO4J_USERNAME`` and ``NEO4J_PASSWORD``, as its own tools have it."""

    def __init__(self, address: str, driver: Any = None) -> None:
        with needing("neo4j"):
            import neo4j
        user, password = os.environ.get("NEO4J_USERNAME", "neo4j"), os.environ.get("NEO4J_PASSWORD", "")
        self._neo4j = neo4j
        self._database = os.environ.get("NEO4J_DATABASE")
        try:  # it does not try again by itself: the scheduler does, and knows of the other jobs
            self._driver = driver or neo4j.AsyncGraphDatabase.driver(
                address, auth=(user, password) if password else None, max_transaction_retry_time=0
            )
        except (neo4j.exceptions.ConfigurationError, ValueError) as error:
            raise ConfigError(f"graph {address!r}: {error}") from error

    async def put(self, owner: str, label: str, nodes: Sequence[Node]) -> None:
        rows = [{"id": key, "properties": dict(properties)} for key, properties in nodes]
        await self._run(
            f"UNWIND $rows AS row MERGE (n:{_known(label, _LABELS)} {{owner: $owner, id: row.id}}) SET n += row.properties",
            owner,
            rows=rows,
        )

    async def link(self, owner: str, kind: str, edges: Sequence[Edge]) -> None:
        rows = [{"source": source, "target": target, "score": score} for source, target, score in edges]
        await self._run(
            "UNWIND $rows AS row MATCH (a {owner: $owner, id: row.source}), (b {owner: $owner, id: row.target}) "
            f"MERGE (a)-[r:{_known(kind, _KINDS)}]->(b) SET r.score = row.score",
            owner,
            rows=rows,
        )

    async def unlink(self, owner: str, kind: str) -> None:
        await self._run(f"MATCH ({{owner: $owner}})-[r:{_known(kind, _KINDS)}]->() DELETE r", owner)

    async def groups(self, owner: str) -> list[list[str]]:
        """People at one company: finding communities is the Graph Data Science library's, which not every server has."""
        records = await self._run(
            f"MATCH (p:{PERSON} {{owner: $owner}})-[:{WORKS_AT}]->(c:{COMPANY}) WITH c, collect(p.id) AS people "
            "WHERE size(people) > 1 RETURN people ORDER BY size(people) DESC, c.id",
            owner,
        )
        return [sorted(record["people"]) for record in records]

    async def aclose(self) -> None:
        await self._driver.close()

    async def _run(self, query: str, owner: str, **parameters: Any) -> list[Any]:
        """One statement, one transaction. Raises ``AuthError``, or ``AIProviderError`` for a server that cannot be reached just now."""
        errors = self._neo4j.exceptions
        try:
            return (
                await self._driver.execute_query(query, {"owner": owner, **parameters}, database_=os.environ.get("NEO4J_DATABASE"))
            ).records
        except errors.AuthError as error:
            raise AuthError(f"Neo4j refused the user or the password: set NEO4J_USERNAME and NEO4J_PASSWORD ({error.code})") from error
        except (errors.DriverError, errors.TransientError) as error:
            raise AIProviderError(f"Neo4j: {error}") from error


def _known(name: str, names: frozenset[str]) -> str:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(sorted(names))}")
    return name


def _json(properties: Mapping[str, Any]) -> str:
    return encode_json(dict(properties), "properties")
