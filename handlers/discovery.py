"""Who among a person's contacts belongs with whom: four phases, from what is certain to what is likely.

Contacts go into a graph; e-mail domains tell companies; what people do, compared by meaning, tells who is alike; common tags tell
the rest. Each phase is a pass with a ledger, so an attempt that ends early costs the chunk in flight. Does not belong here: what
rows mean (``people.py``), graphs (``graphs.py``), meanings (``embeddings.py``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field

from handlers.corpus import Corpora
from handlers.embeddings import Embedder, matrix
from handlers.graphs import COMPANY, PERSON, SHARES_TAGS, SIMILAR_TO, WORKS_AT, Graph, open_graph
from handlers.meanings import corpora, embedded, embedder
from handlers.people import Person, companies, people, shared_tags
from handlers.tables import Row, read_table, refuse_changed
from scheduler import Chunk, JobContext, Registry
from scheduler.clock import Clock, SystemClock

DISCOVER = "discover_relationships"
#: The parts of the whole, in percent.
SYNC, COMPANIES, MEANINGS, ALIKE, TAGS = (0.0, 30.0), (30.0, 40.0), (40.0, 65.0), (65.0, 90.0), (90.0, 100.0)
_SYNC_CHUNK, _TEXT_CHUNK, _ALIKE_CHUNK, _LINK_CHUNK = 100, 64, 128, 500
_CLOSEST = 5
_MOST_ERRORS = 100
_MOST_GROUPS = 10

routes = Registry()
routes.resource(Embedder)(embedder)  # type: ignore[type-abstract]  # a port is looked up by its protocol
routes.resource(Corpora)(corpora)


@routes.resource(Clock)  # type: ignore[type-abstract]
def clock(settings: Any) -> Clock:
    """What durations in results are told by."""
    return SystemClock()


class Discovery(BaseModel):
    """``contacts`` is the path of a CSV or JSON file, or the rows. ``graph`` is a file, or the address of a Neo4j server;
    ``corpus`` the file that keeps vectors, so that a text is embedded once. People whose profiles are at least
    ``alike`` (the cosine, 0 to 1) are linked. With ``content_hash`` (of ``tables.content_hash``) a file that changed is refused.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    contacts: str | list[Row]
    content_hash: str = ""
    graph: str = "graph.db"
    corpus: str = "corpus.db"
    alike: float = Field(0.4, gt=0.0, le=1.0)


@routes.handler(DISCOVER, payload=Discovery, timeout_s=float("inf"))
async def discover(job: JobContext, payload: Discovery) -> dict[str, Any]:
    """Returns counts, the groups that were found, ``duration`` in milliseconds from the first attempt on, and the rows that were wrong."""
    time = job.resource(Clock)  # type: ignore[type-abstract]
    if job.state is None:
        await job.checkpoint({"began": time.now()})
    everybody, errors = await to_thread.run_sync(_contacts, payload)
    graph = await to_thread.run_sync(open_graph, payload.graph)
    try:
        work = _Discovery(job, payload, everybody, graph)
        await work.sync()
        companies_found = await work.companies()
        similar = await work.meanings()
        tagged = await work.tags()
        groups = await work.groups()
    finally:
        with anyio.CancelScope(shield=True):
            await graph.aclose()
    return {
        "userId": job.owner,
        "totalContacts": len(everybody),
        "companiesFound": companies_found,
        "similarityRelationships": similar,
        "tagRelationships": tagged,
        "groups": groups,
        "duration": round(1000 * max(0.0, time.now() - job.state["began"])),
        "errors": errors[:_MOST_ERRORS] + ([f"and {len(errors) - _MOST_ERRORS} more"] if len(errors) > _MOST_ERRORS else []),
    }


