"""Words of any language and of code: tokens, stop words, stems, the parts of identifiers.

Stop words come from stopwords-iso (58 languages, MIT), stems from snowballstemmer (BSD); both carry
their data with them. Scripts that write no spaces (Chinese, Japanese, Thai ...) are cut into runs
between function characters, and into pairs of characters where texts are compared.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

import snowballstemmer  # type: ignore[import-untyped]
import stopwordsiso

# \w leaves out combining marks, without which Hindi and Hebrew words fall apart
_LETTERS = r"\w\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0963\u0966-\u0d7f"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_LETTERS}]+(?:[-'’][{_LETTERS}]+)*")
_WORD_OR_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[{_LETTERS}])+")
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_CONTENT_RUN = re.compile("[\u30a1-\u30ff\u3005\u3400-\u9fff\uf900-\ufaff]+|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+")
_PARTICLE = re.compile("[的了是在和]")
_LETTERS_ONLY = re.compile(r"[^\W\d_]+")
_CASED_PART = re.compile("[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_SCRIPTS = (("ja", "[\u3041-\u30ff]"), ("zh", "[\u3400-\u9fff]"), ("th", "[\u0e00-\u0e7f]"), ("ko", "[\uac00-\ud7a3]"))
_ENOUGH_WORDS = 200
_MOST_PIECES = 300

#: The English list is made for web search; in code and manuals these words carry the meaning.
_TELLING = frozenset(
    {"call", "cases", "changes", "computer", "date", "end", "face", "file", "fill", "find", "group", "groups", "home", "html", "index"}
    | {"information", "interest", "invention", "join", "line", "member", "members", "net", "number", "numbers", "open", "opened", "order"}
    | {"page", "pages", "parts", "point", "points", "problem", "problems", "room", "rooms", "run", "section", "sort", "state", "states"}
    | {"system", "test", "text", "title", "user", "value", "web", "webpage", "work", "world", "zero"}
)
_SNOWBALL = {
    "ar": "arabic", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english", "eo": "esperanto",
    "es": "spanish", "et": "estonian", "eu": "basque", "fa": "persian", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi",
    "hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nl": "dutch", "no": "norwegian",
    "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "st": "sesotho", "sv": "swedish", "tr": "turkish",
}  # fmt: skip
_stemmers = threading.local()  # a stemmer keeps the word it works on


def tokens(text: str) -> list[str]:
    """The words of ``text``, as written; runs of unspaced scripts are cut at function characters."""
    if not is_unspaced(text):
        return _WORD.findall(text)
    found: list[str] = []
    for word in _WORD_OR_RUN.findall(text):
        found.extend(_content_runs(word) if is_unspaced(word) else [word])
    return found


def is_unspaced(text: str) -> bool:
    """Whether ``text`` has characters of a script that writes no spaces."""
    return _HAS_UNSPACED.search(text) is not None


def repeated_runs(words: Iterable[str]) -> list[str]:
    """The longest pieces that recur in unspaced ``words``: what a dictionary would call its words.

    A piece inside a longer one that recurs as often is left out.
    """
    counts: Counter[str] = Counter()
    for word in words:
        counts.update(word[start : start + size] for size in range(2, 7) for start in range(len(word) - size + 1))
    recurring = {piece: count for piece, count in counts.most_common(_MOST_PIECES) if count > 1}
    inner = {
        longer[cut] for longer in recurring for cut in (slice(1, None), slice(None, -1)) if recurring.get(longer[cut]) == recurring[longer]
    }
    return [piece for piece in recurring if piece not in inner]


def identifier_parts(name: str) -> list[str]:
    """``HTTPServer_close2`` -> ``http server close``; by case only where letters are ASCII."""
    runs = _LETTERS_ONLY.findall(name)
    return [part.lower() for run in runs for part in (_CASED_PART.findall(run) if run.isascii() else [run])]


def looks_like_identifier(word: str) -> bool:
    """Whether a word of prose names something in code: ``snake_case``, ``camelCase``, ``HTTPServer``."""
    return "_" in word.strip("_") or (word[1:] != word[1:].lower() and not word.isupper())


def language_of(words: Sequence[str], text: str) -> str:
    """The language (ISO 639-1) whose stop words ``words`` use most; English when nothing speaks for another."""
    for language, script in _SCRIPTS:
        if re.search(script, text):
            return language
    votes: Counter[str] = Counter()
    table = _languages_by_stop_word()
    for word in words[:_ENOUGH_WORDS]:
        languages = table.get(word.lower(), ())
        for language in languages:
            votes[language] += 1.0 / len(languages)  # type: ignore[assignment]  # a Counter of weights
    if not votes:
        return "en"
    best, weight = votes.most_common(1)[0]
    return best if weight > 1.2 * votes["en"] else "en"


@cache
def stop_words(language: str) -> frozenset[str]:
    """Words of ``language`` that say nothing by themselves, lower case; none for an unknown language."""
    if language not in stopwordsiso.langs():
        return frozenset()
    found = frozenset(stopwordsiso.stopwords(language))
    return found - _TELLING if language == "en" else found


@lru_cache(maxsize=65_536)
def stem(word: str, language: str) -> str:
    """The stem of ``word``, lower case; the word itself where there is no stemmer."""
    word = word.lower()
    stemmer = _stemmer(language)
    stemmed: str = stemmer.stemWord(word) if stemmer is not None else word
    return stemmed


def terms(words: Iterable[str], language: str) -> list[str]:
    """What ``words`` are compared by: stems of those that say something; pairs of characters in unspaced scripts."""
    stops = stop_words(language)
    found: list[str] = []
    for word in words:
        if is_unspaced(word):
            found.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif is_telling(word, stops):
            found.append(stem(word, language))
    return found


def is_telling(word: str, stops: frozenset[str]) -> bool:
    """Whether a word may stand in a keyword: no stop word, no number, no lone letter."""
    lower = word.lower()
    return len(word) > 1 and lower not in stops and not lower.replace("_", "").isdigit()


def _content_runs(run: str) -> list[str]:
    """The parts of an unspaced run that carry meaning: hiragana and Chinese particles separate them."""
    return [part for piece in _CONTENT_RUN.findall(run) for part in _PARTICLE.split(piece) if part]


@cache
def _languages_by_stop_word() -> dict[str, tuple[str, ...]]:
    table: dict[str, list[str]] = {}
    for language in sorted(stopwordsiso.langs()):
        for word in stopwordsiso.stopwords(language):
            table.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in table.items()}


def _stemmer(language: str) -> Any:
    name = _SNOWBALL.get(language)
    if name is None:
        return None
    made: dict[str, Any] = _stemmers.__dict__.setdefault("made", {})
    if name not in made:
        made[name] = snowballstemmer.stemmer(name)
    return made[name]
