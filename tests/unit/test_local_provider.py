"""The embedded provider: what it says of code, documents and conversations, in several languages, and of nonsense."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from handlers.providers.code import read_code
from handlers.providers.local import LocalProvider
from handlers.providers.port import CODE, CONVERSATION, DOCUMENT, Question, Subject, SummaryAndKeywords, Topics
from handlers.providers.prose import paragraphs, shortened
from handlers.providers.ranking import most_telling, term_matrix, text_rank
from handlers.providers.words import identifier_parts, language_of, repeated_runs, tokens
from scheduler.errors import ConfigError

PYTHON = '''
@cached
def parse_retry_after(headers: Mapping[str, str], now: float = 0.0) -> float | None:
    """Read how long the provider asks to wait. The value is clamped to one day.

    :param headers: the response headers
    """
    text = headers.get("retry-after")  # seconds or a date
    if text is None:
        raise MissingHeaderError("retry-after")
    return clamp(parse_number(text))
'''
TYPESCRIPT = """
/**
 * Splits a cookie header into its pairs.
 * @param header the raw header
 */
export function splitCookies(header: string, strict = false): Pair[] {
  if (!header) throw new TypeError('empty');
  return header.split(';').map(toPair);
}
"""
UNDOCUMENTED = """
def drain_queue(queue, limit):
    # stop early when the queue runs dry again
    for item in queue.take(limit):
        store_item(item)
"""
ARTICLE = """
# Beekeeping through the year

The beekeeper's year begins in spring, when the colonies grow fast and need room.

```python
hive.open()
```

