"""``discover``: contacts in, relationships out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shell.cli.command import call, on_terminal, run
from tests.support.acquaintances import acquaintances, write_contacts


@pytest.fixture(autouse=True)
def contacts(here: Path) -> None:
    (here / "config.toml").write_text('[scheduler]\nstore = "sqlite:///jobs.db"\n', encoding="utf-8")
    write_contacts(here / "contacts.csv", acquaintances(40))


def test_relationships_are_found_and_told_to_machines(here: Path) -> None:
    said = run("discover", "contacts.csv", "--owner", "ada", "--json")
    assert all(line.startswith("Discovering: ") for line in said.err.splitlines()), said.err
    assert said.json["jobs"] == {"completed": 1}
    (result,) = (one["result"] for one in said.json["results"])
    assert (result["userId"], result["totalContacts"], result["companiesFound"]) == ("ada", 40, 4)
    assert result["similarityRelationships"] > 0
    assert (here / "graph.db").exists()
    assert call("jobs", "--owner", "bob", "--json").json == []


def test_people_see_counts_and_groups() -> None:
    said = on_terminal(["discover", "contacts.csv"], 120)
    assert said.code == 0
    for part in ("40 contacts in", "alike in what they do", "Groups"):
        assert part in said.plain, part


def test_a_graph_that_is_nowhere_fails_with_what_to_do() -> None:
    said = run("discover", "contacts.csv", "--graph", "http://x", "--set", "scheduler.max_attempts=1", code=1)
    assert "bolt://" in said.err
