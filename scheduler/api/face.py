"""What every route of one application reaches: the scheduler, the feed, the tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from fastapi import Request

from scheduler.api.problems import ProblemError
from scheduler.api.tokens import Tokens
from scheduler.feed import Feed
from scheduler.metrics import Metrics
from scheduler.runtime import Scheduler


@dataclass(slots=True)
class Face:
    """``streams`` are those open; ``frames`` the bytes of events that several of them send; ``closing``: the service is about to end.

    ``slicing``: a slice of work that somebody asked for is under way. ``store_trouble``: why the store refuses writes, "" if it does not.
    """

    scheduler: Scheduler
    feed: Feed
    tokens: Tokens
    metrics: Metrics
    streams: set[anyio.CancelScope] = field(default_factory=set)
    frames: dict[int, bytes] = field(default_factory=dict)
    closing: bool = False
    slicing: bool = False
    store_trouble: str = ""

    def note_trouble(self, trouble: str) -> None:
        self.store_trouble = trouble

    @contextmanager
    def streaming(self, scope: anyio.CancelScope) -> Iterator[None]:
        """While a stream is open; ``scope`` ends it."""
        self.streams.add(scope)
        try:
            yield
        finally:
            self.streams.discard(scope)

    def close(self) -> None:
        """Take no more requests, and end the streams: their clients come back to whoever serves next."""
        self.closing = True
        for scope in list(self.streams):
            scope.cancel()


async def face_of(request: Request) -> Face:  # async: a plain function would be run in a thread
    face: Face | None = getattr(request.app.state, "face", None)
    if face is None or face.closing:
        raise ProblemError(503, "the service is starting or ending: try again", headers={"Retry-After": "1"})
    return face
