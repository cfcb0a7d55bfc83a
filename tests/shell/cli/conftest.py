"""Each test of the command has a folder of its own with a ``config.toml``, and no settings from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell.cli.command import end_all

CONFIG = """
[scheduler]
store = "sqlite:///jobs.db"
drain_grace_s = 0.3

[handlers]
modules = ["tests.shell.cli.handlers_to_call"]
entry_points = false

[log]
path = "service.log"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the command runs in."""
    for name in [name for name in os.environ if name.startswith("SCHEDULER_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    end_all()
