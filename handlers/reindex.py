"""The corpus's vectors anew: after another model took over, or when the old ones are not to be trusted.

Documents stay searchable by the old vectors while the new ones are made; those are dropped at the end.
"""

from __future__ import annotations

import hashlib
from typing import Any

from anyio import to_thread
from pydantic import BaseModel, ConfigDict

from handlers.corpus import Corpora
from handlers.embeddings import Embedder
from handlers.meanings import corpora, embedder
from scheduler import Chunk, JobContext, Registry

REINDEX = "reindex"
_CHUNK = 64

routes = Registry()
routes.resource(Embedder)(embedder)  # type: ignore[type-abstract]  # a port is looked up by its protocol
routes.resource(Corpora)(corpora)


class Reindex(BaseModel):
    """``corpus``: the file whose chunks (of the job's owner) get new vectors."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    corpus: str = "corpus.db"


@routes.handler(REINDEX, "corpus", payload=Reindex, timeout_s=float("inf"))
async def reindex(job: JobContext, payload: Reindex) -> dict[str, Any]:
    """Returns ``chunk_count``, ``model`` and ``dropped``: how many vectors of other models are gone."""
    corpus = job.resource(Corpora).at(payload.corpus)
    by = job.resource(Embedder)  # type: ignore[type-abstract]
    found = sorted(await to_thread.run_sync(corpus.pieces, job.owner or ""), key=lambda piece: piece.id)
    # Of other chunks than the last attempt had, this is another pass: they are all done again, which harms nothing.
    name = hashlib.sha256("".join(piece.id for piece in found).encode()).hexdigest()[:12]

    async def embed(chunk: Chunk) -> None:
        vectors = await by.embed([piece.spoken for piece in chunk.items])
        await to_thread.run_sync(corpus.put_vectors, by.model, {piece.hash: one for piece, one in zip(chunk.items, vectors, strict=True)})

    report = await job.chunks(found, embed, size=_CHUNK, name=f"pieces {name}", key=lambda piece: piece.id)
    dropped = await to_thread.run_sync(lambda: corpus.drop_vectors(but=by.model))
    return {"chunk_count": report.total, "model": by.model, "dropped": dropped}
