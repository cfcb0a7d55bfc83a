"""What the flow tests share: each runs on the memory store and on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of an empty SQLite store, for what only a durable one can show."""
    return f"sqlite:///{tmp_path}/jobs.db"
