"""A code entity read without running or parsing it: its documentation, parameters, calls and names.

One lexical pass tells comments and strings from code, for any language with Python-like or C-like
marks. That is enough to say what an entity does; a parser for each language would not say more.
Does not belong here: which of these words matter (``keywords.py``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_HASH_COMMENTS = frozenset(
    {"python", "ruby", "shell", "bash", "sh", "perl", "r", "yaml", "toml", "elixir", "julia", "make", "makefile", "dockerfile", "nim"}
    | {"powershell", "tcl", "crystal", "awk", "cmake"}
)
_DASH_COMMENTS = frozenset({"sql", "lua", "haskell", "ada", "elm"})
_TYPE_FIRST = frozenset({"c", "cpp", "c++", "csharp", "c#", "java", "dart", "objective-c"})
_TRIPLE = r"(?P<triple>[rRuUbBfF]{0,2}(?:\"\"\"(?P<double>.*?)\"\"\"|'''(?P<single>.*?)'''))"
_STRING = r"(?P<string>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)"
_LINE_MARKS = {"#": r"\#[^\n]*", "//": r"//[^\n]*", "--": r"--[^\n]*"}
_LEXERS = {mark: re.compile(rf"(?P<comment>/\*.*?\*/|{line}|<!--.*?-->)|{_TRIPLE}|{_STRING}", re.S) for mark, line in _LINE_MARKS.items()}
_COMMENT_MARKS = re.compile(r"^[ \t]*(?:/\*+!?|\*+/|\*(?!\w)|/{2,}!?|#+!?:?|--+\|?|<!--|-->)[ \t]?|[ \t]*\*+/[ \t]*$|-->$", re.M)

_NAME = r"[^\W\d]\w*"
_CALL = re.compile(rf"(?<![\w.])({_NAME}(?:\.{_NAME})*)\s*\(")
_DEFINED = re.compile(rf"\b(?:def|class|function|func|fn|interface|struct|enum|trait|module)\s+({_NAME})")
_RAISED = re.compile(rf"\b(?:raise|throw(?:\s+new)?)\s+({_NAME}(?:\.{_NAME})*)")
_BASES = re.compile(rf"\bclass\s+{_NAME}\s*(?:\(([^()]*)\)|(?:extends|implements|:)\s*([\w., ]+))")
_RETURNS_VALUE = re.compile(r"\breturn\b[ \t]*[^\s;}]")
_YIELDS = re.compile(r"\byield\b")
_IDENTIFIER = re.compile(_NAME)
_NO_CALLS = frozenset(
    {
        "if",
        "elif",
        "while",
        "for",
        "switch",
        "catch",
        "return",
        "yield",
        "await",
        "not",
        "and",
        "or",
        "in",
        "is",
        "assert",
        "except",
        "with",
    }
    | {"print", "super", "def", "class", "function", "func", "fn", "sizeof", "typeof", "new", "lambda", "isinstance", "len", "str", "int"}
    | {"float", "bool", "list", "dict", "set", "tuple", "type", "hasattr", "getattr", "setattr", "repr", "range", "enumerate", "raise"}
)
_MOST_CHARS = 16_000


@dataclass(slots=True)
class CodeReading:
    """What one pass over an entity found. Names are as written, most frequent first."""

    documentation: str = ""
    comments: str = ""
    parameters: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    raises: list[str] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    defines: list[str] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    gives: str = ""  # "returns", "yields" or nothing


def read_code(text: str, language: str, name: str) -> CodeReading:
    """Read an entity's source; only its first 16,000 characters, which hold what names it."""
    text = text[:_MOST_CHARS]
    bare, documentation, comments = _separated(text, language)
    short = name.rsplit(".", 1)[-1]
    called = [call.removeprefix("self.").removeprefix("this.").removeprefix("cls.") for call in _CALL.findall(bare)]
    bases = _bases(bare)
    defines = [defined for defined in _DEFINED.findall(bare) if defined != short]
    mute = {short, *defines, *_NO_CALLS}
    return CodeReading(
        documentation=documentation,
        comments=comments,
        parameters=[] if bases else _parameters(bare, short, language),
        calls=_by_frequency(call for call in called if call not in mute),
        raises=_by_frequency(_RAISED.findall(bare)),
        bases=bases,
        defines=list(dict.fromkeys(defines)),
        identifiers=[name for name in _IDENTIFIER.findall(bare) if not name.endswith(("Error", "Exception"))],
        gives="yields" if _YIELDS.search(bare) else "returns" if _RETURNS_VALUE.search(bare) else "",
    )


def _separated(text: str, language: str) -> tuple[str, str, str]:
    """The code with strings and comments blanked, its documentation, and its other comments."""
    bare: list[str] = []
    before: list[str] = []
    inside: list[str] = []
    docstring, position, started = "", 0, False
    for found in _LEXERS[_mark(language)].finditer(text):
        bare.append(text[position : found.start()])
        started = started or bool(bare[-1].strip())
        if found["comment"] is not None:
            (inside if started else before).append(_COMMENT_MARKS.sub("", found["comment"]))
            bare.append(" ")
        else:
            if found["triple"] is not None and not docstring and (not started or "".join(bare[-2:]).rstrip().endswith((":", "{"))):
                docstring = found["double"] or found["single"] or ""
            bare.append('""')
        position = found.end()
    bare.append(text[position:])
    return "".join(bare), _dedented(docstring) or "\n".join(before), "\n".join(inside)


def _mark(language: str) -> str:
    if language in _HASH_COMMENTS:
        return "#"
    return "--" if language in _DASH_COMMENTS else "//"


def _dedented(docstring: str) -> str:
    """The docstring without its common indent (``inspect.cleandoc``, without its import)."""
    lines = docstring.strip("\n").splitlines()
    indents = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    margin = min(indents, default=0)
    return "\n".join([lines[0].strip(), *(line[margin:] for line in lines[1:])]) if lines else ""


def _parameters(bare: str, short: str, language: str) -> list[str]:
    start = re.search(rf"\b{re.escape(short)}\s*(?:<[^<>()]*>|\[[^\[\]()]*\])?\s*\(", bare) if short else None
    if start is None:
        return []
    names = []
    for part in _at_depth_one(bare, start.end()):
        found = _IDENTIFIER.findall(part.split("=", 1)[0].split(":", 1)[0])
        if found:
            names.append(found[-1] if language in _TYPE_FIRST else found[0])
    return [name for name in dict.fromkeys(names) if name not in ("self", "cls", "this", "void")]


def _at_depth_one(bare: str, position: int, most_chars: int = 2_000) -> list[str]:
    """The comma-separated parts from ``position`` to the bracket that closes it."""
    parts: list[str] = []
    start, depth = position, 0
    for index in range(position, min(len(bare), position + most_chars)):
        character = bare[index]
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                return [*parts, bare[start:index]]
        elif character == "," and depth == 0:
            parts.append(bare[start:index])
            start = index + 1
    return parts


def _bases(bare: str) -> list[str]:
    found = _BASES.search(bare)
    if found is None:
        return []
    return [base.strip() for base in (found[1] or found[2] or "").split(",") if base.strip() and "=" not in base]


def _by_frequency(names: Iterable[str]) -> list[str]:
    return [name for name, _ in Counter(names).most_common()]
