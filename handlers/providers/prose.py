"""From marked-up text to sentences: what is left of Markdown, RST, HTML and docstrings when read aloud.

Sentences are found by sentencex (Wikimedia, MIT), which knows abbreviations and the full stops of
many languages. Does not belong here: which sentences matter (``ranking.py``).
"""

from __future__ import annotations

import html
import re

import sentencex  # type: ignore[import-untyped]

_LITERAL_BLOCK = re.compile(r"(?<=::)\n[ \t]*\n(?:(?:[ \t]+\S.*)?(?:\n|\Z))+")
_HTML_NOISE = (("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>"), ("<pre", "</pre>"))
# Every repetition is bounded: an unclosed bracket must not make a long line cost its square.
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,300}>")
_MD_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\((?:[^()\n]|\([^()\n]{0,300}\)){0,500}\)")
_RST_ROLE = re.compile(r":[A-Za-z:+-]{1,40}:`~?!?([^`<]{1,300}?)(?:\s*<[^>`]{0,300}>)?`")
_RST_LINK = re.compile(r"`([^`<]{1,300}?)\s*<[^>`]{0,300}>`_{1,2}")
_URL = re.compile(r"\b(?:https?|ftp)://[^\s)>\]]+")
_INLINE = re.compile(r"\*{1,3}(?=\S)|(?<=\S)\*{1,3}|`{1,2}|(?<!\w)_{1,2}(?=[^\W_])|(?<=[^\W_])_{1,2}(?!\w)")
_ATX_HEADING = re.compile(r"#{1,6}[ \t]+(.*?)[ \t#]*")
_RULER = re.compile(r"[ \t]*([=\-~^\"'*+`#_])\1{2,}[ \t]*")
_BULLET = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+(?=\S)")
_DROPPED = re.compile(r"[ \t]*(?:\||>>>|\.\.\s|\.\. |:[\w-]+[^:\n]*:|@\w+|\+[-=+]+\+|import\s|Copyright\b|SPDX-|\(c\)\s|©)")
_QUOTE = re.compile(r"^(?![ \t]*>>>)(?:[ \t]*>)+[ \t]?")
_FIELD_HEADING = re.compile(
    r"[ \t]*(?:Args|Arguments|Parameters|Returns|Return|Yields|Raises|Attributes|Examples?|Notes?|See Also|References):?[ \t]*"
)

_ENDS_OF_CODE = ("{", "}", ";", "=>")
_LONG_ENOUGH = re.compile(r"\w.*\w", re.S)


def plain(text: str) -> str:
    """``text`` without code blocks, tags, links' targets and emphasis marks."""
    text = _LITERAL_BLOCK.sub("\n", _without_fences(text))
    text = _MD_LINK.sub(r"\1", text)
    text = _RST_LINK.sub(r"\1", _RST_ROLE.sub(r"\1", text))  # before tags: their targets look like tags
    if "<" in text:
        text = _TAG.sub(" ", _without_noise(text))
    text = _INLINE.sub("", _URL.sub("", text))
    return html.unescape(text) if "&" in text else text


def _without_noise(text: str) -> str:
    """Without scripts, styles, comments and preformatted blocks; one that is never closed stays."""
    for opening, closing in _HTML_NOISE:
        lower = text.lower()
        if len(lower) != len(text):  # "İ" and its kin: look for the tags as they are
            lower = text
        kept, position = [], 0
        while (start := lower.find(opening, position)) >= 0 and (end := lower.find(closing, start)) >= 0:
            kept.append(text[position:start])
            position = end + len(closing)
        text = " ".join([*kept, text[position:]])
    return text


def _without_fences(text: str) -> str:
    """Without ``` blocks; one that is never closed reaches to the end, as in CommonMark."""
    if "```" not in text and "~~~" not in text:
        return text
    kept, fence = [], ""
    for line in text.splitlines():
        mark = line.lstrip("> \t")[:3]
        if fence:
            fence = "" if mark == fence else fence
        elif mark in ("```", "~~~"):
            fence = mark
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)


def paragraphs(text: str) -> tuple[list[str], list[str]]:
    """The paragraphs of ``text``, each on one line, and its headings. Field lists, tables and rulers are left out."""
    found: list[str] = []
    headings: list[str] = []
    current: list[str] = []

    def close() -> None:
        if current:
            found.append(" ".join(" ".join(current).split()))
            current.clear()

    for line in plain(text).splitlines():
        line = _QUOTE.sub("", line)
        stripped = line.strip()
        heading = _ATX_HEADING.fullmatch(stripped)
        if heading:
            close()
            headings.append(heading[1])
        elif _RULER.fullmatch(line):
            if len(current) == 1 and len(current[0]) <= 80 and len(stripped) >= min(3, len(current[0])):  # the line above was a heading
                headings.append(current.pop())
            close()
        elif not stripped or stripped.endswith(_ENDS_OF_CODE) or _DROPPED.match(line) or _FIELD_HEADING.fullmatch(line):
            close()
        else:
            if _BULLET.match(line):
                close()
            current.append(_BULLET.sub("", line, count=1).strip())
    close()
    return found, headings


def sentences(lines: list[str], language: str, limit: int) -> list[str]:
    """At most ``limit`` sentences of paragraphs, in order; one that is no more than a mark is left out."""
    found: list[str] = []
    for line in lines:
        for sentence in sentencex.segment(language, line):
            stripped = " ".join(sentence.split())
            if _LONG_ENOUGH.search(stripped):
                found.append(stripped)
        if len(found) >= limit:
            break
    return found[:limit]


def shortened(text: str, most_chars: int) -> str:
    """``text`` cut at a word's end, with an ellipsis, if it is longer than ``most_chars``."""
    if len(text) <= most_chars:
        return text
    head = text[: most_chars - 1]
    space = head.rfind(" ", most_chars // 2)
    return head[: space if space > 0 else len(head)].rstrip(" ,;:") + "…"
