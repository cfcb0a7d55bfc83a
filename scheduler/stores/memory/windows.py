"""The pause windows of the memory store, each change told to the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scheduler.journal import entries_of_pause
from scheduler.pauses import PauseWindow
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

    def _tell(self, before: PauseWindow | None, window: PauseWindow | None, now: float) -> None:
        for entry in entries_of_pause(before, window, now):
            self._journal.add(entry)
