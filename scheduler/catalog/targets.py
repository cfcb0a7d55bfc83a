"""Targets: the pieces of a folder that a handler can enrich, each with the payload of its job.

Here are the record, its identity and its limits. Which pieces a file has is the business of
``code.py``, ``documents.py`` and ``conversations.py``; which files there are, of ``scan.py``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scheduler.values import MAX_NAME_CHARS, printable

CODE_ENTITY = "code_entity"
PROJECT_DOCUMENT = "project_document"
CONVERSATION = "conversation"

#: No character takes more than 6 bytes of JSON (``\\u001f``), so that text of this length stays under
#: the 1 MB that a job's body may have, whatever is in it.
MAX_TEXT_CHARS = 150_000
#: What a message costs beside its text: its keys, quotes and braces, as characters of text.
_MESSAGE_COST_CHARS = 8
_MAX_ROLE_CHARS = 64
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to enrich.

    ``target_id`` stays the same while the thing keeps its file and its name, wherever it moves inside
    the file. ``content_hash`` depends on the content alone. ``payload`` fits the handlers' models and
    a job's limits. ``language`` is a programming language or a document format; lines count from 1.
    """

    target_id: str
    target_type: str
    title: str
    path: str
    language: str
    start_line: int
    end_line: int
    content_hash: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entity:
    """A function, class or the like as ``code.py`` finds it. ``name`` is qualified (``Class.method``)."""

    name: str
    kind: str
    start_line: int
    end_line: int
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    text: str


def code_target(path: Path, language: str, entity: Entity, ids: Identities) -> Target:
    """The target of one entity of the code file ``path``."""
    content_hash = hash_of(normalised(entity.text))
    name = printable(entity.name, MAX_NAME_CHARS)
    payload = {
        "name": name,
        "kind": entity.kind,
        "language": language,
        "path": shown(path),
        "start_line": entity.start_line,
        "text": cut(entity.text),
        "content_hash": content_hash,
    }
    target_id = ids.claim(entity.name)
    return Target(target_id, CODE_ENTITY, name, shown(path), language, entity.start_line, entity.end_line, content_hash, payload)


def document_target(path: Path, form: str, title: str, text: str, lines: int) -> Target:
    """The target of the document ``path`` of ``lines`` lines, whose readable text is ``text``."""
    content_hash = hash_of(normalised(text))
    title = printable(title, MAX_NAME_CHARS)
    payload = {"title": title, "path": shown(path), "format": form, "text": cut(text), "content_hash": content_hash}
    return Target(Identities(path).whole_file(), PROJECT_DOCUMENT, title, shown(path), form, 1, lines, content_hash, payload)


def conversation_target(path: Path, form: str, title: str, messages: Sequence[Message], line: int, target_id: str) -> Target:
    """The target of one conversation that stands at ``line`` of the export ``path``."""
    content_hash = hash_of("\x1e".join(f"{one.role}\x1f{normalised(one.text)}" for one in messages))
    title = printable(title, MAX_NAME_CHARS)
    payload = {"title": title, "path": shown(path), "messages": _fitting(messages), "content_hash": content_hash}
    return Target(target_id, CONVERSATION, title, shown(path), form, line, line, content_hash, payload)


class Identities:
    """The target ids of one file: unique, short enough for every store, the same in every run."""

    def __init__(self, path: Path) -> None:
        self._file = _identifiable(str(path))
        self._taken: set[str] = set()

    def whole_file(self) -> str:
        return _bounded(self._file)

    def claim(self, name: str) -> str:
        """``path::name``; the second of that name gets ``#2`` and so on, in the order of the file."""
        wanted = f"{self._file}::{printable(name, 10_000)}"
        chosen, ordinal = wanted, 1
        while chosen in self._taken:
            ordinal += 1
            chosen = f"{wanted}#{ordinal}"
        self._taken.add(chosen)
        return _bounded(chosen)


def shown(path: Path) -> str:
    """``path`` as text that can be stored and shown, also when its bytes are not UTF-8."""
    return storable(str(path))


def storable(text: str) -> str:
    """``text`` with what no store can hold (NUL, lone surrogates) replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def normalised(text: str) -> str:
    """``text`` without what changes when code is moved or saved by another editor: line ends, trailing blanks."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def cut(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """``text``, or its beginning and a mark that says how much is missing."""
    if len(text) <= limit:
        return text
    mark = f"\n… [cut: {len(text):,} characters in all]"
    return text[: limit - len(mark)] + mark


def _fitting(messages: Sequence[Message]) -> list[dict[str, str]]:
    """As many messages from the beginning as a payload holds, with a mark where the rest was."""
    kept: list[dict[str, str]] = []
    room = MAX_TEXT_CHARS - 200
    for index, message in enumerate(messages):
        role = printable(message.role, _MAX_ROLE_CHARS)
        room -= len(role) + _MESSAGE_COST_CHARS
        if len(message.text) > room:
            if room > 100:
                kept.append({"role": role, "text": cut(message.text, room)})
            kept.append({"role": "system", "text": f"… [cut: {len(messages) - index:,} of {len(messages):,} messages]"})
            break
        room -= len(message.text)
        kept.append({"role": role, "text": message.text})
    return kept


def _identifiable(path: str) -> str:
    """``path`` so that no two paths and names give the same id; readable unless the path is very odd."""
    if "::" in f"{path}:" or "%" in path or _UNSTORABLE.search(path):
        return quote(os.fsencode(path), safe="/ ")
    return path


def _bounded(target_id: str) -> str:
    """Long ids keep their end, which says most, and a digest in place of the rest."""
    if len(target_id) <= MAX_NAME_CHARS:
        return target_id
    digest = hash_of(target_id)[:32]
    return f"{digest}…{target_id[-(MAX_NAME_CHARS - len(digest) - 1) :]}"
