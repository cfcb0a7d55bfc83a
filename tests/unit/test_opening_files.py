"""SQLite files, the handlers' own and the store's: what cannot be used is not left open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from handlers.files import opened
from scheduler.stores.sqlite import schema


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    tables = "CREATE TABLE IF NOT EXISTS note (text TEXT); CREATE TABLE IF NOT EXISTS line (note REFERENCES note)"
    for number in range(2):
        connection = opened(tmp_path / "notes.db", tables)
        assert connection.execute("SELECT count(*) FROM note").fetchone() == (number,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        with connection:
            connection.execute("INSERT INTO note VALUES ('one')")
        connection.close()


@pytest.mark.parametrize(
    ("content", "open_it"),
    [
        (b"no database at all" * 100, lambda path: opened(path, "")),
        (b"", lambda path: opened(path, "CREATE NONSENSE")),
        (b"no database at all" * 100, schema.connect),
    ],
    ids=["no database", "no SQL", "the store"],
)
def test_what_cannot_be_used_is_not_left_open(tmp_path: Path, content: bytes, open_it: Callable[[Path], Any]) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(content)
    with pytest.raises(sqlite3.Error) as refused:  # whose traceback keeps all that was not closed
        open_it(path)
    assert [one.path for one in psutil.Process().open_files() if one.path.startswith(str(path))] == []
    assert refused.tb is not None
    assert not content or path.read_bytes() == content
