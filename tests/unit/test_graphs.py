"""The graph in a file, and the statements that Neo4j gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import neo4j
import pytest

from handlers.graphs import COMPANY, PERSON, SHARES_TAGS, SIMILAR_TO, WORKS_AT, LocalGraph, Neo4jGraph, open_graph
from scheduler.errors import AIProviderError, AuthError, ConfigError
from tests.support.bolt_server import BoltServer


async def test_nodes_and_edges_are_merged_and_belong_to_their_owner(tmp_path: Path) -> None:
    graph = LocalGraph(str(tmp_path / "graph.db"))
    for _ in range(2):  # a job may run again
        await graph.put("ada", PERSON, [("a", {"name": "A"}), ("b", {}), ("c", {})])
        await graph.put("ada", COMPANY, [("company:x", {})])
        await graph.link("ada", WORKS_AT, [("a", "company:x", 1.0), ("b", "company:x", 1.0)])
        await graph.put("bob", PERSON, [("a", {}), ("z", {})])
        await graph.link("bob", SIMILAR_TO, [("a", "z", 0.9)])
    assert await graph.groups("ada") == [["a", "b"]]
    assert await graph.groups("bob") == [["a", "z"]]
    assert await graph.groups("nobody") == []
    await graph.unlink("ada", WORKS_AT)
    assert await graph.groups("ada") == []
    assert await graph.groups("bob") == [["a", "z"]]
    await graph.aclose()


async def test_a_graph_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = open_graph(str(tmp_path / "graph.db"))
    await first.put("ada", PERSON, [("a", {}), ("b", {})])
    await first.link("ada", SHARES_TAGS, [("a", "b", 0.5)])
    await first.aclose()
    again = LocalGraph(str(tmp_path / "graph.db"))
    edges = again.graph("ada").edges(data=True, keys=True)
    assert [(one, other, kind, data["weight"]) for one, other, kind, data in edges] == [("a", "b", SHARES_TAGS, 0.5)]
    await again.aclose()


class Driver:
    """Stands where the official driver would: keeps what it is asked to run, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.closed = False
        self._error = error

    async def execute_query(self, query: str, parameters: dict[str, Any], database_: str | None) -> Any:
        if self._error is not None:
            raise self._error
        self.ran.append((query, parameters))
        return neo4j.EagerResult([{"people": ["b", "a"]}], None, [])  # type: ignore[arg-type, list-item]

    async def close(self) -> None:
        self.closed = True


def on(driver: Driver) -> Neo4jGraph:
    return Neo4jGraph("bolt://127.0.0.1:1", driver)


async def test_neo4j_is_told_by_merges_with_the_owner_and_the_rows_as_parameters() -> None:
    driver = Driver()
    graph = on(driver)
    await graph.put("ada", PERSON, [("a", {"name": "A'; MATCH (n) DELETE n"})])
    await graph.link("ada", SIMILAR_TO, [("a", "b", 0.75)])
    await graph.unlink("ada", SIMILAR_TO)
    assert await graph.groups("ada") == [["a", "b"]]
    queries = [query for query, _ in driver.ran]
    assert "MERGE (n:Person {owner: $owner, id: row.id})" in queries[0]
    assert "MERGE (a)-[r:SIMILAR_TO]->(b) SET r.score = row.score" in queries[1]
    assert all(parameters["owner"] == "ada" for _, parameters in driver.ran)
    assert driver.ran[0][1]["rows"] == [{"id": "a", "properties": {"name": "A'; MATCH (n) DELETE n"}}]
    assert not any("DELETE n" in query for query in queries)
    await graph.aclose()
    assert driver.closed


async def test_a_label_or_a_kind_of_ones_own_is_no_way_into_a_statement() -> None:
    graph = on(Driver())
    with pytest.raises(ValueError, match="is none of"):
        await graph.put("ada", "Person) DETACH DELETE (n", [])


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (neo4j.exceptions.AuthError("no"), AuthError),
        (neo4j.exceptions.ServiceUnavailable("no"), AIProviderError),
        (neo4j.exceptions.TransientError("no"), AIProviderError),
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
async def test_what_the_driver_raises_is_told_in_the_schedulers_words(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await on(Driver(raised)).groups("ada")


async def test_the_official_driver_sends_it_all_over_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    async with BoltServer("secret", ("people",), ((["b", "a"],), (["c", "d"],))).running() as server:
        graph = open_graph(server.url)
        await graph.put("ada", PERSON, [("a", {"name": "Ann O'Hara \u2603", "age": 300, "known": True})])
        await graph.link("ada", SIMILAR_TO, [("a", "b", 0.75)])
        await graph.unlink("ada", SIMILAR_TO)
        assert await graph.groups("ada") == [["a", "b"], ["c", "d"]]
        await graph.aclose()
    statements = [statement.split("(")[0].strip() for statement, _ in server.ran]
    assert statements == ["UNWIND $rows AS row MERGE", "UNWIND $rows AS row MATCH", "MATCH", "MATCH"]
    assert server.ran[0][1] == {
        "owner": "ada",
        "rows": [{"id": "a", "properties": {"name": "Ann O'Hara \u2603", "age": 300, "known": True}}],
    }
    assert server.ran[1][1]["rows"] == [{"source": "a", "target": "b", "score": 0.75}]


async def test_a_server_that_refuses_is_told_apart_from_one_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_PASSWORD", "wrong")
    async with BoltServer("secret").running() as server:
        graph = open_graph(server.url)
        with pytest.raises(AuthError, match="NEO4J_PASSWORD"):
            await graph.groups("ada")
        await graph.aclose()
    async with BoltServer().running() as server:
        server.refuse = "Neo.TransientError.General.DatabaseUnavailable"
        graph = open_graph(server.url)
        with pytest.raises(AIProviderError, match="Neo4j"):
            await graph.put("ada", PERSON, [("a", {})])
        assert server.ran == []
        await graph.aclose()


async def test_a_real_driver_without_a_server_says_so_and_is_worth_another_try() -> None:
    graph = open_graph("bolt://127.0.0.1:1")
    with pytest.raises(AIProviderError, match="Neo4j"):
        await graph.groups("ada")
    await graph.aclose()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="bolt://"):
        open_graph("http://localhost")
