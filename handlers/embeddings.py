"""Texts as vectors whose angle says how alike their meanings are.

The default model is WordLlama's (MIT, 256 dimensions, from the token embeddings of language models): it lies in the wheel, so
nothing is fetched at run time, and it needs neither a GPU nor torch. To use another, put it in place of ``Embedder`` with
``scheduler.resources.put(Embedder, yours)``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from anyio import to_thread

from handlers.extras import needing
from scheduler.errors import ConfigError

#: The longest text that is read, in characters: the mean of more tokens says ever less.
_MOST_CHARS = 4_000
#: What keeps blank texts and long ones from taking part in a batch's padding.
_BATCH = 64


class Embedder(Protocol):
    """Whoever turns texts into vectors."""

    @property
    def model(self) -> str:
        """Who it is: vectors of two models are never compared."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """A vector for each text: little-endian float32, of length 1, all zero for a text that says nothing.

        Raises ``AIProviderError`` and its kinds.
        """
        ...

    async def aclose(self) -> None: ...


class LocalEmbedder:
    """WordLlama's model, loaded at first use, which takes about a second. Raises ``ConfigError`` without the extra ``embeddings``."""

    model = "wordllama:l2_supercat_256"

    def __init__(self) -> None:
        self._loaded: Any = None

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        return await to_thread.run_sync(self._embed, list(texts))

    async def aclose(self) -> None:
        self._loaded = None

    def _embed(self, texts: list[str]) -> list[bytes]:
        import numpy

        if self._loaded is None:
            self._loaded = _load()
        spoken = [place for place, text in enumerate(texts) if text.strip()]
        vectors = numpy.zeros((len(texts), 256), dtype="<f4")
        if spoken:
            vectors[spoken] = self._loaded.embed([texts[place][:_MOST_CHARS] for place in spoken], norm=False, batch_size=_BATCH)
        lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= numpy.where(lengths == 0.0, 1.0, lengths)
        return [vector.tobytes() for vector in vectors]


def matrix(vectors: Sequence[bytes]) -> Any:
    """Vectors as the rows of a numpy array."""
    import numpy

    return numpy.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1) if vectors else numpy.zeros((0, 1), dtype="<f4")


def _load() -> Any:
    # The library configures the root logger when imported, unless somebody has: as if somebody had.
    root, nobody = logging.getLogger(), logging.NullHandler()
    root.addHandler(nobody)
    try:
        with needing("embeddings"):
            import wordllama
    finally:
        root.removeHandler(nobody)
    # The package looks for its own tokenizer in a folder that it does not have; as a cache its folder is found.
    packaged = Path(str(wordllama.__file__)).parent
    try:
        return wordllama.WordLlama.load(cache_dir=packaged, disable_download=True)
    except FileNotFoundError as error:
        raise ConfigError(f"the installed wordllama brings no model along ({error}): install a version from 0.4 on as a wheel") from error
