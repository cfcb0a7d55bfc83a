"""Documents: what they are called and what a reader would see of them.

Does not belong here: which files there are (``scan.py``), or ids and payloads (``targets.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from html.parser import HTMLParser
from itertools import pairwise

#: The document formats by extension.
BY_EXTENSION = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdown": "markdown",
    ".rst": "restructuredtext",
    ".rest": "restructuredtext",
    ".txt": "text",
    ".text": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
}
#: Plain text by custom, without an extension.
BARE_NAMES = frozenset({"README", "CHANGELOG", "CHANGES", "NEWS", "HISTORY", "CONTRIBUTING", "INSTALL", "NOTICE", "TODO"})

_MAX_TITLE_CHARS = 200
#: Nothing longer is a heading, and the patterns below may take their time over endless lines.
_MAX_LINE_CHARS = 1_000
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t#]*$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_FRONT_TITLE = re.compile(r"title:\s*[\"']?(.+?)[\"']?\s*$")
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*$")


def read_document(text: str, form: str) -> tuple[str, str]:
    """The title (empty if it has none) and the readable text of a document of format ``form``."""
    title, readable = _READERS[form](text)
    return " ".join(title.split())[:_MAX_TITLE_CHARS], readable.strip()


def _markdown(text: str) -> tuple[str, str]:
    lines = [line[:_MAX_LINE_CHARS] for line in text.split("\n")]
    return _front_matter_title(lines) or _markdown_heading(lines), text


def _front_matter_title(lines: list[str]) -> str:
    """``title:`` of a YAML block between ``---`` lines at the very top."""
    if lines[0].strip() != "---":
        return ""
    for line in lines[1:]:
        if line.strip() in {"---", "..."}:
            break
        if found := _FRONT_TITLE.match(line):
            return found[1]
    return ""


def _markdown_heading(lines: list[str]) -> str:
    """The first heading, underlined or with ``#``; a comment in a code block is none."""
    fence = ""
    for index, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence:
            if found := _HEADING.match(line):
                return found[1]
            follows = lines[index + 1] if index + 1 < len(lines) else ""
            if line.strip() and _UNDERLINE.match(follows) and not _UNDERLINE.match(line):
                return line
    return ""


def _restructuredtext(text: str) -> tuple[str, str]:
    """The first section title: a line above an adornment that is at least as long."""
    lines = text.split("\n")
    for line, below in pairwise(lines):
        shape = _ADORNMENT.match(below)
        title = line.strip()
        if shape and title and not _ADORNMENT.match(line) and len(below.rstrip()) >= len(title):
            return title, text
    return "", text


def _plain(text: str) -> tuple[str, str]:
    """A short first line, if it stands alone, is a title."""
    first, _, rest = text.strip().partition("\n")
    alone = not rest or not rest.split("\n", 1)[0].strip() or _ADORNMENT.match(rest.split("\n", 1)[0])
    return (first if alone and len(first) <= 100 else ""), text


def _html(text: str) -> tuple[str, str]:
    page = _Page()
    with suppress(AssertionError):  # some Pythons' parser gives up at a malformed <![…: what came before is kept
        page.feed(text)
        page.close()
    return page.title or page.heading, page.text()


class _Page(HTMLParser):
    """Collects what a reader sees: no scripts, no styles; paragraphs and lines where a browser would break."""

    _HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "iframe"})
    _LINES = frozenset({"br", "dd", "div", "dt", "li", "tr"})
    _PARAGRAPHS = frozenset(
        {"address", "article", "aside", "blockquote", "dl", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6"}
        | {"header", "hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul"}
    )
    _BREAKS = dict.fromkeys(_LINES, "\n") | dict.fromkeys(_PARAGRAPHS, "\n\n") | dict.fromkeys(("td", "th"), " ")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = ["\n"]
        self._titles: dict[str, list[str]] = {"title": [], "h1": []}
        self._inside = ""
        self._hidden = ""
        self._pre = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden:
            return
        if tag in self._HIDDEN:
            self._hidden = tag
        elif tag in self._titles and not self._titles[tag]:
            self._inside = tag
        self._pre = self._pre or tag == "pre"
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""
        if tag == self._inside:
            self._inside = ""
        if tag == "pre":
            self._pre = False
        if tag in self._PARAGRAPHS or tag == "div":
            self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)  # an empty element hides nothing and holds no title

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._inside:
            self._titles[self._inside].append(data)
        if self._inside == "title":
            return
        if not self._pre:
            data = re.sub(r"\s+", " ", data)
            data = data.lstrip(" ") if self._parts[-1].endswith(("\n", " ")) else data
        if data:
            self._parts.append(data)

    def _break(self, tag: str) -> None:
        if tag in self._BREAKS and not self._hidden:
            self._parts.append(self._BREAKS[tag])

    @property
    def title(self) -> str:
        return "".join(self._titles["title"])

    @property
    def heading(self) -> str:
        return "".join(self._titles["h1"])

    def text(self) -> str:
        joined = "\n".join(line.rstrip(" ") for line in "".join(self._parts).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", joined).strip()


_READERS: dict[str, Callable[[str], tuple[str, str]]] = {
    "markdown": _markdown,
    "restructuredtext": _restructuredtext,
    "text": _plain,
    "html": _html,
}
