"""Which of some options a text means: the local provider's answer to a multiple choice.

Pure. Texts are compared by stems, weighted by how few options share them (TF-IDF, as in ``ranking.py``), so that what all
options have in common decides nothing; numbers must not contradict. Does not belong here: where options come from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from handlers.providers.ranking import term_matrix
from handlers.providers.words import language_of, terms, tokens

#: Less likeness than this is none of them.
_LEAST = 0.35
#: An option that leads the next by so much of its own likeness (its inverse) leads clearly.
_LEAD = 4.0
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_LETTER_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


def chosen(text: str, options: Sequence[str]) -> tuple[int, float]:
    """The number of the option that ``text`` means, from 1, and how sure that is (0 to 1); ``(0, sure)`` for none of them.

    The first line of an option is its name, the others its details.
    """
    names = [option.partition("\n")[0] for option in options]
    likeness = [like * (0.4 if _contradict(text, name) else 1.0) for like, name in zip(_likeness(text, options, names), names, strict=True)]
    if not likeness:
        return 0, 1.0
    order = sorted(range(len(options)), key=lambda index: -likeness[index])
    best, second = likeness[order[0]], likeness[order[1]] if len(order) > 1 else 0.0
    if best < _LEAST:
        return 0, round(1.0 - best, 3)
    # Two options as like as each other are a coin's toss, however like they are.
    return order[0] + 1, round(best * (0.4 + 0.6 * min(1.0, _LEAD * (best - second) / best)), 3)


def _likeness(text: str, options: Sequence[str], names: Sequence[str]) -> list[float]:
    """From 0 to 1: the angle between the whole texts, or how much of an option's name the text has, where that is more.

    The second is for texts that say more than the option does ("..., new in box, with manual").
    """
    spaced = [_LETTER_DIGIT.sub(" ", one) for one in (text, *options, *names)]
    language = language_of(tokens(" ".join(spaced)), " ".join(spaced))
    bags = [[*terms(tokens(one), language), *_NUMBER.findall(one.replace(",", "."))] for one in spaced]
    matrix, columns = term_matrix(bags[: len(options) + 1])
    spread = Counter(term for bag in bags[1 : len(options) + 1] for term in set(bag))
    weights = {term: 1.0 / spread[term] for term in spread if term in columns}
    there = set(bags[0])
    return [
        max(float(matrix[0] @ row), _share(set(bag), there, weights)) for row, bag in zip(matrix[1:], bags[len(options) + 1 :], strict=True)
    ]


def _share(name: set[str], there: set[str], weights: dict[str, float]) -> float:
    """How much of ``name`` is ``there``, by weight; a name of one word says too little for that."""
    whole = sum(weights.get(term, 0.0) for term in name)
    return sum(weights.get(term, 0.0) for term in name & there) / whole if len(name) > 1 and whole else 0.0


def _contradict(text: str, option: str) -> bool:
    """Both give numbers, and the option has one that the text has not."""
    here, there = (set(_NUMBER.findall(one.replace(",", "."))) for one in (text, option))
    return bool(here and there) and not there <= here
