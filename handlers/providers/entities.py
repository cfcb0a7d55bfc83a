"""Who and what a text names, and what it says of two of them: the local provider's answer, from spelling and sentences.

Pure. A name is a run of capitalised words, unless only the sentence made them so; an identifier; an address. Two names in one
sentence with a few words between them are related by those words. Languages that capitalise every noun give more names than
they should.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from handlers.providers.words import looks_like_identifier, stop_words

_TOKEN = re.compile(r"[^\W_](?:[\w.&'’-]*[^\W_])?|[.,;:!?()\"“”]")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https?://([\w.-]+)")
_ORGANISATION = frozenset(
    {"inc", "ltd", "llc", "gmbh", "ag", "se", "corp", "corporation", "company", "foundation", "university", "institute", "bank", "group"}
    | {"council", "ministry", "agency", "association", "committee", "hospital", "museum", "library", "society", "party", "union"}
)
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "professor", "sir", "lady", "captain", "president", "king", "queen", "judge"})
_PLACE_BEFORE = frozenset({"in", "at", "from", "near", "to", "across", "through", "outside", "inside"})
_JOINING = frozenset({"of", "de", "la", "van", "von", "der", "und", "and", "&"})
_LISTING = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "o", "e"})
_MOST_BETWEEN = 6
#: After these a large letter is the sentence's.
_BREAKS = frozenset('.;:!?"“”')

#: ``(name, kind, first token, token after the last)``.
_Span = tuple[str, str, int, int]


def entities_in(sentences: Sequence[str], language: str) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """``(name, kind)`` of what is named, in order, and ``(source, label, target)`` of what is said of two of them."""
    split = [_TOKEN.findall(sentence) for sentence in sentences]
    small = {word for words in split for word in words if word[:1].islower()}
    found: dict[str, tuple[str, str]] = {}
    relations: list[tuple[str, str, str]] = []
    for sentence, words in zip(sentences, split, strict=True):
        spans = list(_spans(words, small, language))
        for name, kind, _, _ in spans:
            if found.setdefault(name.casefold(), (name, kind))[1] == "thing" != kind:
                found[name.casefold()] = (name, kind)  # a later sentence tells more
        for kind, pattern in (("address", _EMAIL), ("site", _URL)):
            for match in pattern.finditer(sentence):
                found.setdefault(match[match.lastindex or 0].casefold(), (match[match.lastindex or 0], kind))
        relations += _said(spans, words)
    return list(found.values()), list(dict.fromkeys(relations))


def _spans(words: list[str], small: set[str], language: str) -> Iterator[_Span]:
    """The names among a sentence's words."""
    stops = stop_words(language)
    place = 0
    while place < len(words):
        end = place
        while end < len(words) and (_is_capital(words[end]) or (end > place and _joins(words, end))):
            end += 1
        while end > place and not _is_capital(words[end - 1]):
            end -= 1
        begin = place
        while begin < end and words[begin].lower() in stops and words[begin].lower() not in _TITLES:
            begin += 1  # "The", "In": the sentence's, not the name's
        opens = begin == 0 or words[begin - 1] in _BREAKS
        only_by_place = opens and end - begin == 1 and (words[0].lower() in small or not _is_capital(words[0][1:]))
        if begin < end and not (only_by_place and not _recurs(words[begin], words, small)):
            name = " ".join(words[begin:end])
            yield name, _kind(words, begin, end), begin, end
        elif looks_like_identifier(words[place]) and len(words[place]) > 3:
            yield words[place], "identifier", place, place + 1
        place = max(end, place + 1)


def _recurs(word: str, words: list[str], small: set[str]) -> bool:
    """Whether a word that begins a sentence is a name all the same: nowhere small, and large again within the sentence."""
    return word.lower() not in small and words.count(word) > 1


def _is_capital(word: str) -> bool:
    return word[:1].isupper() and word[:1].isalpha()


def _joins(words: list[str], place: int) -> bool:
    """ "University of Leeds": a small word between two capital ones."""
    return words[place].lower() in _JOINING - {"and", "und"} and place + 1 < len(words) and _is_capital(words[place + 1])


def _kind(words: list[str], begin: int, end: int) -> str:
    parts = [word.lower().strip(".") for word in words[begin:end]]
    if _ORGANISATION.intersection(parts):
        return "organisation"
    before = words[begin - 1].lower().strip(".") if begin else ""
    if parts[0] in _TITLES or before in _TITLES:
        return "person"
    if before in _PLACE_BEFORE:
        return "place"
    if end - begin == 1 and (words[begin].isupper() or looks_like_identifier(words[begin])):
        return "identifier"
    return "thing"


def _said(spans: list[_Span], words: list[str]) -> Iterator[tuple[str, str, str]]:
    """For neighbouring names, the words between them; a list of names says nothing of them."""
    for (source, _, _, end), (target, _, begin, _) in pairwise(spans):
        told = [word.lower() for word in words[end:begin]]
        is_told = 0 < len(told) <= _MOST_BETWEEN and all(word[0].isalnum() for word in told) and not _LISTING.issuperset(told)
        if is_told and source.casefold() != target.casefold():
            yield source, " ".join(told), target
