"""Vectors of texts, each made once and kept in the corpus; and the shared objects that the long jobs ask for.

Does not belong here: the models (``embeddings.py``), the file (``corpus.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from anyio import to_thread

from handlers.corpus import Corpora, Corpus
from handlers.embeddings import Embedder, LocalEmbedder
from handlers.pieces import Piece
from scheduler import Settings


def embedder(settings: Settings) -> Embedder:
    """The factory of ``Embedder``: the model that lies in the wheel; put your own in its place."""
    return LocalEmbedder()


def corpora(settings: Settings) -> Corpora:
    """The factory of ``Corpora``: those that are open in this process."""
    return Corpora()


async def embedded(corpus: Corpus, by: Embedder, texts: Sequence[str]) -> list[bytes]:
    """The vectors of ``texts``; those that the corpus does not know are made and kept. Raises what the embedder raises."""
    keys = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
    known = await kept(corpus, by, dict(zip(keys, texts, strict=True)))
    return [known[key] for key in keys]


async def embedded_pieces(corpus: Corpus, by: Embedder, pieces: Sequence[Piece]) -> list[bytes]:
    """The same for chunks of documents."""
    known = await kept(corpus, by, {piece.hash: piece.spoken for piece in pieces})
    return [known[piece.hash] for piece in pieces]


async def kept(corpus: Corpus, by: Embedder, texts: Mapping[str, str]) -> dict[str, bytes]:
    """Vectors by the keys of ``texts``."""
    known = await to_thread.run_sync(corpus.vectors, by.model, list(texts))
    missing = {key: text for key, text in texts.items() if key not in known}
    if missing:
        made = dict(zip(missing, await by.embed(list(missing.values())), strict=True))
        await to_thread.run_sync(corpus.put_vectors, by.model, made)
        known |= made
    return known
