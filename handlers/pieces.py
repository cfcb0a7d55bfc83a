"""What a corpus holds, as records: documents, their chunks, what is named in them and how it relates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a document. ``hash`` is of what it says: what says the same has the same vector."""

    id: str
    document: str
    position: int
    heading: str
    text: str
    hash: str

    @property
    def spoken(self) -> str:
        """What it says: the heading above it is part of that."""
        return f"{self.heading}. {self.text}" if self.heading else self.text


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    owner: str
    path: str
    title: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity named in a chunk, ``times`` times. ``entity`` is what all ways to write the name have in common."""

    entity: str
    name: str
    kind: str
    times: int


@dataclass(frozen=True, slots=True)
class Relation:
    source: str
    label: str
    target: str
