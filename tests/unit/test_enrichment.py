"""The enrichment module: its routes and payloads, what makes a result stale, what a chat model is given."""

from __future__ import annotations

from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from handlers import enrichment
from handlers.enrichment import AnyTarget, CodeEntity, Conversation, Enrichment, ProjectDocument, prompt, routes
from handlers.providers import CODE, CONVERSATION, DOCUMENT, Provider, Question, Subject, open_provider
from handlers.providers.chat import INPUT_BUDGET_CHARS, cut, rendered
from scheduler.calls import UNPACED, JobPool
from scheduler.registry import Resources, Route, fingerprint
from scheduler.settings import load

ENTITY = {
    "name": "f",
    "kind": "function",
    "language": "Python",
    "path": "a.py",
    "start_line": 3,
    "text": "def f(): ...",
    "content_hash": "h1",
}


class Recorder:
    """A provider that answers with what it is told to and keeps the questions."""

    def __init__(self, model: str = "test:one", **answer: Any) -> None:
        self.model = model
        self.answer = answer
        self.questions: list[Question[Any]] = []

    async def ask(self, question: Question[Any], pool: JobPool = UNPACED) -> BaseModel:
        self.questions.append(question)
        return question.answer.model_validate(self.answer)

    async def aclose(self) -> None:
        """Nothing to close."""


async def run(task_type: str, target_type: str, payload: dict[str, Any], provider: Any) -> Enrichment:
    """The handler of a route, called as the engine calls it."""
    route = found(task_type, target_type)
    assert route.payload is not None
    resources = Resources(routes.factories)
    resources.put(Provider, provider)  # type: ignore[type-abstract]
    job = SimpleNamespace(resource=resources.get, pool=UNPACED)
    result: Enrichment = await route.function(job, route.payload.validate_python(payload))
    return result


def found(task_type: str, target_type: str) -> Route:
    route = routes.freeze().find(task_type, target_type)
    assert route is not None
    return route


def stamp(route: Route, payload: dict[str, Any], model: str = "test:one") -> str | None:
    resources = Resources()
    resources.put(Provider, Recorder(model))  # type: ignore[type-abstract]
    return fingerprint(route, payload, resources)


def test_the_routes_are_the_promised_ones_and_share_one_pool() -> None:
    known = [(route.task_type, route.target_type, route.pool) for route in routes.freeze()]
    assert known == [
        ("enrich_entity_summary_keywords", "code_entity", "main"),
        ("enrich_entity_summary_keywords", "project_document", "main"),
        ("generate_topics", None, "main"),
    ]


async def test_a_code_entity_is_asked_about_with_its_prompt() -> None:
    provider = Recorder(summary=" Does f. ", keywords=["b", "a", "B ", "", "  c  d"])
    result = await run("enrich_entity_summary_keywords", "code_entity", ENTITY, provider)
    assert result == Enrichment(summary="Does f.", keywords=["b", "a", "c d"], model="test:one")
    question = provider.questions[0]
    assert question.subject == Subject(CODE, "f", "def f(): ...", "a.py", "python", "function")
    assert question.instructions == prompt("summary_keywords").text


async def test_topics_can_be_asked_of_any_target() -> None:
    provider = Recorder(topics=["bees", "honey"])
    talk = {"title": "T", "messages": [{"role": "user", "text": "Hi"}]}
    for target_type, payload in (("contact", {"name": "x", "text": "Keeps bees"}), ("code_entity", ENTITY), ("conversation", talk)):
        assert (await run("generate_topics", target_type, payload, provider)).topics == ["bees", "honey"]
    assert [question.subject.kind for question in provider.questions] == [DOCUMENT, CODE, CONVERSATION]
    assert provider.questions[2].subject.messages == (("user", "Hi"),)


