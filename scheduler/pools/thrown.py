"""What a client library threw, recognised by the attributes its errors have. Pure; imports no client.

Attributes of foreign objects may be properties that raise (httpx's ``.request`` does), so each is
read guardedly. Does not belong here: what the answer means (``answers.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_CHAIN = 10


@dataclass(frozen=True, slots=True)
class ThrownAnswer:
    """A provider's answer that a client turned into an exception."""

    status_code: int
    headers: Mapping[str, str]
    body: object


def thrown_answer(error: BaseException) -> ThrownAnswer | None:
    """The answer inside ``error``; None if it carries none.

    Knows openai, anthropic, mistral, cohere, groq, litellm (``status_code``, ``response``, ``body``), httpx
    (``response.status_code``), google-genai (``code``, ``details``) and botocore (``response`` is a dict).
    """
    response = _attribute(error, "response")
    if isinstance(response, Mapping):
        return _botocore(response)
    status = _int(_attribute(error, "status_code"))
    if status is None:
        status = _int(_attribute(response, "status_code"))
    if status is None and (response is not None or _attribute(error, "details") is not None):
        status = _int(_attribute(error, "code"))
    if status is None:
        return None
    headers = _attribute(response, "headers")
    if not isinstance(headers, Mapping):
        headers = _attribute(error, "headers")
    return ThrownAnswer(status, headers if isinstance(headers, Mapping) else {}, _body(error, response))


def is_lost_connection(error: BaseException) -> bool:
    """Whether no answer came: a connection error or time-out, bare or as a client wraps it."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    # sent a request, got no response: the shape of openai, anthropic, httpx and requests
    return any(_has_request(link) and _attribute(link, "response") is None for link in explicit_chain(error))


def explicit_chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what it was raised ``from``; not its contexts: a bug inside an except block has one as well."""
    link: BaseException | None = error
    for _ in range(_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__


def text_of(error: BaseException) -> str:
    """What ``error`` says."""
    try:
        return str(error)
    except Exception:  # a broken __str__ must not hide the failure
        return "<unprintable>"


def _botocore(response: Mapping[str, Any]) -> ThrownAnswer | None:
    meta = response.get("ResponseMetadata")
    status = _int(meta.get("HTTPStatusCode")) if isinstance(meta, Mapping) else None
    if status is None or not isinstance(meta, Mapping):
        return None
    headers = meta.get("HTTPHeaders")
    error = response.get("Error")
    lowered = {str(key).lower(): value for key, value in error.items()} if isinstance(error, Mapping) else {}
    return ThrownAnswer(status, headers if isinstance(headers, Mapping) else {}, {"error": lowered})


def _body(error: BaseException, response: object) -> object:
    for owner, name in ((error, "body"), (error, "details"), (response, "content")):
        found = _attribute(owner, name)
        if found is not None:
            return found
    return None


def _has_request(error: BaseException) -> bool:
    """Whether ``error`` is about an HTTP request (httpx raises RuntimeError from ``.request`` when it was not set)."""
    try:
        request = getattr(error, "request", None)
    except Exception:
        return True
    return _attribute(request, "method") is not None and _attribute(request, "url") is not None


def _attribute(owner: object, name: str) -> Any:
    if owner is None:
        return None
    try:
        return getattr(owner, name, None)
    except Exception:  # a property that raises says nothing
        return None


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
