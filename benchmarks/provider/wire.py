"""Good answers in the two protocols that clients speak: OpenAI's chat completions and Anthropic's messages. Pure.

Asked for a JSON schema, an answer fits it; so the answers of a simulated model pass the validation of real
callers. Does not belong here: sockets, or errors (``bodies.py``).
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.provider.answers import Call

Json = dict[str, Any]

#: What fields of these names hold; others are filled by their type.
GOOD_ANSWER: Json = {"summary": "Parses a header line.", "keywords": ["header", "parsing"], "topics": ["http"]}

_BY_TYPE: Json = {"string": "some text", "integer": 1, "number": 1.0, "boolean": True, "array": [], "null": None}
#: Rough, as the estimates of real providers are.
_CHARS_PER_TOKEN = 4
_EXTRA_TOKENS = 8  # of roles and separators


def fields(schema: Json) -> Json:
    """An object that fits a JSON schema of an object."""
    return {name: GOOD_ANSWER.get(name, _value(each)) for name, each in schema.get("properties", {}).items()}


def _value(schema: Json) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    return fields(schema) if schema.get("type") == "object" else _BY_TYPE.get(str(schema.get("type")), "some text")


def chat_completion(asked: Json, usage: tuple[int, int], content: str | None = None, finish_reason: str = "stop", **message: Any) -> Json:
    """The body of a chat completion; ``usage`` is (input, output) tokens. ``content`` None: what the schema asks for."""
    text = _asked_content(asked) if content is None else content
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    model = asked.get("model")
    return {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": counted}


def _asked_content(asked: Json) -> str:
    schema = asked.get("response_format", {}).get("json_schema", {}).get("schema")
    return json.dumps(fields(schema)) if schema else "Some text."


def message(asked: Json, usage: tuple[int, int], content: list[Any] | None = None, stop_reason: str | None = None) -> Json:
    """The body of a message; ``content`` None: the use of the first tool, or text where there is none."""
    tool = next(iter(asked.get("tools") or []), None)
    if content is None:
        content = [_tool_use(tool) if tool else {"type": "text", "text": "Some text."}]
    reason = stop_reason or ("end_turn" if tool is None else "tool_use")
    counted = {"input_tokens": usage[0], "output_tokens": usage[1]}
    body = {"id": "m1", "type": "message", "role": "assistant", "model": asked.get("model")}
    return body | {"content": content, "stop_reason": reason, "stop_sequence": None, "usage": counted}


def _tool_use(tool: Json) -> Json:
    return {"type": "tool_use", "id": "t1", "name": tool["name"], "input": fields(tool["input_schema"])}


def is_messages(path: str) -> bool:
    """Whether a request speaks Anthropic's protocol."""
    return path.endswith("/messages")


def answer_body(path: str, asked: Json, call: Call) -> Json:
    """A good answer to ``call`` in the protocol of ``path``; one that ``max_tokens`` stopped says so."""
    usage = (call.input_tokens, call.written_tokens)
    is_cut = call.written_tokens < call.output_tokens
    if is_messages(path):
        return message(asked, usage, stop_reason="max_tokens" if is_cut else None)
    return chat_completion(asked, usage, finish_reason="length" if is_cut else "stop")


def call_of(asked: Json, output_tokens: int) -> Call:
    """What a request is to the model: input by its characters, the longest answer as it says."""
    text = json.dumps([asked.get("messages"), asked.get("system"), asked.get("tools"), asked.get("response_format")])
    longest = asked.get("max_completion_tokens") or asked.get("max_tokens") or 0
    return Call(len(text) // _CHARS_PER_TOKEN + _EXTRA_TOKENS, int(longest), output_tokens)
