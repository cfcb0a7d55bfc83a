"""``docs/seeds/`` has a page for each document that the project began with, and every test that a page names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "seeds").glob("*.md"))
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


def test_every_seed_has_a_page() -> None:
    assert [page.stem for page in PAGES] == ["000", "001", "002", "003", "004"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = _NAMED.findall(page.read_text("utf-8"))
    assert named
    missing = [f"{file}::{name}" for file, name in named if not re.search(rf"def {name}\b", (ROOT / file).read_text("utf-8"))]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_row_says_where_it_is_and_what_shows_it(page: Path) -> None:
    rows = [line.strip("|").split("|") for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)
