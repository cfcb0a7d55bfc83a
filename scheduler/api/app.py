"""The application: routes, doors and problems, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware

from scheduler.api import bulk, jobs, logs, operating, pages, probes, problems, streams, whys
from scheduler.api.bodies import BODIES, JSON_SCHEMA
from scheduler.api.doors import Doors
from scheduler.api.face import Face
from scheduler.api.problems import Problem, documented
from scheduler.api.tokens import Tokens
from scheduler.events import StoreFailing, StoreRecovered
from scheduler.feed import Feed
from scheduler.metrics import Metrics
from scheduler.registry import Registry
from scheduler.runtime import Scheduler
from scheduler.settings import ApiSettings, Settings, load

_DESCRIPTION = """Jobs in, watched, moved and out again. Errors are problem details (RFC 9457); their `type` is stable.
A token goes into `Authorization: Bearer …`; where none is configured, none is needed."""
_REFERENCES = "#/components/schemas/{model}"


@asynccontextmanager
async def open_app(scheduler: Scheduler) -> AsyncIterator[FastAPI]:
    """The application over an open ``scheduler``, to be served or mounted in an application of one's own.

    Streams work while this is entered; leaving it ends them.
    """
    app = _application(scheduler.settings.api)
    async with _facing(app, scheduler):
        yield app


def create_app(config: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None, routes: Registry | None = None) -> FastAPI:
    """An application of its own for any ASGI server: opens the scheduler at start-up, closes it at shutdown, runs no jobs by itself.

    For hosts that forbid long-running processes: ``POST /api/process`` does a slice of work. ``config`` and ``routes`` are those of
    ``Scheduler.open``. Raises ``ConfigError``.
    """
    settings = load(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Scheduler.open(settings, routes) as scheduler, _facing(app, scheduler):
            yield

    return _application(settings.api, lifespan)


@asynccontextmanager
async def _facing(app: FastAPI, scheduler: Scheduler) -> AsyncIterator[None]:
    feed = Feed(scheduler.store, scheduler.events, scheduler.clock)
    face = Face(scheduler, feed, Tokens(scheduler.settings.tokens, scheduler.clock), Metrics())
    face.metrics.follow(scheduler.events)
    scheduler.events.subscribe(lambda event: face.note_trouble(event.error), StoreFailing)
    scheduler.events.subscribe(lambda event: face.note_trouble(""), StoreRecovered)
    app.state.face = face
    async with anyio.create_task_group() as group:
        group.start_soon(feed.run, name="feed")
        try:
            yield
        finally:
            face.close()
            group.cancel_scope.cancel()


def _application(settings: ApiSettings, lifespan: Any = None) -> FastAPI:
    app = FastAPI(
        title="Scheduler",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in (jobs.router, bulk.router, streams.router, whys.router, logs.router, operating.router):
        app.include_router(router, prefix="/api")
    app.include_router(probes.router)
    app.include_router(pages.router)
    problems.install(app)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            expose_headers=["Location", "Retry-After", "Content-Disposition"],
        )
    app.add_middleware(Doors, hosts=settings.hosts, origins=settings.origins)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the bodies that are read by hand and the one shape of all errors."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        shown: tuple[type[BaseModel], ...] = (*BODIES, Problem)
        for model in shown:
            schema = model.model_json_schema(ref_template=_REFERENCES)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        schemas["Json"] = JSON_SCHEMA
        for name in ("NewJobBody", "JobLine"):
            schemas[name]["properties"]["payload"] |= {"$ref": "#/components/schemas/Json"}
        for operation in (one for methods in document["paths"].values() for one in methods.values()):
            if "422" in operation["responses"]:  # also those that FastAPI adds
                operation["responses"]["422"] = documented(422)[422]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema


def _version() -> str:
    try:
        return version("ai-job-scheduler")
    except PackageNotFoundError:
        return "0"
