"""Conversations in JSON and JSONL chat exports, told by their shape and not by their name.

Known shapes: ``{"messages": [{"role", "content"}]}`` (OpenAI and compatible, also content in parts),
a bare list of messages, message trees (``mapping`` of ChatGPT exports), ``chat_messages`` with
``sender`` (Claude exports), ``conversations`` with ``from``/``value`` (ShareGPT), Slack's
``user``/``text``/``ts``, and lists or lines of any of these. Everything else is no conversation.

Does not belong here: which files there are (``scan.py``), or ids and payloads (``targets.py``).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scheduler.catalog.reading import SkippedError, SkipReason
from scheduler.catalog.targets import Message, storable

#: The formats by extension.
BY_EXTENSION = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}

_MESSAGE_LISTS = ("messages", "chat_messages", "conversations", "conversation")
_TITLES = ("title", "name", "subject", "topic")
_IDS = ("id", "conversation_id", "uuid", "session_id")
#: One of these is in the text of every chat export; without one a broken file is no concern of ours.
_TELLTALES = ('"role"', '"mapping"', '"sender"', '"messages"', '"from"', '"ts"')
_MAX_TITLE_CHARS = 80
_SHAREGPT_SPEAKERS = frozenset({"human", "gpt", "user", "assistant", "system", "tool", "chatgpt", "bard", "bing", "function"})


@dataclass(frozen=True, slots=True)
class Conversation:
    """``key`` tells it apart inside its file; None when the file is this one conversation. ``line`` counts from 1."""

    key: str | None
    title: str
    messages: list[Message]
    line: int = 1


def conversations(text: str, form: str) -> Iterator[Conversation]:
    """The conversations of an export; none if it is something else. Raises ``SkippedError`` when it is broken."""
    if not any(word in text for word in _TELLTALES):
        return
    if form == "jsonl":
        yield from _of_lines(text)
    else:
        yield from _of_value(_decode(text))


def _decode(text: str) -> Any:
    # The standard decoder on purpose: unlike stricter ones it takes the lone surrogates that cut-off emojis leave.
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SkippedError(SkipReason.UNPARSABLE, f"not valid JSON: {error}") from None


def _of_value(value: Any) -> Iterator[Conversation]:
    if isinstance(value, dict):
        if (found := _conversation(value, 0)) is not None:
            yield Conversation(None, found.title, found.messages)
        elif _looks_like_one(value.get("conversations")):
            yield from _of_value(value["conversations"])
    elif isinstance(value, list):
        if (messages := _messages(value)) is not None:
            if messages:
                yield Conversation(None, _title({}, messages), messages)
            return
        for index, item in enumerate(value, start=1):
            if isinstance(item, dict) and (found := _conversation(item, index)) is not None:
                yield found


def _looks_like_one(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _of_lines(text: str) -> Iterator[Conversation]:
    """Each line a conversation, or each line a message of one. Broken lines do not lose the others."""
    loose: list[Message] = []
    broken: list[int] = []
    found_any = False
    for number, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        try:
            value = _decode(line)
        except SkippedError:
            broken.append(number)
            continue
        if isinstance(value, list):
            value = {"messages": value}
        if not isinstance(value, dict):
            continue
        if (message := _message(value)) is not None:
            loose.append(message)
        elif (found := _conversation(value, number)) is not None:
            found_any = True
            yield Conversation(found.key, found.title, found.messages, number)
    said = [message for message in loose if message.text]
    if said:
        yield Conversation(None, _title({}, said), said)
    if broken:
        kept = "; the other lines were read" if found_any or said else ""
        raise SkippedError(SkipReason.UNPARSABLE, f"{len(broken):,} lines are not valid JSON, the first is line {broken[0]}{kept}")


def _conversation(value: dict[str, Any], position: int) -> Conversation | None:
    messages = _tree(value) if isinstance(value.get("mapping"), dict) else None
    for name in _MESSAGE_LISTS:
        if messages is None and isinstance(value.get(name), list):
            messages = _messages(value[name])
    if not messages:
        return None
    own_id = next((str(value[name]) for name in _IDS if isinstance(value.get(name), str | int)), "")
    return Conversation(storable(own_id) or str(position), _title(value, messages), messages)


def _title(value: dict[str, Any], messages: list[Message]) -> str:
    """Its own title, else the first words of whoever was not the system."""
    own = next((value[name] for name in _TITLES if isinstance(value.get(name), str) and value[name].strip()), None)
    if own is None:
        own = next((message.text for message in messages if message.role != "system"), messages[0].text)
    line = " ".join(storable(own[:1_000]).split())
    return line if len(line) <= _MAX_TITLE_CHARS else line[: _MAX_TITLE_CHARS - 1] + "…"


def _messages(values: list[Any]) -> list[Message] | None:
    """The messages of a list that holds mostly messages (joins, calls and other events may stand between); else None."""
    if not all(isinstance(value, dict) for value in values):
        return None
    found = [message for value in values if (message := _message(value)) is not None]
    if not found or 2 * len(found) < len(values):
        return None
    return [message for message in found if message.text]


def _message(value: dict[str, Any]) -> Message | None:
    """``value`` as a message, whoever wrote the export; its text may be empty. None if it is something else."""
    if isinstance(value.get("role"), str) and ("content" in value or "text" in value or "parts" in value):
        return _said(value["role"], value.get("content"), value.get("text"), value.get("parts"))
    if isinstance(value.get("sender"), str) and ("text" in value or "content" in value):
        return _said(value["sender"], value.get("text"), value.get("content"))
    if isinstance(value.get("from"), str) and value["from"] in _SHAREGPT_SPEAKERS and isinstance(value.get("value"), str):
        return _said(value["from"], value["value"])
    speaker = value.get("user") or value.get("username") or value.get("bot_id")
    if isinstance(speaker, str) and isinstance(value.get("text"), str) and "ts" in value:
        return _said(speaker, value["text"])
    return None


def _said(role: str, *contents: Any) -> Message:
    """The first of ``contents`` that has text."""
    text = next((text for content in contents if (text := _text(content))), "")
    return Message(storable(role), storable(text))


def _text(content: Any) -> str:
    """The text of a content that may be text, a part, or a list of parts; images and tool calls have none."""
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list):
        return "\n".join(text for part in content if (text := _text(part)))
    if isinstance(content, dict):
        return _text(content.get("text") or content.get("parts"))
    return ""


def _tree(value: dict[str, Any]) -> list[Message]:
    """The branch of a message tree that was open last: from its leaf back to the root."""
    nodes = {key: node for key, node in value["mapping"].items() if isinstance(node, dict)}
    parents = {node["parent"] for node in nodes.values() if isinstance(node.get("parent"), str)}
    at = value.get("current_node")
    if not isinstance(at, str) or at not in nodes:
        leaves = [key for key in nodes if key not in parents]
        at = leaves[-1] if leaves else None
    branch: list[Message] = []
    seen: set[str] = set()
    while isinstance(at, str) and at in nodes and at not in seen:
        seen.add(at)
        if (message := _tree_message(nodes[at].get("message"))) is not None:
            branch.append(message)
        at = nodes[at].get("parent")
    return branch[::-1]


def _tree_message(value: Any) -> Message | None:
    if not isinstance(value, dict) or not isinstance(value.get("author"), dict):
        return None
    if isinstance(value.get("metadata"), dict) and value["metadata"].get("is_visually_hidden_from_conversation"):
        return None
    message = _said(str(value["author"].get("role", "")), value.get("content"))
    return message if message.text else None
