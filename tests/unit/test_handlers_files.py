"""The handlers' own SQLite files."""

from __future__ import annotations

import gc
import sqlite3
import warnings
from pathlib import Path

import pytest

from handlers.files import opened


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    schema = "CREATE TABLE IF NOT EXISTS note (text TEXT); CREATE TABLE IF NOT EXISTS line (note REFERENCES note)"
    for number in range(2):
        connection = opened(tmp_path / "notes.db", schema)
        assert connection.execute("SELECT count(*) FROM note").fetchone() == (number,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
        with connection:
            connection.execute("INSERT INTO note VALUES ('one')")
        connection.close()


@pytest.mark.parametrize("is_damaged", [True, False], ids=["no database", "no SQL"])
def test_what_cannot_be_used_is_not_left_open(tmp_path: Path, is_damaged: bool) -> None:
    path = tmp_path / "notes.db"
    if is_damaged:
        path.write_bytes(b"no database at all" * 100)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(sqlite3.Error):
            opened(path, "CREATE NONSENSE")
        gc.collect()
    assert [str(one.message) for one in told] == []
    assert not is_damaged or path.read_bytes() == b"no database at all" * 100
