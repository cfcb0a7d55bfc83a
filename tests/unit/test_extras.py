"""The long jobs' modules are loaded by default: they must load, and say what is missing, where no extra is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from handlers.extras import needing
from scheduler.errors import ConfigError

ROOT = Path(__file__).parents[2]
BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {
            "numpy", "rapidfuzz", "networkx", "wordllama", "httpx2", "tldextract", "neo4j", "sentencex", "snowballstemmer", "stopwordsiso",
            "openai", "anthropic", "tree_sitter",
        }:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from scheduler.modules import load_routes
from scheduler.settings import load
print(len(load_routes(load({}).handlers, None).freeze()))
"""


CLIENTLESS = (
    BARE[: BARE.index("from scheduler.modules")]
    + """
import scheduler.cli.app
try:
    import scheduler.client
except scheduler.ConfigError as error:
    print(error)
"""
)


def test_the_command_works_without_the_clients_library_which_is_named_to_whoever_wants_it() -> None:
    done = subprocess.run([sys.executable, "-c", CLIENTLESS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert "pip install 'ai-job-scheduler[client]'" in done.stdout


def test_every_module_that_is_loaded_by_default_loads_without_extras() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert int(done.stdout) >= 9


def test_a_missing_library_is_told_with_the_extra_that_brings_it() -> None:
    with pytest.raises(ConfigError, match=r"\(zebra\): pip install 'ai-job-scheduler\[matching\]'"), needing("matching"):
        raise ModuleNotFoundError("No module named 'zebra'", name="zebra")
