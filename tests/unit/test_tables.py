"""Rows out of the files that people have: delimiters, marks, JSON; and clear words about what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.tables import TableError, column, read_table, write_csv

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=20)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Name,E-Mail\nAda,ada@x.org\n\nBob,\n"),
        ("a.csv", "\ufeffname;e-mail\nAda;ada@x.org\nBob\n"),
        ("a.csv", " Name \tE-Mail\r\nAda\t ada@x.org \r\nBob\t\r\n"),
        ("a.json", '[{"Name": "Ada", "e-mail": "ada@x.org"}, {"Name": "Bob", "E-Mail": null}]'),
        ("a.jsonl", '{"name": "Ada", "e-mail": "ada@x.org"}\n\n{"name": "Bob", "e-mail": ""}\n'),
    ],
)
def test_a_table_is_the_same_however_it_is_written(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read_table(tmp_path / name) == [{"name": "Ada", "e-mail": "ada@x.org"}, {"name": "Bob", "e-mail": ""}]


def test_values_of_json_become_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"tags": ["a", "b"], "n": 3, "more": {"x": 1}}]), encoding="utf-8")
    assert read_table(tmp_path / "a.json") == [{"tags": "a; b", "n": "3", "more": '{"x": 1}'}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"\xff\xfe", "not UTF-8 at byte 0"),
        ("a.csv", b"a,b\n\x00,1", "NUL"),
        ("a.csv", b"a,A\n1,2", "same name"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"[1]", "record 1 is no object"),
    ],
)
def test_what_is_no_table_is_refused_with_its_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=said):
        read_table(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"nowhere\.csv: cannot be read"):
        read_table(tmp_path / "nowhere.csv")


def test_a_column_is_found_by_wish_or_by_its_usual_names() -> None:
    rows = [{"title": "x", "id": "1"}]
    assert column(rows, "", ("name", "title"), "the list") == "title"
    assert column(rows, " ID ", ("name",), "the list") == "id"
    with pytest.raises(TableError, match="the list has no column 'sku'; there are title, id"):
        column(rows, "sku", (), "the list")
    with pytest.raises(TableError, match="none of the columns name"):
        column(rows, "", ("name",), "the list")


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("t") / "a.csv"
    write_csv(path, ("a", "b"), rows)
    kept = [{"a": a.strip(), "b": b.strip()} for a, b in rows if a.strip() or b.strip()]
    assert read_table(path) == kept
    assert [one.name for one in path.parent.iterdir()] == ["a.csv"]
