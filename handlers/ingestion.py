"""Documents into the corpus: load, cut, embed, keep. Each one's completion is the beginning of its extraction.

The pipeline is ``ingestion`` of each document, ``extraction`` (its follow-up: it exists exactly if the document was kept), and one
``clustering`` after them all. ``pipeline`` gives the jobs for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread
from pydantic import BaseModel, ConfigDict

from handlers.clustering import CLUSTERING
from handlers.corpus import Corpora
from handlers.embeddings import Embedder
from handlers.extraction import EXTRACTION
from handlers.meanings import corpora, embedder, kept
from handlers.reading import VERSION, document_id, load, pieces
from scheduler import Chunk, JobContext, NewJob, Registry, Resources

INGESTION = "ingestion"
_CHUNK = 64

routes = Registry()
routes.resource(Embedder)(embedder)  # type: ignore[type-abstract]  # a port is looked up by its protocol
routes.resource(Corpora)(corpora)


class Ingestion(BaseModel):
    """``path`` of a document, absolute; ``corpus`` is the file that it is kept in. ``content_hash`` makes an unchanged one fresh."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    corpus: str = "corpus.db"
    content_hash: str = ""
    extract: bool = True


def _depends_on(payload: Mapping[str, Any], resources: Resources) -> list[str]:
    """What a document became follows from its text, how it is cut, and who embeds it; and it is in one corpus."""
    model = resources.get(Embedder).model  # type: ignore[type-abstract]
    content = payload.get("content_hash") or hashlib.sha256(Path(str(payload["path"])).read_bytes()).hexdigest()
    return [str(content), VERSION, model, str(payload.get("corpus", ""))]


@routes.handler(INGESTION, "document", payload=Ingestion, freshness=_depends_on)
async def ingest(job: JobContext, payload: Ingestion) -> dict[str, Any]:
    """Returns ``document_id``, ``chunk_count`` and ``extraction``, the id of the job that goes on. Raises ``TableError``."""
    corpus = job.resource(Corpora).at(payload.corpus)
    by = job.resource(Embedder)  # type: ignore[type-abstract]
    job.progress(percent=10, message="loading document")
    document, text = await to_thread.run_sync(load, payload.path, job.owner or "")
    job.progress(percent=30, message="chunking document")
    made = await to_thread.run_sync(pieces, document, text)

    async def embed(chunk: Chunk) -> None:
        await kept(corpus, by, {piece.hash: piece.spoken for piece in chunk.items})
        chunk.count(embedded=len(chunk))

    # Keyed by content: a document that changed between two attempts is another pass, not the rest of this one.
    name = f"embeddings {document.content_hash[:12]}"
    await job.chunks(made, embed, size=_CHUNK, name=name, key=lambda piece: piece.id, span=(50.0, 80.0))
    job.progress(percent=80, message="persisting to corpus")
    await to_thread.run_sync(corpus.put, document, made)
    follow_up = None
    if payload.extract and made:
        more: dict[str, Any] = {"owner": job.owner, "batch": job.job.batch}
        extraction = {"document": document.id, "corpus": payload.corpus, "content_hash": document.content_hash}
        follow_up = job.enqueue(EXTRACTION, "document", document.id, extraction, **more)
    job.progress(percent=100, message="document ingestion complete")
    return {"document_id": document.id, "chunk_count": len(made), "extraction": follow_up}


def pipeline(paths: Sequence[Path], corpus: str, batch: str, *, owner: str | None = None) -> list[NewJob]:
    """The jobs that bring documents into ``corpus``: one for each, and a clustering that runs once all of the batch have ended."""
    jobs = [
        NewJob(
            INGESTION,
            "document",
            document_id(path, owner or ""),
            {
                "path": str(path),
                "corpus": corpus,
                "content_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
            },
            owner=owner,
            batch=batch,
        )
        for path in paths
    ]
    # One document that cannot be read is no reason not to group the others.
    last = NewJob(CLUSTERING, "corpus", owner or "all", {"corpus": corpus}, owner=owner, after=[f"batch:{batch}"], if_failed="run")
    return [*jobs, last]
