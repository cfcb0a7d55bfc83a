"""A line to the database: one connection, and the one owner who does on it what the others send.

Callers hand over an *action* with an *item* and wait for the answer. While one group is being done the next gathers, and
the items of one action go in one call, so that a thousand outcomes cost a handful of statements. An action is a transaction:
if it fails for several items, each is done on its own, so that a bad one fails alone. A caller that is cancelled only stops
waiting: its work is done whole or not at all, and no transaction stays open.

A connection that was lost is opened again when next needed, at growing intervals while the server is away; meanwhile
callers hear ``StoreBusyError``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from anyio import lowlevel

from scheduler.errors import StoreBusyError, StoreError
from scheduler.stores.postgres import faults
from scheduler.stores.postgres.session import STATEMENT_LIMIT_S, Database, Session

Item = TypeVar("Item")
Answer = TypeVar("Answer")
#: What is done for several callers at once: an answer for each item, in order.
Action = Callable[[Session, Sequence[Item]], Awaitable[Sequence[Answer]]]
Answers = list[tuple[Any, Exception | None]]

#: At most so many items in one call: bounds how long one caller waits for the others.
GROUP = 256
#: So often is the same done again when it collided with another writer's.
_TRIES = 5
#: Turns of the loop until who was answered can have asked for more. To wait for them, rather than end and be started again, sends
#: a service's next claim before the handlers of the last one begin: the server works on the one while they work on the other.
_TURNS = 2
#: Seconds until a server that was not reached is tried again, doubling between these.
_AGAIN_FROM_S, _AGAIN_TO_S = 0.05, 1.0


@dataclass(slots=True)
class _Request:
    action: Action[Any, Any]
    item: Any
    future: asyncio.Future[Any]


class Line:
    """Opens its connection when first used. Its task lives while there is work and is nobody's child."""

    def __init__(self, database: Database, purpose: str, limit_s: float = STATEMENT_LIMIT_S, session: Session | None = None) -> None:
        self._database = database
        self._purpose = purpose
        self._limit_s = limit_s
        self._session = session
        self._pending: deque[_Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._refusal: StoreError | None = None
        self._again_at = 0.0
        self._again_s = _AGAIN_FROM_S

    def put(self, action: Action[Item, Answer], item: Item) -> asyncio.Future[Answer]:
        """Hand ``item`` over; the future is the line's, not to be cancelled."""
        if self._closed:
            raise StoreError("the store is closed")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending.append(_Request(action, item, future))
        self._start()
        return future

    async def do(self, action: Action[Item, Answer], item: Item) -> Answer:
        """Have ``action`` done for ``item``. Raises ``StoreBusyError``, ``StoreFullError`` … or what the action itself raises."""
        return await asyncio.shield(self.put(action, item))

    async def close(self) -> None:
        """Finish what was accepted, then disconnect."""
        self._closed = True
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _start(self) -> None:
        if self._pending and self._task is None:
            self._task = asyncio.create_task(self._serve(), name=f"postgres {self._purpose}")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._start()

    async def _serve(self) -> None:
        while self._pending:
            group = self._next_group()
            try:
                answers = await self._answered(group)
            except BaseException as error:  # the loop is closing: nobody may wait for ever
                answers = [(None, StoreError(f"{self._database.address.shown}: the store stopped: {error!r}"))] * len(group)
                self._drop()
                if not isinstance(error, Exception):
                    raise
            finally:
                _answer(group, answers)
            for _ in range(_TURNS):
                if not self._pending:
                    await lowlevel.checkpoint()

    def _next_group(self) -> list[_Request]:
        """What waits for the same action as the first; the rest keeps its order."""
        action = self._pending[0].action
        group: list[_Request] = []
        rest: deque[_Request] = deque()
        while self._pending:
            request = self._pending.popleft()
            (group if request.action == action and len(group) < GROUP else rest).append(request)
        self._pending = rest
        return group

    async def _answered(self, group: list[_Request]) -> Answers:
        for tries in range(1, _TRIES + 1):
            try:
                session = await self._connected()
                values = await group[0].action(session, [request.item for request in group])
                return [(value, None) for value in values]
            except Exception as error:
                if faults.is_lost(error):
                    self._drop()
                elif faults.code_of(error) in faults.COLLISION and tries < _TRIES:
                    continue
                elif len(group) > 1 and not isinstance(error, StoreBusyError):
                    return [(await self._answered([request]))[0] for request in group]
                return [(None, faults.translated(error, self._database.address.shown))] * len(group)
        raise AssertionError("unreachable")

    async def _connected(self) -> Session:
        if self._session is not None and self._session.is_open:
            return self._session
        now = asyncio.get_running_loop().time()
        if self._refusal is not None and now < self._again_at:
            raise self._refusal
        try:
            self._session = await self._database.connect(self._purpose, self._limit_s)
        except StoreError as error:
            self._refusal = error
            self._again_at = asyncio.get_running_loop().time() + self._again_s
            self._again_s = min(self._again_s * 2, _AGAIN_TO_S)
            raise
        self._refusal, self._again_s = None, _AGAIN_FROM_S
        return self._session

    def _drop(self) -> None:
        if self._session is not None:
            self._session.drop()
            self._session = None


def _answer(group: Sequence[_Request], answers: Answers) -> None:
    for request, (value, failure) in zip(group, answers, strict=True):
        if request.future.done():
            continue
        if failure is None:
            request.future.set_result(value)
        else:
            request.future.set_exception(failure)
