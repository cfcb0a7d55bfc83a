"""Vectors of texts, each made once and kept in the library; and the shared objects that the long jobs ask for.

Does not belong here: the models (``embeddings.py``), the file (``library.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from anyio import to_thread

from handlers.embeddings import Embedder, LocalEmbedder
from handlers.library import Libraries, Library, Piece
from scheduler import Settings


def embedder(settings: Settings) -> Embedder:
    """The factory of ``Embedder``: the model that lies in the wheel; put your own in its place."""
    return LocalEmbedder()


def libraries(settings: Settings) -> Libraries:
    """The factory of ``Libraries``: those that are open in this process."""
    return Libraries()


async def embedded(library: Library, by: Embedder, texts: Sequence[str]) -> list[bytes]:
    """The vectors of ``texts``; those that the library does not know are made and kept. Raises what the embedder raises."""
    keys = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts]
    known = await kept(library, by, dict(zip(keys, texts, strict=True)))
    return [known[key] for key in keys]


async def embedded_pieces(library: Library, by: Embedder, pieces: Sequence[Piece]) -> list[bytes]:
    """The same for chunks of documents."""
    known = await kept(library, by, {piece.hash: piece.spoken for piece in pieces})
    return [known[piece.hash] for piece in pieces]


async def kept(library: Library, by: Embedder, texts: Mapping[str, str]) -> dict[str, bytes]:
    """Vectors by the keys of ``texts``."""
    known = await to_thread.run_sync(library.vectors, by.model, list(texts))
    missing = {key: text for key, text in texts.items() if key not in known}
    if missing:
        made = dict(zip(missing, await by.embed(list(missing.values())), strict=True))
        await to_thread.run_sync(library.put_vectors, by.model, made)
        known |= made
    return known
