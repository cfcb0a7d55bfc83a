"""Chunks that speak of the same, as groups with names.

Each chunk is linked to those closest in meaning; communities of that graph (Louvain's method, networkx) are the groups: how many there are
follows from the texts. A group is named by the words that it has and others have not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field

from handlers.corpus import Corpora
from handlers.embeddings import Embedder, matrix
from handlers.extras import needing
from handlers.meanings import corpora, embedded_pieces, embedder
from handlers.pieces import Piece
from scheduler import JobContext, Registry

CLUSTERING = "clustering"
_CLOSEST = 8
_BLOCK = 512
_WORDS = 3
_MOST_TOLD = 50

routes = Registry()
routes.resource(Embedder)(embedder)  # type: ignore[type-abstract]  # a port is looked up by its protocol
routes.resource(Corpora)(corpora)


class Clustering(BaseModel):
    """``alike``: the least cosine (0 to 1) that links two chunks."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    corpus: str = "corpus.db"
    alike: float = Field(0.3, gt=0.0, le=1.0)


@routes.handler(CLUSTERING, "corpus", payload=Clustering, timeout_s=float("inf"))
async def cluster(job: JobContext, payload: Clustering) -> dict[str, Any]:
    """Returns ``cluster_count``, ``chunk_count`` and the largest ``clusters``: their names and sizes."""
    corpus = job.resource(Corpora).at(payload.corpus)
    by = job.resource(Embedder)  # type: ignore[type-abstract]
    owner = job.owner or ""
    found = await to_thread.run_sync(corpus.pieces, owner)
    job.progress(percent=10, message="embeddings")
    vectors = await embedded_pieces(corpus, by, found)
    job.progress(percent=40, message="grouping")
    groups = await to_thread.run_sync(communities, vectors, payload.alike)
    job.progress(percent=80, message="naming")
    names = await to_thread.run_sync(named, [[found[place] for place in group] for group in groups])
    rows = [(found[place].id, number, names[number]) for number, group in enumerate(groups) for place in group]
    await to_thread.run_sync(corpus.put_clusters, owner, rows)
    told = [{"name": names[number], "chunks": len(group)} for number, group in enumerate(groups[:_MOST_TOLD])]
    return {"cluster_count": len(groups), "chunk_count": len(found), "clusters": told}


def communities(vectors: Sequence[bytes], alike: float) -> list[list[int]]:
    """Places that belong together, the largest group first; whoever is like nobody is a group of one. Pure, and the same every time."""
    with needing("discovery"):
        import networkx
    whole = matrix(vectors)
    graph = networkx.Graph()
    graph.add_nodes_from(range(len(vectors)))
    for start in range(0, len(vectors), _BLOCK):
        likeness = whole[start : start + _BLOCK] @ whole.T
        for offset, row in enumerate(likeness):
            place = start + offset
            row[place] = -1.0
            near = [int(other) for other in row.argsort()[::-1][:_CLOSEST] if row[other] >= alike]
            graph.add_weighted_edges_from((place, other, float(row[other])) for other in near)
    found = networkx.community.louvain_communities(graph, weight="weight", seed=1) if len(vectors) else []
    return sorted((sorted(group) for group in found), key=lambda group: (-len(group), group))


def named(groups: Sequence[Sequence[Piece]]) -> list[str]:
    """A name for each group: its most telling words, those that it has more often than the others (TF-IDF over groups). Pure."""
    with needing("local"):
        from handlers.providers.words import is_telling, language_of, stem, stop_words, tokens
    counts: list[Counter[str]] = []
    spelt: dict[str, Counter[str]] = {}
    for group in groups:
        counted: Counter[str] = Counter()
        for piece in group:
            words = tokens(f"{piece.heading} {piece.heading} {piece.text}")
            language = language_of(words, piece.text)
            for word in words:
                if is_telling(word, stop_words(language)):
                    counted[stem(word, language)] += 1
                    spelt.setdefault(stem(word, language), Counter())[word.lower()] += 1
        counts.append(counted)
    spread = Counter(word for counted in counts for word in counted)
    names = []
    for counted in counts:
        weights = {word: (1 + math.log(count)) * math.log1p(len(groups) / spread[word]) for word, count in counted.items()}
        best = sorted(weights, key=lambda word: (-weights[word], word))[:_WORDS]
        names.append(", ".join(spelt[word].most_common(1)[0][0] for word in best) or "(without words)")
    return names
