"""``sync``: sources in, records kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.shell.cli.command import call, on_terminal, run


@pytest.fixture(autouse=True)
def export(here: Path) -> Path:
    (here / "config.toml").write_text('[scheduler]\nstore = "sqlite:///jobs.db"\n', encoding="utf-8")
    folder = here / "export"
    folder.mkdir()
    (folder / "people.csv").write_text("id,name\n1,Ada\n2,Bob\n", encoding="utf-8")
    return folder


def test_a_folder_is_synced_and_later_only_what_changed(export: Path) -> None:
    said = call("sync", "acme", "export", "--json").json
    assert said["jobs"] == {"completed": 1}
    assert said["results"][0]["result"]["totalRecords"] == 2
    (export / "more.json").write_text(json.dumps([{"id": 3}]), encoding="utf-8")
    assert call("sync", "acme", "export", "--json").json["results"][0]["result"]["totalRecords"] == 1
    again = call("sync", "acme", "export", "--initial", "--json").json["results"][0]["result"]
    assert (again["totalRecords"], again["results"][0]["unchanged"]) == (3, 3)


def test_people_see_what_each_connector_brought(here: Path) -> None:
    (here / "sources.json").write_text(json.dumps([{"kind": "folder", "name": "files", "path": str(here / "export")}]), encoding="utf-8")
    said = on_terminal(["sync", "acme", "sources.json"], 120)
    assert said.code == 0
    assert "2 records synced" in said.plain
    assert "files" in said.plain


def test_a_source_that_is_none_is_refused(here: Path) -> None:
    (here / "odd.json").write_text("{", encoding="utf-8")
    assert "describes no source" in run("sync", "acme", "odd.json", code=2).err
    assert "no such file or folder" in call("sync", "acme", "nowhere", code=2).err
    assert call("jobs", "--json").json == []
