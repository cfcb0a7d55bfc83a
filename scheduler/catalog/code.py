"""Functions, classes and methods of a source file, through tree-sitter grammars.

What counts as an entity in a language is data: ``queries/LANGUAGE.scm``, whose captures mean

* ``@function @class @method @struct @enum @trait @interface @macro``: an entity of that kind;
* ``@name``: its own name; ``@owner``: the type that its name is prefixed with (Go receivers);
* ``@namespace``: no entity, but its name comes before the names inside; ``@body`` the same, and
  functions right inside it are methods (Rust ``impl``);
* ``@outer`` around ``@inner``: the text of the entity at ``@inner`` is that of ``@outer`` (decorators, ``export``);
* ``@lead``: a comment or attribute; a run of them right above an entity belongs to its text.

Does not belong here: which files there are (``scan.py``), or ids and payloads (``targets.py``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scheduler.catalog.reading import SkippedError, SkipReason
from scheduler.catalog.targets import Entity
from scheduler.errors import ConfigError

if TYPE_CHECKING:
    from tree_sitter import Node

KINDS = frozenset({"function", "class", "method", "struct", "enum", "trait", "interface", "macro"})
#: A function right inside one of these is a method.
_CLASS_LIKE = frozenset({"class", "struct", "enum", "trait", "interface", "body"})
_SCOPES = KINDS | {"namespace", "body"}


@dataclass(frozen=True, slots=True)
class Language:
    """A row of the language table: the grammar's package and the function in it that hands the grammar out."""

    name: str
    extensions: tuple[str, ...]
    grammar: str
    entry: str = "language"
    query: str = ""


LANGUAGES = (
    Language("python", (".py", ".pyi", ".pyw"), "tree_sitter_python"),
    Language("javascript", (".js", ".mjs", ".cjs", ".jsx"), "tree_sitter_javascript"),
    Language("typescript", (".ts", ".mts", ".cts"), "tree_sitter_typescript", "language_typescript"),
    Language("tsx", (".tsx",), "tree_sitter_typescript", "language_tsx", "typescript"),
    Language("go", (".go",), "tree_sitter_go"),
    Language("rust", (".rs",), "tree_sitter_rust"),
    Language("java", (".java",), "tree_sitter_java"),
)
BY_EXTENSION = {extension: language for language in LANGUAGES for extension in language.extensions}


@dataclass(frozen=True, slots=True)
class _Span:
    """A piece of the file that has a name: an entity, or a scope that only lends its name."""

    start: int
    end: int
    kind: str
    name: str
    node: Node


def entities(text: str, language: Language) -> Iterator[Entity]:
    """The entities of ``text`` in the order of the file; broken parts are passed over.

    Raises ``SkippedError`` when nothing of a broken file can be used, ``ConfigError`` when the
    grammars are not installed.
    """
    source = text.encode("utf-8", "replace")
    tree_sitter, grammar, query = _tools(language)
    root = tree_sitter.Parser(grammar).parse(source).root_node
    spans, outer_of, leads = _captured(tree_sitter.QueryCursor(query).matches(root))
    if not spans and _is_noise(root):
        raise SkippedError(SkipReason.UNPARSABLE, f"no part of it is valid {language.name}")
    yield from _named(spans, source, outer_of, leads)


def _is_noise(root: Node) -> bool:
    """Whether nothing in the file is code; one line that is newer than its grammar does not make it so."""
    return root.has_error and all(part.has_error or part.is_extra for part in root.named_children)


def _captured(matches: list[tuple[int, dict[str, list[Node]]]]) -> tuple[list[_Span], dict[int, Node], dict[int, Node]]:
    """The query's matches sorted into spans, wrappers (by the id of what they wrap), and leads (by their last row)."""
    spans: list[_Span] = []
    outer_of: dict[int, Node] = {}
    leads: dict[int, Node] = {}
    for _, captures in matches:
        if "outer" in captures:
            outer_of[captures["inner"][0].id] = captures["outer"][0]
        elif "lead" in captures:
            lead = captures["lead"][0]
            row, column = lead.end_point
            leads[row if column else row - 1] = lead  # Rust's doc comments include their line end
        else:
            spans.append(_span(captures))
    spans.sort(key=lambda span: (span.start, -span.end))
    return spans, outer_of, leads


def _span(captures: dict[str, list[Node]]) -> _Span:
    kind = next(name for name in captures if name in _SCOPES)
    node = captures[kind][0]
    own = _text(captures["name"][0])
    name = f"{_text(captures['owner'][0])}.{own}" if "owner" in captures else own
    return _Span(node.start_byte, node.end_byte, kind, name, node)


def _text(node: Node) -> str:
    """A name on one line: strings without their quotes, long member expressions without line ends."""
    text = (node.text or b"").decode("utf-8", "replace")
    return " ".join(text.split()).strip("\"'`")


def _named(spans: list[_Span], source: bytes, outer_of: dict[int, Node], leads: dict[int, Node]) -> Iterator[Entity]:
    """Entities with the names of what surrounds them before their own. ``spans`` are sorted, outer first."""
    around: list[tuple[_Span, str]] = []
    for span in spans:
        while around and around[-1][0].end < span.end:
            around.pop()
        name = f"{around[-1][1]}.{span.name}" if around else span.name
        parent_kind = around[-1][0].kind if around else ""
        around.append((span, name))
        if span.kind in KINDS:
            kind = "method" if span.kind == "function" and parent_kind in _CLASS_LIKE else span.kind
            yield _entity(name, kind, span.node, source, outer_of, leads)


def _entity(name: str, kind: str, node: Node, source: bytes, outer_of: dict[int, Node], leads: dict[int, Node]) -> Entity:
    end = node
    while node.id in outer_of:
        node = end = outer_of[node.id]
    row, start = node.start_point.row, node.start_byte
    while (lead := leads.get(row - 1)) is not None and _begins_its_line(lead, source):
        row, start = lead.start_point.row, lead.start_byte
    line_start = source.rfind(b"\n", 0, start) + 1
    if source[line_start:start].isspace():
        start = line_start
    text = textwrap.dedent(source[start : end.end_byte].decode("utf-8", "replace"))
    return Entity(name, kind, row + 1, end.end_point.row + 1, text)


def _begins_its_line(node: Node, source: bytes) -> bool:
    """A comment at the end of a line of code belongs to that line, not to what follows."""
    line_start = source.rfind(b"\n", 0, node.start_byte) + 1
    return not source[line_start : node.start_byte].strip()


@cache
def _tools(language: Language) -> tuple[Any, Any, Any]:
    """tree-sitter, the grammar and the query of ``language``; imported on first use: folders of documents need none."""
    try:
        tree_sitter = import_module("tree_sitter")
        package = import_module(language.grammar)
    except ImportError as error:
        raise ConfigError(
            f"reading {language.name} code needs the extra 'local', of which {error.name} is missing: pip install 'ai-job-scheduler[local]'"
        ) from None
    compiled = tree_sitter.Language(getattr(package, language.entry)())
    source = (Path(__file__).parent / "queries" / f"{language.query or language.name}.scm").read_text("utf-8")
    return tree_sitter, compiled, tree_sitter.Query(compiled, source)
