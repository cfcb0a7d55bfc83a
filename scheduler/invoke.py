"""How a handler is called: in a context of its own, or in a thread that can be left behind.

Does not belong here: what the handler's end means (``attempt.py``, ``decide.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any

import anyio
from anyio import from_thread, lowlevel, to_thread


async def in_own_context(work: Coroutine[Any, Any, Any]) -> Any:
    """Drive ``work`` in a context of its own: slots are used again, and what one handler sets is not for the next."""
    context = copy_context()
    try:
        step = context.run(work.send, None)
    except StopIteration as returned:  # it never had to wait
        return returned.value
    return await _on_in_context(work, context, step)


@types.coroutine
def _on_in_context(work: Coroutine[Any, Any, Any], context: Context, step: Any) -> Generator[Any, Any, Any]:
    """The rest, after the first ``step``."""
    try:
        while True:
            try:
                answer = yield step
            except BaseException as error:
                step = context.run(work.throw, error)
            else:
                step = context.run(work.send, answer)
    except StopIteration as returned:
        return returned.value


async def absorb_cancellation(task: asyncio.Task[Any]) -> None:
    """Leave the slot's task as it was before a handler that cancelled its own task."""
    while task.cancelling():
        task.uncancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lowlevel.cancel_shielded_checkpoint()


class HandlerThread:
    """One call of a sync handler in a thread, abandoned when its attempt is cancelled."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self._ended = anyio.Event()
        self._lock = threading.Lock()
        self._began = self._unwanted = False

    def let_go(self) -> anyio.Event | None:
        """What tells when the thread ends; None if it has ended, or did not begin and now never will."""
        with self._lock:
            self._unwanted = True
            return self._ended if self._began and not self._ended.is_set() else None

    async def run(self, limiter: anyio.CapacityLimiter) -> Any:
        token = lowlevel.current_token()

        def call() -> tuple[bool, Any]:
            with self._lock:
                if self._unwanted:
                    return True, None
                self._began = True
            try:
                return True, self._function(*self._arguments)
            except BaseException as error:  # SystemExit too: it must not end the thread's loop
                return False, error
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is gone, nobody waits
                    from_thread.run_sync(self._ended.set, token=token)

        returned, value = await to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
        if not returned:
            raise value
        return value
