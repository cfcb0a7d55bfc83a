"""Searching for what a description could mean: the port to a web search, and the index that needs none.

``SearchIndex`` is all that a search engine has to offer. The default, ``LocalIndex``, is SQLite's full-text search over
pages that lie here: text, Markdown and HTML files of a folder, and the catalogue's own details. To use another, put it in
place of ``Searches`` with ``scheduler.resources.put(Searches, yours)``.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anyio import to_thread

from handlers.tables import TableError

_PAGES = (".txt", ".md", ".rst", ".html", ".htm")
_MOST_PAGE_CHARS = 200_000
_MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Page:
    """What a search found: where it stands, what it says."""

    place: str
    text: str


class SearchIndex(Protocol):
    """A search engine."""

    async def search(self, query: str, limit: int) -> list[Page]:
        """The best pages first. Raises ``AIProviderError`` and its kinds: ``RateLimitError`` puts the job off."""
        ...

    async def aclose(self) -> None: ...


class Searches:
    """Opens search indexes for jobs; handlers ask for it by ``job.resource(Searches)``."""

    async def open(self, folder: str, pages: Iterable[Page]) -> SearchIndex:
        """An index of the pages in ``folder`` (empty: of none) and of ``pages``. Raises ``TableError``."""
        return await to_thread.run_sync(LocalIndex, [*pages], folder)

    async def aclose(self) -> None:
        """Nothing to close."""


class LocalIndex:
    """SQLite's FTS5 with its BM25 ranking, in memory: made anew for each attempt, in about a second for 10,000 pages."""

    def __init__(self, pages: Iterable[Page], folder: str = "") -> None:
        found = [*pages, *_pages_in(folder)]  # before anything is open that would have to be closed
        self._guard = threading.Lock()  # one connection, several chunks at once
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute('CREATE VIRTUAL TABLE page USING fts5(place UNINDEXED, text, tokenize = "porter unicode61 remove_diacritics 2")')
        for page in found:
            self._db.execute("INSERT INTO page VALUES (?, ?)", (page.place, page.text))
        self._db.commit()

    async def search(self, query: str, limit: int) -> list[Page]:
        return await to_thread.run_sync(self._search, query, limit)

    async def aclose(self) -> None:
        self._db.close()

    def _search(self, query: str, limit: int) -> list[Page]:
        words = dict.fromkeys(_WORD.findall(query.lower()))
        if not words:
            return []
        wanted = " OR ".join(f'"{word}"' for word in words)  # any of them: BM25 puts pages with the rare ones first
        with self._guard:
            rows = self._db.execute("SELECT place, text FROM page WHERE page MATCH ? ORDER BY rank LIMIT ?", (wanted, limit)).fetchall()
        return [Page(place, text) for place, text in rows]


def _pages_in(folder: str) -> Iterator[Page]:
    if not folder:
        return
    root = Path(folder)
    if not root.is_dir():
        raise TableError(f"{folder}: no such folder of pages to search")
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in _PAGES and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")[:_MOST_PAGE_CHARS].replace("\x00", " ")
            yield Page(str(path.relative_to(root)), _MARKUP.sub(" ", text) if path.suffix.lower() in (".html", ".htm") else text)
