"""Documents as pieces of a size that a vector can stand for: by heading, then by paragraph, then by sentence.

Text, Markdown, reStructuredText and HTML. Pieces overlap by a sentence where a paragraph had to be cut, so that what is said across a cut
is found from either side. Does not belong here: keeping pieces (``corpus.py``).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from handlers.extras import needing
from handlers.pieces import Document, Piece
from handlers.tables import TableError

SUFFIXES = (".md", ".markdown", ".rst", ".txt", ".html", ".htm")
#: About 200 words: enough to say something, little enough to be about one thing.
PIECE_CHARS = 1_000
MOST_BYTES = 10_000_000
#: Raise it when pieces come out otherwise: it is part of what makes results fresh.
VERSION = "pieces-1"

_HEADING = re.compile(
    r"^#{1,6}[ \t]+(?P<atx>.+?)[ \t#]*$"  # Markdown
    r"|^(?P<line>\S.*)\n(?:={3,}|-{3,}|~{3,})[ \t]*$"  # underlined: Markdown, reStructuredText
    r"|<h[1-6]\b[^>]*>(?P<tag>.*?)</h[1-6]>",
    re.MULTILINE,
)
_TAG = re.compile(r"<[^>]*>")


def documents_in(paths: list[Path]) -> list[Path]:
    """The files that can be read, of folders and files, each once, in order. Raises ``TableError`` for what is not there."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise TableError(f"{path}: no such file or folder")
        if path.is_file():
            found[path.resolve()] = None
        else:
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
            found.update({one.resolve(): None for one in inside if not any(part.startswith(".") for part in one.relative_to(path).parts)})
    return list(found)


def load(path: str | Path, owner: str) -> tuple[Document, str]:
    """A document and its text. Raises ``TableError`` for what is no text, or too large."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not UTF-8 at byte {error.start}") from error
    if len(raw) > MOST_BYTES or "\x00" in text:
        raise TableError(f"{path}: larger than {MOST_BYTES:,} bytes, or no text")
    text = text.replace("\r\n", "\n")
    first = _HEADING.search(text)
    title = _heading(first) if first else path.stem
    return Document(document_id(path, owner), owner, str(path), title, hashlib.sha256(raw).hexdigest()), text


def document_id(path: str | Path, owner: str) -> str:
    """The same for a file of an owner whatever it says."""
    return hashlib.sha256(f"{owner}\n{path}".encode("utf-8", "surrogateescape")).hexdigest()[:24]


def pieces(document: Document, text: str) -> list[Piece]:
    """The pieces of a document in order. A piece that says the same at another place keeps its id."""
    made: list[Piece] = []
    seen: dict[str, int] = {}
    for heading, body in _sections(text):
        for said in _packed(body):
            key = hashlib.sha256(f"{heading}\n{said}".encode()).hexdigest()[:32]
            seen[key] = seen.get(key, 0) + 1
            piece_id = hashlib.sha256(f"{document.id}\n{key}\n{seen[key]}".encode()).hexdigest()[:32]
            made.append(Piece(piece_id, document.id, len(made), heading, said, key))
    return made


def _sections(text: str) -> list[tuple[str, str]]:
    """``(heading, text below it)``; the first heading is empty where text comes before any."""
    sections, heading, start = [], "", 0
    for found in _HEADING.finditer(text):
        sections.append((heading, text[start : found.start()]))
        heading, start = _heading(found), found.end()
    return [*sections, (heading, text[start:])]


def _heading(found: re.Match[str]) -> str:
    return " ".join(_TAG.sub(" ", found["atx"] or found["line"] or found["tag"] or "").split())


def _packed(body: str) -> list[str]:
    """Paragraphs together while they fit; one that is too long by its sentences."""
    with needing("local"):
        from handlers.providers.prose import paragraphs
    packed: list[str] = []
    for paragraph in paragraphs(body)[0]:
        for part in [paragraph] if len(paragraph) <= PIECE_CHARS else _cut(paragraph):
            if packed and len(packed[-1]) + len(part) < PIECE_CHARS:
                packed[-1] += "\n" + part
            else:
                packed.append(part)
    return packed


def _cut(paragraph: str) -> list[str]:
    """A long paragraph in parts of whole sentences; each begins with the last sentence of the one before."""
    from handlers.providers.prose import sentences
    from handlers.providers.words import language_of, tokens

    language = language_of(tokens(paragraph[:2_000]), paragraph[:2_000])
    parts: list[list[str]] = [[]]
    for sentence in sentences([paragraph], language, len(paragraph)):
        for bit in [sentence[start : start + PIECE_CHARS] for start in range(0, len(sentence), PIECE_CHARS)]:
            if parts[-1] and sum(map(len, parts[-1])) + len(bit) > PIECE_CHARS:
                last = parts[-1][-1]
                parts.append([last] if len(last) + len(bit) <= PIECE_CHARS else [])
            parts[-1].append(bit)
    return [" ".join(part) for part in parts if part]
