"""Entities and relations out of a document's chunks: who and what is named, and what is said of two of them.

The provider answers chunk by chunk; what it says of a chunk replaces what was kept of that chunk, so that a job may run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio
from anyio import to_thread
from pydantic import BaseModel, ConfigDict

from handlers.corpus import Corpora
from handlers.enrichment import POOL, prompt, provider
from handlers.meanings import corpora
from handlers.pieces import Mention, Piece, Relation
from handlers.providers import DOCUMENT, Entities, Provider, Question, Subject
from scheduler import Chunk, InvalidOutputError, ItemFailed, JobContext, ProviderRefusedError, Registry, Resources
from scheduler.errors import AuthError

EXTRACTION = "extraction"
_CHUNK = 10
_MOST_NAME_CHARS = 200

routes = Registry()
routes.resource(Provider)(provider)  # type: ignore[type-abstract]  # a port is looked up by its protocol
routes.resource(Corpora)(corpora)


class Extraction(BaseModel):
    """``document``: the id of one that is in ``corpus``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    document: str
    corpus: str = "corpus.db"
    content_hash: str = ""


def _depends_on(payload: Mapping[str, Any], resources: Resources) -> list[str]:
    who = resources.get(Provider)  # type: ignore[type-abstract]
    return [str(payload.get("content_hash", "")), who.model, prompt("entities").version, str(payload.get("corpus", ""))]


@routes.handler(EXTRACTION, "document", payload=Extraction, pool=POOL, freshness=_depends_on)
async def extract(job: JobContext, payload: Extraction) -> dict[str, Any]:
    """Returns ``entity_count``, ``relationship_count``, ``chunk_count`` and the most frequent ``entities``.

    Raises ``ItemsFailedError`` for chunks that no answer came for.
    """
    corpus = job.resource(Corpora).at(payload.corpus)
    found = await to_thread.run_sync(corpus.pieces, job.owner or "", payload.document)

    async def work(chunk: Chunk) -> list[Any]:
        outcomes: list[Any] = [None] * len(chunk)

        async def one(place: int) -> None:
            outcomes[place] = await _asked(job, corpus, chunk.items[place])

        async with anyio.create_task_group() as beside:
            for place in range(len(chunk)):
                beside.start_soon(one, place)
        told = [outcome for outcome in outcomes if isinstance(outcome, list)]
        chunk.count(mentions=sum(one[0] for one in told), relations=sum(one[1] for one in told))
        return outcomes

    report = await job.chunks(found, work, size=_CHUNK, name=f"pieces {payload.content_hash[:12]}", key=lambda piece: piece.id)
    known = await to_thread.run_sync(corpus.named_in, payload.document)
    return {
        "entity_count": len(known),
        "relationship_count": int(report.counters.get("relations", 0)),
        "chunk_count": report.total,
        "entities": [name for name, _ in known[:20]],
    }


async def _asked(job: JobContext, corpus: Any, piece: Piece) -> list[int] | ItemFailed:
    """Ask of one chunk and keep the answer; returns how many mentions and relations it holds."""
    who = job.resource(Provider)  # type: ignore[type-abstract]
    question = Question(Subject(DOCUMENT, piece.heading, piece.text), Entities, prompt("entities").text)
    try:
        answer = await who.ask(question, job.pool)
    except AuthError:
        raise  # wrong for every chunk
    except (ProviderRefusedError, InvalidOutputError) as error:
        return ItemFailed(f"{error.reason}: {error}")
    mentions, relations = read_answer(answer, piece.text)
    await to_thread.run_sync(corpus.put_found, piece.id, mentions, relations)
    return [len(mentions), len(relations)]


def read_answer(answer: Entities, text: str) -> tuple[list[Mention], list[Relation]]:
    """What is kept of an answer. Pure: names that the text does not have are made up and left out, relations need both ends."""
    lower = " ".join(text.casefold().split())
    kinds: dict[str, tuple[str, str]] = {}
    for entity in answer.entities:
        name = " ".join(entity.name.split())[:_MOST_NAME_CHARS]
        if name and name.casefold() in lower:
            kinds.setdefault(name.casefold(), (name, " ".join(entity.kind.split()).lower()[:40] or "thing"))
    mentions = [Mention(key, name, kind, max(1, lower.count(key))) for key, (name, kind) in kinds.items()]
    said: Counter[Relation] = Counter()
    for relation in answer.relations:
        source, target = (" ".join(end.split()).casefold()[:_MOST_NAME_CHARS] for end in (relation.source, relation.target))
        label = " ".join(relation.label.split()).lower()[:80]
        if source in kinds and target in kinds and source != target and label:
            said[Relation(source, label, target)] += 1
    return mentions, list(said)