class _Discovery:
    """One job's phases."""

    def __init__(self, job: JobContext, payload: Discovery, everybody: list[Person], graph: Graph) -> None:
        self.job = job
        self.everybody = everybody
        self.graph = graph
        self.owner = job.owner or ""
        self.alike = payload.alike
        self.corpus = job.resource(Corpora).at(payload.corpus)
        self.embedder = job.resource(Embedder)  # type: ignore[type-abstract]

    async def sync(self) -> None:
        """The contacts themselves, in place of what an earlier discovery found of them."""

        async def put(chunk: Chunk) -> None:
            if chunk.first == 0:
                for kind in (WORKS_AT, SIMILAR_TO, SHARES_TAGS):
                    await self.graph.unlink(self.owner, kind)
            await self.graph.put(self.owner, PERSON, [(one.id, _properties(one)) for one in chunk.items])

        await self.job.chunks(self.everybody, put, size=_SYNC_CHUNK, name="sync", key=_id, span=SYNC)

    async def companies(self) -> int:
        found = await to_thread.run_sync(companies, self.everybody)

        async def link(chunk: Chunk) -> None:
            await self.graph.put(
                self.owner, COMPANY, [(f"company:{one.domain}", {"name": one.name, "domain": one.domain}) for one in chunk.items]
            )
            await self.graph.link(
                self.owner, WORKS_AT, [(person, f"company:{one.domain}", 1.0) for one in chunk.items for person in one.people]
            )
            chunk.count(companies=len(chunk))

        await self.job.chunks(found, link, size=_SYNC_CHUNK, name="companies", key=lambda one: one.domain, span=COMPANIES)
        return len(found)

    async def meanings(self) -> int:
        """Vectors first, each kept as soon as it is known; then everybody beside everybody."""
        with_profile = [person for person in self.everybody if person.profile]

        async def embed(chunk: Chunk) -> None:
            await embedded(self.corpus, self.embedder, [person.profile for person in chunk.items])

        await self.job.chunks(with_profile, embed, size=_TEXT_CHUNK, name="meanings", key=_id, span=MEANINGS)
        vectors = await embedded(self.corpus, self.embedder, [person.profile for person in with_profile])

        async def compare(chunk: Chunk) -> None:
            edges = await to_thread.run_sync(_closest, with_profile, vectors, chunk.positions, self.alike)
            await self.graph.link(self.owner, SIMILAR_TO, edges)
            chunk.count(similar=len(edges))

        report = await self.job.chunks(with_profile, compare, size=_ALIKE_CHUNK, name="alike", key=_id, span=ALIKE)
        return int(report.counters.get("similar", 0))

    async def tags(self) -> int:
        pairs = await to_thread.run_sync(shared_tags, self.everybody)

        async def link(chunk: Chunk) -> None:
            await self.graph.link(self.owner, SHARES_TAGS, chunk.items)

        await self.job.chunks(pairs, link, size=_LINK_CHUNK, name="tags", key=lambda pair: f"{pair[0]} {pair[1]}", span=TAGS)
        return len(pairs)

    async def groups(self) -> list[dict[str, Any]]:
        """The largest groups, with what most of them have in common."""
        known = {person.id: person for person in self.everybody}
        found = [[known[one] for one in group if one in known] for group in await self.graph.groups(self.owner)]
        return [{"about": _common(some), "people": len(some)} for some in found[:_MOST_GROUPS] if len(some) > 1]


def _contacts(payload: Discovery) -> tuple[list[Person], list[str]]:
    refuse_changed(payload.content_hash, payload.contacts)
    return people(read_table(payload.contacts) if isinstance(payload.contacts, str) else payload.contacts)


def _closest(everybody: list[Person], vectors: list[bytes], positions: list[int], alike: float) -> list[tuple[str, str, float]]:
    """The closest five to each person at ``positions``, if they are close enough; of a pair, the first's edge, so that it counts once.

    Runs in a thread: a matrix of all against some.
    """
    whole = matrix(vectors)
    likeness = whole[positions] @ whole.T
    edges = []
    for row, place in zip(likeness, positions, strict=True):
        row[place] = -1.0
        near = [int(other) for other in row.argsort()[::-1][:_CLOSEST] if row[other] >= alike]
        # A pair that finds each other is told by who stands first; one that only the later finds, by that one.
        told = [other for other in near if place < other or not _finds(whole, other, place, alike)]
        edges += [(everybody[min(place, other)].id, everybody[max(place, other)].id, round(float(row[other]), 4)) for other in told]
    return edges


def _finds(whole: Any, place: int, other: int, alike: float) -> bool:
    """Whether ``other`` is among the closest to ``place``."""
    row = whole @ whole[place]
    row[place] = -1.0
    return bool(row[other] >= alike and other in row.argsort()[::-1][:_CLOSEST])


def _common(some: list[Person]) -> str:
    counts: Counter[str] = Counter(tag for person in some for tag in person.tags)
    counts.update(person.company for person in some if person.company)
    best = counts.most_common(1)
    return best[0][0] if best and best[0][1] > 1 else ""


def _properties(person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "email": person.email,
        "company": person.company,
        "title": person.title,
        "notes": person.notes[:2_000],
        "tags": sorted(person.tags),
    }


def _id(person: Person) -> str:
    return person.id
