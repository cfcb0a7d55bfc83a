"""Ingestion, extraction, clustering and reindexing through the real engine, as the pipeline they are."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from handlers import clustering, extraction, ingestion, reindex
from handlers.corpus import Corpus
from handlers.embeddings import Embedder, LocalEmbedder
from handlers.ingestion import pipeline
from handlers.providers import Provider, open_provider
from handlers.reading import documents_in
from scheduler import InvalidOutputError, Job, RateLimitError, Registry, Status
from scheduler.calls import UNPACED, JobPool
from scheduler.settings import ProviderSettings
from tests.support.engine import Engine, engine
from tests.support.essays import ESSAYS, write_essays
from tests.support.virtual_time import in_virtual_time

MODEL = LocalEmbedder()


def all_routes() -> Registry:
    together = Registry()
    for module in (ingestion, extraction, clustering, reindex):
        together.include(module.routes)
    return together


class Slow:
    """The real model, a second a call; ``trouble`` may raise instead of the nth."""

    def __init__(self, model: str = MODEL.model, trouble: dict[int, Exception] | None = None) -> None:
        self.model = model
        self.calls = self.texts = 0
        self.trouble = trouble or {}

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        self.calls += 1
        if error := self.trouble.pop(self.calls, None):
            raise error
        await anyio.sleep(1.0)
        self.texts += len(texts)
        return await MODEL.embed(texts)

    async def aclose(self) -> None:
        """The model stays loaded for the next test."""


async def through(at: Engine, path: Path, *, owner: str | None = "ada", slow: Slow | None = None, batch: str = "b") -> list[Job]:
    """The pipeline over a folder to its end; every job there is."""
    at.scheduler.resources.put(Embedder, slow or Slow())  # type: ignore[type-abstract]
    jobs = pipeline(documents_in([path / "essays"]), str(path / "corpus.db"), batch, owner=owner)
    await at.scheduler.enqueue_many(iter(jobs))
    await at.scheduler.run(until_empty=True)
    return await at.scheduler.jobs(limit=1_000)


@pytest.fixture
def essays(tmp_path: Path) -> Path:
    write_essays(tmp_path / "essays")
    return tmp_path


def looked_up(path: Path) -> Corpus:
    return Corpus(path / "corpus.db")


@in_virtual_time
async def test_documents_go_through_the_whole_pipeline(store: str, essays: Path) -> None:
    async with engine(all_routes(), store) as at:
        jobs = await through(at, essays)
    assert Counter((job.task_type, str(job.status)) for job in jobs) == {
        ("ingestion", "completed"): 6,
        ("extraction", "completed"): 6,
        ("clustering", "completed"): 1,
    }
    corpus = looked_up(essays)
    assert [document.title for document in corpus.documents("ada")] == [
        "Roses",
        "Pruning fruit trees",
        "Cranes and cargo",
        "Tides at Port Malin",
        "Sourdough bread",
        "soup",
    ]
    names = {name for name, _, _ in corpus.entities("ada")}
    assert {"Captain Irene Duval", "Malin Shipping Company", "Lindholm Institute", "Chef Paolo Renzi"} <= names
    assert ("captain irene duval", "works for", "malin shipping company", 1) in corpus.relations("ada")
    groups = corpus.clusters("ada")
    assert sum(count for _, _, count in groups) == len(corpus.pieces("ada"))
    assert corpus.entities("bob") == []
    corpus.close()


@in_virtual_time
async def test_the_clustering_waits_for_every_extraction(essays: Path) -> None:
    async with engine(all_routes()) as at:
        await through(at, essays)
        names = [
            (event.job.task_type, event.name)  # type: ignore[attr-defined]
            for event in at.history.events
            if event.name in ("job.started", "job.completed")
        ]
    begun = names.index(("clustering", "job.started"))
    assert Counter(task for task, name in names[:begun] if name == "job.completed") == {"ingestion": 6, "extraction": 6}


@in_virtual_time
async def test_an_ingestion_tells_its_steps_and_names_its_extraction(essays: Path) -> None:
    async with engine(all_routes()) as at:
        jobs = await through(at, essays)
    by_id = {job.job_id: job for job in jobs}
    one = next(job for job in jobs if job.task_type == "ingestion")
    assert one.progress is not None
    assert (one.progress.percent, one.progress.message) == (100.0, "document ingestion complete")
    assert by_id[one.result["extraction"]].target_id == one.result["document_id"]
    assert one.result["chunk_count"] >= 1


@in_virtual_time
async def test_a_document_that_cannot_be_read_fails_alone_and_the_others_are_grouped(essays: Path) -> None:
    (essays / "essays" / "bad.md").write_bytes(b"\xff\xff")
    async with engine(all_routes(), scheduler={"max_attempts": 1}) as at:
        jobs = await through(at, essays)
    counts = Counter((job.task_type, str(job.status)) for job in jobs)
    assert counts["ingestion", "failed_job_logic"] == 1
    assert counts["extraction", "completed"] == 6, "a document that was not kept has no extraction"
    assert counts["clustering", "completed"] == 1


@in_virtual_time
async def test_a_second_run_does_only_what_changed(essays: Path) -> None:
    async with engine(all_routes()) as at:
        await through(at, essays)
        path = essays / "essays" / "kitchen" / "soup.txt"
        path.write_text(ESSAYS["kitchen/soup.txt"] + "\nGarlic is a matter of taste, and so is thyme.\n", encoding="utf-8")
        slow = Slow()
        jobs = await through(at, essays, slow=slow, batch="b2")
    assert Counter(job.task_type for job in jobs) == {"ingestion": 7, "extraction": 7, "clustering": 2}
    assert slow.texts == 1, "the chunk that changed"


@in_virtual_time
async def test_a_rate_limit_in_the_middle_of_a_long_document_embeds_no_chunk_twice(sqlite: str, tmp_path: Path) -> None:
    (tmp_path / "essays").mkdir()
    long = "\n\n".join(f"## Part {number}\n\nThis part speaks of the number {number} and of nothing else." for number in range(200))
    (tmp_path / "essays" / "long.md").write_text(long, encoding="utf-8")
    slow = Slow(trouble={3: RateLimitError(retry_after_s=20)})
    async with engine(all_routes(), sqlite) as at:
        jobs = await through(at, tmp_path, slow=slow)
    assert {str(job.status) for job in jobs} == {"completed"}
    assert slow.texts == 200


@in_virtual_time
async def test_a_chunk_that_no_answer_comes_for_fails_alone_and_is_asked_for_again_by_a_retry(essays: Path) -> None:
    inner = open_provider(ProviderSettings())
    asked: list[str] = []

    class Refusing:
        model = "local:refusing"

        async def ask(self, question: Any, pool: JobPool = UNPACED) -> Any:
            asked.append(question.subject.title)
            if question.subject.title == "Storms" and asked.count("Storms") == 1:
                raise InvalidOutputError("no answer")
            return await inner.ask(question)

        async def aclose(self) -> None:
            """Nothing to close."""

    shutil.rmtree(essays / "essays" / "kitchen")
    async with engine(all_routes()) as at:
        at.scheduler.resources.put(Provider, Refusing())  # type: ignore[type-abstract]
        jobs = await through(at, essays)
        (failed,) = (job for job in jobs if job.status is not Status.COMPLETED)
        assert (failed.task_type, failed.reason) == ("extraction", "items_failed")
        await at.scheduler.retry(failed.job_id)
        await at.scheduler.run(until_empty=True)
        again = await at.job(failed.job_id)
    assert again.status is Status.COMPLETED
    assert max(Counter(asked).values()) == 2, "only that chunk was asked for again"


@in_virtual_time
async def test_a_reindex_replaces_the_vectors_of_another_model(store: str, essays: Path) -> None:
    async with engine(all_routes(), store) as at:
        await through(at, essays)
        other = Slow("test:other", {1: RateLimitError(retry_after_s=5)})
        at.scheduler.resources.put(Embedder, other)  # type: ignore[type-abstract]
        receipt = await at.scheduler.enqueue("reindex", "corpus", "all", {"corpus": str(essays / "corpus.db")}, owner="ada")
        await at.scheduler.run(until_empty=True)
        job = await at.job(receipt.job_id)
    corpus = looked_up(essays)
    hashes = [piece.hash for piece in corpus.pieces("ada")]
    assert job.result == {"chunk_count": len(hashes), "model": "test:other", "dropped": len(hashes)}
    assert len(corpus.vectors("test:other", hashes)) == len(hashes)
    assert corpus.vectors(MODEL.model, hashes) == {}
    corpus.close()


@in_virtual_time
async def test_an_empty_library_has_no_clusters(tmp_path: Path) -> None:
    (tmp_path / "essays").mkdir()
    async with engine(all_routes()) as at:
        (job,) = await through(at, tmp_path)
    assert job.result == {"cluster_count": 0, "chunk_count": 0, "clusters": []}
