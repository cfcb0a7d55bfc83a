"""Live events: the journal as server-sent events (WHATWG HTML, section 9.2), and a job's life at one look.

A stream that nobody reads is dropped: whoever comes back with ``Last-Event-ID`` goes on right behind what he has seen.
"""

from __future__ import annotations

from typing import Annotated, Any

import anyio
import pydantic_core
from fastapi import APIRouter, Header, Query
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from scheduler.api.callers import Reads
from scheduler.api.face import Face
from scheduler.api.jobs import At, JobId, answer, known
from scheduler.api.problems import ProblemError, documented
from scheduler.errors import StoreError
from scheduler.feed import Follower
from scheduler.journal import Entry
from scheduler.views.entries import EntryView, HistoryView

router = APIRouter(tags=["live"])

MEDIA_TYPE = "text/event-stream"
#: A comment is sent after so many seconds of silence, so that nobody between takes the stream for dead.
KEEP_ALIVE_S = 15.0
#: A client that has not taken what was sent for so many seconds is dropped.
STALLED_S = 20.0
#: Frames that several streams send are made once; so many are kept.
_FRAMES = 4_096
_HISTORY = 10_000


class EventStream(Response):
    """Server-sent events until the client is gone or stalls, ``seconds`` are over, the job has ended or the service does."""

    media_type = MEDIA_TYPE

    def __init__(self, face: Face, follower: Follower, seconds: float | None, *, until_end: bool) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._face = face
        self._follower = follower
        self._seconds = seconds
        self._until_end = until_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_until_gone, receive, group.cancel_scope)
            await self._send_all(send)
            group.cancel_scope.cancel()

    async def _send_all(self, send: Send) -> None:
        try:
            await _sent(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            with anyio.move_on_after(self._seconds) as scope, self._face.streaming(scope):
                async with self._follower as follower:
                    await self._send_events(send, follower)
            await _sent(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return  # it stalls: the server closes the connection

    async def _send_events(self, send: Send, follower: Follower) -> None:
        # Where it begins is told at once: who is cut off before anything happens goes on from there all the same.
        begin = b"retry: 2000\nid: %d\n\n" % (follower.position or 0)
        await _sent(send, _more(begin + (b"event: reset\ndata: {}\n\n" if follower.missed else b"")))
        while True:
            entries: list[Entry] = []
            with anyio.move_on_after(KEEP_ALIVE_S):
                try:
                    entries = await follower.next()
                except StoreError:
                    return  # it comes back when the store does
            frames = b"".join(_frame(self._face, entry) for entry in entries)
            await _sent(send, _more(frames or b": still here\n\n"))
            if self._until_end and entries and entries[-1].is_end:
                return


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """The client went away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _more(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _sent(send: Send, message: Message) -> None:
    """Raises ``TimeoutError`` if the client does not take it."""
    with anyio.fail_after(STALLED_S):
        await send(message)


def _frame(face: Face, entry: Entry) -> bytes:
    """The bytes of one event, made once for all that send it."""
    frame = face.frames.get(entry.id)
    if frame is None:
        frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (
            entry.id,
            entry.name.encode(),
            pydantic_core.to_json(entry.to_dict(), inf_nan_mode="null"),
        )
        if len(face.frames) >= _FRAMES:
            face.frames.clear()
        face.frames[entry.id] = frame
    return frame


_EXAMPLE = 'id: 7\nevent: job.started\ndata: {"id":7,"name":"job.started"}\n\n'
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, each an Entry; `reset` says that older ones are kept no more",
        "content": {
            MEDIA_TYPE: {"schema": {"type": "string"}, "example": 'id: 7\nevent: job.started\ndata: {"id":7,"name":"job.started"}\n\n'}
        },
    }
}
After = Annotated[int | None, Query(ge=0, lt=10**18, description="Go on behind this entry, as with Last-Event-ID")]
Seconds = Annotated[float | None, Query(ge=0, le=86_400, allow_inf_nan=False, description="End the stream after so many seconds")]
LastEventId = Annotated[str, Header(pattern=r"^[0-9]{0,18}$", description="Go on behind this entry")]


def _beginning(last_event_id: str, after: int | None) -> int | None:
    """Where to begin. A client that reconnects says what it saw last; that is later than what it once asked for."""
    return int(last_event_id) if last_event_id else after


def _check_room(face: Face) -> None:
    if len(face.streams) >= face.scheduler.settings.api.max_streams:
        raise ProblemError(503, "too many streams are open: try again later, or raise [api] max_streams", headers={"Retry-After": "10"})


@router.get("/events", responses={**_STREAM, **documented(401, 403, 422, 503)}, response_class=Response, summary="Everything as it happens")
async def everything(
    face: At,
    caller: Reads,
    task_type: Annotated[list[str] | None, Query(description="Only these; may repeat")] = None,
    after: After = None,
    max_s: Seconds = None,
    last_event_id: LastEventId = "",
) -> Response:
    """From now on, or behind ``Last-Event-ID``, without a gap or a duplicate."""
    _check_room(face)
    follower = face.feed.follow(owner=caller.owner, task_types=task_type, after=_beginning(last_event_id, after))
    return EventStream(face, follower, max_s, until_end=False)


@router.get(
    "/jobs/{job_id}/events",
    responses={**_STREAM, 204: {"description": "It has ended, and this was seen"}, **documented(401, 403, 404, 422, 503)},
    response_class=Response,
    summary="One job as it goes",
)
async def of_job(
    job_id: JobId, face: At, caller: Reads, after: After = None, max_s: Seconds = None, last_event_id: LastEventId = ""
) -> Response:
    """From its first entry on, or behind ``Last-Event-ID``; ends behind its last."""
    job = await known(face, job_id, caller)
    _check_room(face)
    begin = _beginning(last_event_id, after)
    if job.status.is_terminal and not await face.scheduler.store.journal(begin or 0, seq=job.seq, limit=1):
        return Response(status_code=204)
    return EventStream(face, face.feed.follow(owner=caller.owner, seq=job.seq, after=begin or 0), max_s, until_end=True)


@router.get("/jobs/{job_id}/history", response_model=HistoryView, responses=documented(401, 403, 404, 503), summary="A job's life")
async def history(job_id: JobId, face: At, caller: Reads) -> Response:
    """What happened to it, as far as it is kept."""
    job = await known(face, job_id, caller)
    entries = await face.scheduler.store.journal(0, seq=job.seq, limit=_HISTORY)
    return answer(HistoryView(entries=[EntryView.of(entry) for entry in entries]))
