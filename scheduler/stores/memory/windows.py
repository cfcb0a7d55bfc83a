"""The pause windows of the memory store, each change told to the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from scheduler.journal import entries_of_pause
from scheduler.pauses import Gate, PauseWindow
from scheduler.stores.memory.journal import Journal


class Windows(Mapping[str, PauseWindow]):
    """By scope; ``put`` and ``drop`` alone change them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._windows: dict[str, PauseWindow] = {}

    def __getitem__(self, scope: str) -> PauseWindow:
        return self._windows[scope]

    def __iter__(self) -> Iterator[str]:
        return iter(self._windows)

    def __len__(self) -> int:
        return len(self._windows)

    def put(self, window: PauseWindow, now: float) -> None:
        self._tell(self._windows.get(window.scope), window, now)
        self._windows[window.scope] = window

    def drop(self, scope: str, now: float) -> PauseWindow | None:
        window = self._windows.pop(scope, None)
        self._tell(window, None, now)
        return window

    def end_probe(self, job_id: str, succeeded: bool, now: float) -> tuple[str, ...]:
        """Take the job's probe marks away; the scopes that its success reopens.

        By the job's name, not by its lease: whoever takes a job back from a dead worker has no probing lease.
        A window that was extended, or closed by hand, meanwhile stays: a pause is never shortened.
        """
        marked = [window for window in self._windows.values() if window.probe == job_id]
        resumed = tuple(window.scope for window in marked if succeeded and window.gate(now) is Gate.PROBING)
        for window in marked:
            self.put(replace(window, probe=None), now)
        for scope in resumed:
            self.drop(scope, now)
        return resumed

    def _tell(self, before: PauseWindow | None, window: PauseWindow | None, now: float) -> None:
        for entry in entries_of_pause(before, window, now):
            self._journal.add(entry)
