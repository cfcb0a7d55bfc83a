"""The port to whatever enriches: one question about one subject, one answer of an asked-for shape.

Small enough that an extractive engine without a network and a chat model both fit: the engine
fills the fields that it knows by name, the model is given ``instructions`` and the answer's JSON
schema. Does not belong here: which routes ask what (``handlers/enrichment.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from scheduler.calls import UNPACED, JobPool

A = TypeVar("A", bound=BaseModel)

CODE, DOCUMENT, CONVERSATION, CHOICE = "code", "document", "conversation", "choice"


class SummaryAndKeywords(BaseModel):
    """An answer: what the subject is about, in a few sentences and in words to find it by."""

    model_config = ConfigDict(extra="forbid")

    summary: str = Field(description="What it is and does, in one to three plain sentences")
    keywords: list[str] = Field(description="Five to ten words or short phrases to find it by, most telling first")


class Topics(BaseModel):
    """An answer: the broader subjects that the subject belongs to."""

    model_config = ConfigDict(extra="forbid")

    topics: list[str] = Field(description="Two to five broad subjects of one to three words, in lower case")


class Choice(BaseModel):
    """An answer: which of the subject's options it is."""

    model_config = ConfigDict(extra="forbid")

    choice: int = Field(description="The number of the option that means the same, 0 if none does")
    confidence: float = Field(description="How sure that is, from 0 to 1")


class Entity(BaseModel):
    """Somebody or something that a text names."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="As the text writes it")
    kind: str = Field(description="One lower-case word: person, organisation, place, product, term ...")


class Relation(BaseModel):
    """What a text says of two entities."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="The name of an entity")
    label: str = Field(description="Two to four lower-case words that read between the two")
    target: str = Field(description="The name of another entity")


class Entities(BaseModel):
    """An answer: what a passage names, and what it says of it."""

    model_config = ConfigDict(extra="forbid")

    entities: list[Entity] = Field(description="Each once")
    relations: list[Relation] = Field(description="Between entities of the list")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about. ``kind`` is ``CODE``, ``DOCUMENT``, ``CONVERSATION`` or ``CHOICE``.

    ``language`` is the programming language of code (lower case); ``entity`` what sort of code or
    document it is ("function", "class", "markdown" ...). ``messages`` are ``(role, text)`` pairs. ``options`` are
    what a choice is made from, the name of each on its first line.
    """

    kind: str
    title: str = ""
    text: str = ""
    path: str = ""
    language: str = ""
    entity: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question(Generic[A]):
    """``answer`` is the shape that is wanted; ``instructions`` are for providers that read prose."""

    subject: Subject
    answer: type[A]
    instructions: str


class Provider(Protocol):
    """Whoever answers. One object serves all handlers of a process, many calls at once."""

    @property
    def model(self) -> str:
        """Who answers, ``provider:model``: results of another model are not fresh."""
        ...

    async def ask(self, question: Question[A], pool: JobPool = UNPACED) -> A:
        """Answer, once: no retries inside. Calls are made within ``pool``'s quota. Raises ``AIProviderError`` and its kinds."""
        ...

    async def aclose(self) -> None: ...
