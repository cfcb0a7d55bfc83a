"""The pages: the dashboard and the documentation, files that are served as they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType

from fastapi import APIRouter, Request
from starlette.responses import Response

from scheduler.api.problems import ProblemError

router = APIRouter(include_in_schema=False)

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}


@cache
def _files() -> Mapping[str, tuple[bytes, str, str]]:
    """Every file of the dashboard by its name: bytes, kind, tag. Read once: a name that is asked for never becomes a path."""
    found: dict[str, tuple[bytes, str, str]] = {}
    for entry in files("scheduler.dashboard").iterdir():
        kind = _KINDS.get(entry.name.rpartition(".")[2])
        if kind is not None and entry.is_file():
            content = entry.read_bytes()
            found[entry.name] = (content, kind, f'"{sha256(content).hexdigest()[:32]}"')
    return MappingProxyType(found)


def _page(request: Request, name: str) -> Response:
    page = _files().get(name)
    if page is None:
        raise ProblemError(404, "there is no such file")
    content, kind, tag = page
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)


@router.get("/")
async def dashboard(request: Request) -> Response:
    return _page(request, "index.html")


@router.get("/docs")
async def docs(request: Request) -> Response:
    return _page(request, "docs.html")


@router.get("/client.js")
async def client(request: Request) -> Response:
    return _page(request, "client.js")


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    return _page(request, name)
