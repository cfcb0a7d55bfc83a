"""Documents into pieces, names out of sentences, groups out of vectors: the pure parts of the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.clustering import communities, named
from handlers.embeddings import LocalEmbedder
from handlers.extraction import read_answer
from handlers.pieces import Document, Mention, Piece, Relation
from handlers.providers import DOCUMENT, Entities, Question, Subject, open_provider
from handlers.providers.entities import entities_in
from handlers.reading import PIECE_CHARS, document_id, documents_in, load, pieces
from handlers.tables import TableError
from scheduler.settings import ProviderSettings
from tests.support.essays import ESSAYS, write_essays

DOCUMENT_1 = Document("d", "", "d.md", "", "")


def test_pieces_follow_headings_and_carry_them() -> None:
    found = pieces(DOCUMENT_1, ESSAYS["harbours/tides.md"])
    assert [piece.heading for piece in found] == ["Tides at Port Malin", "Storms"]
    assert "lighthouse" in found[1].text
    assert "lighthouse" not in found[0].text
    assert found[1].spoken.startswith("Storms. When a storm")


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("Title\n=====\n\nSome words here.\n", ["Title"]),
        ("<h2>A <i>fine</i> title</h2>\n<p>Some words here.</p>", ["A fine title"]),
        ("Only some words, no title.\n", [""]),
        ("", []),
    ],
)
def test_headings_are_known_in_every_format(text: str, headings: list[str]) -> None:
    assert [piece.heading for piece in pieces(DOCUMENT_1, text)] == headings


def test_a_long_paragraph_is_cut_between_sentences_that_overlap() -> None:
    sentences = [f"This is sentence number {number} of a paragraph without end." for number in range(60)]
    found = pieces(DOCUMENT_1, " ".join(sentences))
    assert len(found) > 2
    assert all(len(piece.text) <= PIECE_CHARS + 100 for piece in found)
    assert all(sentence in " ".join(piece.text for piece in found) for sentence in sentences)
    assert sentences[0] in found[0].text
    last = found[0].text.rsplit(". ", 1)[-1]
    assert found[1].text.startswith(last)


@given(st.text(max_size=3_000))
def test_any_text_has_pieces_of_bounded_size_and_ids_of_their_own(text: str) -> None:
    found = pieces(DOCUMENT_1, text)
    assert len({piece.id for piece in found}) == len(found)
    assert [piece.position for piece in found] == list(range(len(found)))
    assert all(0 < len(piece.text) <= 2 * PIECE_CHARS for piece in found)
    assert found == pieces(DOCUMENT_1, text)


def test_what_stays_the_same_keeps_its_id() -> None:
    text = ESSAYS["harbours/tides.md"]
    before = {piece.id for piece in pieces(DOCUMENT_1, text)}
    after = {piece.id for piece in pieces(DOCUMENT_1, "# New\n\nSomething new at the top of it.\n\n" + text)}
    assert before < after


def test_documents_are_found_in_folders_each_once(tmp_path: Path) -> None:
    write_essays(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.md").write_text("no", encoding="utf-8")
    found = documents_in([tmp_path, tmp_path / "kitchen"])
    assert [str(path.relative_to(tmp_path.resolve())) for path in found] == sorted(ESSAYS)
    with pytest.raises(TableError, match="no such file or folder"):
        documents_in([tmp_path / "nowhere"])


@pytest.mark.parametrize(("content", "said"), [(b"\xff\xfe\x00", "not UTF-8"), (b"a\x00b", "no text")])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.md").write_bytes(content)
    with pytest.raises(TableError, match=said):
        load(tmp_path / "a.md", "")


def test_two_owners_documents_are_two() -> None:
    assert document_id("a.md", "ada") != document_id("a.md", "bob")


def test_names_and_what_is_said_of_them_come_from_sentences() -> None:
    named_, said = entities_in(
        [
            "Captain Irene Duval works for Malin Shipping Company and knows every sandbank.",
            "The University of Leeds is in England.",
            "Ships wait; ships stay. Write to post@example.org.",
            "It calls parse_header twice.",
        ],
        "en",
    )
    assert dict(named_) == {
        "Captain Irene Duval": "person",
        "Malin Shipping Company": "organisation",
        "University of Leeds": "organisation",
        "England": "place",
        "post@example.org": "address",
        "parse_header": "identifier",
    }
    assert ("Captain Irene Duval", "works for", "Malin Shipping Company") in said


@given(st.lists(st.text(max_size=80), max_size=5))
def test_any_sentences_give_names_that_they_have(sentences: list[str]) -> None:
    found, said = entities_in(sentences, "en")
    keys = {name.casefold() for name, _ in found}
    assert len(keys) == len(found)
    assert all(one.casefold() in keys and other.casefold() in keys and label for one, label, other in said)


async def test_the_local_provider_answers_with_entities() -> None:
    question = Question(Subject(DOCUMENT, "", ESSAYS["harbours/cranes.md"]), Entities, "")
    answer = await open_provider(ProviderSettings()).ask(question)
    assert {"Malin Shipping Company", "Captain Irene Duval"} <= {entity.name for entity in answer.entities}


def test_names_that_the_text_does_not_have_are_left_out() -> None:
    answer = Entities.model_validate(
        {
            "entities": [{"name": "Ada  Lovelace", "kind": "Person"}, {"name": "Zeus", "kind": "god"}, {"name": " ", "kind": ""}],
            "relations": [
                {"source": "Ada Lovelace", "label": "knew", "target": "Zeus"},
                {"source": "ada lovelace", "label": "is", "target": "Ada Lovelace"},
            ],
        }
    )
    mentions, relations = read_answer(answer, "Ada\nLovelace wrote. Ada Lovelace computed.")
    assert mentions == [Mention("ada lovelace", "Ada Lovelace", "person", 2)]
    assert relations == []


def test_relations_between_names_of_the_text_are_kept_once() -> None:
    said = {"source": "Ada", "label": "Wrote To", "target": "Bob"}
    answer = Entities.model_validate({"entities": [{"name": "Ada", "kind": "x"}, {"name": "Bob", "kind": ""}], "relations": [said, said]})
    assert read_answer(answer, "Ada wrote to Bob.")[1] == [Relation("ada", "wrote to", "bob")]


async def test_what_speaks_of_the_same_is_one_group_with_a_telling_name() -> None:
    texts = [
        ("sea", "Ships wait in the harbour for the tide."),
        ("sea", "The harbour master counts ships at the quay."),
        ("sea", "A ship at anchor in the harbour."),
        ("food", "Bake the bread in a hot oven."),
        ("food", "Knead the dough for the bread with flour."),
        ("food", "Fresh bread from the oven, made of rye flour."),
    ]
    groups = communities(await LocalEmbedder().embed([text for _, text in texts]), 0.3)
    assert [{texts[place][0] for place in group} for group in groups] == [{"food"}, {"sea"}] or [
        {texts[place][0] for place in group} for group in groups
    ] == [{"sea"}, {"food"}]
    names = named([[Piece(str(place), "d", place, "", texts[place][1], "") for place in group] for group in groups])
    assert any("harbour" in name for name in names)
    assert any("bread" in name for name in names)


def test_nothing_has_no_groups() -> None:
    assert communities([], 0.3) == []
    assert named([]) == []
