"""When two descriptions name one thing: spelling, codes, numbers; and which option a text means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.likeness import Catalogue, Match, Thing, code, numbers, parts, things
from handlers.mentions import Mentions
from handlers.providers import CHOICE, Choice, Question, Subject, open_provider
from handlers.providers.choosing import chosen
from handlers.searching import LocalIndex, Page
from scheduler.settings import ProviderSettings

NAMES = [
    "Arlo wood screw M6 40 mm",
    "Arlo wood screw M8 40 mm",
    "Bergmann cordless drill 18 V",
    "Crème brûlée torch",
    "Estrel ladder 1.5 m",
]
WORDS = st.text(alphabet="abcdefgh ijklmn", max_size=30)


def catalogue(*names: str) -> Catalogue:
    return Catalogue(things([{"name": name} for name in names or NAMES], "name", None))


def item(name: str, **codes: str) -> Thing:
    return Thing("i", name, tuple(parts(name)), codes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18V drill", "18 V DRILL"),
        ("Crème brûlée", "creme brulee"),
        ("1,5 m", "1.5 m"),
        ("1,500 m", "1500 m"),
        ("screw 08", "screw 8"),
        ("8.0 mm", "8 mm"),
        ("Straße", "STRASSE"),
        ("drill, cordless (new)", "drill cordless new"),
    ],
)
def test_spellings_of_one_thing_have_the_same_parts(one: str, other: str) -> None:
    assert parts(one) == parts(other)


@pytest.mark.parametrize(("one", "other"), [("M6", "M8"), ("1.5 m", "15 m"), ("drill", "drills"), ("10", "100")])
def test_different_things_have_different_parts(one: str, other: str) -> None:
    assert parts(one) != parts(other)


@given(st.text(max_size=80))
def test_any_text_has_parts_and_they_are_stable(text: str) -> None:
    found = parts(text)
    assert parts(" ".join(found)) == found
    assert numbers(found) <= set(found)


@pytest.mark.parametrize(
    ("name", "row", "how"),
    [
        ("Bergmann cordless drill 18 V", 2, "exact"),
        ("drill CORDLESS bergmann 18v", 2, "exact"),
        ("Bergman cordles drill 18 V", 2, "fuzzy"),
        ("creme brulee torch", 3, "exact"),
        ("Crem brulle torch", 3, "fuzzy"),
        ("Estrel ladder 1,5 m", 4, "exact"),
        ("Estrel ladder 15 m", None, None),
        ("Arlo wood screw M7 40 mm", None, None),
        ("Arlo wood scrwe M8 40 mm", 1, "fuzzy"),
        ("something else altogether", None, None),
        ("", None, None),
    ],
)
def test_rules_and_spelling_settle_what_is_clear_and_nothing_else(name: str, row: int | None, how: str | None) -> None:
    (found,) = catalogue().settle([item(name)])
    assert (found.row if found else None, found.how if found else None) == (row, how)


def test_a_shared_code_decides_whatever_the_names_say() -> None:
    rows = [{"name": "A", "ean": "40-0001", "sku": "x1"}, {"name": "B", "ean": "40 0002", "sku": "x1"}]
    entries = Catalogue(things(rows, "name", "sku"))
    assert entries.exact(item("nonsense", ean=code("400002"))) == Match(1, 1.0, "exact")
    assert entries.exact(item("nonsense", sku="x1")) is None, "a code of two entries names neither"


def test_two_entries_of_the_same_spelling_are_left_to_others() -> None:
    assert catalogue("red paint", "paint, red").settle([item("Red Paint")]) == [None]


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8))
def test_every_match_is_within_the_catalogue_and_sure_between_0_and_1(names: list[str], items: list[str]) -> None:
    entries = catalogue(*names) if names else Catalogue([])
    found = entries.settle([item(name) for name in items])
    assert len(found) == len(items)
    assert all(match is None or (0 <= match.row < len(names) and 0.0 < match.score <= 1.0) for match in found)


def test_candidates_are_the_likeliest_first_even_when_the_item_says_more() -> None:
    rows = catalogue().candidates(item("new in box: Arlo screws for wood, M8, 40mm, with guarantee"), 2)
    assert rows[0] == 1
    assert catalogue().candidates(item(""), 3) == []


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("Comet cordless drills 18V by Falk, new in box, with manual", 1),
        ("Comet cordless drills 36V by Falk, new in box, with manual", 2),
        ("Comet cordless drills 24V by Falk, new in box, with manual", 0),
        ("inflatable flamingo, pink", 0),
        ("Arlo work lamp", 3),
    ],
)
async def test_the_local_provider_chooses_among_options_by_their_text(text: str, choice: int) -> None:
    options = (
        "Falk cordless drill Comet 18 V\n(sku: 1)",
        "Falk cordless drill Comet 36 V\n(sku: 2)",
        "Arlo work lamp Delta 30 W\n(sku: 3)",
    )
    answer = await open_provider(ProviderSettings()).ask(Question(Subject(CHOICE, text, options=options), Choice, ""))
    assert answer.choice == choice
    assert answer.confidence >= 0.5


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=6))
def test_a_choice_is_always_one_of_the_options_or_none(text: str, options: list[str]) -> None:
    choice, confidence = chosen(text, options)
    assert 0 <= choice <= len(options)
    assert 0.0 <= confidence <= 1.0


def test_options_that_are_as_like_as_each_other_are_no_sure_choice() -> None:
    choice, confidence = chosen("Falk drill", ["Falk drill", "Falk drill"])
    assert choice in (1, 2)
    assert confidence < 0.5


PAGES = [
    Page("news", "In Europe the Hornet 300 is sold as Bergmann cordless drill 18 V, with another handle."),
    Page("list", "We have: " + "; ".join(NAMES)),
    Page("other", "Ladders should be checked once a year."),
]


async def test_a_page_about_an_item_tells_which_entry_it_is() -> None:
    entries = things([{"name": name} for name in NAMES], "name", None)
    index, mentions = LocalIndex(PAGES), Mentions(entries)
    wanted = item("Hornet 300")
    found = mentions.vote(wanted, await index.search("Hornet 300", 5))
    assert found is not None
    assert (found.row, found.how) == (2, "search")
    assert mentions.vote(item("Wasp 500"), await index.search("Wasp 500", 5)) is None
    assert await index.search("", 5) == []
    await index.aclose()


def test_of_two_names_one_within_the_other_a_page_means_the_longer() -> None:
    mentions = Mentions(things([{"name": "Falk drill"}, {"name": "Falk drill Comet 18 V"}], "name", None))
    assert mentions.on("the Falk drill Comet 18 V is blue") == [1]
    assert mentions.on("the Falk drill is blue") == [0]


def test_a_code_on_a_page_names_its_entry() -> None:
    mentions = Mentions(things([{"name": "A thing", "ean": "4000 123"}], "name", None))
    assert mentions.on("order number 4000123, blue") == [0]


async def test_the_index_reads_a_folder_and_takes_markup_out_of_html(tmp_path: Path) -> None:

    folder = tmp_path
    (folder / "a.html").write_text("<script>var zebra</script><p>A <b>hornet</b> flies</p>", encoding="utf-8")
    (folder / "b.bin").write_bytes(b"zebra")
    index = LocalIndex([], str(folder))
    assert [page.place for page in await index.search("HORNETS", 5)] == ["a.html"], "stems meet"
    assert await index.search("zebra", 5) == []
    await index.aclose()
