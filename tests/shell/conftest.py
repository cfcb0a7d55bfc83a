"""Each shell test has a folder of its own with a ``config.toml``, and no settings from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CONFIG = """
[scheduler]
store = "sqlite:///jobs.db"
drain_grace_s = 0.3

[handlers]
modules = ["tests.shell.handlers_to_call"]
entry_points = false

[log]
path = "service.log"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command runs in."""
    for name in [name for name in os.environ if name.startswith("SCHEDULER_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
