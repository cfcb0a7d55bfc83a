"""What went wrong, as problem details (RFC 9457): one shape for every error, whoever finds it.

Does not belong here: finding it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import pydantic_core
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from scheduler.errors import (
    IdempotencyConflictError,
    InvalidJobError,
    NotConfiguredError,
    NotFoundError,
    OwnerLimitError,
    SchedulerError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    UnknownJobError,
)

MEDIA_TYPE = "application/problem+json"
_PREFIX = "urn:scheduler:problem:"
#: Whoever is told to come back later waits so many seconds.
RETRY_AFTER_S = 1

#: The word of each status, which programs branch on, and what it says to people.
WORDS: Mapping[int, tuple[str, str]] = {
    400: ("malformed", "The request cannot be read"),
    401: ("unauthenticated", "A token is needed"),
    403: ("forbidden", "The token does not allow this"),
    404: ("not_found", "There is no such thing, or it is not yours"),
    405: ("method_not_allowed", "The path does not know this method"),
    406: ("not_acceptable", "The answer is of another media type"),
    409: ("conflict", "It does not go with how things stand"),
    413: ("too_large", "The body is too large"),
    415: ("unsupported_media_type", "The body is of another media type"),
    421: ("misdirected", "This host is not served here"),
    422: ("refused", "The request is refused, nothing was changed"),
    429: ("too_many", "Too much is under way"),
    500: ("internal", "A fault of this service"),
    503: ("unavailable", "Not now: try again"),
    507: ("storage_full", "There is no space left"),
}


class Place(BaseModel):
    """What is wrong at one place of the request."""

    where: str = Field(examples=["body.priority"])
    what: str = Field(examples=["Input should be a valid integer"])


class Problem(BaseModel):
    """RFC 9457. ``type`` is stable: programs branch on it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": f"{_PREFIX}not_found",
                    "title": "There is no such thing, or it is not yours",
                    "status": 404,
                    "detail": "there is no job 0193a7c2-8d1f-7c55-9b1e-5c0d7a2f4e11",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str = Field(description="What to do")
    errors: list[Place] | None = None


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: int, detail: str, *, errors: Sequence[Place] = (), headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def to_response(self) -> Response:
        word, title = WORDS.get(self.status, ("error", HTTPStatus(self.status).phrase))
        problem = Problem(type=_PREFIX + word, title=title, status=self.status, detail=self.detail, errors=self.errors or None)
        body = pydantic_core.to_json(problem, exclude_none=True)
        return Response(body, self.status, {"Cache-Control": "no-store", **self.headers}, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: these problems, each with what it means."""
    return {
        status: {"description": WORDS[status][1], "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
        for status in statuses
    }


def problem_of(error: SchedulerError) -> ProblemError:
    """What an error of the scheduler comes to over HTTP."""
    text = str(error)
    match error:
        case OwnerLimitError():
            return ProblemError(429, text)
        case IdempotencyConflictError() | UnknownJobError() | NotConfiguredError():
            return ProblemError(409, text)
        case InvalidJobError():
            return ProblemError(422, text)
        case NotFoundError():
            return ProblemError(404, text)
        case StoreFullError():
            return ProblemError(507, text)
        case StoreBusyError() | StoreError():
            return ProblemError(503, text, headers={"Retry-After": str(RETRY_AFTER_S)})
        case _:
            return ProblemError(422, text)


#: What routes raise to be answered with a problem.
EXPECTED = (ProblemError, SchedulerError, ClientDisconnect)


def response_to(error: Exception) -> Response:
    """The problem that one of ``EXPECTED`` is answered with."""
    match error:
        case ProblemError():
            return error.to_response()
        case SchedulerError():
            return problem_of(error).to_response()
        case _:
            return ProblemError(400, "the request ended before its body").to_response()  # to nobody


def places(error: ValidationError | RequestValidationError, root: str = "") -> list[Place]:
    """Where a request does not fit, and how; what it held is not repeated: it may not be fit to be sent."""
    return [Place(where=".".join([*filter(None, [root]), *map(_shown, one["loc"])]), what=str(one["msg"])) for one in error.errors()]


def _shown(part: Any) -> str:
    return str(part).encode("ascii", "backslashreplace").decode()[:100]


def _allowed(app: FastAPI, path: str) -> str:
    """The methods that ``app`` knows at ``path``, for ``Allow`` (RFC 9110, section 15.5.6): a router tells only those of one route."""
    paths = app.openapi()["paths"]
    found = [paths[path]] if path in paths else [methods for template, methods in paths.items() if _matches(template, path)]
    known = {method.upper() for methods in found for method in methods}
    return ", ".join(sorted(known))


def _matches(template: str, path: str) -> bool:
    pattern, _, _ = compile_path(template.replace("{scope}", "{scope:path}"))
    return pattern.match(path) is not None


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem."""

    async def on_expected(request: Request, error: Exception) -> Response:
        return response_to(error)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = places(error)
        return ProblemError(422, "; ".join(f"{one.where}: {one.what}" for one in found[:5]), errors=found).to_response()

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return ProblemError(404, "there is nothing at this path: see /docs").to_response()
        if error.status_code == 405 and (allowed := _allowed(app, request.scope["path"].removeprefix(request.scope.get("root_path", "")))):
            return ProblemError(405, f"this path knows {allowed}", headers={"Allow": allowed}).to_response()
        return ProblemError(error.status_code, str(error.detail), headers=error.headers).to_response()

    for kind in EXPECTED:
        app.add_exception_handler(kind, on_expected)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
