"""``ingest``: documents in, a corpus out."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.corpus import Corpus
from handlers.reading import documents_in
from tests.shell.cli.command import call, on_terminal, run
from tests.support.essays import write_essays


@pytest.fixture(autouse=True)
def essays(here: Path) -> Path:
    (here / "config.toml").write_text('[scheduler]\nstore = "sqlite:///jobs.db"\n', encoding="utf-8")
    return write_essays(here / "essays")


def test_documents_are_ingested_extracted_and_grouped(here: Path) -> None:
    said = run("ingest", "essays", "--json")
    assert all(line.startswith("Ingesting: ") for line in said.err.splitlines()), said.err
    assert said.json["jobs"] == {"completed": 13}
    corpus = Corpus(here / "corpus.db")
    documents = corpus.documents("")
    assert [document.path for document in documents] == [str(path) for path in documents_in([here / "essays"])]
    targets = {job["target_id"] for job in call("jobs", "--type", "ingestion", "--json").json}
    assert targets == {document.id for document in documents}, "the command and the handler name documents alike"
    assert "Malin Shipping Company" in {name for name, _, _ in corpus.entities("")}
    corpus.close()


def test_a_second_time_only_the_grouping_runs() -> None:
    call("ingest", "essays", "--json")
    assert call("ingest", "essays", "--json").json["jobs"] == {"completed": 1}
    assert call("ingest", "essays", "--force", "--reindex", "--json").json["jobs"]["completed"] >= 8


def test_people_see_what_the_documents_speak_of() -> None:
    said = on_terminal(["ingest", "essays"], 120)
    assert said.code == 0
    for part in ("6 documents in", "What they speak of"):
        assert part in said.plain, part


def test_a_document_that_cannot_be_read_is_named(essays: Path) -> None:
    (essays / "bad.md").write_bytes(b"\xff\xff")
    said = run("ingest", "essays", "--set", "scheduler.max_attempts=1", code=1)
    assert "bad.md: not UTF-8" in said.err


def test_a_path_that_does_not_exist_changes_nothing(here: Path) -> None:
    assert "no such file or folder" in call("ingest", "nowhere", code=2).err
    assert not (here / "jobs.db").exists()
