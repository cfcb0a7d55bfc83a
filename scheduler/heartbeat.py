"""The heartbeat: renews this worker's lease from a thread, outside the event loop.

A handler that blocks the loop therefore does not lose its job to another worker; it is reported by name.
The loop turns a counter now and then; a counter that stands still for too long means that somebody blocks.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable

from scheduler.attempt import Runner
from scheduler.clock import SystemClock
from scheduler.errors import StoreError
from scheduler.events import Events, LoopBlocked
from scheduler.stores.base import Pulse

#: A lease is renewed so many times before it would end.
RENEWALS = 7


class Heartbeat:
    """A thread from ``start`` to ``stop``. ``on_lost`` is called in the loop when the worker's row is gone."""

    def __init__(
        self, pulse: Pulse, runner: Runner, events: Events, *, lease_s: float, blocked_s: float, on_lost: Callable[[], None]
    ) -> None:
        # The machine's clocks, also under a simulated one: this thread watches the real loop.
        self._clock = SystemClock()
        self._pulse = pulse
        self._runner = runner
        self._events = events
        self._every_s = min(lease_s / RENEWALS, 5.0)
        self._blocked_s = blocked_s
        self._on_lost = on_lost
        self._turned = self._clock.monotonic()
        self._report_at = blocked_s
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._turning: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="scheduler heartbeat", daemon=True)

    def start(self) -> None:
        self._turn()
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; returns when the thread has let go of its connection."""
        self._stop.set()
        if self._turning is not None:
            self._turning.cancel()
        self._thread.join(timeout=10.0)

    def _turn(self) -> None:
        """Runs in the loop: it turns."""
        self._turned = self._clock.monotonic()
        self._turning = self._loop.call_later(self._blocked_s / 5, self._turn)

    def _run(self) -> None:
        next_beat = 0.0
        try:
            while not self._stop.wait(min(self._every_s, self._blocked_s / 2)):
                now = self._clock.monotonic()
                if now >= next_beat:
                    next_beat = now + self._every_s
                    self.beat()
                self.watch(now)
        finally:
            self._pulse.close()

    def beat(self) -> None:
        """Renew the lease once; a store that is busy is asked again next time."""
        try:
            known = self._pulse.beat(self._clock.now())
        except StoreError:
            return
        if not known:
            self._tell_loop(self._on_lost)

    def watch(self, now: float) -> None:
        """Report whoever blocks the loop: once at the limit, again each time the blockage has doubled."""
        blocked_s = now - self._turned
        if blocked_s < self._blocked_s:
            self._report_at = self._blocked_s
            return
        if blocked_s >= self._report_at:
            self._report_at = blocked_s * 2
            self._events.emit(self._blocked(blocked_s))

    def _blocked(self, blocked_s: float) -> LoopBlocked:
        attempt = self._runner.current.get(asyncio.current_task(self._loop))
        frame = sys._current_frames().get(self._loop_thread)
        where = traceback.extract_stack(frame, limit=1)[-1] if frame else None
        place = f"{where.filename}:{where.lineno} in {where.name}" if where else "unknown"
        handler = attempt.name if attempt else "not a handler"
        return LoopBlocked(self._clock.now(), blocked_s, handler, place, attempt.job.job_id if attempt else None)

    def _tell_loop(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
