"""Following what happens: server-sent events that go on where they broke off.

Where events do not get through at all (a proxy that keeps them back until the end, one that knows no streams), ``StreamlessError`` says
so, and whoever follows asks now and then instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import anyio
import httpx2

from scheduler.client.asking import Asker
from scheduler.client.errors import ClientError, UnavailableError
from scheduler.client.sse import Parser
from scheduler.client.words import EVENTS, understood
from scheduler.views.entries import EntryView, HistoryView

#: A stream whose first bytes do not come within so many seconds is kept back by somebody; the service sends some at once.
FIRST_S = 5.0
#: A stream that is silent for longer is dead: the service says every 15 seconds that it is still there.
SILENT_S = 35.0
#: How long to wait before connecting anew, unless the service says.
_RECONNECT_S = 1.0
#: Answers of somebody who knows no event streams.
_NO_STREAMS = frozenset({404, 405, 406, 501})
RESET = "reset"


class StreamlessError(ClientError):
    """Events do not get through."""


class Stream:
    """One place in the journal, and the connection that brings what comes behind it.

    ``position``: the last entry that was seen; None for what happens from now on. ``missed``: the service keeps entries for a while only,
    and some behind ``position`` were gone.
    """

    def __init__(self, asker: Asker, path: str, params: dict[str, Any], position: int | None, *, of_job: bool) -> None:
        self.position = position
        self.missed = False
        self._asker = asker
        self._path = path
        self._params = params
        self._response: httpx2.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._parser = Parser()
        self._retry_s = _RECONNECT_S
        self._tries = 0
        self._heard = False
        self._lost_at: float | None = None
        self._of_job = of_job
        self._ended = False

    async def batch(self) -> list[EntryView]:
        """What has happened behind ``position``, as soon as there is something; empty once there will be no more.

        Raises ``StreamlessError``; ``UnreachableError`` when nobody answered for as long as the client is patient; ``ApiError``s.
        """
        while not self._ended:
            if self._pieces is None and not await self._open():
                break
            piece = await self._piece()
            if piece is None:
                await self._lost(None)
            elif entries := self.entries(self._parser, piece):
                self._ended = self._of_job and entries[-1].is_end
                return entries
        await self.aclose()
        return []

    async def aclose(self) -> None:
        """Let the connection go; ``batch`` opens another."""
        response, self._response, self._pieces = self._response, None, None
        if response is not None:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _open(self) -> bool:
        """Connect; False if the job has ended and everything of it was seen."""
        while True:
            headers = {} if self.position is None else {"Last-Event-ID": str(self.position)}
            if self._asker.closed:
                raise ClientError("the client is closed")
            try:
                with anyio.move_on_after(FIRST_S) as limit:
                    self._response = await self._asker.open(self._path, params=self._params, headers=headers)
            except httpx2.TransportError as error:
                await self._lost(error)
                continue
            if limit.cancelled_caught:
                raise StreamlessError("the answer does not begin")
            if await self._is_good():
                return True
            if self._response is None:
                return False

    async def _is_good(self) -> bool:
        """Whether it is a stream; otherwise it is closed, and this raises what it is instead, unless there is nothing to come (204)."""
        response = self._response
        assert response is not None
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == 200 and kind == EVENTS:
            self._parser, self._heard = Parser(), False
            self._pieces = response.aiter_bytes()
            return True
        try:
            await response.aread()
        except httpx2.TransportError as error:
            raise StreamlessError(f"the answer broke off: {type(error).__name__}") from error
        finally:
            await self.aclose()
        if response.status_code == 204:
            return False
        if response.is_success or response.status_code in _NO_STREAMS:
            raise StreamlessError(f"no event stream, but {response.status_code} {kind}")
        problem = self._asker.problem(response)
        raise StreamlessError(problem.detail) if isinstance(problem, UnavailableError) else problem

    async def _piece(self) -> bytes | None:
        """What arrives next; None when the connection has ended. Raises ``StreamlessError`` if nothing arrives at first."""
        assert self._pieces is not None
        with anyio.move_on_after(SILENT_S if self._heard else FIRST_S):
            try:
                piece = await anext(self._pieces)
            except (StopAsyncIteration, httpx2.TransportError, httpx2.StreamError):
                return None
            self._heard, self._tries, self._lost_at = True, 0, None
            return piece
        if self._heard:
            return None
        await self.aclose()
        raise StreamlessError(f"nothing within {FIRST_S:g} s")

    def entries(self, parser: Parser, piece: bytes) -> list[EntryView]:
        """What arrives, as far as it was not seen before; ``position`` moves on. Raises ``StreamlessError`` for what is no entry."""
        try:
            messages = parser.feed(piece)
            found = [EntryView.model_validate_json(one.data) for one in messages if one.name != RESET]
        except ValueError as error:
            raise StreamlessError("what arrives is no entry of the journal") from error
        self.missed = self.missed or any(one.name == RESET for one in messages)
        if parser.retry_s is not None:
            self._retry_s = parser.retry_s
        new = [entry for entry in found if self.position is None or entry.id > self.position]
        told = parser.last_id
        if told.isascii() and told.isdecimal():
            self.position = int(told)
        return new

    async def _lost(self, error: httpx2.TransportError | None) -> None:
        """The connection is gone: wait a little. Raises ``UnreachableError`` if that goes on for too long."""
        await self.aclose()
        now = self._asker.clock.monotonic()
        self._lost_at = now if self._lost_at is None else self._lost_at
        wait_s = self._asker.wait_s(self._tries, self._retry_s)
        self._tries += 1
        if error is not None and now - self._lost_at + wait_s > self._asker.patience_s:
            raise self._asker.unreachable(error) from error
        await self._asker.clock.sleep(wait_s)


class Entries:
    """Entries as they happen, to iterate over (``async for``); leave it by ``aclose`` or as a context manager.

    Goes on behind the last one seen however often the connection breaks; without event streams it asks every ``poll_s`` seconds. That of
    a job ends behind the entry that ends the job. ``missed``: the service no longer had all that was to come: look anew.
    """

    def __init__(self, asker: Asker, stream: Stream, path: str, params: dict[str, Any], job_path: str | None, poll_s: float) -> None:
        self._asker = asker
        self._stream = stream
        self._path = path
        self._params = params
        self._history = job_path
        self._poll_s = poll_s
        self._waiting: deque[EntryView] = deque()
        self._over = False

    @property
    def missed(self) -> bool:
        return self._stream.missed

    @property
    def position(self) -> int | None:
        """Give it as ``after`` to go on from here another time; entries that were not taken yet are not told again."""
        return self._waiting[0].id - 1 if self._waiting else self._stream.position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EntryView:
        while not self._waiting:
            if self._over:
                raise StopAsyncIteration
            found = await self._more()
            self._over = not found
            self._waiting.extend(found)
        return self._waiting.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._over = True
        await self._stream.aclose()

    async def _more(self) -> list[EntryView]:
        while True:
            if self._asker.hears_streams:
                try:
                    return await self._stream.batch()
                except StreamlessError:
                    self._asker.without_streams()
            found = await (self._asked_of_all() if self._history is None else self._asked_of_job(self._history))
            if found is not None:
                return found

    async def _asked_of_job(self, path: str) -> list[EntryView] | None:
        """What is new of one job; empty if it has ended, None if nothing happened yet."""
        told = understood(HistoryView, (await self._asker.ask("GET", path)).content).entries
        position = self._stream.position or 0
        new = [entry for entry in told if entry.id > position]
        if new:
            self._stream.position = new[-1].id
        elif not told or not told[-1].is_end:
            await self._asker.clock.sleep(self._poll_s)
            return None
        return new

    async def _asked_of_all(self) -> list[EntryView] | None:
        """A stream that the service ends by itself after a while: it gets through where an endless one is kept back."""
        headers = {"Accept": EVENTS} if self._stream.position is None else {"Accept": EVENTS, "Last-Event-ID": str(self._stream.position)}
        response = await self._asker.ask("GET", self._path, params={**self._params, "max_s": self._poll_s}, headers=headers)
        return self._stream.entries(Parser(), response.content) or None