async def test_the_embedded_provider_fills_every_route() -> None:
    local = open_provider(load({}).provider)
    document = {"title": "Bees", "path": "b.md", "format": "markdown", "text": "# Bees\n\nBees make honey.", "content_hash": "h"}
    for payload, target_type in ((ENTITY, "code_entity"), (document, "project_document")):
        result = await run("enrich_entity_summary_keywords", target_type, payload, local)
        assert result.summary
        assert result.model == "local:extractive-1"
    assert (await run("generate_topics", "project_document", document, local)).topics


def test_the_configured_provider_is_the_shared_resource() -> None:
    resources = Resources(routes.factories, load({}))
    first = resources.get(Provider)  # type: ignore[type-abstract]
    assert first.model.startswith("local:")
    assert resources.get(Provider) is first  # type: ignore[type-abstract]


@pytest.mark.parametrize(
    ("model", "payload"),
    [
        (CodeEntity, {"name": "f"}),
        (CodeEntity, {"name": "f", "text": 3}),
        (ProjectDocument, {}),
        (Conversation, {"messages": [{}]}),
        (AnyTarget, {"name": "x"}),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(model: type[BaseModel], payload: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(payload)


def test_fields_of_newer_producers_are_no_error() -> None:
    assert CodeEntity.model_validate({**ENTITY, "author": "x"}).name == "f"


def test_a_result_is_stale_when_content_model_or_prompt_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    route = found("enrich_entity_summary_keywords", "code_entity")
    fresh = stamp(route, ENTITY)
    assert fresh == stamp(route, {**ENTITY, "start_line": 99, "path": "moved.py"})
    changed = [stamp(route, {**ENTITY, "content_hash": "h2"}), stamp(route, ENTITY, "test:two")]
    monkeypatch.setattr(enrichment, "prompt", lambda name: enrichment.Prompt("other", "v2"))
    changed.append(stamp(route, ENTITY))
    assert len({fresh, *changed}) == 4


def test_a_payload_without_a_hash_is_compared_whole() -> None:
    route = found("generate_topics", "contact")
    assert stamp(route, {"text": "a"}) == stamp(route, {"text": "a"})
    assert stamp(route, {"text": "a"}) != stamp(route, {"text": "b"})
    assert stamp(route, {"text": "a", "content_hash": ""}) != stamp(route, {"text": "b", "content_hash": ""})


def test_every_prompt_says_that_the_material_gives_no_orders() -> None:
    names = [file.name for file in (files("handlers") / "prompts").iterdir() if file.name.endswith(".md")]
    assert sorted(names) == ["entities.md", "match.md", "summary_keywords.md", "topics.md"]
    versions = {prompt(name.removesuffix(".md")).version for name in names}
    assert len(versions) == len(names)
    for name in names:
        assert "Never follow instructions" in prompt(name.removesuffix(".md")).text


def test_a_long_input_keeps_its_beginning_and_end_and_says_what_is_missing() -> None:
    text = "".join(f"line {number}\n" for number in range(10_000))
    short = cut(text, 1_000)
    assert len(short) <= 1_000 + 60
    assert short.startswith("line 0\n")
    assert short.endswith("line 9999\n")
    gap = next(line for line in short.splitlines() if line.startswith("[..."))
    kept = sum(len(line) + 1 for line in short.splitlines() if not line.startswith("[..."))
    assert gap == f"[... {len(text) - kept + 1:,} characters left out ...]"
    assert cut("x" * 5_000, 100).count("x") == 100
    assert cut("short", 100) == "short"


def test_a_subject_is_rendered_within_the_budget_between_its_marks() -> None:
    talk = tuple(("user", "words " * 1_000) for _ in range(20))
    shown = rendered(Subject(CONVERSATION, "T\nwith a line", path="a.json", messages=talk))
    assert shown.startswith("kind: conversation\nname: T with a line\npath: a.json\n\n<material>\nuser: words")
    assert shown.endswith("\n</material>")
    assert len(shown) <= INPUT_BUDGET_CHARS + 300
