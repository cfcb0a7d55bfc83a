"""The embedded provider: real extractive summaries, keywords and topics without a key or a network.

Code is described from its documentation, signature and names; documents and conversations by their
most telling sentences. Nothing is generated, downloaded or learnt, so the same input gives the same
answer, and memory stays flat however many targets go through.

Short inputs (most code) are answered right here in the event loop, in about a millisecond; a
thread would cost as much as the work. Longer ones go to a thread, so that the loop keeps turning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property, partial
from itertools import takewhile

from anyio import to_thread

from handlers.providers.choosing import chosen
from handlers.providers.code import CodeReading, read_code
from handlers.providers.entities import entities_in
from handlers.providers.keywords import Phrases, Scored, Stretch, distinct, phrases
from handlers.providers.port import CODE, CONVERSATION, A, Question, Subject
from handlers.providers.prose import paragraphs, sentences, shortened
from handlers.providers.ranking import Matrix, latent_components, most_telling, term_matrix, text_rank
from handlers.providers.words import identifier_parts, is_unspaced, language_of, looks_like_identifier, repeated_runs, terms, tokens
from scheduler.calls import UNPACED, JobPool
from scheduler.errors import ConfigError

MODEL = "local:extractive-1"  # raise the number when answers change: it is part of what makes results fresh

_SUMMARY_CHARS = 420
_SUMMARY_SENTENCES = 3
_KEYWORDS = 8
_TOPICS = 5
_MOST_SENTENCES = 120
_ENOUGH_FOR_LATENT = 4
_NO_SPACE_BETWEEN = frozenset({"zh", "ja"})
_MOST_CHARS = 60_000
_INLINE_CHARS = 8_000
_CODE_NOISE = frozenset(
    {
        "self",
        "cls",
        "this",
        "none",
        "null",
        "true",
        "false",
        "nil",
        "def",
        "class",
        "return",
        "func",
        "function",
        "fn",
        "var",
        "let",
        "const",
    }
    | {"str", "int", "bool", "float", "dict", "list", "tuple", "args", "kwargs", "kw", "arg", "obj", "tmp", "ret", "res", "elif", "pass"}
    | {"import", "raise", "yield", "await", "async", "lambda", "isinstance", "len", "init", "repr", "main", "src", "lib", "param"}
    | {"void", "static", "public", "private", "protected", "struct", "enum", "type", "object", "optional", "any", "else", "typeerror"}
    | {"valueerror", "keyerror", "attributeerror", "indexerror", "runtimeerror", "notimplementederror", "http", "https", "py"}
)
_MARKS = re.compile(r"[,;:()\[\]{}.!?\"“”«»/|=<>]+\s*")
_PATH_PART = re.compile(r"[/\\.]+")


class LocalProvider:
    """Answers from the text itself: any answer shape made of the fields in ``_FIELDS``."""

    model = MODEL

    async def ask(self, question: Question[A], pool: JobPool = UNPACED) -> A:
        """Answer. Raises ``ConfigError`` for a field that an extractive engine cannot fill."""
        answer = partial(_answer, question)
        size = len(question.subject.text) + sum(len(text) for _, text in question.subject.messages)
        return answer() if size <= _INLINE_CHARS else await to_thread.run_sync(answer)

    async def aclose(self) -> None:
        """Nothing to close."""


def _answer(question: Question[A]) -> A:
    unknown = set(question.answer.model_fields) - set(_FIELDS)
    if unknown:
        raise ConfigError(f"the local provider cannot fill {', '.join(sorted(unknown))}: set [provider] kind to openai or anthropic")
    reading = _Reading(question.subject)
    return question.answer.model_validate({name: _FIELDS[name](reading) for name in question.answer.model_fields})


class _Reading:
    """A subject read once; each wish (summary, keywords, topics) takes from it what it needs."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.code = read_code(subject.text, subject.language, subject.title) if subject.kind == CODE else CodeReading()
        self.headings: list[str] = []
        self.speakers: list[str] = []
        self.lines = self._lines()
        sample = " ".join([subject.title, *self.lines[:8]])
        self.language = language_of(tokens(sample), sample)
        self.sentences = self._sentences()

    @cached_property
    def chosen(self) -> tuple[int, float]:
        """The number of the subject's option that it means (0: none), and how sure that is."""
        return chosen(f"{self.subject.title} {self.subject.text}", self.subject.options)

    @cached_property
    def named(self) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
        """What is named, and what is said of two of them."""
        return entities_in(self.sentences, self.language)

    def _lines(self) -> list[str]:
        if self.subject.kind == CODE:
            return paragraphs(self.code.documentation)[0]
        if self.subject.kind == CONVERSATION:
            return [" ".join(paragraphs(text[:_MOST_CHARS])[0]) for _, text in self.subject.messages]
        lines, self.headings = paragraphs(self.subject.text[:_MOST_CHARS])
        return lines

    def _sentences(self) -> list[str]:
        if self.subject.kind != CONVERSATION:
            return sentences(self.lines, self.language, _MOST_SENTENCES)
        each = max(3, _MOST_SENTENCES // max(1, len(self.lines)))
        found: list[str] = []
        for (role, _), line in zip(self.subject.messages, self.lines, strict=True):
            said = sentences([line], self.language, each)
            found.extend(said)
            self.speakers.extend([role] * len(said))
        # a long conversation: how it began and how it ended
        half = _MOST_SENTENCES // 2
        if len(found) > _MOST_SENTENCES:
            found, self.speakers = found[:half] + found[-half:], self.speakers[:half] + self.speakers[-half:]
        return found


def _summary(reading: _Reading) -> str:
    if not reading.sentences:
        return _described(reading)
    chosen = sorted(_best_sentences(reading))
    parts: list[str] = []
    room, speaker = _SUMMARY_CHARS, ""
    for index in chosen:
        sentence = reading.sentences[index]
        if reading.speakers and reading.speakers[index] != speaker:
            speaker = reading.speakers[index]
            sentence = f"{speaker}: {sentence}" if speaker else sentence
        if parts and len(sentence) > room:
            continue
        parts.append(shortened(sentence, _SUMMARY_CHARS))
        room -= len(parts[-1]) + 1
    return ("" if reading.language in _NO_SPACE_BETWEEN else " ").join(parts)


def _best_sentences(reading: _Reading) -> list[int]:
    """The sentences that say most. The first of a docstring always does: that is the convention (PEP 257)."""
    count = len(reading.sentences)
    if count <= 1 or (reading.subject.kind == CODE and sum(map(len, reading.sentences[:2])) > _SUMMARY_CHARS):
        return [0]
    if count == 2:
        return [0, 1]
    bags = [terms(tokens(sentence), reading.language) for sentence in reading.sentences]
    matrix, _ = term_matrix(bags)
    rank = text_rank(matrix, [_prior(index, sentence) for index, sentence in enumerate(reading.sentences)])
    best = most_telling(matrix, rank, _SUMMARY_SENTENCES)
    first = _opening(reading, rank)
    return best if first is None or first in best else [first, *best[: _SUMMARY_SENTENCES - 1]]


def _opening(reading: _Reading, rank: Matrix) -> int | None:
    """The sentence that must not be missing: a docstring's first, and what a conversation began with."""
    if reading.subject.kind == CODE:
        return 0
    if reading.subject.kind != CONVERSATION:
        return None
    began = [index for index, _ in takewhile(lambda each: each[1] == reading.speakers[0], enumerate(reading.speakers))]
    fitting = [index for index in began if len(reading.sentences[index]) >= 25] or began
    return max(fitting, key=lambda index: float(rank[index]))


def _prior(index: int, sentence: str) -> float:
    """Early sentences introduce; fragments and endless ones summarise badly."""
    fitting = 1.0 if 40 <= len(sentence) <= 260 else 0.4
    return fitting * (1.0 + 2.0 / (1 + index))


def _described(reading: _Reading) -> str:
    """What can be said of code without documentation: from its names, and the first remark inside it."""
    subject, code = reading.subject, reading.code
    if subject.kind != CODE:
        return shortened(subject.title, _SUMMARY_CHARS)
    if not subject.title:
        return ""
    what = f"{subject.entity or 'entity'} {subject.title}"
    bases = f" ({', '.join(code.bases[:4])})" if code.bases else ""
    place = f" in {subject.path}" if subject.path else ""
    says = [
        f"defines {', '.join(code.defines[:6])}" if code.defines else "",
        f"takes {', '.join(code.parameters[:6])}" if code.parameters else "",
        f"calls {', '.join(code.calls[:5])}" if code.calls else "",
        f"raises {', '.join(code.raises[:3])}" if code.raises else "",
        {"returns": "returns a value", "yields": "yields values"}.get(code.gives, ""),
    ]
    told = "; ".join(part for part in says if part)
    described = what[:1].upper() + what[1:] + bases + place + (f": {told}." if told else ".")
    remarks = [remark for remark in sentences(paragraphs(code.comments)[0], reading.language, 5) if remark.count(" ") >= 4]
    return shortened(" ".join([described, *remarks[:1]]), _SUMMARY_CHARS)


def _keywords(reading: _Reading) -> list[str]:
    return _phrases(reading).best(_KEYWORDS) or _place(reading.subject)


def _phrases(reading: _Reading) -> Phrases:
    subject, code = reading.subject, reading.code
    stretches = [Stretch(_title_words(subject), 4.0)]
    stretches += [Stretch(tokens(heading), 2.5) for heading in reading.headings[:60]]
    if is_unspaced(" ".join(reading.sentences)):
        stretches += _unspaced_stretches(reading)
    else:
        stretches += [Stretch(part, 1.5) for sentence in reading.sentences for part in _clauses(sentence)]
    if subject.kind != CODE:
        return phrases(stretches, reading.language)
    stretches += [Stretch(identifier_parts(name), 1.5) for name in code.parameters + code.defines[:40] + code.bases]
    stretches += [Stretch(identifier_parts(name), 0.8) for name in code.calls[:30]]
    stretches += [Stretch(identifier_parts(name), 0.15) for name in code.identifiers[:400]]
    return phrases(stretches, reading.language, _CODE_NOISE)


def _title_words(subject: Subject) -> list[str]:
    if subject.kind == CODE:
        return identifier_parts(subject.title.rsplit(".", 1)[-1])
    return tokens(subject.title)


def _clauses(sentence: str) -> list[list[str]]:
    """The words between marks, which no phrase reaches across; identifiers in prose stay whole."""
    return [tokens(clause) for clause in _MARKS.split(sentence) if clause]


def _unspaced_stretches(reading: _Reading) -> list[Stretch]:
    """Keywords of scripts without spaces: what recurs, else the short runs. None of them joins its neighbours."""
    words = [word for sentence in reading.sentences for word in tokens(sentence) if is_unspaced(word)]
    recurring = repeated_runs(words)
    text = "\n".join(reading.sentences)
    return [Stretch([piece], 1.5 * text.count(piece)) for piece in recurring] + [Stretch([word]) for word in words if 2 <= len(word) <= 6]


def _topics(reading: _Reading) -> list[str]:
    """The latent topics of the text, each named by the phrase that loads most on it; then where it stands."""
    found = _phrases(reading)
    short = [each for each in found.ranked[:60] if len(each[1]) <= 2 and each[2] > 0.0 and not looks_like_identifier(each[0])]
    names = [(text.lower(), stems) for text, stems, _ in _latent(reading, short)]
    names += [(part, tuple(terms(part.split(), reading.language))) for part in _place(reading.subject)]
    names += [(text.lower(), stems) for text, stems, _ in short]
    return distinct(names, _TOPICS)


def _latent(reading: _Reading, candidates: list[Scored]) -> list[Scored]:
    """For each latent topic of the sentences, the candidate that loads most on it; none for short texts."""
    if len(reading.sentences) < _ENOUGH_FOR_LATENT or not candidates:
        return []
    matrix, columns = term_matrix([terms(tokens(sentence), reading.language) for sentence in reading.sentences])
    found: list[Scored] = []
    for loading in latent_components(matrix, 3):
        loads = dict(zip(columns, loading.tolist(), strict=True))
        found.append(max(candidates, key=lambda each: each[2] * sum(loads.get(one, 0.0) for one in each[1]) / len(each[1])))
    return found


def _place(subject: Subject) -> list[str]:
    """For code, the package and module that it stands in are the best names of its subject."""
    if subject.kind != CODE or not subject.path:
        return []
    parts = [part for part in _PATH_PART.split(subject.path)[:-1] if part.strip("_")]
    names = [" ".join(identifier_parts(part)) for part in parts[-2:]]
    return [name for name in reversed(names) if len(name) > 1 and name not in _CODE_NOISE]


_FIELDS: dict[str, Callable[[_Reading], object]] = {
    "summary": _summary,
    "keywords": _keywords,
    "topics": _topics,
    "choice": lambda reading: reading.chosen[0],
    "confidence": lambda reading: reading.chosen[1],
    "entities": lambda reading: [{"name": name, "kind": kind} for name, kind in reading.named[0]],
    "relations": lambda reading: [{"source": one, "label": label, "target": other} for one, label, other in reading.named[1]],
}
