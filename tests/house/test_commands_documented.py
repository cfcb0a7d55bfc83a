"""``docs/cli.md`` has a section for every verb, with every argument and flag it takes and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from scheduler.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
VERBS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group has them
HEADINGS = dict(re.findall(r"^## `scheduler ([a-z]+)(.*)`$", PAGE, re.MULTILINE))

SHARED = {"--config", "--store", "--set", "--help"}
#: What these have no use for.
WITHOUT = {"serve": {"--json"}, "token": {"--store", "--set"}}


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]


def flags(text: str) -> set[str]:
    """The long flags in the first cells of a section's tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `-")]
    return set(re.findall(r"--[a-z-]+", " ".join(cells)))


def taken(verb: str) -> set[str]:
    options = [one for one in VERBS[verb].params if one.param_type_name == "option"]
    return {name for one in options for name in one.opts if name.startswith("--")}


def test_the_page_has_every_verb_and_no_other() -> None:
    assert sorted(HEADINGS) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_section_lists_every_flag_of_its_verb_and_no_other(verb: str) -> None:
    everywhere = (SHARED | {"--json"}) - {"--help"} - WITHOUT.get(verb, set())
    assert everywhere <= taken(verb)
    assert flags(section(f"`scheduler {verb}")) == taken(verb) - everywhere


@pytest.mark.parametrize("verb", VERBS)
def test_a_heading_shows_every_argument_of_its_verb(verb: str) -> None:
    wanted = [one.name for one in VERBS[verb].params if one.param_type_name == "argument"]
    shown = re.findall(r"[A-Z_]+", HEADINGS[verb])
    singular = {"paths": "PATH", "ids": "ID", "job_id": "ID"}
    assert shown == [singular.get(name, name.upper()) for name in wanted]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_it_does_and_explains_all_that_it_takes(verb: str) -> None:
    assert VERBS[verb].help
    assert [one.name for one in VERBS[verb].params if not one.help] == []


def test_the_shared_flags_are_explained_once() -> None:
    assert flags(section("Flags that every verb takes")) == SHARED | {"--json"}
