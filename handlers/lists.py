"""The two lists of a matching job: where they stand, and reading them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from handlers.likeness import KEYS, NAMES, Catalogue, Thing, things
from handlers.tables import Row, column, read_table, refuse_changed

#: The passes that a job may go without.
AI, SEARCH = "ai", "search"


class MatchItems(BaseModel):
    """``items`` and ``catalogue`` are paths of CSV or JSON files, or the rows themselves.

    ``content_hash`` (of ``tables.content_hash``) makes sure that a job that goes on later still finds the files it began
    with. ``pages`` is a folder of pages for the search. ``out`` is where the matches are written as CSV.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    items: str | list[Row]
    catalogue: str | list[Row]
    item_name: str = ""
    catalogue_name: str = ""
    content_hash: str = ""
    pages: str = ""
    out: str = ""
    passes: frozenset[str] = frozenset({AI, SEARCH})
    at_once: int = Field(2, ge=1, le=64)

    def load(self) -> tuple[list[Thing], Catalogue]:
        """Read both; blocks. Raises ``TableError``."""
        refuse_changed(self.content_hash, self.items, self.catalogue)
        items, entries = (
            _side(self.items, self.item_name, "the list of items"),
            _side(self.catalogue, self.catalogue_name, "the catalogue"),
        )
        return items, Catalogue(entries)


def _side(table: str | list[Row], name: str, what: str) -> list[Thing]:
    rows = read_table(table) if isinstance(table, str) else table
    if not rows:
        return []
    key = next((one for one in KEYS if one in rows[0]), None)
    return things(rows, column(rows, name, NAMES, what), key)
