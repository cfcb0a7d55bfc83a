"""SQLite statements name their values, or put them in order: numbers (``?1``) are what some Pythons (3.12.0 to 3.12.3) warn of."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATEMENTS = sorted(path for folder in ("scheduler", "handlers") for path in (ROOT / folder).rglob("*.py"))
NUMBERED = re.compile(r"[=(<>,+\s]\?\d")


def numbered(source: str) -> list[str]:
    texts = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [text for text in texts if NUMBERED.search(text)]


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_value_is_numbered(path: Path) -> None:
    assert numbered(path.read_text("utf-8")) == []


def test_numbers_are_found() -> None:
    assert len(numbered("x = 'SELECT ?1'\ny = 'WHERE a IN (?2)'\nz = f'{x} WHERE b =?3'\nw = 'LIMIT ?'")) == 3
