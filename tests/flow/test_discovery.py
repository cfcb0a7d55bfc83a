"""Discovery through the real engine: what is found, whose it is, how far it says it is, what an interruption costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from handlers.discovery import DISCOVER, routes
from handlers.embeddings import Embedder, LocalEmbedder
from handlers.graphs import PERSON, SIMILAR_TO, LocalGraph
from handlers.people import people
from scheduler import Job, RateLimitError, Status
from scheduler.events import JobProgressed
from tests.support.acquaintances import acquaintances, write_contacts
from tests.support.engine import Engine, engine
from tests.support.virtual_time import in_virtual_time

ROWS = acquaintances(60)
TRADE = {row["email"]: row["trade"] for row in ROWS}
EMBEDDER = LocalEmbedder()


class Slow:
    """The real model, one second a call; ``texts`` counts what it was asked, ``trouble`` may raise instead of the nth call."""

    model = EMBEDDER.model

    def __init__(self, trouble: dict[int, Exception] | None = None) -> None:
        self.texts = 0
        self.calls = 0
        self.trouble = trouble or {}

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.calls += 1
        if error := self.trouble.pop(self.calls, None):
            raise error
        await anyio.sleep(1.0)
        self.texts += len(texts)
        return await EMBEDDER.embed(texts)

    async def aclose(self) -> None:
        """The model stays loaded for the next test."""


def payload(folder: Path, rows: list[dict[str, str]] | str = ROWS, **more: Any) -> dict[str, Any]:
    return {"contacts": rows, "graph": str(folder / "graph.db"), "corpus": str(folder / "corpus.db"), **more}


async def discovered(at: Engine, made: dict[str, Any], owner: str | None = "ada", slow: Slow | None = None) -> Job:
    at.scheduler.resources.put(Embedder, slow or Slow())  # type: ignore[type-abstract]
    receipt = await at.scheduler.enqueue(DISCOVER, payload=made, owner=owner)
    await at.scheduler.run(until_empty=True)
    return await at.job(receipt.job_id)


@in_virtual_time
async def test_the_result_has_what_the_seed_promises(store: str, tmp_path: Path) -> None:
    async with engine(routes, store) as at:
        job = await discovered(at, payload(tmp_path))
    result = job.result
    assert job.status is Status.COMPLETED
    assert (result["userId"], result["totalContacts"], result["companiesFound"], result["errors"]) == ("ada", 60, 4, [])
    assert result["similarityRelationships"] > 30
    assert result["tagRelationships"] > 30
    assert result["duration"] >= 0
    assert {group["about"] for group in result["groups"]}


@in_virtual_time
async def test_those_who_do_alike_things_are_linked_and_others_are_not(tmp_path: Path) -> None:
    async with engine(routes) as at:
        job = await discovered(at, payload(tmp_path))
    graph = LocalGraph(str(tmp_path / "graph.db"))
    edges = [(one, other) for one, other, kind in graph.graph("ada").edges(keys=True) if kind == SIMILAR_TO]
    await graph.aclose()
    assert len(edges) == job.result["similarityRelationships"], "each pair counts once"
    assert all(TRADE[one] == TRADE[other] for one, other in edges)


@in_virtual_time
async def test_progress_goes_through_the_four_phases(tmp_path: Path) -> None:
    seen: list[float] = []
    async with engine(routes) as at:
        at.scheduler.events.subscribe(lambda event: seen.append(event.progress.percent), JobProgressed)  # type: ignore[attr-defined]
        job = await discovered(at, payload(tmp_path))
    assert seen == sorted(seen)
    assert job.progress is not None
    assert job.progress.percent == 100.0


@in_virtual_time
async def test_a_rate_limit_costs_no_embedding_twice(sqlite: str, tmp_path: Path) -> None:
    rows = acquaintances(400)
    for number, row in enumerate(rows):
        row["notes"] += f" in district {number}"
    slow = Slow({4: RateLimitError(retry_after_s=20)})
    async with engine(routes, sqlite) as at:
        job = await discovered(at, payload(tmp_path, rows), slow=slow)
        assert at.history.names(job.job_id).count("job.rate_limited") == 1
    assert job.status is Status.COMPLETED
    assert slow.texts == len({person.profile for person in people(rows)[0]})


@in_virtual_time
async def test_a_second_discovery_embeds_only_what_is_new_and_forgets_what_is_gone(tmp_path: Path) -> None:
    async with engine(routes) as at:
        first = await discovered(at, payload(tmp_path))
        slow = Slow()
        second = await discovered(at, payload(tmp_path, ROWS[:30]), slow=slow)
    assert slow.texts == 0
    assert second.result["similarityRelationships"] < first.result["similarityRelationships"]
    graph = LocalGraph(str(tmp_path / "graph.db"))
    kept = [kind for _, _, kind in graph.graph("ada").edges(keys=True) if kind == SIMILAR_TO]
    await graph.aclose()
    assert len(kept) == second.result["similarityRelationships"]


@in_virtual_time
async def test_one_owners_discovery_leaves_anothers_graph_alone(tmp_path: Path) -> None:
    async with engine(routes) as at:
        await discovered(at, payload(tmp_path), owner="ada")
        job = await discovered(at, payload(tmp_path, ROWS[:10]), owner="bob")
        assert await at.scheduler.get(job.job_id, owner="ada") is None, "a foreign job looks like a missing one"
    graph = LocalGraph(str(tmp_path / "graph.db"))
    counts = {owner: sum(label == PERSON for _, label in graph.graph(owner).nodes(data="label")) for owner in ("ada", "bob")}
    await graph.aclose()
    assert counts == {"ada": 60, "bob": 10}


@in_virtual_time
async def test_wrong_rows_are_told_and_cost_only_themselves(tmp_path: Path) -> None:
    rows = [*ROWS[:4], {"name": "", "email": ""}, {"name": "X", "email": "nonsense"}]
    path = write_contacts(tmp_path / "contacts.csv", [{**ROWS[0], **row} for row in rows])
    async with engine(routes) as at:
        job = await discovered(at, payload(tmp_path, str(path)))
    assert job.status is Status.COMPLETED
    assert (job.result["totalContacts"], len(job.result["errors"])) == (5, 2)


@pytest.mark.parametrize("rows", [[], [{"name": "Only One"}]], ids=["nobody", "one"])
@in_virtual_time
async def test_few_contacts_have_few_relationships(rows: list[dict[str, str]], tmp_path: Path) -> None:
    async with engine(routes) as at:
        job = await discovered(at, payload(tmp_path, rows), owner=None)
    assert job.status is Status.COMPLETED
    assert (job.result["totalContacts"], job.result["similarityRelationships"], job.result["userId"]) == (len(rows), 0, None)
