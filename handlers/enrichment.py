"""The enrichment module that comes with the project: summaries, keywords and topics of what the catalog holds.

Says which routes there are, what their payloads look like and what is asked of the provider. How
an answer is found is each provider's own matter (``handlers/providers/``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handlers.providers import CODE, CONVERSATION, DOCUMENT, Provider, Question, Subject, SummaryAndKeywords, Topics, open_provider
from scheduler.context import JobContext
from scheduler.registry import Registry, Resources
from scheduler.settings import Settings
from scheduler.values import encode_json

SUMMARY_KEYWORDS = "enrich_entity_summary_keywords"
TOPICS = "generate_topics"
POOL = "main"

routes = Registry()


class _Payload(BaseModel):
    """What a job carries. Fields that newer producers add are no error."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class CodeEntity(_Payload):
    """A function, class, method or module with its source."""

    name: str
    kind: str = ""
    language: str = ""
    path: str = ""
    start_line: int = 0
    text: str
    content_hash: str = ""

    def subject(self) -> Subject:
        return Subject(CODE, self.name, self.text, self.path, self.language.lower(), self.kind)


class ProjectDocument(_Payload):
    """A document of a project, with its markup."""

    title: str = ""
    path: str = ""
    format: str = ""
    text: str
    content_hash: str = ""

    def subject(self) -> Subject:
        return Subject(DOCUMENT, self.title, self.text, self.path, entity=self.format)


class Message(_Payload):
    """One turn of a conversation."""

    role: str = ""
    text: str


class Conversation(_Payload):
    """What people, or people and models, said to each other."""

    title: str = ""
    path: str = ""
    messages: list[Message]
    content_hash: str = ""

    def subject(self) -> Subject:
        return Subject(CONVERSATION, self.title, path=self.path, messages=tuple((message.role, message.text) for message in self.messages))


class AnyTarget(_Payload):
    """Whatever has text or messages: the payloads above, and targets of your own (contacts, tickets ...)."""

    name: str = ""
    title: str = ""
    kind: str = ""
    format: str = ""
    language: str = ""
    path: str = ""
    text: str = ""
    messages: list[Message] = Field(default_factory=list)
    content_hash: str = ""

    @model_validator(mode="after")
    def _has_content(self) -> AnyTarget:
        if not self.model_fields_set & {"text", "messages"}:
            raise ValueError("the payload has neither 'text' nor 'messages': topics need one of them")
        return self

    def subject(self) -> Subject:
        title = self.name or self.title
        if self.messages:
            return Conversation(title=title, path=self.path, messages=self.messages).subject()
        if self.language and self.kind:
            return CodeEntity(name=title, kind=self.kind, language=self.language, path=self.path, text=self.text).subject()
        return ProjectDocument(title=title, path=self.path, format=self.format, text=self.text).subject()


class Enrichment(BaseModel):
    """What was learnt about a target; a route fills what it was asked for. ``model`` says who answered."""

    model_config = ConfigDict(frozen=True)

    summary: str = ""
    keywords: list[str] = Field(default_factory=list)
    topics: list[str] = Field(default_factory=list)
    model: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Instructions for a chat model; ``version`` follows from their text, so that an edit makes results stale."""

    text: str
    version: str


@cache
def prompt(name: str) -> Prompt:
    """The prompt in ``handlers/prompts/NAME.md``."""
    text = (files("handlers") / "prompts" / f"{name}.md").read_text(encoding="utf-8")
    return Prompt(text, hashlib.sha256(text.encode()).hexdigest()[:12])


def depends_on(prompt_name: str) -> Callable[[Mapping[str, Any], Resources], list[str]]:
    """A route's freshness: the target's content, who answers, and what they are told."""

    def freshness(payload: Mapping[str, Any], resources: Resources) -> list[str]:
        return [_content(payload), _provider(resources).model, prompt(prompt_name).version]

    return freshness


@routes.resource(Provider)  # type: ignore[type-abstract]  # a port is looked up by its protocol
def provider(settings: Settings) -> Provider:
    """The provider that ``[provider]`` configures, shared by all handlers of a process."""
    return open_provider(settings.provider)


@routes.handler(SUMMARY_KEYWORDS, "code_entity", payload=CodeEntity, pool=POOL, freshness=depends_on("summary_keywords"))
async def enrich_code_entity(job: JobContext, payload: CodeEntity) -> Enrichment:
    return await _summary_keywords(job, payload.subject())


@routes.handler(SUMMARY_KEYWORDS, "project_document", payload=ProjectDocument, pool=POOL, freshness=depends_on("summary_keywords"))
async def enrich_project_document(job: JobContext, payload: ProjectDocument) -> Enrichment:
    return await _summary_keywords(job, payload.subject())


@routes.handler(TOPICS, payload=AnyTarget, pool=POOL, freshness=depends_on("topics"))
async def generate_topics(job: JobContext, payload: AnyTarget) -> Enrichment:
    who = job.resource(Provider)  # type: ignore[type-abstract]
    answer = await who.ask(Question(payload.subject(), Topics, prompt("topics").text), job.pool)
    return Enrichment(topics=_tidy(answer.topics, 5), model=who.model)


async def _summary_keywords(job: JobContext, subject: Subject) -> Enrichment:
    who = job.resource(Provider)  # type: ignore[type-abstract]
    answer = await who.ask(Question(subject, SummaryAndKeywords, prompt("summary_keywords").text), job.pool)
    return Enrichment(summary=answer.summary.strip(), keywords=_tidy(answer.keywords, 10), model=who.model)


def _provider(resources: Resources) -> Provider:
    return resources.get(Provider)  # type: ignore[type-abstract]


def _content(payload: Mapping[str, Any]) -> str:
    """The content's hash; a payload that brings none is hashed whole rather than taken as unchanged for ever."""
    given = payload.get("content_hash")
    return given if isinstance(given, str) and given else hashlib.sha256(encode_json(payload).encode()).hexdigest()


def _tidy(words: list[str], most: int) -> list[str]:
    """Models repeat themselves and overdo it: distinct whatever the case, no blanks, at most ``most``."""
    distinct: dict[str, str] = {}
    for word in words:
        clean = " ".join(word.split())
        if clean:
            distinct.setdefault(clean.casefold(), clean)
    return list(distinct.values())[:most]
