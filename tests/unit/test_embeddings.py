"""Real vectors from the model in the wheel: alike texts lie close, and nothing is fetched."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from handlers.corpus import Corpus
from handlers.embeddings import LocalEmbedder, matrix
from handlers.meanings import embedded


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("the model is in the wheel: nothing is to be fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


async def test_alike_texts_lie_close_in_other_words_and_others_far() -> None:
    texts = ["cordless drill", "battery powered drilling machine", "strawberry jam"]
    one, other, far = matrix(await LocalEmbedder().embed(texts))
    assert one @ other > 0.4
    assert one @ far < 0.3


async def test_vectors_have_length_one_and_blank_texts_none() -> None:
    vectors = matrix(await LocalEmbedder().embed(["hello", "", "   ", "x" * 10_000]))
    assert [round(float(row @ row), 5) for row in vectors] == [1.0, 0.0, 0.0, 1.0]
    assert matrix([]).shape == (0, 1)


async def test_loading_the_model_leaves_the_log_alone() -> None:
    before = list(logging.getLogger().handlers)
    await LocalEmbedder().embed(["hello"])
    assert logging.getLogger().handlers == before


async def test_a_text_is_embedded_once(tmp_path: Path) -> None:
    class Counting:
        model = "test:1"

        def __init__(self) -> None:
            self.texts: list[str] = []

        async def embed(self, texts: Any) -> list[bytes]:
            self.texts += texts
            return [len(text).to_bytes(4, "little") for text in texts]

        async def aclose(self) -> None:
            """Nothing to close."""

    by, corpus = Counting(), Corpus(tmp_path / "corpus.db")
    first = await embedded(corpus, by, ["a", "bb", "a"])
    again = await embedded(corpus, by, ["bb", "ccc", "a"])
    assert by.texts == ["a", "bb", "ccc"]
    assert (first[0], first[1]) == (again[2], again[0])
    corpus.close()
