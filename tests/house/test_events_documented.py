"""``docs/events.md`` says all there is to say about events, and nothing else."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest

from scheduler import events, logs
from scheduler.api import server
from scheduler.events import JobEnqueued, event_types
from scheduler.job import Draft, Job, Progress, Status, Transition
from scheduler.pauses import PauseWindow

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
_NAME = re.compile(r"`([^`]+)`")


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of the table under a heading, by the name in the first."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]
    names = [_NAME.findall(row[0])[0] for row in cells]
    assert len(set(names)) == len(names), f"{heading}: a name stands there twice"
    return dict(zip(names, cells, strict=True))


def full(kind: type[Any]) -> Any:
    """An instance of a record with every field set, optional ones too."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: value_of(hints[name], kind) for name in names_of(kind)})


def names_of(kind: type[Any]) -> list[str]:
    """The fields of a dataclass or a named tuple."""
    return list(kind._fields) if hasattr(kind, "_fields") else [field.name for field in dataclasses.fields(kind)]


def value_of(hint: Any, owner: type[Any]) -> Any:
    if isinstance(hint, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        if Draft in options:
            return full(Draft if owner is JobEnqueued else Job)
        return value_of(options[0], owner)
    plain: dict[Any, Any] = {int: 2, float: 2.5, str: "text", bool: True, Status: Status.PENDING}
    if hint in plain:
        return plain[hint]
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):
        return full(typing.cast(type[Any], hint))
    if typing.get_origin(hint) is tuple:
        return ()
    raise AssertionError(f"teach this test how to make a {hint!r} for {owner.__name__}")


KINDS = {kind.name: kind for kind in event_types() if kind.__module__.startswith("scheduler.events.")}
EVENTS = rows("Every event")
FIELDS = rows("Fields")


def test_the_page_names_every_event_and_no_other() -> None:
    assert sorted(EVENTS) == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_row_gives_the_events_level_and_all_of_its_fields(name: str) -> None:
    kind, (_, level, when, fields) = KINDS[name], EVENTS[name]
    assert level == kind.level
    assert when
    assert sorted(_NAME.findall(fields)) == sorted(full(kind).fields())


def test_every_field_is_explained_with_its_unit_and_no_other_is() -> None:
    used = {field for kind in KINDS.values() for field in full(kind).fields()}
    assert sorted(FIELDS) == sorted(used)
    for name, (_, unit, meaning) in FIELDS.items():
        assert meaning
        assert (unit == "seconds") == name.endswith("_s"), f"{name}: units go last in names"


def test_the_page_explains_the_lines_that_the_log_adds_itself() -> None:
    lines = [logs.LINES_DROPPED, logs.SUBSCRIBER_FAILED, server.LISTENING, server.HTTP_TROUBLE]
    assert sorted(rows("Lines that are no events")) == sorted(lines)


def test_every_event_is_listed_once_as_the_class_that_is_emitted() -> None:
    assert [kind for kind in KINDS.values() if getattr(events, kind.__name__) is not kind] == []
    assert len({kind.name for kind in event_types()}) == len(event_types())


def test_the_sample_records_set_everything() -> None:
    for kind in (Job, Draft, Transition, Progress, PauseWindow):
        made = full(kind)
        assert None not in [getattr(made, name) for name in names_of(kind)]
