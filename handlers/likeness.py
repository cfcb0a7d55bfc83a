"""Whether two descriptions name the same thing: what rules and spelling alone can tell.

Pure. Exact: a shared article code, or the same words and numbers in any order. Fuzzy: nearly the same spelling
(rapidfuzz), provided that every number agrees, because ``screw M8`` and ``screw M6`` differ by one character and are two
things, and provided that no other entry is nearly as like. Does not belong here: asking anybody (``matching.py``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from handlers.extras import needing
from handlers.tables import Row

#: Columns that hold a code by which makers and shops name a thing. ``id`` is none: everybody counts from 1.
CODES = ("sku", "code", "article", "article number", "article_number", "mpn", "part number", "part_number", "ean", "gtin", "upc", "isbn")
NAMES = ("name", "title", "product", "item", "description", "label")
KEYS = ("id", "key", *CODES)

#: A spelling this like (0 to 100) is a match by itself, if it leads the next by the margin.
FUZZY_ACCEPT, FUZZY_MARGIN = 88.0, 3.0

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_PART = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+")


def parts(text: str) -> list[str]:
    """The words and numbers of ``text``, alike however it is written: case, accents, marks, ``18V`` and ``18 V``, ``1,5`` and ``1.5``."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())  # twice: a double-struck S becomes an S
    plain = "".join(one for one in folded if not unicodedata.combining(one))
    plain = _DECIMAL_COMMA.sub(".", _THOUSANDS.sub("", plain))
    return [_number(part) if part[0].isdigit() else part for part in _PART.findall(plain)]


def numbers(words: Iterable[str]) -> frozenset[str]:
    """The numbers among ``parts``."""
    return frozenset(word for word in words if word[0].isdigit())


def code(text: str) -> str:
    """An article code without the marks and blanks that people put into it; leading zeros stay."""
    return "".join(one for one in text.casefold() if one.isalnum())


@dataclass(frozen=True, slots=True)
class Thing:
    """One row of either side. ``key`` is what results name it by."""

    key: str
    name: str
    words: tuple[str, ...]
    codes: Mapping[str, str] = field(default_factory=dict)
    details: str = ""

    @property
    def spelling(self) -> str:
        """The words in one order, so that comparing characters does not mind theirs."""
        return " ".join(sorted(self.words))


@dataclass(frozen=True, slots=True)
class Match:
    """``row`` of the catalogue, how like it is (0 to 1), and how it was found."""

    row: int
    score: float
    how: str


def things(rows: Sequence[Row], name_column: str, key_column: str | None) -> list[Thing]:
    """Rows as things; without a key column the row's number, from 1, is the key."""
    made = []
    for number, row in enumerate(rows, 1):
        name = row.get(name_column, "")
        codes = {column: value for column in CODES if column in row and (value := code(row[column]))}
        details = "; ".join(f"{column}: {value}" for column, value in row.items() if value and column not in (name_column, key_column))
        key = (row.get(key_column, "") if key_column else "") or str(number)
        made.append(Thing(key, name, tuple(parts(name)), codes, details))
    return made


class Catalogue:
    """What is matched against, indexed once. Raises ``ConfigError`` without the extra ``matching``."""

    def __init__(self, entries: Sequence[Thing]) -> None:
        with needing("matching"):
            import numpy
            from rapidfuzz import fuzz, process
        self._numpy, self._fuzz, self._process = numpy, fuzz, process
        self.entries = list(entries)
        self._by_code: dict[tuple[str, str], list[int]] = {}
        self._by_words: dict[tuple[str, ...], list[int]] = {}
        for row, entry in enumerate(self.entries):
            for column, value in entry.codes.items():
                self._by_code.setdefault((column, value), []).append(row)
            self._by_words.setdefault(tuple(sorted(entry.words)), []).append(row)

    @cached_property
    def _spellings(self) -> list[str]:
        return [entry.spelling for entry in self.entries]

    @cached_property
    def _texts(self) -> list[str]:
        return [" ".join(entry.words) for entry in self.entries]

    def exact(self, item: Thing) -> Match | None:
        """The one entry with a code of ``item``, else the one with its very words; None where that names several or none."""
        for column, value in item.codes.items():
            rows = self._by_code.get((column, value), [])
            if len(rows) == 1:
                return Match(rows[0], 1.0, "exact")
        rows = self._by_words.get(tuple(sorted(item.words)), []) if item.words else []
        return Match(rows[0], 1.0, "exact") if len(rows) == 1 else None

    def settle(self, items: Sequence[Thing]) -> list[Match | None]:
        """What rules and spelling say of each item, many at once: the comparing is one matrix in C."""
        found = [self.exact(item) for item in items]
        open_ = [index for index, match in enumerate(found) if match is None and items[index].words]
        if open_ and self.entries:
            for index, match in zip(open_, self._fuzzy([items[index] for index in open_]), strict=True):
                found[index] = match
        return found

    def candidates(self, item: Thing, limit: int) -> list[int]:
        """The rows most like ``item`` even where one of them says more or less than the other, best first."""
        if not item.words:
            return []
        ranked = self._process.extract(
            " ".join(item.words), self._texts, scorer=self._fuzz.token_set_ratio, limit=limit * 4, score_cutoff=30
        )
        wanted = numbers(item.words)
        # Of equally like ones the better whole: the set ratio is 100 for any entry whose words are all in the item.
        ranked.sort(key=lambda one: (-round(one[1] / 10), -len(wanted & numbers(self.entries[one[2]].words)), -self._whole(item, one[2])))
        return [row for _, _, row in ranked[:limit]]

    def _whole(self, item: Thing, row: int) -> float:
        ratio: float = self._fuzz.ratio(item.spelling, self._spellings[row])
        return ratio

    def _fuzzy(self, items: Sequence[Thing]) -> list[Match | None]:
        matrix: Any = self._process.cdist(
            [item.spelling for item in items], self._spellings, scorer=self._fuzz.ratio, dtype=self._numpy.float32, score_cutoff=60.0
        )
        return [self._clear_best(item, scores) for item, scores in zip(items, matrix, strict=True)]

    def _clear_best(self, item: Thing, scores: Any) -> Match | None:
        """The best entry if it is like enough, its numbers agree and no other with those numbers comes near."""
        wanted = numbers(item.words)
        near = [int(row) for row in self._numpy.flatnonzero(scores >= FUZZY_ACCEPT - FUZZY_MARGIN)]
        agreeing = sorted((row for row in near if numbers(self.entries[row].words) == wanted), key=lambda row: -float(scores[row]))
        if not agreeing or scores[agreeing[0]] < FUZZY_ACCEPT:
            return None
        best, *others = agreeing
        if others and scores[best] - scores[others[0]] < FUZZY_MARGIN:
            return None
        return Match(best, round(float(scores[best]) / 100, 4), "fuzzy")


def _number(text: str) -> str:
    """``08`` and ``8`` and ``8.0`` are one."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
