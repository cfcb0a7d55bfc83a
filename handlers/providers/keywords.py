"""Keywords and topics from weighted stretches of words.

Candidates are runs of telling words (RAKE: Rose, Engel, Cramer and Cowley, 2010), scored by how
often and where their words occur, with the position and spread features of YAKE (Campos et al.,
2020) in spirit; near-duplicates are told by their stems. Needs one text only: no corpus, no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from handlers.providers.words import is_telling, looks_like_identifier, stem, stop_words

_MOST_WORDS = 3

#: A candidate: its text, the stems of its words, its score.
Scored = tuple[str, tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive words, none of which a phrase may reach beyond, and how much they count."""

    words: Sequence[str]
    weight: float = 1.0


@dataclass(slots=True)
class _Phrase:
    stems: tuple[str, ...]
    weight: float = 0.0
    forms: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The form that occurs most, the first among equals."""
        return max(self.forms, key=lambda form: self.forms[form])


@dataclass(frozen=True, slots=True)
class Phrases:
    """Scored candidates, best first: text, stems, score."""

    ranked: list[Scored]

    def best(self, count: int, most_words: int = _MOST_WORDS) -> list[str]:
        """The ``count`` best of at most ``most_words`` words, none of which mostly repeats a better one."""
        fitting = [(text, stems) for text, stems, score in self.ranked if len(stems) <= most_words and score > 0.0]
        return distinct(fitting, count)


def distinct(candidates: Iterable[tuple[str, tuple[str, ...]]], count: int) -> list[str]:
    """The first ``count`` texts that share at most half of their stems with any before them."""
    chosen: list[tuple[str, set[str]]] = []
    for text, stems in candidates:
        own = set(stems)
        if not any(len(own & other) * 2 > min(len(own), len(other)) for _, other in chosen):
            chosen.append((text, own))
            if len(chosen) == count:
                break
    return [text for text, _ in chosen]


def phrases(stretches: Iterable[Stretch], language: str, mute: frozenset[str] = frozenset()) -> Phrases:
    """Score the candidate phrases of ``stretches``; ``mute`` are further words (lower case) that say nothing."""
    stops = stop_words(language) | mute
    runs = [run for stretch in stretches for run in _runs(stretch, stops)]
    words = _word_weights(runs, language)
    found: dict[tuple[str, ...], _Phrase] = {}
    for position, run in enumerate(runs):
        earlier = 1.0 + 1.0 / math.log2(position + 2)  # what comes first says more
        stems = [stem(word, language) for word in run.words]
        for length in range(1, min(_MOST_WORDS, len(run.words)) + 1):
            for start in range(len(run.words) - length + 1):
                key = tuple(stems[start : start + length])
                phrase = found.setdefault(key, _Phrase(key))
                phrase.weight += run.weight * earlier
                form = _form(run.words[start : start + length])
                phrase.forms[form] = phrase.forms.get(form, 0) + 1
    scored = [(phrase.text, phrase.stems, _score(phrase, words)) for phrase in found.values()]
    return Phrases(sorted(scored, key=lambda each: -each[2]))


def _runs(stretch: Stretch, stops: frozenset[str]) -> Iterable[Stretch]:
    run: list[str] = []
    for word in stretch.words:
        if is_telling(word, stops):
            run.append(word)
        elif run:
            yield Stretch(run, stretch.weight)
            run = []
    if run:
        yield Stretch(run, stretch.weight)


def _word_weights(runs: Sequence[Stretch], language: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for run in runs:
        for word in run.words:
            key = stem(word, language)
            weights[key] = weights.get(key, 0.0) + run.weight
    return weights


def _score(phrase: _Phrase, words: dict[str, float]) -> float:
    """How often the phrase and its words occur; longer ones win only by occurring as a whole."""
    own = sum(math.log1p(words[each]) for each in phrase.stems) / len(phrase.stems)
    repeated = len(set(phrase.stems)) < len(phrase.stems)
    return 0.0 if repeated else own * math.log1p(phrase.weight) * (1.0 + 0.3 * (len(phrase.stems) - 1))


def _form(words: Sequence[str]) -> str:
    """As people write it in a list of keywords: lower case, but acronyms and identifiers as they are."""
    return " ".join(word if word.isupper() or looks_like_identifier(word) else word.lower() for word in words)
