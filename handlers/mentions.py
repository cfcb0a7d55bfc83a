"""Which entries of a catalogue the pages of a search speak of, and which of them an item must be.

Pure. A page says "the Hornet 300 is sold as ACME drill DX-4 in Europe": who looks for the Hornet 300 finds the page, and on
it the entry. Does not belong here: searching (``searching.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from handlers.likeness import Match, Thing, code, parts
from handlers.searching import Page

#: So much of the votes' possible weight makes a match, and it must lead the next by the factor.
ACCEPT, LEAD = 0.3, 1.5
#: A page that shares less of the item's words (by weight) is about something else.
_ON_TOPIC = 0.5
_LEAST_WORDS = 2
_MOST_MENTIONS = 20


class Mentions:
    """An index from what pages say to the entries they name."""

    def __init__(self, entries: Sequence[Thing]) -> None:
        self._entries = entries
        self._counts = Counter(word for entry in entries for word in set(entry.words))
        self._by_rarest: dict[str, list[int]] = {}
        self._by_code: dict[str, list[int]] = {}
        for row, entry in enumerate(entries):
            if len(set(entry.words)) >= _LEAST_WORDS:
                rarest = min(set(entry.words), key=lambda word: (self._counts[word], word))
                self._by_rarest.setdefault(rarest, []).append(row)
            for value in entry.codes.values():
                if len(value) >= 4:  # shorter ones are words of every page
                    self._by_code.setdefault(value, []).append(row)

    def on(self, text: str) -> list[int]:
        """The rows that ``text`` names: by a code, or by all words of the name. Of two names, one within the other, the longer."""
        there = set(parts(text))
        by_code = [row for word in text.split() for row in self._by_code.get(code(word), ())]
        by_name = [row for word in there for row in self._by_rarest.get(word, ()) if there.issuperset(self._entries[row].words)]
        words = {row: frozenset(self._entries[row].words) for row in by_name}
        longest = [row for row in by_name if not any(words[row] < other for other in words.values())]
        return sorted({*by_code, *longest})

    def vote(self, item: Thing, pages: Sequence[Page]) -> Match | None:
        """The entry that the pages about ``item`` name most, if one clearly leads; earlier pages weigh more, lists of everything little."""
        votes: Counter[int] = Counter()
        possible = 0.0
        for rank, page in enumerate(pages):
            weight = 1.0 / (1 + rank)
            topical = self._coverage(item, page)
            named = self.on(page.text)
            if topical < _ON_TOPIC or not named or len(named) > _MOST_MENTIONS:
                continue
            possible += weight
            for row in named:
                votes[row] += weight * topical / len(named)  # type: ignore[assignment]  # a Counter of weights
        if not votes:
            return None
        (best, most), *others = votes.most_common(2)
        score = most / possible
        if score < ACCEPT or (others and most < LEAD * others[0][1]):
            return None
        return Match(best, round(min(score, 1.0), 4), "search")

    def _coverage(self, item: Thing, page: Page) -> float:
        """How much of the item's words the page has; words that few entries use weigh more."""
        there = set(parts(page.text))
        weights = {word: 1.0 / (1 + self._counts[word]) ** 0.5 for word in set(item.words)}
        whole = sum(weights.values())
        return sum(weight for word, weight in weights.items() if word in there) / whole if whole else 0.0