In spring the beekeeper adds a second box so that the colony does not swarm.
A colony that swarms leaves with the old queen and half of its workers.
See [the guide](https://example.org/swarm) for details.
Lunch is usually at noon.
In summer the beekeeper takes the honey and treats the colony against mites.
Untreated colonies rarely survive the winter, because mites weaken the winter bees.
"""


async def asked(subject: Subject) -> tuple[str, list[str], list[str]]:
    provider = LocalProvider()
    first = await provider.ask(Question(subject, SummaryAndKeywords, ""))
    second = await provider.ask(Question(subject, Topics, ""))
    return first.summary, first.keywords, second.topics


async def test_documented_code_is_summed_up_by_its_documentation() -> None:
    summary, keywords, topics = await asked(Subject(CODE, "parse_retry_after", PYTHON, "net/limits.py", "python", "function"))
    assert summary == "Read how long the provider asks to wait. The value is clamped to one day."
    assert "retry" in " ".join(keywords)
    assert "provider" in " ".join(keywords)
    assert {"limits", "net"} & set(topics)


async def test_code_in_other_languages_is_read_by_its_comments() -> None:
    summary, keywords, _ = await asked(Subject(CODE, "splitCookies", TYPESCRIPT, "src/http/cookies.ts", "typescript", "function"))
    assert summary == "Splits a cookie header into its pairs."
    assert "cookie" in " ".join(keywords)


async def test_undocumented_code_is_described_by_its_names() -> None:
    summary, keywords, _ = await asked(Subject(CODE, "drain_queue", UNDOCUMENTED, "work/queue.py", "python", "function"))
    assert summary.startswith("Function drain_queue in work/queue.py: takes queue, limit; calls queue.take, store_item.")
    assert summary.endswith("stop early when the queue runs dry again")
    assert any("queue" in keyword for keyword in keywords)


def test_one_pass_finds_parameters_calls_raises_and_bases() -> None:
    reading = read_code(PYTHON, "python", "parse_retry_after")
    assert reading.parameters == ["headers", "now"]
    assert reading.calls == ["headers.get", "MissingHeaderError", "clamp", "parse_number"]
    assert reading.raises == ["MissingHeaderError"]
    assert reading.comments == "seconds or a date"
    assert reading.gives == "returns"
    java = read_code("class Cart extends Basket { int total(String code, int count) { return 1; } }", "java", "Cart.total")
    assert java.bases == ["Basket"]
    assert read_code("int total(String code, int count) { return 1; }", "java", "total").parameters == ["code", "count"]


def test_strings_are_not_mistaken_for_comments_or_documentation() -> None:
    reading = read_code('def f(a):\n    sql = """select x # not a remark"""\n    return call("//no(") // 2\n', "python", "f")
    assert reading.documentation == ""
    assert reading.comments == ""
    assert reading.calls == ["call"]


async def test_a_document_is_summed_up_by_its_most_telling_sentences_without_markup() -> None:
    summary, keywords, topics = await asked(Subject(DOCUMENT, "Beekeeping", ARTICLE, "bees.md", entity="markdown"))
    assert "beekeeper" in summary
    assert "colony" in summary or "colonies" in summary
    assert "Lunch" not in summary
    assert "hive.open" not in summary
    assert "example.org" not in summary
    assert len(summary) <= 430
    joined = " ".join(keywords).lower()
    assert "beekeep" in joined
    assert "colon" in joined
    assert 2 <= len(topics) <= 5


async def test_a_conversation_keeps_its_opening_and_says_who_spoke() -> None:
    talk = (
        ("user", "Hi! Our nightly import keeps failing with 429 errors from the provider. What can we do?"),
        ("assistant", "You exceed the rate limit. Lower the concurrency, or honour the Retry-After header of each answer."),
        ("user", "We do that already. The import still takes nine hours."),
        ("assistant", "Then use the batch endpoint of the provider. The batch endpoint has limits of its own and answers within a day."),
    )
    summary, keywords, _ = await asked(Subject(CONVERSATION, "Rate limits", messages=talk))
    assert summary.startswith("user: Our nightly import keeps failing")
    assert "assistant: " in summary
    assert "batch endpoint" in keywords


@pytest.mark.parametrize(
    ("text", "language", "keyword"),
    [
        (
            "Der Imker prüft die Völker regelmäßig auf Milben. Ohne Behandlung sterben die Völker. Die Völker brauchen Platz.",
            "de",
            "völker",
        ),
        ("Le planificateur répartit les tâches. Chaque tâche est stockée dans la base. Une tâche perdue revient.", "fr", "tâche"),
        ("Планировщик распределяет задачи. Каждая задача хранится в базе данных. Потерянная задача возвращается.", "ru", "задача"),
        ("机器学习模型可以生成代码。机器学习需要数据。开发人员检查代码。", "zh", "机器学习"),
        ("機械学習はデータから学習します。データの品質が大切です。", "ja", "データ"),
        ("यह डेटा से सीखता है। डेटा की गुणवत्ता बहुत महत्वपूर्ण है। डेटा बदलता है।", "hi", "डेटा"),
    ],
)
async def test_other_languages_work(text: str, language: str, keyword: str) -> None:
    assert language_of(tokens(text), text) == language
    summary, keywords, topics = await asked(Subject(DOCUMENT, text=text))
    assert summary
    assert all(part.rstrip(".") in text for part in summary.split(". "))
    assert keyword in keywords
    assert topics


@pytest.mark.parametrize("text", ["", " ", ".", "?!", "\n\n", "1234", "…", "word", "\x00\x07", "🙂"])
@pytest.mark.parametrize("kind", [CODE, DOCUMENT, CONVERSATION])
async def test_empty_and_tiny_texts_work(kind: str, text: str) -> None:
    for title in ("", "x", "__init__"):
        await asked(Subject(kind, title, text, messages=(("", text),) if kind == CONVERSATION else ()))


async def test_an_empty_document_is_summed_up_by_its_title() -> None:
    assert (await asked(Subject(DOCUMENT, "Release plan")))[0] == "Release plan"


async def test_the_same_input_gives_the_same_answer() -> None:
    subject = Subject(DOCUMENT, "Beekeeping", ARTICLE)
    assert await asked(subject) == await asked(subject)


async def test_no_network_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("the local provider opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert (await asked(Subject(DOCUMENT, "Beekeeping", ARTICLE)))[0]


class Sentiment(BaseModel):
    mood: str


async def test_a_field_that_cannot_be_extracted_names_itself() -> None:
    with pytest.raises(ConfigError, match="mood"):
        await LocalProvider().ask(Question(Subject(DOCUMENT, text="x"), Sentiment, ""))


HOSTILE = [
    "<",
    "<pre ",
    "`",
    "[",
    "[](",
    "*",
    "_",
    "```x\n",
    "::\n\n",
    "> ",
    "/*",
    '"',
    "'",
    "(",
    "a.",
    "a",
    "\\",
    "{",
    "-",
    ". ",
    "字",
    "A",
    "|",
    "&",
    "1) ",
]


@pytest.mark.parametrize("piece", HOSTILE)
async def test_a_text_made_to_be_slow_is_not(piece: str) -> None:
    """Linear work: 120 kB of a mark that opens and never closes is read in a moment (its square would take minutes)."""
    text = piece * (120_000 // len(piece))
    began = time.process_time()
    for subject in (
        Subject(DOCUMENT, "x", text),
        Subject(CODE, "x", text, language="javascript"),
        Subject(CODE, "x", text, language="python"),
    ):
        await asked(subject)
    assert time.process_time() - began < 10


@given(st.text(max_size=400), st.sampled_from([CODE, DOCUMENT, CONVERSATION]), st.sampled_from(["python", "java", "", "sql"]))
@settings(max_examples=60, deadline=None)
async def test_any_text_gets_an_answer_of_bounded_size(text: str, kind: str, language: str) -> None:
    messages = (("user", text), ("", text[::-1])) if kind == CONVERSATION else ()
    summary, keywords, topics = await asked(Subject(kind, text[:20], text, text[:30], language, "function", messages))
    assert len(summary) <= 3 * 420
    assert len(keywords) <= 8
    assert len(topics) <= 5
    assert len(set(keywords)) == len(keywords)


def test_text_rank_prefers_the_sentence_that_the_others_share_and_never_repeats_one() -> None:
    bags = [["bee", "honey"], ["bee", "honey", "queen"], ["lunch", "noon"], ["queen", "honey"], ["bee", "honey", "queen"]]
    matrix, _ = term_matrix(bags)
    rank = text_rank(matrix, [1.0] * len(bags))
    assert int(rank.argmin()) == 2
    chosen = most_telling(matrix, rank, 3)
    assert not {1, 4} <= set(chosen)


def test_identifiers_are_split_by_case_and_underscore() -> None:
    assert identifier_parts("HTTPServer_close2") == ["http", "server", "close"]
    assert identifier_parts("parseURLAndDate") == ["parse", "url", "and", "date"]
    assert identifier_parts("Größe_ändern") == ["größe", "ändern"]
    assert identifier_parts("__") == []


def test_recurring_pieces_of_unspaced_text_are_its_words() -> None:
    assert repeated_runs(["机器学习模型", "机器学习需要"]) == ["机器学习"]


def test_markup_is_read_away() -> None:
    text = "Title\n=====\n\n:param x: no\n>>> no()\n* First *point* of `many`.\n\n| a | table |\n\n> Quoted.\n\n"
    text += "<script>no()</script><b>Bold</b> &amp; `link <http://x.y/>`_ here.\n\n```\nno()\n```\n## Next ##\n"
    assert paragraphs(text) == (["First point of many.", "Quoted.", "Bold & link here."], ["Title", "Next"])
    assert shortened("one two three four", 12) == "one two…"
