"""``config.toml`` explains every setting and shows its default, so that it can be read instead of the code."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from scheduler import settings
from scheduler.settings import Settings, load

TEXT = (Path(__file__).parents[2] / "config.toml").read_text(encoding="utf-8")
SHOWN = tomllib.loads(TEXT)

#: Sections with defaults, and those that a name makes (shown as examples in comments).
SECTIONS = {name: cast(type[BaseModel], field.annotation) for name, field in Settings.model_fields.items() if field.is_required()}
NAMED: dict[str, type[BaseModel]] = {
    "task_types": settings.TaskTypeSettings,
    "pools": settings.PoolSettings,
    "owners": settings.OwnerSettings,
    "tokens": settings.TokenSettings,
    "webhooks": settings.WebhookSettings,
}
_ASSIGNMENT = re.compile(r"# ?(\w+) = .+")


def explanation(section: str, key: str) -> str:
    """The comment right above ``key`` in ``section``."""
    lines = TEXT.split(f"[{section}]\n", 1)[1].splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith((f"{key} = ", f"# {key} = ")))
    above = place
    while above > 0 and lines[above - 1].startswith("# ") and not _ASSIGNMENT.fullmatch(lines[above - 1]):
        above -= 1
    return " ".join(line.removeprefix("# ") for line in lines[above:place])


def examples() -> dict[str, Any]:
    """The commented sections, uncommented."""
    lines = TEXT.split("sweep_interval_s", 1)[1].splitlines()
    code = [line.removeprefix("# ") for line in lines if _ASSIGNMENT.fullmatch(line) or line.startswith("# [")]
    return tomllib.loads("\n".join(code))


def test_the_file_has_every_section_and_no_other() -> None:
    assert sorted(SHOWN) == sorted(SECTIONS)
    assert sorted(examples()) == sorted(NAMED)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_shows_every_setting_with_its_default(section: str) -> None:
    defaults = {key: field.default for key, field in SECTIONS[section].model_fields.items()}
    shown = {key: tuple(value) if isinstance(value, list) else value for key, value in SHOWN[section].items()}
    assert shown == defaults
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in defaults.items()}


@pytest.mark.parametrize("section", NAMED)
def test_a_commented_section_shows_every_setting_with_a_value_that_fits(section: str) -> None:
    for name, table in examples()[section].items():
        assert sorted(table) == sorted(NAMED[section].model_fields), name
    assert load(examples())


@pytest.mark.parametrize(
    ("section", "place"),
    [
        *((name, name) for name in SECTIONS),
        ("task_types", "task_types.generate_topics"),
        ("pools", "pools.main"),
        ("webhooks", "webhooks.crm"),
    ],
)
def test_every_setting_is_explained_in_place_in_its_own_words(section: str, place: str) -> None:
    kind = {**SECTIONS, **NAMED}[section]
    for key, field in kind.model_fields.items():
        meaning = " ".join((field.description or "").split())
        assert meaning, f"{place}.{key} has no description"
        assert explanation(place, key).startswith(meaning), f"{place}.{key}"


def test_the_file_as_it_is_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SCHEDULER_")]:
        monkeypatch.delenv(name)
    assert load(SHOWN) == load(None)
